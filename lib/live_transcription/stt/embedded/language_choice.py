# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Decides in which language a speaker's utterance is, from the probabilities of a detector. Pure.

A detector is often wrong about a word or two. So the language changes only if enough speech is clearly in another one; until
then an utterance is in the language of the speaker's previous ones. It is decided once per utterance, and not revised: words of
it may have been sent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

#: Voiced seconds and share of the probability from which on the language of an utterance is decided.
CLEAR_S, CLEAR_SHARE = 1.2, 0.8
#: The same for a language other than that of the previous utterances.
CHANGE_S, CHANGE_SHARE = 1.6, 0.9
#: The same for the first words of a speaker, whose language may still change before it is decided.
FIRST_S, FIRST_SHARE = 0.8, 0.6


class LanguageChoice:
    """The language of one speaker's utterances, always one of `languages`. `spoken`: that of earlier ones, if there are any."""

    def __init__(self, languages: Collection[str], spoken: str | None = None) -> None:
        self._languages = frozenset(languages)
        # The language of the last utterance that was decided, and of the one before the open utterance.
        self._current = spoken if spoken in self._languages else None
        self._before = self._current
        # The likeliest language of the open utterance. `_tentative`: the one in which it was decoded although undecided.
        self._likeliest: str | None = None
        self._tentative: str | None = None
        self._may_begin = False
        #: Whether the language of the open utterance is certain, so that no further observation is needed.
        self.decided = False

    def observe(self, probabilities: Mapping[str, float], voiced_s: float) -> None:
        """Note the probability of each language, given the first `voiced_s` seconds of speech of the open utterance."""
        total = sum(probabilities.get(language, 0.0) for language in self._languages)
        if self.decided or total <= 0.0:
            return
        self._likeliest = max(sorted(self._languages), key=lambda language: probabilities.get(language, 0.0))
        share = probabilities[self._likeliest] / total
        self._may_begin = voiced_s >= FIRST_S and share >= FIRST_SHARE
        changes = self._current not in (None, self._likeliest)
        least_s, least_share = (CHANGE_S, CHANGE_SHARE) if changes else (CLEAR_S, CLEAR_SHARE)
        if voiced_s >= least_s and share >= least_share:
            self._current = self._likeliest
            self.decided = True

    def language(self, *, last: bool) -> str | None:
        """The language in which to decode the open utterance; None if it is too early to know.

        `last`: this is the final decode, for which there is always a language.
        """
        if self._current is not None:
            return self._current
        if self._tentative is None and (last or self._may_begin):
            self._tentative = self._likeliest or min(self._languages)
        return self._tentative

    def reject(self) -> None:
        """The sound was not speech: its language does not count."""
        self._current = self._before
        self._likeliest = self._tentative = None
        self._may_begin = self.decided = False

    def end_utterance(self) -> None:
        """What follows is another utterance."""
        self._before = self._current
        self._likeliest = self._tentative = None
        self._may_begin = self.decided = False
