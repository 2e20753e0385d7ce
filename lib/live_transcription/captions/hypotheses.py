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

    @property
    def is_open(self) -> bool:
        return bool(self._shown)

    def replace(self, text: str, final: bool) -> list[UtteranceText]:
        """A hypothesis came."""
        self._engine_text = squeeze(text)
        text = remainder(self._closed, self._engine_text) if self._closed else self._engine_text
        if final:
            shown, self._shown = self._shown, ""
            self._closed = self._engine_text = ""
            if has_word(text):
                return [UtteranceText(text, final=True)]
            return [UtteranceText("", final=True)] if shown else []
        if not has_word(text) or text == self._shown:
            return []
        self._shown = text
        return [UtteranceText(text, final=False)]

    def close(self, *, more: bool = False) -> list[UtteranceText]:
        """Close what was shown. `more`: the engine goes on with this utterance, and repeats what is closed now."""
        text, self._shown = self._shown, ""
        self._closed = (self._engine_text or self._closed) if more else ""
        self._engine_text = ""
        return [UtteranceText(text, final=True)] if text else []
