# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The participants of a room: who is in the call and who publishes audio. Pure; fed with the session's events."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import NamedTuple

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

logger = logging.getLogger(__name__)

#: Limit of participants in one room. A further one is ignored until somebody leaves; the next update that lists it adds it.
MAX_PARTICIPANTS = 50_000

_PUBLISHING = InCall.IN_CALL | InCall.WITH_AUDIO


class Change(NamedTuple):
    """One participant before and after an event. None: not in the room."""

    before: Participant | None
    after: Participant | None


class Roster:
    """The room's participants by HPB session id. An update that omits a value keeps the earlier one.

    A publisher has the in-call flags 1 (in call) and 2 (audio). Virtual participants (phone numbers) have no stream: the SIP
    bridge publishes their audio on its own internal session. So internal sessions count like all others, except our own.
    Signaling does not show whether a publisher is muted.

    The cost of an event is proportional to the number of participants it lists, not to the size of the room.
    """

    def __init__(self, *, max_participants: int = MAX_PARTICIPANTS) -> None:
        self._max_participants = max_participants
        self._own_session_id: str | None = None
        self._participants: dict[str, Participant] = {}
        # Session ids in the order in which they became known; the inner dictionaries are ordered sets.
        self._by_nextcloud_session: dict[str, dict[str, None]] = {}
        self._by_user: dict[str, dict[str, None]] = {}
        self._publishers: dict[str, None] = {}
        self._internal: dict[str, None] = {}
        self._virtual: dict[str, None] = {}
        self._changed: dict[str, None] = {}
        self._full = False

    def __len__(self) -> int:
        return len(self._participants)

    def __iter__(self) -> Iterator[Participant]:
        """In the order of arrival."""
        return iter(self._participants.values())

    def reset(self, own_session_id: str | None) -> None:
        """Start a new session: every earlier session id is void."""
        self._own_session_id = own_session_id
        self._clear()

    def apply(self, event: SignalingEvent) -> list[Change]:
        """Update the room and return what changed. Events that do not concern participants change nothing."""
        match event:
            case ParticipantsJoined(participants=participants) | ParticipantsUpdated(participants=participants):
                changes = [self._upsert(participant) for participant in participants]
            case ParticipantsLeft(session_ids=session_ids):
                changes = [self._put(self._participants.get(session_id), None) for session_id in session_ids]
            case CallEndedForAll():
                changes = [
                    self._put(participant, replace(participant, in_call=InCall.DISCONNECTED))
                    for participant in list(self._participants.values())
                ]
            case RemovedFromRoom(switch_to=None):
                changes = self._clear()
            case SessionStarted(session_id=session_id, resumed=False):
                self._own_session_id = session_id
                changes = self._clear()
            case _:
                changes = []
        return [change for change in changes if change is not None]

    def publishers(self) -> AbstractSet[str]:
        """Session ids that publish audio, oldest first. A live view: copy it before the next event."""
        return self._publishers.keys()

    def take_changed(self) -> list[str]:
        """Session ids for which `present`, `publishers` or `expects_audio` has changed since the last call."""
        changed = list(self._changed)
        self._changed.clear()
        return changed

    def expects_audio(self, publisher: str) -> bool:
        """False for an internal session while no phone is in the room: a recording server claims audio and publishes none.

        A SIP bridge is an internal session, too, but phones (virtual participants) come with it.
        """
        return publisher not in self._internal or bool(self._virtual)

    def get(self, session_id: str) -> Participant | None:
        return self._participants.get(session_id)

    def present(self, session_id: str) -> bool:
        """Whether this session is in the room."""
        return session_id in self._participants

    def session_of(self, nextcloud_session_id: str) -> str | None:
        """The HPB session with this Talk session id; the latest if there are several."""
        sessions = self._by_nextcloud_session.get(nextcloud_session_id)
        return next(reversed(sessions)) if sessions else None

    def sessions_of_user(self, user_id: str) -> Iterator[str]:
        """The HPB sessions of a user, latest first."""
        return reversed(self._by_user.get(user_id, {}))

    def _upsert(self, new: Participant) -> Change | None:
        before = self._participants.get(new.session_id)
        if before is None and len(self._participants) >= self._max_participants:
            if not self._full:
                logger.warning("The room has more than %d participants; the others are ignored", self._max_participants)
            self._full = True
            return None
        return self._put(before, new if before is None else before.updated(new))

    def _put(self, before: Participant | None, after: Participant | None) -> Change | None:
        """Replace one participant in every index."""
        participant = after or before
        if participant is None or before == after:
            return None
        session_id = participant.session_id
        if after is None:
            del self._participants[session_id]
            self._changed[session_id] = None
        else:
            self._participants[session_id] = after
        old_keys = (None, None) if before is None else (before.nextcloud_session_id, before.user_id)
        new_keys = (None, None) if after is None else (after.nextcloud_session_id, after.user_id)
        _move(self._by_nextcloud_session, session_id, old_keys[0], new_keys[0])
        _move(self._by_user, session_id, old_keys[1], new_keys[1])
        self._mark(self._internal, session_id, after is not None and after.internal)
        had_phones = bool(self._virtual)
        self._mark(self._virtual, session_id, after is not None and after.virtual)
        if had_phones != bool(self._virtual):
            self._changed.update(self._internal)
        publishes = after is not None and self._publishes(after)
        self._mark(self._publishers, session_id, publishes)
        return Change(before, after)

    def _mark(self, index: dict[str, None], session_id: str, belongs: bool) -> None:
        if belongs == (session_id in index):
            return
        self._changed[session_id] = None
        if belongs:
            index[session_id] = None
        else:
            del index[session_id]

    def _clear(self) -> list[Change | None]:
        changes: list[Change | None] = [Change(participant, None) for participant in self._participants.values()]
        self._changed.update(dict.fromkeys(self._participants))
        for index in (
            self._participants, self._by_nextcloud_session, self._by_user, self._publishers, self._internal, self._virtual,
        ):  # fmt: skip
            index.clear()
        self._full = False
        return changes

    def _publishes(self, participant: Participant) -> bool:
        return not participant.virtual and participant.session_id != self._own_session_id and participant.has(_PUBLISHING)


def _move(index: dict[str, dict[str, None]], session_id: str, old_key: str | None, new_key: str | None) -> None:
    if old_key == new_key:
        return
    if old_key is not None:
        sessions = index[old_key]
        del sessions[session_id]
        if not sessions:
            del index[old_key]
    if new_key is not None:
        index.setdefault(new_key, {})[session_id] = None
