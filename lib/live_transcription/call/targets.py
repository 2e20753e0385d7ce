# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The participants who asked for captions, and the HPB sessions that reach them. Pure.

Talk names a target by its own session id (`ncSessionId`), which a page reload changes. So a target is also bound to its user,
and follows that user to a new session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import islice

from live_transcription.call.roster import Roster
from live_transcription.call.target_index import Entry, TargetIndex
from live_transcription.signaling import events
from live_transcription.signaling.events import InCall, Participant
from live_transcription.signaling.requests import Recipient

#: From this many targets on, one message to everybody in the call is cheaper; clients that did not ask ignore it.
CALL_RECIPIENT_TARGETS = 4
#: Seconds after a reload for which the HPB may list the old session beside the new one: it keeps a session that was dropped
#: without a bye for 30 s.
RELOAD_OVERLAP_S = 35.0
#: Seconds for which speakers are kept after their last reader has left, in case the page is only being reloaded. A subscription
#: that is closed and opened again takes a second or more, and misses the words of that time.
RELOAD_S = 10.0
#: Seconds for which the captions of a new session wait until a target is listed. After a restart of the HPB, the app may be
#: back before all others.
LISTED_S = 10.0
#: Only the latest sessions of a user are searched for a reloaded page, which bounds the cost of a user with thousands of them.
FOLLOWED_SESSIONS = 16
#: Minimum number of departed Talk session ids that are remembered.
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Target:
    """A target as a plain value, to be stored and added again. `user_id` is None for guests.

    `translation`: the id of the language that captions are translated into, or None.
    """

    nc_session_id: str
    user_id: str | None = field(default=None, repr=False)
    translation: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A target's choice of a language that is not in effect yet, made at `since`; see `Target.translation`."""

    nc_session_id: str
    language: str | None
    since: float


@dataclass(frozen=True, slots=True)
class _Reach:
    """The sessions that get captions, of any speaker. Valid before `until`, or until a target or its participant changes.

    `translations`: the sessions that get translated captions instead, by the language's id, with their first segment. They are
    not among the others.
    """

    recipients: dict[str, Recipient]
    translations: dict[str, dict[str, int]]
    in_call: tuple[str, ...]
    outside: tuple[str, ...]
    until: float


