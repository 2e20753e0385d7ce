# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The participants of a room: users, guests, phone callers and federated users, and which of them publish audio. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from live_transcription.signaling import events
from live_transcription.signaling.events import InCall, Participant

logger = logging.getLogger(__name__)

#: Limit of participants in one room. A further one is ignored until somebody leaves; the next update that lists it adds it.
MAX_PARTICIPANTS = 50_000

_PUBLISHING = InCall.IN_CALL | InCall.WITH_AUDIO


class Change(NamedTuple):
    """One participant before and after an event. None means that it is not in the room."""

    before: Participant | None
    after: Participant | None


class Roster:
    """The room's participants by HPB session id. An update that omits a value keeps the earlier one.

    A publisher has the in-call flags 1 (in call) and 2 (audio). Virtual participants (phone callers) have no stream: the SIP
    bridge publishes their audio on its own internal session. So internal sessions count like all others, except our own.
    Signaling does not show whether a publisher is muted.

    The cost of an event is proportional to the number of participants it lists, not to the size of the room.
    """

    def __init__(self, *, max_participants: int = MAX_PARTICIPANTS) -> None:
        self._max_participants = max_participants
        self._own_session_id: str | None = None
        self._participants: dict[str, Participant] = {}
        # Session ids in the order in which they became known; dictionaries without values are ordered sets.
        self._by_nextcloud_session: dict[str, dict[str, None]] = {}
        self._by_user: dict[str, dict[str, None]] = {}
        self._publishers: dict[str, None] = {}
        self._internal: dict[str, None] = {}
        self._virtual: dict[str, None] = {}
        self._in_call: dict[str, None] = {}
        self._changed: dict[str, None] = {}
        self._full = False

    def __len__(self) -> int:
        return len(self._participants)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._participants

    def reset(self, own_session_id: str | None) -> None:
        """Start a new signaling session: every earlier session id is void."""
        self._own_session_id = own_session_id
        self._changed.update(dict.fromkeys(self._participants))
        for index in (
            self._participants, self._by_nextcloud_session, self._by_user, self._publishers, self._internal, self._virtual,
            self._in_call,
        ):  # fmt: skip
            index.clear()
        self._full = False

    def apply(self, event: events.ParticipantsEvent) -> list[Change]:
        """Update the room and return what changed."""
        if isinstance(event, events.ParticipantsLeft):
            changes = [self._put(self._participants.get(session_id), None) for session_id in event.session_ids]
        else:
            changes = [self._upsert(participant) for participant in event.participants]
        return [change for change in changes if change is not None]

    def publishers(self) -> AbstractSet[str]:
        """Session ids that publish audio, oldest first. This is a live view: copy it before the next event."""
        return self._publishers.keys()

    @property
    def anybody_in_call(self) -> bool:
        """Whether a person has joined the call. Recording servers and SIP bridges are no persons; phone callers are."""
        return bool(self._in_call)

    def phones(self) -> AbstractSet[str]:
        """Session ids of phone callers, oldest first. This is a live view: copy it before the next event."""
        return self._virtual.keys()

    def take_changed(self) -> list[str]:
        """Sessions that came, left, began or ceased to publish, or whose `expects_audio` changed, since the last call."""
        changed = list(self._changed)
        self._changed.clear()
        return changed

    def expects_audio(self, publisher: str) -> bool:
        """False for an internal session while no phone is in the room: a recording server claims audio and publishes none.

        A SIP bridge is an internal session, too, but phones (virtual participants) come with it.
        """
        return publisher not in self._internal or bool(self._virtual)

    def get(self, session_id: str) -> Participant | None:
        """The participant with this HPB session id."""
        return self._participants.get(session_id)

    def participant_of(self, nextcloud_session_id: str) -> Participant | None:
        """The participant with this Talk session id; the latest if there are several."""
        sessions = self._by_nextcloud_session.get(nextcloud_session_id)
        return self._participants[next(reversed(sessions))] if sessions else None

    def participants_of_user(self, user_id: str) -> Iterator[Participant]:
        """The sessions of a user, latest first."""
        return (self._participants[session_id] for session_id in reversed(self._by_user.get(user_id, {})))

    def _upsert(self, new: Participant) -> Change | None:
        before = self._participants.get(new.session_id)
        if before is None and len(self._participants) >= self._max_participants:
            if not self._full:
                logger.warning("The room has more than %d participants; the others are ignored", self._max_participants)
            self._full = True
            return None
        return self._put(before, new if before is None else before.merged(new))

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
        # The first phone and the last one decide about all internal sessions.
        had_phones = bool(self._virtual)
        self._mark(self._virtual, session_id, after is not None and after.virtual)
        if had_phones != bool(self._virtual):
            self._changed.update(self._internal)
        if after is not None and self._is_person_in_call(after):
            self._in_call[session_id] = None
        else:
            self._in_call.pop(session_id, None)
        self._mark(self._publishers, session_id, after is not None and self._publishes(after))
        return Change(before, after)

    def _mark(self, index: dict[str, None], session_id: str, belongs: bool) -> None:
        if belongs == (session_id in index):
            return
        self._changed[session_id] = None
        if belongs:
            index[session_id] = None
        else:
            del index[session_id]

    def _is_person_in_call(self, participant: Participant) -> bool:
        is_own = participant.session_id == self._own_session_id
        return not participant.internal and not is_own and participant.has(InCall.IN_CALL)

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
