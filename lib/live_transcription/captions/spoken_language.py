# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The language of one speaker's words while the language of the call is automatic. Pure.

Whisper says which language it decodes. Kyutai's model does not, and transcribes English and French by itself: then frequent
words that exist in only one of the two show which it is.
"""

from __future__ import annotations

import re

from live_transcription.languages import AUTO

#: Frequent words of each language that the other one does not have, case-folded and without punctuation.
_FREQUENT = {
    language: frozenset(words.split())
    for language, words in {
        "en": """
        about after again also am and any are because been before being but by can could did didn't do does doesn't
        doing don't down every few for from get going good had has have he hello her here him his how i i'd i'll i'm
        i've if into is isn't it it's its just know let let's little make many maybe more most much my need never new
        no not nothing now of only our out over please right said say see she should some something sorry than thank
        thanks that that's the their them then there there's these they they're thing think this those to today too
        very want was wasn't way we we'll we're we've well were what what's when where which who why will with won't
        would yeah yes yet you you'll you're your
        """,
        "fr": """
        alors après au aujourd'hui aussi autre autres aux avait avant avec avez avons beaucoup bien bonjour bonsoir ce
        cela ces cet cette ceux chez comme contre dans de depuis des dire dit dois doit donc dont du déjà elle elles
        encore entre est et faire fais fait faut ici il ils jamais je jusque la le les leur leurs lui là mais merci
        mes moi moins même ne non nos notre nous ont ou oui où par parce pas pendant peu peut peux pour pouvez puis
        quand que quel quelle quelque qui quoi rien sa sans sera ses si sommes sont suis toujours tous tout toute
        toutes trop très tu un une va vais veut voilà vos votre vous vraiment à ça étaient étais était été êtes être
        """,
    }.items()
}
#: The beginnings of French words that lost a vowel.
_ELIDED = re.compile(r"(?:[ldnjtms]|qu|jusqu|lorsqu|puisqu)'\w{2}|c'e|c'é")
_WORD = re.compile(r"\w+(?:'\w+)*")
#: Words by which another language must lead before the speaker's language changes, and their factor on those of the former.
_LEAD, _FACTOR = 3, 3
#: Characters of an utterance whose language counts for what the speaker says after a silence. That of a short one is a guess.
_LASTING_CHARS = 16


class SpokenLanguage:
    """`language`: the one that the speaker's first stream is opened with."""

    def __init__(self, language: str) -> None:
        self._language: str | None = None
        # The stream's language, unless that is automatic, and the one that the engine says.
        self._stream: str | None = None
        self._said: str | None = None
        # Words of the open utterance that show a language, and whether there were enough of them in some utterance.
        self._evidence = dict.fromkeys(_FREQUENT, 0)
        self._settled = False
        self._chars = 0
        self._lasting: str | None = None
        self.begin_stream(language)

    @property
    def language(self) -> str | None:
        """The language of the last utterance that was long enough to know it; None if there is none."""
        return self._lasting

    @property
    def current(self) -> str:
        """The language of the words that were added last."""
        return self._language or next(iter(_FREQUENT))

    def begin_stream(self, language: str) -> None:
        """The following words come from a stream in this language, which may be automatic."""
        self._stream = None if language == AUTO else language
        self._said = None
        self._forget_evidence()
        if self._stream is not None:
            self._language, self._settled = self._stream, True

    def hear(self, language: str | None) -> None:
        """The following words are in this language; None if the engine does not say."""
        self._said = language
        if known := language or self._stream:
            self._language, self._settled = known, True

    def add(self, text: str) -> str:
        """The language of these words, the next ones of the open utterance."""
        self._chars += len(text)
        if self._said is None and self._stream is None:
            self._count(text)
        return self.current

    def end_utterance(self) -> str:
        """The language of the utterance, which ends here."""
        if max(self._evidence.values()) >= _LEAD:
            self._settled = True
        if self._chars >= _LASTING_CHARS:
            self._lasting = self.current
        self._forget_evidence()
        return self.current

    def _count(self, text: str) -> None:
        for word in _WORD.findall(text.casefold().replace("’", "'")):  # noqa: RUF001  the apostrophe of French texts
            if word in _FREQUENT["en"]:
                self._evidence["en"] += 1
            elif word in _FREQUENT["fr"] or _ELIDED.match(word):
                self._evidence["fr"] += 1
        other = max(self._evidence, key=lambda language: self._evidence[language])
        known = self._evidence.get(self._language or "", 0)
        if self._language not in self._evidence or not self._settled:
            # The speaker's first words: whatever they look like.
            if self._evidence[other] > known:
                self._language = other
        elif self._evidence[other] >= max(_LEAD, _FACTOR * known):
            self._language = other

    def _forget_evidence(self) -> None:
        self._evidence = dict.fromkeys(_FREQUENT, 0)
        self._chars = 0
