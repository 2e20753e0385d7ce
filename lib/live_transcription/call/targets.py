# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Who asked for captions, and under which HPB session they are to be reached. Pure.

Talk names a target by its own session id (`ncSessionId`), which a page reload changes; so a target is bound to its user
too, and found again when that user comes back with a new session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from live_transcription.call.roster import Roster
from live_transcription.signaling.events import InCall, Participant, SignalingEvent
from live_transcription.signaling.requests import Recipient

#: From this many targets on, one message to everybody in the call is cheaper; clients that did not ask ignore it.
CALL_RECIPIENT_TARGETS = 4
#: After a reload the old session may still be there for so long beside the new one, in seconds: the HPB keeps a session that
#: was dropped without a goodbye for 30 s.
RELOAD_OVERLAP_S = 35.0
#: Talk session ids that are remembered although they have left.
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Target:
    """A target as a plain value, to be kept and given back. `user_id` is None for guests."""

    nc_session_id: str
    user_id: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Entry:
    """`session_id`: where captions go; None while the target is unknown or away, which it is since `away_since`.

    `known_since`: since when this Talk session is the target's. `follow_from`: a session of the same user that was first seen
    before this time is another device of theirs; one that was first seen later is the target, come back.
    """

    user_id: str | None
    away_since: float
    known_since: float
    follow_from: float
    session_id: str | None = None
    was_in_call: bool = False