class Targets:
    """The targets of one room. `now` is seconds of any monotonic clock.

    A target gets captions while its session is in the room and has not left the call. A target that is unknown or has left
    waits for `grace_s` and is then forgotten. A reloaded page comes back within that time, with a new session of the same user.

    `roster` is the call's: events go through `apply`, which updates both. The cost of an event is proportional to the number of
    participants that it lists and of their users' targets; the cost of a caption, to the number of sessions that receive it.
    """

    def __init__(self, roster: Roster, *, grace_s: float = 60.0) -> None:
        self._roster = roster
        self._grace_s = grace_s
        self._index = TargetIndex()
        self._reach: _Reach | None = None
        # Targets whose last choice of a language may not be in effect yet.
        self._choosing: dict[int, Entry] = {}
        # When each Talk session was first in the room, and which of them have declined captions.
        self._first_seen: dict[str, float] = {}
        self._declined: set[str] = set()
        self._largest_room = 0
        self._recipient_call = False
        self._empty_since: float | None = None
        self._suspended = False
        self._kept = False
        # Until when a new session waits for the first target to be listed.
        self._expected_until = float("-inf")

    def __len__(self) -> int:
        """Number of targets, the waiting ones included."""
        return len(self._index.by_name)

    def __contains__(self, nc_session_id: object) -> bool:
        return nc_session_id in self._index.by_name

    def add(self, nc_session_id: str, user_id: str | None, now: float) -> None:
        """Somebody asked for captions. Repeated requests extend the time for which a waiting target is remembered."""
        self._declined.discard(nc_session_id)
        entry = self._index.by_name.get(nc_session_id)
        if entry is None:
            entry = self._index.add(nc_session_id, now)
        elif entry.session_id is None:
            self._index.wait(entry, now)
        self._index.set_user(entry, user_id or entry.user_id)
        self._empty_since = None
        self._settle({nc_session_id}, self._expire(now), now)

    def remove(self, nc_session_id: str, now: float) -> None:
        """Somebody wants no more captions. This is no error if they had none."""
        names = {nc_session_id}
        participant = self._roster.participant_of(nc_session_id)
        if participant is not None:
            # The request may come from the reloaded page of a target whose old session is still listed.
            for name in self._index.by_user.get(participant.user_id or "", ()):
                if participant.session_id in self._successors(self._index.by_name[name], now):
                    names.add(name)
            self._declined.add(nc_session_id)
        users: set[str] = set()
        for name in names & self._index.by_name.keys():
            users |= self._remove(self._index.by_name[name])
        self._settle(set(), users, now)

    def translate(self, nc_session_id: str, language: str | None, first_segment: int = 0) -> bool:
        """Send a target its captions in this language, beginning with this segment; None: as they are spoken.

        Returns False if the session is no target.
        """
        entry = self._index.by_name.get(nc_session_id)
        if entry is None:
            return False
        entry.translation, entry.first_segment = language, first_segment
        self._reach = None
        return True

    def choose(self, nc_session_id: str, language: str | None, now: float) -> bool:
        """Note that a target has chosen this language; `translate` puts it into effect. Returns False if it is no target."""
        entry = self._index.by_name.get(nc_session_id)
        if entry is None:
            return False
        entry.chosen, entry.chosen_at = language, now
        self._choosing[entry.order] = entry
        return True

    def choices(self) -> tuple[Choice, ...]:
        """The choices that are not in effect, of targets that captions can reach, oldest target first."""
        if not self._choosing:
            return ()
        self._choosing = {
            order: entry
            for order, entry in sorted(self._choosing.items())
            if entry.chosen != entry.translation and self._index.by_name.get(entry.name) is entry
        }
        return tuple(
            Choice(entry.name, entry.chosen, entry.chosen_at)
            for entry in self._choosing.values()
            if entry.session_id is not None
        )

    def translation_of(self, nc_session_id: str) -> tuple[str | None, int]:
        """The language that a target's captions are translated into, and its first segment."""
        entry = self._index.by_name.get(nc_session_id)
        return (None, 0) if entry is None else (entry.translation, entry.first_segment)

    def session_of(self, nc_session_id: str) -> str | None:
        """The HPB session of a target; None while it waits, or if there is no such target."""
        entry = self._index.by_name.get(nc_session_id)
        return None if entry is None else entry.session_id

    def export(self) -> tuple[Target, ...]:
        """All targets, to be added again in another call or after a restart."""
        return tuple(Target(entry.name, entry.user_id, entry.chosen) for entry in self._index.by_name.values())

    def keep(self, kept: bool, now: float) -> None:
        """Whether a transcript is kept, which is a reason to transcribe everybody as long as somebody is in the call."""
        if kept != self._kept:
            self._kept = kept
            self._note_emptiness(now)

    def suspend(self) -> None:
        """Forget no target until `resume`: while the app is not in the room, it cannot see anybody come back."""
        self._suspended = True
        if self._index.by_name or self._kept:
            self._empty_since = None

    def resume(self, now: float) -> None:
        """The app is in the room again. Waiting targets have the full `grace_s` to come back."""
        self._suspended = False
        self._empty_since = None
        for entry in self._index.waiting.values():
            entry.waiting_since = now
        self._note_emptiness(now)

    def apply(self, event: events.ParticipantsEvent, now: float) -> None:
        """Update the roster and the targets."""
        names: set[str] = set()
        users = self._expire(now)
        for before, after in self._roster.apply(event):
            if after is not None and after.nextcloud_session_id is not None:
                self._first_seen.setdefault(after.nextcloud_session_id, now)
            # A change concerns the targets with the participant's old or new name, and those of its old or new user.
            for participant in (before, after):
                if participant is not None:
                    if participant.nextcloud_session_id in self._index.by_name:
                        names.add(participant.nextcloud_session_id)
                    if participant.user_id in self._index.by_user:
                        users.add(participant.user_id)
        self._forget_old_sessions()
        self._settle(names, users, now)

    def reset(self, now: float, *, own_session_id: str | None = None, recipient_call: bool = False) -> None:
        """Start a new signaling session: every HPB session id is void, and all targets wait.

        `recipient_call` tells whether the HPB can send one message to everybody in the call.
        """
        self._recipient_call = recipient_call
        self._expected_until = now + LISTED_S
        self._roster.reset(own_session_id)
        self._reach = None
        for entry in self._index.by_name.values():
            entry.follow_from = now
            self._index.wait(entry, now)
        self._empty_since = None
        self._note_emptiness(now)

    def wants(self, publisher: str) -> bool:
        """Whether anybody but the publisher reads its captions, or a transcript of them is kept."""
        return self._kept or len(self._index.attached) > (publisher in self._index.attached)

    def expects_any(self, now: float) -> bool:
        """Whether a new session has listed no target yet, although there are some. Captions that are sent now reach nobody."""
        return now < self._expected_until and not self._index.attached and bool(self._index.waiting)

    def readership(self) -> frozenset[str] | None:
        """The sessions of the targets, on which `wants` depends. None if every speaker is wanted: for two or more, and while a
        transcript is kept.
        """
        return frozenset(self._index.attached) if len(self._index.attached) < 2 and not self._kept else None

    def reload_until(self) -> float | None:
        """Until when the reader who left last may be back from a reload; None if no reader is missing."""
        latest = next(reversed(self._index.waiting.values()), None)
        return None if latest is None else latest.waiting_since + RELOAD_S

    def translations(self, now: float) -> frozenset[str]:
        """The languages that captions are translated into for at least one session."""
        return frozenset(self._reached(now).translations)

    def translation_recipients(
        self, speaker: str, language: str, segment: int, now: float, served: Collection[str] = ()
    ) -> tuple[Recipient, ...]:
        """Where a translated segment of this speaker goes; see `recipients`."""
        return tuple(
            Recipient(session_id)
            for session_id, first_segment in self._reached(now).translations.get(language, {}).items()
            if segment >= first_segment and session_id != speaker and session_id not in served
        )

    def recipients(self, speaker: str, now: float, served: Collection[str] = ()) -> tuple[Recipient, ...]:
        """Where a caption of this speaker goes. Speakers never get their own captions.

        `served` are the sessions that have this caption already; a message to the whole call would repeat it to them.
        """
        reach = self._reached(now)
        # A message to the whole call would also show the original to those who read a translation.
        to_call = self._recipient_call and not served and not reach.translations
        if to_call and len(reach.in_call) - (speaker in reach.in_call) >= CALL_RECIPIENT_TARGETS:
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
        """Since when the call is not wanted, which decides when to leave it; None while a target can be reached, or while a
        transcript is kept and somebody is in the call.

        Starts again with each request for captions and each new session.
        """
        self._settle(set(), self._expire(now), now)
        return self._empty_since

    def next_deadline(self) -> float | None:
        """When the next waiting target is to be forgotten."""
        if self._suspended or not self._index.waiting:
            return None
        return next(iter(self._index.waiting.values())).waiting_since + self._grace_s

    # Used for each caption.

    def _reached(self, now: float) -> _Reach:
        if self._reach is None or now >= self._reach.until:
            until = float("inf")
            recipients: dict[str, Recipient] = {}
            translated: dict[str, tuple[str, int]] = {}
            for entry in self._index.by_name.values():
                if entry.session_id is None:
                    continue
                sessions = [entry.session_id]
                for session_id, first_seen in self._successors(entry, now).items():
                    sessions.append(session_id)
                    until = min(until, first_seen + RELOAD_OVERLAP_S)
                if entry.translation is None:
                    recipients.update((session_id, Recipient(session_id)) for session_id in sessions)
                else:
                    translated.update(dict.fromkeys(sessions, (entry.translation, entry.first_segment)))
            # A second target of the same user may read the other kind; a session gets one of the two.
            for session_id in translated.keys() & recipients.keys():
                del recipients[session_id]
            translations: dict[str, dict[str, int]] = {}
            for session_id, (language, first_segment) in translated.items():
                translations.setdefault(language, {})[session_id] = first_segment
            in_call = {session_id: None for session_id in recipients if self._is_in_call(session_id)}
            outside = tuple(session_id for session_id in recipients if session_id not in in_call)
            self._reach = _Reach(recipients, translations, tuple(in_call), outside, until)
        return self._reach

    def _successors(self, entry: Entry, now: float) -> dict[str, float]:
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

    def _settle(self, names: Iterable[str], users: Iterable[str], now: float) -> None:
        """Bind these targets, and all targets of these users, to their sessions until nothing changes."""
        while dirty := {*names, *(name for user in users for name in self._index.by_user.get(user, ()))}:
            self._reach = None
            names, users = (), set()
            # The oldest target of a user comes first, so that it follows a reload before the others do.
            for entry in sorted((self._index.by_name[name] for name in dirty), key=lambda entry: entry.order):
                users |= self._bind(entry, now)
        self._note_emptiness(now)

    def _note_emptiness(self, now: float) -> None:
        wanted_later = self._suspended and (self._index.by_name or self._kept)
        if self._index.attached or wanted_later or (self._kept and self._roster.anybody_in_call):
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now

    def _bind(self, entry: Entry, now: float) -> set[str]:
        """Bind one target to its session. Returns the user whose other targets have to be bound again, if any."""
        # Its own session is in the room.
        participant = self._roster.participant_of(entry.name)
        if participant is not None and self._is_reachable(entry, participant):
            self._attach(entry, participant)
            return set()
        # It has just left. A reload may have been listed beside it for a while.
        if entry.session_id is not None:
            entry.follow_from = max(entry.known_since, now - RELOAD_OVERLAP_S)
            self._index.wait(entry, now)
        # Its user may be back with another session, which is then its name.
        for new_name, participant in self._free_sessions(entry.user_id):
            if self._first_seen.get(new_name, now) >= entry.follow_from and self._is_reachable(entry, participant):
                old_name = entry.name
                self._index.rename(entry, new_name, now)
                self._attach(entry, participant)
                return self._user_of(old_name)
        return set()

    def _attach(self, entry: Entry, participant: Participant) -> None:
        self._index.attach(entry, participant.session_id)
        self._expected_until = float("-inf")
        self._index.set_user(entry, entry.user_id or participant.user_id)
        entry.was_in_call = participant.has(InCall.IN_CALL)

    def _free_sessions(self, user_id: str | None) -> Iterable[tuple[str, Participant]]:
        """Sessions of this user that may become a target without asking, latest first: not targets yet, and not declined."""
        if user_id is None:
            return
        for participant in islice(self._roster.participants_of_user(user_id), FOLLOWED_SESSIONS):
            name = participant.nextcloud_session_id
            if name is None or name in self._index.by_name or name in self._declined:
                continue
            if self._roster.participant_of(name) is participant:
                yield name, participant

    @staticmethod
    def _is_reachable(entry: Entry, participant: Participant) -> bool:
        """In the room; out of the call only as long as the target has not been in it."""
        return participant.in_call is None or not entry.was_in_call or participant.has(InCall.IN_CALL)

    def _is_in_call(self, session_id: str) -> bool:
        participant = self._roster.get(session_id)
        return participant is not None and participant.has(InCall.IN_CALL)

    # Forgetting.

    def _remove(self, entry: Entry) -> set[str]:
        """Forget a target. Returns the user whose waiting targets may follow its session, which is no target any more."""
        self._index.remove(entry)
        self._reach = None
        return self._user_of(entry.name)

    def _user_of(self, name: str) -> set[str]:
        participant = self._roster.participant_of(name)
        return {participant.user_id} if participant is not None and participant.user_id is not None else set()

    def _expire(self, now: float) -> set[str]:
        """Forget the targets that have waited for too long. Returns users as `_remove` does."""
        users: set[str] = set()
        while (deadline := self.next_deadline()) is not None and now >= deadline:
            users |= self._remove(next(iter(self._index.waiting.values())))
        return users

    def _forget_old_sessions(self) -> None:
        """Remember twice as many sessions as the room has had at most, so that none is lost when all reconnect."""
        self._largest_room = max(self._largest_room, len(self._roster))
        if len(self._first_seen) > 2 * self._largest_room + _REMEMBERED:
            self._first_seen = {name: seen for name, seen in self._first_seen.items() if self._roster.participant_of(name)}
            self._declined &= self._first_seen.keys()
