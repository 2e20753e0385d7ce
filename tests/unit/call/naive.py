# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A slow and simple roster and targets without indexes, to which the real ones are compared."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from live_transcription.call.targets import CALL_RECIPIENT_TARGETS, RELOAD_OVERLAP_S
from live_transcription.signaling.events import (
    InCall,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
    RoomEvent,
)

PUBLISHING = InCall.IN_CALL | InCall.WITH_AUDIO


class NaiveRoster:
    def __init__(self) -> None:
        self.own: str | None = None
        self.participants: dict[str, Participant] = {}
        # In the order in which they became known: Talk's session and HPB session; user and HPB session.
        self.announced: list[tuple[str, str]] = []
        self.owned: list[tuple[str, str]] = []

    def reset(self, own: str | None) -> None:
        self.own = own
        self.participants.clear()
        self.announced.clear()
        self.owned.clear()

    def apply(self, event: RoomEvent) -> None:
        match event:
            case ParticipantsJoined(participants=participants) | ParticipantsUpdated(participants=participants):
                for participant in participants:
                    self.upsert(participant)
            case ParticipantsLeft(session_ids=session_ids):
                for session_id in session_ids:
                    self.participants.pop(session_id, None)
                    self.announced = [pair for pair in self.announced if pair[1] != session_id]
                    self.owned = [pair for pair in self.owned if pair[1] != session_id]

    def upsert(self, new: Participant) -> None:
        old = self.participants.get(new.session_id, Participant(new.session_id))
        if new.nextcloud_session_id not in (None, old.nextcloud_session_id):
            self.announced = [pair for pair in self.announced if pair[1] != new.session_id]
            self.announced.append((new.nextcloud_session_id, new.session_id))
        if new.user_id not in (None, old.user_id):
            self.owned = [pair for pair in self.owned if pair[1] != new.session_id]
            self.owned.append((new.user_id, new.session_id))
        self.participants[new.session_id] = Participant(
            session_id=new.session_id,
            nextcloud_session_id=new.nextcloud_session_id or old.nextcloud_session_id,
            user_id=new.user_id or old.user_id,
            in_call=old.in_call if new.in_call is None else new.in_call,
            internal=new.internal or old.internal,
            virtual=new.virtual or old.virtual,
            federated=new.federated or old.federated,
        )

    def publishers(self) -> set[str]:
        return {
            session_id
            for session_id, participant in self.participants.items()
            if not participant.virtual
            and session_id != self.own
            and (participant.in_call or InCall.DISCONNECTED) & PUBLISHING == PUBLISHING
        }

    def session_of(self, name: str) -> str | None:
        return next((session_id for other, session_id in reversed(self.announced) if other == name), None)

    def is_in_call(self, session_id: str) -> bool:
        participant = self.participants.get(session_id)
        return participant is not None and bool((participant.in_call or InCall.DISCONNECTED) & InCall.IN_CALL)


@dataclass
class Entry:
    user_id: str | None
    away_since: float
    known_since: float
    follow_from: float
    session_id: str | None = None
    was_in_call: bool = False