class Targets:
    """The targets of one room. `now` is seconds of any monotonic clock.

    A target is reached while its session is in the room and has not left the call. One that is unknown or has left waits for
    `grace_s`, then it is forgotten: a reload comes back within it, with a new session of the same user.
    """

    def __init__(self, *, grace_s: float = 60.0) -> None:
        self._grace_s = grace_s
        self._roster = Roster()
        self._entries: dict[str, _Entry] = {}
        self._first_seen: dict[str, float] = {}
        self._declined: set[str] = set()
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
            self._entries[nc_session_id] = _Entry(user_id or None, away_since=now, known_since=now, follow_from=now)
        else:
            entry.user_id = user_id or entry.user_id
            if entry.session_id is None:
                entry.away_since = now
        self._empty_since = None
        self._attach_all(now)

    def remove(self, nc_session_id: str, now: float) -> None:
        """Somebody wants no more captions; no error if they had none."""
        session_id = self._roster.session_of(nc_session_id)
        lingering = [key for key, entry in self._entries.items() if session_id in self._successors(entry, now)]
        for key in (nc_session_id, *lingering):
            self._entries.pop(key, None)
        if session_id is not None:
            self._declined.add(nc_session_id)
        self._note_emptiness(now)

    def export(self) -> tuple[Target, ...]:
        """All targets, to be added again in another call or after a restart."""
        return tuple(Target(nc_session_id, entry.user_id) for nc_session_id, entry in self._entries.items())

    def suspend(self) -> None:
        """We are not in the room, so that nobody can be seen to come back: until `resume` nobody is forgotten."""
        self._suspended = True

    def resume(self, now: float) -> None:
        """We are in the room again: those who wait have their whole time to come back."""
        self._suspended = False
        self._empty_since = None
        for entry in self._entries.values():
            if entry.session_id is None:
                entry.away_since = now

    def restore(self, targets: Iterable[Target], now: float) -> None:
        """Add what `export` gave."""
        for target in targets:
            self.add(target.nc_session_id, target.user_id, now)

    def apply(self, event: SignalingEvent, now: float) -> None:
        """Take an event of the session; those that say nothing about participants change nothing."""
        self._roster.apply(event)
        self._remember(now)
        self._attach_all(now)

    def reset(self, now: float, *, recipient_call: bool = False) -> None:
        """A new session: every HPB session id is void, all targets wait. `recipient_call`: the HPB has that feature."""
        self._recipient_call = recipient_call
        self._roster.reset(None)
        self._empty_since = None
        for entry in self._entries.values():
            entry.session_id = None
            entry.away_since = entry.follow_from = now
        self._attach_all(now)

    def wants(self, publisher: str) -> bool:
        """Whether anybody but the publisher is there to read its captions."""
        return any(entry.session_id not in (None, publisher) for entry in self._entries.values())

    def recipients(self, speaker: str, now: float, served: Collection[str] = ()) -> tuple[Recipient, ...]:
        """Where a caption of this speaker goes. Speakers never see their own captions, so it does not go to themselves.

        `served`: sessions that have this caption already; a message to the whole call would give it to them again.
        """
        reached = [session_id for session_id in self._reached(speaker, now) if session_id not in served]
        in_call = [session_id for session_id in reached if self._is_in_call(session_id)]
        if served or not self._recipient_call or len(in_call) < CALL_RECIPIENT_TARGETS:
            return tuple(Recipient(session_id) for session_id in reached)
        return (Recipient(None), *(Recipient(session_id) for session_id in reached if session_id not in in_call))

    def sessions(self, recipient: Recipient, speaker: str, now: float) -> tuple[str, ...]:
        """The sessions of targets that a caption to this recipient reaches."""
        if recipient.session_id is not None:
            return (recipient.session_id,)
        return tuple(session_id for session_id in self._reached(speaker, now) if self._is_in_call(session_id))

    def empty_since(self, now: float) -> float | None:
        """Since when nobody can be reached, for the rule when to leave the call; None while somebody can.

        Starts anew with each request for captions and each new session.
        """
        self._expire(now)
        self._note_emptiness(now)
        return self._empty_since

    def next_deadline(self) -> float | None:
        """When the next waiting target is to be forgotten."""
        if self._suspended:
            return None
        return min(
            (entry.away_since + self._grace_s for entry in self._entries.values() if entry.session_id is None), default=None
        )

    def _reached(self, speaker: str, now: float) -> list[str]:
        """Sessions that read what this speaker says, each once."""
        sessions = [
            session_id
            for entry in self._entries.values()
            if entry.session_id is not None
            for session_id in (entry.session_id, *self._successors(entry, now))
        ]
        return [session_id for session_id in dict.fromkeys(sessions) if session_id != speaker]

    def _attach_all(self, now: float) -> None:
        self._expire(now)
        for nc_session_id, entry in list(self._entries.items()):
            own = self._roster.session_of(nc_session_id)
            participant = self._roster.get(own) if own else None
            if participant is not None and self._is_reachable(entry, participant):
                self._attach(entry, participant)
            else:
                if entry.session_id is not None:
                    entry.session_id, entry.away_since = None, now
                    entry.follow_from = max(entry.known_since, now - RELOAD_OVERLAP_S)
                self._follow_user(nc_session_id, entry, now)
        self._note_emptiness(now)

    def _attach(self, entry: _Entry, participant: Participant) -> None:
        entry.session_id = participant.session_id
        entry.user_id = entry.user_id or participant.user_id
        entry.was_in_call = self._is_in_call(participant.session_id)

    @staticmethod
    def _is_reachable(entry: _Entry, participant: Participant) -> bool:
        """In the room; out of the call only as long as the target has not been in it."""
        if participant.in_call is None or participant.in_call & InCall.IN_CALL:
            return True
        return not entry.was_in_call

    def _follow_user(self, nc_session_id: str, entry: _Entry, now: float) -> None:
        """Take up a session with which the user of a waiting target has come back."""
        if entry.user_id is None:
            return
        for participant in reversed(list(self._roster)):
            new_id = participant.nextcloud_session_id
            if participant.user_id != entry.user_id or new_id is None or not self._is_free(new_id):
                continue
            if self._first_seen.get(new_id, now) < entry.follow_from or not self._is_reachable(entry, participant):
                continue
            del self._entries[nc_session_id]
            self._entries[new_id] = entry
            entry.known_since = now
            self._attach(entry, participant)
            return

    def _successors(self, entry: _Entry, now: float) -> list[str]:
        """Sessions with which the user of a target that still seems to be there may have come back.

        A page reloaded without a goodbye has its old session beside the new one until the HPB drops it, and nothing tells
        the two apart. When the old one has outlived that, the new one is another device.
        """
        if entry.session_id is None or entry.user_id is None:
            return []
        since = max(entry.known_since, now - RELOAD_OVERLAP_S)
        return [
            participant.session_id
            for participant in self._roster
            if participant.user_id == entry.user_id
            and (new_id := participant.nextcloud_session_id) is not None
            and self._is_free(new_id)
            and self._first_seen.get(new_id, now) > since
        ]

    def _is_free(self, nc_session_id: str) -> bool:
        """Whether a session may become a target unasked: it is none yet, and has not said no."""
        return nc_session_id not in self._entries and nc_session_id not in self._declined

    def _remember(self, now: float) -> None:
        for participant in self._roster:
            if participant.nextcloud_session_id is not None:
                self._first_seen.setdefault(participant.nextcloud_session_id, now)
        if len(self._first_seen) > 2 * len(self._roster) + _REMEMBERED:
            self._first_seen = {key: seen for key, seen in self._first_seen.items() if self._roster.session_of(key)}
            self._declined &= self._first_seen.keys()

    def _is_in_call(self, session_id: str) -> bool:
        participant = self._roster.get(session_id)
        return participant is not None and bool((participant.in_call or InCall.DISCONNECTED) & InCall.IN_CALL)

    def _expire(self, now: float) -> None:
        if self._suspended:
            return
        for nc_session_id, entry in list(self._entries.items()):
            if entry.session_id is None and now >= entry.away_since + self._grace_s:
                del self._entries[nc_session_id]

    def _note_emptiness(self, now: float) -> None:
        if any(entry.session_id is not None or self._suspended for entry in self._entries.values()):
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now
