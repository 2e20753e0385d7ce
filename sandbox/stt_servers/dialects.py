# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The two documented dialects of Kyutai on Modal: JSON text frames from the model's messages. Pure.

`token`: what the deployed proxy sends, `{"type":"token","text":"Hello,"}`; it documents `vad_end`, `ping` and `error` too,
and sends them only with `announce`. `mission`: `{"text":"…","final":bool,"vad_end":bool}`. Either with words, or with pieces
that carry their leading space.
"""

from __future__ import annotations

import json
from enum import StrEnum

from sandbox.stt_servers.audio_locator import DELAY_STEPS, UNSURE_STEPS
from sandbox.stt_servers.moshi_messages import Outgoing, Step, Word

_PAUSE_HEAD = 2
_PAUSE_PROBABILITY = 0.6


class DialectName(StrEnum):
    TOKEN = "token"
    MISSION = "mission"


class Spacing(StrEnum):
    #: Whole words without spaces: "Hello," "world".
    WORDS = "words"
    #: Pieces of words, the first with a leading space: " Hel" "lo," " wor" "ld".
    PIECES = "pieces"


class Dialect:
    """One session's speech to the client."""

    def __init__(self, name: DialectName, spacing: Spacing, *, announce: bool = False) -> None:
        self._name = name
        self._spacing = spacing
        self._pauses = announce or name is DialectName.MISSION
        self._steps = 0
        self._words_pending = False
        self._quiet = False
        self._pause_due: int | None = None

    def render(self, message: Outgoing) -> list[str]:
        if isinstance(message, Word):
            self._words_pending = True
            return [self._text(piece) for piece in _pieces(message.text, self._spacing)]
        if isinstance(message, Step) and self._pauses:
            return self._pause(message)
        return []

    def _pause(self, step: Step) -> list[str]:
        """The heads detect a pause before the last words are out, and are given the time of these."""
        self._steps += 1
        quiet = self._steps > UNSURE_STEPS and step.prs[_PAUSE_HEAD] > _PAUSE_PROBABILITY
        if quiet and not self._quiet:
            self._pause_due = self._steps + DELAY_STEPS
        self._quiet = quiet
        if self._pause_due is None or self._steps <= self._pause_due:
            return []
        self._pause_due = None
        words, self._words_pending = self._words_pending, False
        return [pause_frame(self._name)] if words else []

    def _text(self, text: str) -> str:
        if self._name is DialectName.TOKEN:
            return json.dumps({"type": "token", "text": text}, ensure_ascii=False)
        return json.dumps({"text": text, "final": False, "vad_end": False}, ensure_ascii=False)


def pause_frame(name: DialectName) -> str:
    if name is DialectName.TOKEN:
        return json.dumps({"type": "vad_end"})
    return json.dumps({"text": "", "final": True, "vad_end": True})


def _pieces(word: str, spacing: Spacing) -> list[str]:
    if spacing is Spacing.WORDS:
        return [word]
    middle = (len(word) + 1) // 2
    return [piece for piece in (f" {word[:middle]}", word[middle:]) if piece]


_DEEP = "[" * 20_000
_GARBAGE: tuple[str | bytes, ...] = (
    "",
    "no JSON at all",
    '{"type":"token","text":"hal',
    _DEEP,
    "null",
    "42",
    '"token"',
    "[]",
    "[[1,2],{}]",
    "{}",
    '{"type":"token"}',
    '{"type":"token","text":null}',
    '{"type":"token","text":["a"]}',
    '{"type":7,"text":"x"}',
    '{"type":"nobody knows this","text":"x"}',
    '{"text":null,"final":"maybe","vad_end":[]}',
    '{"final":true}',
    '{"type":"token","text":"\\ud800\\u0000\\u202e"}',
    b"\xff\xfe\x00\x01 binary",
    b"",
)


def garbage() -> tuple[str | bytes, ...]:
    """Frames that hold no words in either dialect (but one of a lone surrogate, a NUL and a direction override)."""
    return _GARBAGE


def huge(name: DialectName) -> str:
    """One message of 10 MB whose text is a single word of white space and letters."""
    text = "a" * 10_000_000
    return json.dumps({"type": "token", "text": text} if name is DialectName.TOKEN else {"text": text, "final": False})


def not_numbers(name: DialectName) -> tuple[str, ...]:
    """NaN and infinity where a time belongs: JSON does not allow them, Python writes and reads them."""
    if name is DialectName.TOKEN:
        return ('{"type":"token","text":"","start_time":NaN}', '{"type":"vad_end","stop_time":-Infinity}')
    return ('{"text":"","final":false,"vad_end":NaN}', '{"text":"","final":Infinity,"vad_end":true}')


def contradictions(name: DialectName, last_word: str) -> tuple[str, ...]:
    """Claims that cannot all be true: a pause twice, a final that takes the last word back, and one that repeats it."""
    if name is DialectName.TOKEN:
        return (pause_frame(name), pause_frame(name), '{"type":"error"}', '{"type":"ping"}', '{"type":"token","text":""}')
    return (
        json.dumps({"text": "", "final": True, "vad_end": False}),
        json.dumps({"text": last_word, "final": True, "vad_end": True}, ensure_ascii=False),
        json.dumps({"text": "", "final": False, "vad_end": True}),
    )
