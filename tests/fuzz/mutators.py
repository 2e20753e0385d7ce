# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Cases from seeds: mutations of octets, of text lines and of JSON values. All use `random`."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any

_ODD_TEXT = (
    "", " ", "\0", "\r\n", "\u2028", "\x85", "\x1c", "\ud800", "\udcff", "\U0001f600", "\u0663", "\u00b2", "\uff11",
    "1_0", "+1", "-1", "0x10", "1e9", "9" * 20, "9" * 5_000, "%00", "%", "../", "x" * 300, "x" * 5_000, " " * 2_000, "[::1%x]",
    "\u0130", "null", "{", '"',
)  # fmt: skip
_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**400, 0.5, 1e308, float("inf"), float("nan"), [], {}, [[]],
    {"": {}}, [0] * 300, "x",
)  # fmt: skip
_ODD_OCTETS = (0, 1, 2, 4, 15, 16, 31, 63, 64, 127, 128, 191, 192, 254, 255)


def octets(random: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Up to eight changes: bits, octets, cuts, copies, insertions, and pieces of other seeds."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 8)):
        at = random.randrange(len(changed) + 1)
        match random.randrange(8):
            case 0 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 1 if at < len(changed):
                changed[at] = random.choice(_ODD_OCTETS)
            case 2:
                del changed[at : at + random.choice((1, 2, 4, 16, 200))]
            case 3:
                changed[at:at] = random.randbytes(random.choice((1, 2, 4, 16, 100)))
            case 4:
                changed[at:at] = changed[at : at + random.randrange(64)]
            case 5 if others:
                changed[at:] = random.choice(others)[at:]
            case 6 if at + 2 <= len(changed):
                changed[at : at + 2] = random.choice((0, 1, 0x7FFF, 0x8000, 0xFFFF, len(data))).to_bytes(2)
            case 7:
                del changed[at:]
    return bytes(changed)


def text(random: Random, seed: str, words: Sequence[str] = ()) -> str:
    """Changes of characters, with odd ones and with `words` of the grammar."""
    for _ in range(random.randint(1, 5)):
        at = random.randrange(len(seed) + 1)
        end = min(len(seed), at + random.choice((0, 0, 1, 1, 3, 20)))
        piece = random.choice(_ODD_TEXT) if not words or random.random() < 0.5 else random.choice(words)
        seed = seed[:at] + piece + seed[end:]
    return seed


def lines(random: Random, seed: str, words: Sequence[str] = ()) -> str:
    """Changes of whole lines (CRLF): dropped, doubled, moved, repeated many times, or changed as text."""
    parts = seed.split("\r\n")
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(parts))
        match random.randrange(6):
            case 0 if len(parts) > 1:
                del parts[at]
            case 1:
                parts.insert(random.randrange(len(parts) + 1), parts[at])
            case 2:
                parts[at : at + 1] = [parts[at]] * random.choice((2, 10, 100, 600))
            case 3 if words:
                parts.insert(at, random.choice(words))
            case _:
                parts[at] = text(random, parts[at], words)
    return "\r\n".join(parts)


def json_value(random: Random, seed: Any, words: Sequence[str] = ()) -> Any:
    """A copy with some values replaced, keys dropped, renamed or moved."""
    changed = copy.deepcopy(seed)
    for _ in range(random.randint(1, 4)):
        places = list(_places(changed))
        if not places:
            return random.choice(_ODD_VALUES)
        parent, key = random.choice(places)
        match random.randrange(5):
            case 0:
                parent[key] = copy.deepcopy(random.choice(_ODD_VALUES))
            case 1:
                parent[key] = random.choice((*words, *_ODD_TEXT))
            case 2 if isinstance(parent, dict):
                value = parent.pop(key)
                parent[random.choice((key.upper(), key + " ", *words, *_ODD_TEXT[:8]))] = value
            case 3 if isinstance(parent, dict):
                del parent[key]
            case _:
                parent[key] = copy.deepcopy(random.choice(places)[0]) if random.random() < 0.3 else [parent[key]] * 3
    return changed


def json_text(random: Random, seeds: Sequence[Any], words: Sequence[str] = ()) -> str:
    """JSON of a changed seed; one in five is no valid JSON any more, or has keys twice."""
    written = json.dumps(json_value(random, random.choice(seeds), words), ensure_ascii=random.random() < 0.8)
    return text(random, written, ('"type":"offer",', '"sid":7,', "1e999", "}", "]", ",")) if random.random() < 0.2 else written


def _places(value: Any, depth: int = 0) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    if depth < 8:
        if isinstance(value, dict):
            entries: list[tuple[Any, Any]] = list(value.items())
        else:
            entries = list(enumerate(value)) if isinstance(value, list) else []
        for key, inner in entries[:40]:
            found.append((value, key))
            found += _places(inner, depth + 1)
    return found
