# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Passes the utterances of a call to the transcript, with the names of their speakers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from live_transcription.call.roster import Roster
from live_transcription.signaling.events import Participant
from live_transcription.transcript import Gap, SpeakerKind, Utterance
from live_transcription.transcripts.sink import TranscriptSink

logger = logging.getLogger(__name__)

#: Number of speakers whose names are remembered after they have left, for their last words.
REMEMBERED = 1_000


class _Person(NamedTuple):
    name: str
    kind: SpeakerKind


class TranscriptFeed:
    """Does nothing unless the sink keeps the room's transcript. A failing sink never affects captions."""

    def __init__(self, sink: TranscriptSink, room_token: str, roster: Roster) -> None:
        self._sink = sink
        self._room_token = room_token
        self._roster = roster
        # Speakers by session id, since their last words come after they have left the room. The latest are last.
        self._people: dict[str, _Person] = {}

    @property
    def kept(self) -> bool:
        """Whether a transcript is being kept."""
        with self._guarded():
            return self._sink.keeps(self._room_token)
        return False

    def remember(self, session_id: str) -> None:
        """This participant is about to be transcribed."""
        self._person(session_id)

    def add_utterance(self, utterance: Utterance) -> None:
        person = self._person(utterance.speaker)
        if utterance.text and self.kept:
            with self._guarded():
                self._sink.on_utterance(self._room_token, replace(utterance, kind=person.kind), person.name)

    def add_gap(self, gap: Gap) -> None:
        if self.kept:
            name = "" if gap.speaker is None else self._person(gap.speaker).name
            with self._guarded():
                self._sink.on_gap(self._room_token, gap, name)

    def end(self) -> None:
        """The call is over, for everybody."""
        if self.kept:
            with self._guarded():
                self._sink.on_call_over(self._room_token)

    def _person(self, session_id: str) -> _Person:
        """A speaker as the roster knows it now, or as it was known last."""
        participant = self._roster.get(session_id)
        known = self._people.pop(session_id, _Person("", SpeakerKind.USER))
        person = known if participant is None else self._describe(participant, known)
        self._people[session_id] = person
        while len(self._people) > REMEMBERED:
            del self._people[next(iter(self._people))]
        return person

    def _describe(self, participant: Participant, known: _Person) -> _Person:
        if participant.internal:
            # The SIP bridge publishes the audio of phone callers. Signaling does not say whose it is.
            phones = self._roster.phones()
            phone = self._roster.get(next(iter(phones))) if len(phones) == 1 else None
            return _Person((phone and phone.display_name) or "", SpeakerKind.PHONE)
        kind = SpeakerKind.USER if participant.user_id is not None else SpeakerKind.GUEST
        if participant.federated:
            kind = SpeakerKind.FEDERATED
        return _Person(participant.display_name or known.name, kind)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as failure:  # noqa: BLE001  captions continue, and a traceback may contain spoken words
            name = type(failure).__name__
            logger.error("A transcript failed (%s). Captions continue.", name, extra={"room": self._room_token})
