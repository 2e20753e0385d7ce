# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""When an utterance ends, in seconds and characters; the defaults are what reads well in Talk's four caption lines."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CaptionPolicy:
    """Limits of an utterance made of words; engines that send whole hypotheses end their utterances themselves.

    `quiet_s`: without a word after local end of speech and flush, the utterance is over.
    `flush_timeout_s`: how long the flush is waited for; words that come within it still join their utterance.
    `idle_s`: without a word at all, the utterance is over. `max_age_s`: an utterance grows no older, counted from its first
    word. `sentence_chars`: a sentence end closes an utterance of at least this length. `max_chars`: it is cut before the
    word that would make it longer; a single word may be twice as long before it is broken.
    """

    quiet_s: float = 0.3
    flush_timeout_s: float = 1.5
    idle_s: float = 2.0
    max_age_s: float = 12.0
    sentence_chars: int = 40
    max_chars: int = 120


@dataclass(frozen=True, slots=True)
class UtteranceText:
    """The whole text of a speaker's open utterance; `final=True` closes it.

    A final with empty text takes the utterance back: what waits of it must not be shown. It is never sent to Talk.
    """

    text: str = field(repr=False)
    final: bool

    @property
    def retracted(self) -> bool:
        return self.final and not self.text
