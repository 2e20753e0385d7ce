# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The participants who asked for captions, and the HPB sessions that reach them. Pure.

Talk names a target by its own session id (`ncSessionId`), which a page reload changes. So a target is also bound to its
user, and follows that user to a new session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import count, islice

from live_transcription.call.roster import Change, Roster
from live_transcription.signaling.events import InCall, Participant, SignalingEvent
from live_transcription.signaling.requests import Recipient

#: From this many targets on, one message to everybody in the call is cheaper; clients that did not ask ignore it.
CALL_RECIPIENT_TARGETS = 4
#: Seconds after a reload for which the HPB may list the old session beside the new one: it keeps a session that was dropped
#: without a bye for 30 s.
RELOAD_OVERLAP_S = 35.0
#: Only the latest sessions of a user are searched for a reloaded page, which bounds the cost of a user with thousands of them.
FOLLOWED_SESSIONS = 16
#: Minimum number of departed Talk session ids that are remembered.
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Target:
    """A target as a plain value, to be stored and added again. `user_id` is None for guests."""

    nc_session_id: str
    user_id: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Entry:
    """`session_id`: where captions go; None while the target is unknown or away, which it is since `away_since`.

    `order`: position among all entries. `known_since`: since when this Talk session is the target's. `follow_from`: a session
    of the same user that was first seen before this time is another device; one first seen later is the reloaded page.
    """

    order: int
    user_id: str | None
    away_since: float
    known_since: float
    follow_from: float
    session_id: str | None = None
    was_in_call: bool = False


@dataclass(frozen=True, slots=True)
class _Reach:
    """The sessions that read captions, of any speaker. Valid before `until`, or until a target or its participant changes."""

    recipients: dict[str, Recipient]
    in_call: tuple[str, ...]
    outside: tuple[str, ...]
    until: float