class NaiveTargets:
    """Binds every target after every step, and repeats this until nothing changes."""

    def __init__(self, grace_s: float = 60.0) -> None:
        self.grace_s = grace_s
        self.roster = NaiveRoster()
        self.entries: dict[str, Entry] = {}
        self.first_seen: dict[str, float] = {}
        self.declined: set[str] = set()
        self.recipient_call = False
        self.empty_at: float | None = None

    def add(self, name: str, user_id: str | None, now: float) -> None:
        self.declined.discard(name)
        entry = self.entries.get(name)
        if entry is None:
            self.entries[name] = Entry(user_id, now, now, now)
        else:
            entry.user_id = user_id or entry.user_id
            if entry.session_id is None:
                entry.away_since = now
        self.empty_at = None
        self.settle(now)

    def remove(self, name: str, now: float) -> None:
        session_id = self.roster.session_of(name)
        lingering = [key for key, entry in self.entries.items() if session_id in self.successors(entry, now)]
        for key in (name, *lingering):
            self.entries.pop(key, None)
        if session_id is not None:
            self.declined.add(name)
        # Targets expire at the next step only.
        self.settle(now, expire=False)

    def apply(self, event: RoomEvent, now: float) -> None:
        self.roster.apply(event)
        for participant in self.roster.participants.values():
            if participant.nextcloud_session_id is not None:
                self.first_seen.setdefault(participant.nextcloud_session_id, now)
        self.settle(now)

    def reset(self, now: float, *, own_session_id: str | None, recipient_call: bool) -> None:
        self.recipient_call = recipient_call
        self.roster.reset(own_session_id)
        self.empty_at = None
        for entry in self.entries.values():
            entry.session_id = None
            entry.away_since = entry.follow_from = now
        self.settle(now)

    def wants(self, publisher: str) -> bool:
        return any(entry.session_id not in (None, publisher) for entry in self.entries.values())

    def recipients(self, speaker: str, now: float, served: Collection[str] = ()) -> list[str | None]:
        reached = [session_id for session_id in self.reached(speaker, now) if session_id not in served]
        in_call = [session_id for session_id in reached if self.roster.is_in_call(session_id)]
        if served or not self.recipient_call or len(in_call) < CALL_RECIPIENT_TARGETS:
            return list(reached)
        return [None, *(session_id for session_id in reached if session_id not in in_call)]

    def reached(self, speaker: str, now: float) -> list[str]:
        sessions = [
            session_id
            for entry in self.entries.values()
            if entry.session_id is not None
            for session_id in (entry.session_id, *self.successors(entry, now))
        ]
        return [session_id for session_id in dict.fromkeys(sessions) if session_id != speaker]

    def empty_since(self, now: float) -> float | None:
        self.settle(now)
        return self.empty_at

    def next_deadline(self) -> float | None:
        return min(
            (entry.away_since + self.grace_s for entry in self.entries.values() if entry.session_id is None), default=None
        )

    def settle(self, now: float, *, expire: bool = True) -> None:
        if expire:
            for name, entry in list(self.entries.items()):
                if entry.session_id is None and now >= entry.away_since + self.grace_s:
                    del self.entries[name]
        before = None
        while before != (before := [(name, entry.session_id, entry.user_id) for name, entry in self.entries.items()]):
            for name, entry in list(self.entries.items()):
                self.bind(name, entry, now)
        if any(entry.session_id is not None for entry in self.entries.values()):
            self.empty_at = None
        elif self.empty_at is None:
            self.empty_at = now

    def bind(self, name: str, entry: Entry, now: float) -> None:
        own = self.roster.session_of(name)
        if own is not None and self.is_reachable(entry, own):
            self.attach(entry, own)
            return
        if entry.session_id is not None:
            entry.session_id, entry.away_since = None, now
            entry.follow_from = max(entry.known_since, now - RELOAD_OVERLAP_S)
        for new_name, session_id in reversed(self.free_sessions(entry.user_id)):
            if self.first_seen[new_name] >= entry.follow_from and self.is_reachable(entry, session_id):
                del self.entries[name]
                self.entries[new_name] = entry
                entry.known_since = now
                self.attach(entry, session_id)
                return

    def attach(self, entry: Entry, session_id: str) -> None:
        entry.session_id = session_id
        entry.user_id = entry.user_id or self.roster.participants[session_id].user_id
        entry.was_in_call = self.roster.is_in_call(session_id)

    def is_reachable(self, entry: Entry, session_id: str) -> bool:
        in_call = self.roster.participants[session_id].in_call
        return in_call is None or bool(in_call & InCall.IN_CALL) or not entry.was_in_call

    def successors(self, entry: Entry, now: float) -> list[str]:
        if entry.session_id is None:
            return []
        since = max(entry.known_since, now - RELOAD_OVERLAP_S)
        return [session_id for name, session_id in self.free_sessions(entry.user_id) if self.first_seen[name] > since]

    def free_sessions(self, user_id: str | None) -> list[tuple[str, str]]:
        """Latest sessions of their Talk sessions that are no targets and have not declined."""
        return [
            (name, session_id)
            for owner, session_id in self.roster.owned
            if owner == user_id
            and (name := self.roster.participants[session_id].nextcloud_session_id) is not None
            and name not in self.entries
            and name not in self.declined
            and self.roster.session_of(name) == session_id
        ]
