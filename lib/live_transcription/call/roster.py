# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Who is in the room, who is in the call, and who publishes audio. Pure; fed with the session's events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from live_transcription.signaling.events import (
    CallEndedForAll,
    InCall,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
    RemovedFromRoom,
    SessionStarted,
    SignalingEvent,
)

_PUBLISHING = InCall.IN_CALL | InCall.WITH_AUDIO


@dataclass(frozen=True, slots=True)
class PublisherChange:
    """Session ids that began and ceased to publish audio since the last look."""

    added: frozenset[str]
    removed: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


class Roster:
    """The room's participants by HPB session id, upserted: an entry that says less than an earlier one takes nothing back.

    A publisher has the in-call flags 1 (in call) and 2 (audio). Virtual entries (phone numbers) have no stream of their own:
    a caller's audio is published by the SIP bridge's internal session, so that internal sessions count like all others.
    Our own session never does. Mute is invisible here.
    """

    def __init__(self) -> None:
        self._own_session_id: str | None = None
        self._participants: dict[str, Participant] = {}
        self._by_nextcloud_session: dict[str, str] = {}
        self._seen_publishers: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self._participants)

    def __iter__(self) -> Iterator[Participant]:
        """In the order of arrival."""
        return iter(self._participants.values())

    def reset(self, own_session_id: str | None) -> None:
        """A new session: every earlier session id is void."""
        self._own_session_id = own_session_id
        self._clear()

    def apply(self, event: SignalingEvent) -> None:
        """Take an event; those that say nothing about participants change nothing."""
        match event:
            case ParticipantsJoined(participants=participants) | ParticipantsUpdated(participants=participants):
                for participant in participants:
                    self._upsert(participant)
            case ParticipantsLeft(session_ids=session_ids):
                for session_id in session_ids:
                    self._remove(session_id)
            case CallEndedForAll():
                for session_id, participant in self._participants.items():
                    self._participants[session_id] = replace(participant, in_call=InCall.DISCONNECTED)
            case RemovedFromRoom(switch_to=None):
                self._clear()
            case SessionStarted(session_id=session_id, resumed=False):
                self.reset(session_id)

    def publishers(self) -> frozenset[str]:
        """Session ids that publish audio now."""
        return frozenset(session_id for session_id, entry in self._participants.items() if self._publishes(entry))

    def expects_audio(self, publisher: str) -> bool:
        """False for an internal session while nobody is on the phone: a recording server says that it has audio, and has none.

        A SIP bridge is an internal session, too, and looks the same: it is the one that publishes while there are phones.
        """
        participant = self._participants.get(publisher)
        if participant is None or not participant.internal:
            return True
        return any(entry.virtual for entry in self._participants.values())

    def take_change(self) -> PublisherChange:
        """What has changed in `publishers()` since the last call of this method."""
        now, before = self.publishers(), self._seen_publishers
        self._seen_publishers = now
        return PublisherChange(added=now - before, removed=before - now)

    def get(self, session_id: str) -> Participant | None:
        return self._participants.get(session_id)

    def present(self, session_id: str) -> bool:
        """Whether this session is in the room."""
        return session_id in self._participants

    def user_id(self, session_id: str) -> str | None:
        """None for guests and unknown sessions."""
        participant = self._participants.get(session_id)
        return participant.user_id if participant else None

    def session_of(self, nextcloud_session_id: str) -> str | None:
        """The HPB session that has Talk's session id; the latest, where there are several."""
        return self._by_nextcloud_session.get(nextcloud_session_id)

    def _upsert(self, new: Participant) -> None:
        old = self._participants.get(new.session_id)
        known = old.nextcloud_session_id if old else None
        if new.nextcloud_session_id not in (None, known):  # a mere update of an older session takes it from no newer one
            self._by_nextcloud_session[new.nextcloud_session_id] = new.session_id
        if old is None:
            self._participants[new.session_id] = new
            return
        self._participants[new.session_id] = Participant(
            session_id=new.session_id,
            nextcloud_session_id=new.nextcloud_session_id or old.nextcloud_session_id,
            user_id=new.user_id or old.user_id,
            in_call=old.in_call if new.in_call is None else new.in_call,
            internal=new.internal or old.internal,
            virtual=new.virtual or old.virtual,
            federated=new.federated or old.federated,
        )

    def _remove(self, session_id: str) -> None:
        participant = self._participants.pop(session_id, None)
        if participant is not None and participant.nextcloud_session_id is not None:
            key = participant.nextcloud_session_id
            if self._by_nextcloud_session.get(key) == session_id:
                del self._by_nextcloud_session[key]
                others = [other.session_id for other in self if other.nextcloud_session_id == key]
                self._by_nextcloud_session.update((key, other) for other in others)

    def _clear(self) -> None:
        self._participants.clear()
        self._by_nextcloud_session.clear()

    def _publishes(self, participant: Participant) -> bool:
        if participant.virtual or participant.session_id == self._own_session_id or participant.in_call is None:
            return False
        return participant.in_call & _PUBLISHING == _PUBLISHING
