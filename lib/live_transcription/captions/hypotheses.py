# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Utterances out of an engine that rewrites its hypothesis and ends the utterances itself."""

from __future__ import annotations

from live_transcription.captions.policy import UtteranceText
from live_transcription.captions.words import has_word, remainder, squeeze


class HypothesisUtterances:
    """The open utterance of one speaker's hypotheses."""

    def __init__(self) -> None:
        self._engine_text = ""
        self._shown = ""
        # What `close(more=True)` has closed of the engine's open utterance.
        self._closed = ""
        self._taken_over = False

    @property
    def is_open(self) -> bool:
        return bool(self._shown)

    def replace(self, text: str, final: bool) -> list[UtteranceText]:
        """A hypothesis came."""
        self._engine_text = squeeze(text)
        text = remainder(self._closed, self._engine_text) if self._closed else self._engine_text
        if final:
            shown, self._shown = self._shown, ""
            self._closed = self._rest_of_closed()
            self._engine_text = ""
            if has_word(text):
                return [UtteranceText(text, final=True)]
            return [UtteranceText("", final=True)] if shown else []
        if not has_word(text) or text == self._shown:
            return []
        self._shown = text
        return [UtteranceText(text, final=False)]

    def _rest_of_closed(self) -> str:
        """What the next utterances repeat: another engine may end an utterance before all that was final already."""
        if not self._taken_over or len(self._engine_text.split()) >= len(self._closed.split()):
            self._taken_over = False
            return ""
        return remainder(self._engine_text, self._closed)

    def take_over(self, closed: str, shown: str = "") -> None:
        """This engine repeats what another told: `closed` of it is final already, `shown` a partial to replace."""
        self._closed = closed
        self._taken_over = True
        self._shown = shown or self._shown

    def hand_over(self) -> str:
        """Another engine repeats the open utterance; returns the partial that is shown of it."""
        shown, self._shown = self._shown, ""
        self._closed = self._engine_text = ""
        return shown

    def close(self, *, more: bool = False) -> list[UtteranceText]:
        """Close what was shown. `more`: the engine goes on with this utterance, and repeats what is closed now."""
        text, self._shown = self._shown, ""
        self._closed = (self._engine_text or self._closed) if more else ""
        self._engine_text = ""
        return [UtteranceText(text, final=True)] if text else []
