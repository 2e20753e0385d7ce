# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What a Kyutai proxy on Modal may say, in either dialect, to plain values. Pure and tolerant: it never raises.

Specified: `{"text": …, "final": …, "vad_end": …}`. Deployed: `{"type": "token" | "vad_end" | "ping" | "error", …}`.
Times are taken as `start_s`, `start_time`, `start` and `end_s`, `stop_time`, `end`, in seconds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

#: Longest text of one token, in characters; a model's piece has a dozen.
TEXT_LIMIT = 1000
#: Longest message that is looked into, in characters; a token's has a hundred.
MESSAGE_LIMIT = 64 * 1024
#: Replies taken of one message, where a proxy batches them.
BATCH_LIMIT = 256

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\ufffe\uffff]")
_PLAIN = re.compile(r"[^\w .,:;()'/-]+")
_CAPACITY = re.compile(r"no free|capacity|\bfull\b|busy|too many|try again later|overloaded", re.IGNORECASE)
_EXPIRED = re.compile(r"expired|session limit|max(imum)? (age|duration)|time limit", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TokenReply:
    """New text. `final` is None where the dialect has no such word."""

    text: str = field(repr=False)
    start_s: float | None = None
    end_s: float | None = None
    final: bool | None = None


@dataclass(frozen=True, slots=True)
class PauseReply:
    """The end of a turn."""


@dataclass(frozen=True, slots=True)
class PingReply:
    """A sign of life, not to be answered: the proxy closes on any text frame."""


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """`kind`: `capacity`, `expired` or `other`. `message` is short and plain enough for a log."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """`kind` for a counter: `garbage`, `huge` or `unknown`."""

    kind: str


Reply: TypeAlias = TokenReply | PauseReply | PingReply | ErrorReply | Ignored


def parse_message(message: str | bytes) -> list[Reply]:
    """All that one websocket message says, text or binary; at least one reply, `Ignored` where it says nothing."""
    if len(message) > MESSAGE_LIMIT:
        return [Ignored("huge")]
    try:
        document = json.loads(message)
    except (ValueError, RecursionError):
        return [Ignored("garbage")]
    objects = document[:BATCH_LIMIT] if isinstance(document, list) else [document]
    replies: list[Reply] = []
    for item in objects:
        replies += _parse_object(item) if isinstance(item, dict) else [Ignored("garbage")]
    return replies or [Ignored("garbage")]


def _parse_object(reply: Mapping[str, object]) -> Sequence[Reply]:
    match reply.get("type"):
        case None:
            return _specified(reply)
        case "token" | "word":
            return _specified({**reply, "vad_end": reply.get("vad_end", False)}) if _text(reply) else [Ignored("garbage")]
        case "vad_end":
            return [PauseReply()]
        case "ping":
            return [PingReply()]
        case "error":
            return [_error(reply)]
        case _:
            return [Ignored("unknown")]


def _specified(reply: Mapping[str, object]) -> Sequence[Reply]:
    if not {"text", "final", "vad_end"} & reply.keys():
        return [_error(reply)] if "error" in reply else [Ignored("unknown")]
    text = _text(reply)
    final = reply.get("final") if isinstance(reply.get("final"), bool) else None
    pause = reply.get("vad_end") is True
    replies: list[Reply] = []
    if text:
        start_s = _seconds(reply, "start_s", "start_time", "start")
        end_s = _seconds(reply, "end_s", "stop_time", "end")
        if start_s is not None and end_s is not None and end_s < start_s:
            start_s = end_s = None
        replies.append(TokenReply(text, start_s, end_s, bool(final) if final is not None else None))
    elif final:
        pause = True
    if pause:
        replies.append(PauseReply())
    return replies or [Ignored("garbage" if not isinstance(reply.get("text", ""), str) else "empty")]


def _text(reply: Mapping[str, object]) -> str:
    text = reply.get("text")
    if not isinstance(text, str):
        return ""
    # Lone surrogates would break whoever encodes the caption.
    return _CONTROL.sub("", text[:TEXT_LIMIT].encode("utf-8", "replace").decode("utf-8"))


def _seconds(reply: Mapping[str, object], *names: str) -> float | None:
    for name in names:
        value = reply.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                seconds = float(value)
            except OverflowError:
                return None
            return seconds if math.isfinite(seconds) and seconds >= 0 else None
    return None


def _error(reply: Mapping[str, object]) -> ErrorReply:
    said = next((value for name in ("message", "error", "code") if isinstance(value := reply.get(name), str) and value), "")
    if said or isinstance(reply.get("code"), str):
        said = f"{reply['code']}: {said}" if isinstance(reply.get("code"), str) and reply["code"] != said else said
    said = _PLAIN.sub(" ", said[:200]).strip()[:100]
    kind = "capacity" if _CAPACITY.search(said) else "expired" if _EXPIRED.search(said) else "other"
    return ErrorReply(kind, said)
