# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The messages of a Kyutai proxy on Modal, in either of its two formats. Pure; parsing is tolerant and never raises.

Specified: `{"text": …, "final": …, "vad_end": …}`. Deployed: `{"type": "token" | "vad_end" | "ping" | "error", …}`. Our own
proxy (`deploy/`) also sends `ready`, `word_end` and `done`.
Times in seconds are read from `start_s`, `start_time` or `start`, and from `end_s`, `stop_time` or `end`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from live_transcription.stt.kyutai.parsing import MESSAGE_LIMIT, IgnoredReply, is_capacity, loggable, seconds, spoken

#: Maximum number of replies that are read from one message of a proxy that batches them.
BATCH_LIMIT = 256

_EXPIRED = re.compile(r"expired|session limit|max(imum)? (age|duration)|time limit", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TokenReply:
    """New text. `final` is None if the format has no such key."""

    text: str = field(repr=False)
    start_s: float | None = None
    end_s: float | None = None
    final: bool | None = None


@dataclass(frozen=True, slots=True)
class PauseReply:
    """The end of a turn."""


@dataclass(frozen=True, slots=True)
class ReadyReply:
    """The proxy of `deploy/` has a place for this session. It alone understands `end`, and announces it with its delay."""


@dataclass(frozen=True, slots=True)
class ProgressReply:
    """The words of so many seconds of audio have been sent, the silence of flushes included. Only our proxy reports this."""

    audio_s: float


@dataclass(frozen=True, slots=True)
class DoneReply:
    """The answer to `end`: all words of the audio before it have been sent."""


@dataclass(frozen=True, slots=True)
class PingReply:
    """A sign of life. It must not be answered: Kyutai's proxy closes the session on any text frame."""


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """`kind` is `capacity`, `expired`, `starting` or `other`. `message` is short and plain enough for a log."""

    kind: str
    message: str


Reply: TypeAlias = TokenReply | PauseReply | ReadyReply | ProgressReply | DoneReply | PingReply | ErrorReply | IgnoredReply


def parse_message(message: str | bytes) -> list[Reply]:
    """Parse one websocket message, text or binary. Returns at least one reply, `IgnoredReply` for a message without meaning."""
    if len(message) > MESSAGE_LIMIT:
        return [IgnoredReply("huge")]
    try:
        document = json.loads(message)
    except (ValueError, RecursionError):
        return [IgnoredReply("garbage")]
    objects = document[:BATCH_LIMIT] if isinstance(document, list) else [document]
    replies: list[Reply] = []
    for item in objects:
        replies += _parse_object(item) if isinstance(item, dict) else [IgnoredReply("garbage")]
    return replies or [IgnoredReply("garbage")]


def _parse_object(reply: Mapping[str, object]) -> Sequence[Reply]:
    audio_s = _time(reply, "audio_s")
    return [*([] if audio_s is None else [ProgressReply(audio_s)]), *_parse_message(reply)]


def _parse_message(reply: Mapping[str, object]) -> Sequence[Reply]:
    match reply.get("type"):
        case None:
            return _parse_specified(reply)
        case "token" | "word":
            return _parse_specified({"vad_end": False, **reply}) if _text(reply) else [IgnoredReply("garbage")]
        case "vad_end":
            return [PauseReply()]
        case "ready" if seconds(reply.get("delay_s")) is not None:
            return [ReadyReply()]
        case "done":
            return [DoneReply()]
        case "ping" | "ready" | "word_end":
            return [PingReply()]
        case "error":
            return [_error(reply)]
        case _:
            return [IgnoredReply("unknown")]


def _parse_specified(reply: Mapping[str, object]) -> Sequence[Reply]:
    if not {"text", "final", "vad_end"} & reply.keys():
        return [_error(reply)] if "error" in reply else [IgnoredReply("unknown")]
    text = _text(reply)
    final = value if isinstance(value := reply.get("final"), bool) else None
    pause = reply.get("vad_end") is True
    replies: list[Reply] = []
    if text:
        start_s = _time(reply, "start_s", "start_time", "start")
        end_s = _time(reply, "end_s", "stop_time", "end")
        if start_s is not None and end_s is not None and end_s < start_s:
            start_s = end_s = None
        replies.append(TokenReply(text, start_s, end_s, final))
    elif final:
        pause = True
    if pause:
        replies.append(PauseReply())
    return replies or [IgnoredReply("garbage" if not isinstance(reply.get("text", ""), str) else "empty")]


def _text(reply: Mapping[str, object]) -> str:
    text = reply.get("text")
    return spoken(text) if isinstance(text, str) else ""


def _time(reply: Mapping[str, object], *keys: str) -> float | None:
    """The value of the first of `keys` that holds a number."""
    numbers = (value for key in keys if isinstance(value := reply.get(key), (int, float)) and not isinstance(value, bool))
    return seconds(next(numbers, None))


def _error(reply: Mapping[str, object]) -> ErrorReply:
    code = reply.get("code")
    reason = next((value for key in ("message", "error", "code") if isinstance(value := reply.get(key), str) and value), "")
    if isinstance(code, str) and code != reason:
        reason = f"{code}: {reason}"
    reason = loggable(reason)
    if code == "model_unavailable":
        kind = "starting"
    else:
        kind = "capacity" if is_capacity(reason) else "expired" if _EXPIRED.search(reason) else "other"
    return ErrorReply(kind, reason)
