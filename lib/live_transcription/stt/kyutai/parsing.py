# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Limits and conversions that both dialects apply to what a server sends. Pure; nothing here raises."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

#: Maximum length of one token's text, in characters; longer text is cut. A model's token has a dozen.
TEXT_LIMIT = 1000
#: Maximum length of a message that is parsed, in bytes or characters. A usual message has a hundred.
MESSAGE_LIMIT = 64 * 1024

#: Control characters, line separators, and marks that change the direction of the text around them.
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufffe\uffff]")
_NOT_PLAIN = re.compile(r"[^\w .,:;()'/-]+")
_CAPACITY = re.compile(r"no free|capacity|\bfull\b|busy|too many|try again later|overloaded", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class IgnoredReply:
    """A message without meaning for us. `kind` labels a counter: `garbage`, `huge`, `empty` or `unknown`."""

    kind: str


def seconds(value: object) -> float | None:
    """A time in seconds; None unless `value` is a finite number that is not negative."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        time_s = float(value)
    except OverflowError:
        return None
    return time_s if math.isfinite(time_s) and time_s >= 0 else None


def spoken(text: str) -> str:
    """The text of a token, cut to `TEXT_LIMIT`, without characters that a caption must not contain."""
    # A lone surrogate would raise where the caption is encoded.
    return _INVISIBLE.sub("", text[:TEXT_LIMIT].encode("utf-8", "replace").decode("utf-8"))


def loggable(message: str) -> str:
    """A server's message, reduced to plain characters and cut to 100 of them."""
    return _NOT_PLAIN.sub(" ", message[:200]).strip()[:100]


def is_capacity(message: str) -> bool:
    """Whether a server's error message means that it has no free session."""
    return _CAPACITY.search(message) is not None
