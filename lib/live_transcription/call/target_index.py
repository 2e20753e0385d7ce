# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The targets of a room and their indexes: by name, by user, by HPB session, and by waiting time. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count


@dataclass(slots=True)
class Entry:
    """One target.

    `name` is its Talk session id, since `known_since`. `session_id` is the HPB session that gets the captions; None while the
    target waits, which it does since `waiting_since`. A session of the same user that was first seen before `follow_from` is
    another device; one first seen later is the reloaded page. `order` is the position among all targets.

    `translation`: the id of the language that the reader wants captions in, from segment `first_segment` on; None for captions
    as they are spoken. `chosen` is the language chosen last, at `chosen_at`; it replaces `translation` soon.
    """

    name: str
    order: int
    waiting_since: float
    known_since: float
    follow_from: float
    user_id: str | None = None
    session_id: str | None = None
    was_in_call: bool = False
    translation: str | None = None
    first_segment: int = 0
    chosen: str | None = None
    chosen_at: float = float("-inf")


class TargetIndex:
    """All targets. An entry is in exactly one of `attached` and `waiting`."""

    def __init__(self) -> None:
        self.by_name: dict[str, Entry] = {}
        #: The names of each user's targets; a dictionary without values is an ordered set.
        self.by_user: dict[str, dict[str, None]] = {}
        self.attached: dict[str, Entry] = {}
        #: Longest wait first.
        self.waiting: dict[str, Entry] = {}
        self._orders = count()

    def add(self, name: str, now: float) -> Entry:
        """Add a waiting target."""
        entry = self.by_name[name] = Entry(name, next(self._orders), now, now, now)
        self.wait(entry, now)
        return entry

    def remove(self, entry: Entry) -> None:
        """Forget a target."""
        self.set_user(entry, None)
        self._detach(entry)
        self.waiting.pop(entry.name, None)
        del self.by_name[entry.name]

    def set_user(self, entry: Entry, user_id: str | None) -> None:
        """Change a target's user."""
        if user_id == entry.user_id:
            return
        if entry.user_id is not None:
            names = self.by_user[entry.user_id]
            del names[entry.name]
            if not names:
                del self.by_user[entry.user_id]
        if user_id is not None:
            self.by_user.setdefault(user_id, {})[entry.name] = None
        entry.user_id = user_id

    def rename(self, entry: Entry, name: str, now: float) -> None:
        """The target has another Talk session. It is now the latest of all targets."""
        user_id = entry.user_id
        self.remove(entry)
        entry.name, entry.order, entry.known_since = name, next(self._orders), now
        self.by_name[name] = entry
        self.set_user(entry, user_id)

    def attach(self, entry: Entry, session_id: str) -> None:
        """Send captions to this HPB session."""
        self._detach(entry)
        self.waiting.pop(entry.name, None)
        entry.session_id = session_id
        self.attached[session_id] = entry

    def wait(self, entry: Entry, now: float) -> None:
        """Let a target wait from now on."""
        self._detach(entry)
        entry.waiting_since = now
        self.waiting.pop(entry.name, None)
        self.waiting[entry.name] = entry

    def _detach(self, entry: Entry) -> None:
        if entry.session_id is not None and self.attached.get(entry.session_id) is entry:
            del self.attached[entry.session_id]
        entry.session_id = None