class Targets:
    """The targets of one room. `now` is seconds of any monotonic clock.

    A target is reached while its session is in the room and has not left the call. A target that is unknown or has left waits
    for `grace_s` and is then forgotten. A reload comes back within that time, with a new session of the same user.

    `roster` is the call's: events go through `apply`, which updates both. The cost of an event is proportional to the number of
    participants it lists and of their users' targets; the cost of a caption, to the number of sessions that receive it.
    """

    def __init__(self, roster: Roster, *, grace_s: float = 60.0) -> None:
        self._roster = roster
        self._grace_s = grace_s
        self._entries: dict[str, _Entry] = {}
        self._orders = count()
        # Indexes of the entries: names by user, sessions of reached targets, and names of waiting targets, longest wait first.
        self._by_user: dict[str, dict[str, None]] = {}
        self._attached: dict[str, _Entry] = {}
        self._waiting: dict[str, None] = {}
        self._reach: _Reach | None = None
        self._first_seen: dict[str, float] = {}
        self._declined: set[str] = set()
        self._largest_room = 0
        self._recipient_call = False
        self._empty_since: float | None = None
        self._suspended = False

    def __len__(self) -> int:
        """Targets, the waiting ones included."""
        return len(self._entries)

    def __contains__(self, nc_session_id: object) -> bool:
        return nc_session_id in self._entries

    def add(self, nc_session_id: str, user_id: str | None, now: float) -> None:
        """Somebody asked for captions; again and again is harmless."""
        self._declined.discard(nc_session_id)
        entry = self._entries.get(nc_session_id)
        if entry is None:
            entry = _Entry(next(self._orders), None, away_since=now, known_since=now, follow_from=now)
            self._insert(nc_session_id, entry)
            self._wait(nc_session_id, entry, now)
        elif entry.session_id is None:
            self._wait(nc_session_id, entry, now)
        self._set_user(nc_session_id, entry, user_id or entry.user_id)
        self._empty_since = None
        self._settle({nc_session_id}, self._expire(now), now)

    def remove(self, nc_session_id: str, now: float) -> None:
        """Somebody wants no more captions; no error if they had none."""
        session_id = self._roster.session_of(nc_session_id)
        participant = self._roster.get(session_id) if session_id else None
        names = [nc_session_id]
        if participant is not None:
            names += [
                name
                for name in self._by_user.get(participant.user_id or "", ())
                if participant.session_id in self._successors(self._entries[name], now)
            ]
            self._declined.add(nc_session_id)
        users: set[str] = set()
        for name in names:
            if name in self._entries:
                self._drop(name)
                users |= self._freed(name)
        self._settle(set(), users, now)

    def export(self) -> tuple[Target, ...]:
        """All targets, to be added again in another call or after a restart."""
        return tuple(Target(nc_session_id, entry.user_id) for nc_session_id, entry in self._entries.items())

    def suspend(self) -> None:
        """Forget no target until `resume`: while the app is not in the room, it cannot see anybody come back."""
        self._suspended = True
        if self._entries:
            self._empty_since = None

    def resume(self, now: float) -> None:
        """The app is in the room again. Waiting targets have the full `grace_s` to come back."""
        self._suspended = False
        self._empty_since = None
        for name in self._waiting:
            self._entries[name].away_since = now
        self._note_emptiness(now)

    def apply(self, event: SignalingEvent, now: float) -> None:
        """Update the roster and the targets. Events that do not concern participants change nothing."""
        self._take(self._roster.apply(event), now)

    def reset(self, now: float, *, own_session_id: str | None = None, recipient_call: bool = False) -> None:
        """Start a new session: every HPB session id is void, all targets wait. `recipient_call`: the HPB has that feature."""
        self._recipient_call = recipient_call
        self._roster.reset(own_session_id)
        self._attached.clear()
        self._reach = None
        for name, entry in self._entries.items():
            entry.follow_from = now
            self._wait(name, entry, now)
        self._empty_since = None
        self._note_emptiness(now)

    def wants(self, publisher: str) -> bool:
        """Whether anybody but the publisher is there to read its captions."""
        return len(self._attached) > (publisher in self._attached)

    def readership(self) -> frozenset[str] | None:
        """The sessions of the targets, on which `wants` depends. None for two or more: then every speaker has a reader."""
        return frozenset(self._attached) if len(self._attached) < 2 else None

    def recipients(self, speaker: str, now: float, served: Collection[str] = ()) -> tuple[Recipient, ...]:
        """Where a caption of this speaker goes. Speakers never see their own captions, so it does not go to themselves.

        `served`: sessions that have this caption already; a message to the whole call would give it to them again.
        """
        reach = self._reached(now)
        if self._recipient_call and not served and len(reach.in_call) - (speaker in reach.in_call) >= CALL_RECIPIENT_TARGETS:
            outside = (reach.recipients[session_id] for session_id in reach.outside if session_id != speaker)
            return (Recipient(None), *outside)
        return tuple(
            recipient
            for session_id, recipient in reach.recipients.items()
            if session_id != speaker and session_id not in served
        )

    def sessions(self, recipient: Recipient, speaker: str, now: float) -> tuple[str, ...]:
        """The sessions of targets that a caption to this recipient reaches."""
        if recipient.session_id is not None:
            return (recipient.session_id,)
        return tuple(session_id for session_id in self._reached(now).in_call if session_id != speaker)

    def empty_since(self, now: float) -> float | None:
        """Since when nobody can be reached, for the rule when to leave the call; None while somebody can.

        Starts again with each request for captions and each new session.
        """
        self._settle(set(), self._expire(now), now)
        return self._empty_since

    def next_deadline(self) -> float | None:
        """When the next waiting target is to be forgotten."""
        if self._suspended or not self._waiting:
            return None
        return self._entries[next(iter(self._waiting))].away_since + self._grace_s

    # Used for each caption.

    def _reached(self, now: float) -> _Reach:
        if self._reach is None or now >= self._reach.until:
            until = float("inf")
            recipients: dict[str, Recipient] = {}
            for entry in self._entries.values():
                if entry.session_id is not None:
                    recipients[entry.session_id] = Recipient(entry.session_id)
                    for session_id, first_seen in self._successors(entry, now).items():
                        recipients[session_id] = Recipient(session_id)
                        until = min(until, first_seen + RELOAD_OVERLAP_S)
            in_call = tuple(session_id for session_id in recipients if self._is_in_call(session_id))
            reached_by_call = set(in_call)
            outside = tuple(session_id for session_id in recipients if session_id not in reached_by_call)
            self._reach = _Reach(recipients, in_call, outside, until)
        return self._reach

    def _successors(self, entry: _Entry, now: float) -> dict[str, float]:
        """Sessions that may be the reloaded page of a target whose old session is still listed, and when they were first seen.

        When a page is reloaded without a bye, the HPB lists the old session beside the new one until it drops the old one.
        Until then nothing distinguishes the two. If the old session lives longer than that, the new one is another device.
        """
        if entry.session_id is None or entry.user_id is None:
            return {}
        since = max(entry.known_since, now - RELOAD_OVERLAP_S)
        found = {
            participant.session_id: first_seen
            for name, participant in self._free_sessions(entry.user_id)
            if (first_seen := self._first_seen.get(name, now)) > since
        }
        return dict(reversed(found.items()))

    # Used for each event.

    def _take(self, changes: list[Change], now: float) -> None:
        names: set[str] = set()
        users = self._expire(now)
        for before, after in changes:
            if after is not None and after.nextcloud_session_id is not None:
                self._first_seen.setdefault(after.nextcloud_session_id, now)
            for participant in (before, after):
                if participant is not None:
                    if participant.nextcloud_session_id in self._entries:
                        names.add(participant.nextcloud_session_id)
                    if participant.user_id in self._by_user:
                        users.add(participant.user_id)
        self._forget_old_sessions()
        self._settle(names, users, now)

    def _settle(self, names: Iterable[str], users: Iterable[str], now: float) -> None:
        """Attach, detach and follow until these targets, and all targets of these users, match the room."""
        while dirty := {*names, *(name for user in users for name in self._by_user.get(user, ()))}:
            self._reach = None
            names, users = (), set()
            for name in sorted(dirty, key=lambda name: self._entries[name].order):
                if self._bind(name, self._entries[name], now):
                    users |= self._freed(name)
        self._note_emptiness(now)

    def _note_emptiness(self, now: float) -> None:
        if self._attached or (self._suspended and self._entries):
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now

    def _bind(self, name: str, entry: _Entry, now: float) -> bool:
        """Bind one target to its session. Returns True if it got another name, so that this one is free."""
        session_id = self._roster.session_of(name)
        participant = self._roster.get(session_id) if session_id else None
        if participant is not None and self._is_reachable(entry, participant):
            self._attach(name, entry, participant)
            return False
        if entry.session_id is not None:
            entry.follow_from = max(entry.known_since, now - RELOAD_OVERLAP_S)
            self._wait(name, entry, now)
        return self._follow_user(name, entry, now)

    def _follow_user(self, name: str, entry: _Entry, now: float) -> bool:
        """Bind a waiting target to a new session of its user."""
        if entry.user_id is None:
            return False
        for new_name, participant in self._free_sessions(entry.user_id):
            if self._first_seen.get(new_name, now) >= entry.follow_from and self._is_reachable(entry, participant):
                self._drop(name)
                entry.order, entry.known_since = next(self._orders), now
                self._insert(new_name, entry)
                self._attach(new_name, entry, participant)
                return True
        return False

    def _free_sessions(self, user_id: str) -> Iterable[tuple[str, Participant]]:
        """Sessions of this user that may become a target without asking, latest first: not targets yet, and not declined."""
        for session_id in islice(self._roster.sessions_of_user(user_id), FOLLOWED_SESSIONS):
            participant = self._roster.get(session_id)
            assert participant is not None
            name = participant.nextcloud_session_id
            if name is None or name in self._entries or name in self._declined or self._roster.session_of(name) != session_id:
                continue
            yield name, participant

    @staticmethod
    def _is_reachable(entry: _Entry, participant: Participant) -> bool:
        """In the room; out of the call only as long as the target has not been in it."""
        return participant.in_call is None or not entry.was_in_call or participant.has(InCall.IN_CALL)

    def _is_in_call(self, session_id: str) -> bool:
        participant = self._roster.get(session_id)
        return participant is not None and participant.has(InCall.IN_CALL)

    # Entries and indexes.

    def _insert(self, name: str, entry: _Entry) -> None:
        self._entries[name] = entry
        if entry.user_id is not None:
            self._by_user.setdefault(entry.user_id, {})[name] = None

    def _set_user(self, name: str, entry: _Entry, user_id: str | None) -> None:
        if user_id != entry.user_id:
            self._forget_user(name, entry)
            entry.user_id = user_id
            self._insert(name, entry)

    def _attach(self, name: str, entry: _Entry, participant: Participant) -> None:
        self._detach(entry)
        self._waiting.pop(name, None)
        entry.session_id = participant.session_id
        self._attached[participant.session_id] = entry
        self._set_user(name, entry, entry.user_id or participant.user_id)
        entry.was_in_call = self._is_in_call(participant.session_id)

    def _detach(self, entry: _Entry) -> None:
        if entry.session_id is not None and self._attached.get(entry.session_id) is entry:
            del self._attached[entry.session_id]
        entry.session_id = None

    def _wait(self, name: str, entry: _Entry, now: float) -> None:
        self._detach(entry)
        entry.away_since = now
        self._waiting.pop(name, None)
        self._waiting[name] = None

    def _drop(self, name: str) -> None:
        entry = self._entries.pop(name)
        self._forget_user(name, entry)
        self._detach(entry)
        self._waiting.pop(name, None)
        self._reach = None

    def _forget_user(self, name: str, entry: _Entry) -> None:
        if entry.user_id is not None:
            names = self._by_user[entry.user_id]
            del names[name]
            if not names:
                del self._by_user[entry.user_id]

    def _freed(self, name: str) -> set[str]:
        """The user whose waiting targets may follow this session, which is no target any more."""
        session_id = self._roster.session_of(name)
        participant = self._roster.get(session_id) if session_id else None
        return {participant.user_id} if participant is not None and participant.user_id is not None else set()

    def _expire(self, now: float) -> set[str]:
        """Forget the targets that have waited for too long; returns the users of the sessions that this sets free."""
        users: set[str] = set()
        while self._waiting and not self._suspended:
            name = next(iter(self._waiting))
            if now < self._entries[name].away_since + self._grace_s:
                break
            self._drop(name)
            users |= self._freed(name)
        return users

    def _forget_old_sessions(self) -> None:
        """Remember twice as many sessions as the room has had at most, so that none is lost when all reconnect."""
        self._largest_room = max(self._largest_room, len(self._roster))
        if len(self._first_seen) > 2 * self._largest_room + _REMEMBERED:
            self._first_seen = {name: seen for name, seen in self._first_seen.items() if self._roster.session_of(name)}
            self._declined &= self._first_seen.keys()
