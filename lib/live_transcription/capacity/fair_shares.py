# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Max-min fair shares of a limited resource between groups. Pure: `now` in seconds of any monotonic clock.

The app limits two things: speech-to-text streams (slots) and subscriptions. A group is a call. A claim is one publisher's wish
for one unit. It is active while the publisher needs the unit (speaks), and idle otherwise. A holder is a claim with a unit.

While units are free, each active claim gets one. When none is free, a waiting claim gets the unit of the first holder that one
of these rules finds:

1. A holder that has been idle for `idle_s`. The longest idle one goes first.
2. A holder in the largest group, if that group has at least two units more than the waiting claim's group. An idle holder goes
   first, then the one that got its unit first. Holders keep a unit for at least `min_hold_s`, unless the waiting claim's group
   has none: such a group never waits for a group with more than one unit.
3. After the claim has waited for `rotate_s`: a holder in its own group, or in a larger one, that has had its unit for
   `rotate_s`.

Groups with fewer units come first, and within a group the claim that has waited longest. Rule 2 needs a difference of two, so
the giving group never ends up with less than the receiving one, and no unit goes back and forth. An active claim that loses its
unit waits again, behind the others of its group. By rule 3 every claim gets its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter


@dataclass(frozen=True, slots=True)
class ShareRules:
    """Times in seconds, see the module. `return_s`: how long a group's units are reserved while it rejoins.

    `move_every_s`: minimum time between two units taken from holders; a group without any unit is exempt.
    """

    idle_s: float
    min_hold_s: float
    rotate_s: float
    return_s: float = 30.0
    move_every_s: float = 0.0


class Claim:
    """One publisher's claim. Only `FairShares` changes it. Its owner calls `changed` after a decision that concerns it."""

    __slots__ = ("active", "changed", "group", "held", "idle_since", "reserved_until", "since")

    def __init__(self, group: str, changed: Callable[[], None] | None = None) -> None:
        self.group = group
        self.changed = changed
        self.held = False
        self.active = False
        #: When the unit was granted, or when the claim began to wait.
        self.since = 0.0
        #: When the claim became idle; valid while it is idle.
        self.idle_since = 0.0
        #: Reservation for a group that rejoins, until this time; None for a publisher's own claim.
        self.reserved_until: float | None = None


class FairShares:
    """At most `limit` claims hold a unit. Lowering `limit` takes no unit away; it only stops new grants."""

    #: Limit of the grants per decision; the rest follow with the next one.
    MOST_GRANTS = 64

    def __init__(self, limit: int, rules: ShareRules) -> None:
        self.limit = limit
        self._rules = rules
        self._holders: dict[str, dict[Claim, None]] = {}
        self._waiting: dict[str, dict[Claim, None]] = {}
        # The holders that are reservations for groups that rejoin.
        self._kept: dict[str, dict[Claim, None]] = {}
        #: Number of units in use or reserved.
        self.held = 0
        self._moved_at = float("-inf")

    @property
    def in_use(self) -> int:
        """Number of units that publishers have, without reservations."""
        return self.held - sum(map(len, self._kept.values()))

    @property
    def waiting(self) -> int:
        """Number of active claims without a unit."""
        return sum(map(len, self._waiting.values()))

    def held_by(self, group: str) -> int:
        return len(self._holders.get(group, ()))

    def want(self, claim: Claim, now: float) -> None:
        """The publisher needs a unit. A claim that paused for less than `idle_s` keeps its place in the queue."""
        if claim.active:
            return
        claim.active = True
        if claim.held:
            return
        if not claim.since or now - claim.idle_since >= self._rules.idle_s:
            claim.since = now
        self._waiting.setdefault(claim.group, {})[claim] = None

    def pause(self, claim: Claim, now: float) -> None:
        """The publisher does not need the unit now. A holder keeps it until another claim needs it."""
        if not claim.active:
            return
        claim.active = False
        claim.idle_since = now
        self._stop_waiting(claim)

    def forsake(self, claim: Claim) -> None:
        """The publisher cannot use the unit, since its audio does not arrive: the next waiting claim gets it."""
        claim.active = False
        claim.idle_since = float("-inf")
        self._stop_waiting(claim)

    def drop(self, claim: Claim) -> None:
        """The publisher is gone. `claim.held` stays as it was."""
        self._stop_waiting(claim)
        if claim in self._holders.get(claim.group, ()):
            self._remove(claim)

    def keep(self, claim: Claim, now: float) -> None:
        """The publisher is gone, but will be back under another claim: reserve the unit for the group's next claim.

        The reservation lasts for `return_s` and counts as an idle holder meanwhile. `claim.held` stays as it was.
        """
        if claim in self._holders.get(claim.group, ()):
            self._remove(claim)
            kept = Claim(claim.group)
            kept.idle_since, kept.reserved_until = now, now + self._rules.return_s
            self._add(kept, now)
            self._kept.setdefault(kept.group, {})[kept] = None
        self._stop_waiting(claim)

    def keep_all(self, group: str, now: float) -> None:
        """The group rejoins: reserve all its units."""
        for claim in list(self._holders.get(group, ())):
            if claim.reserved_until is None:
                self.keep(claim, now)

    def decide(self, now: float, room: float = float("inf")) -> list[Claim]:
        """Apply the rules. Returns the claims that got or lost a unit, in order.

        `room`: how many units may be added to those held.
        """
        self._expire(now)
        changed: list[Claim] = []
        for _ in range(self.MOST_GRANTS):
            candidates = _Candidates(self._holders, self._rules, now)
            for claim in self._queue():
                kept = next(iter(self._kept.get(claim.group, ())), None)
                victim = kept or (None if self.held < self.limit and room >= 1 else self._victim(claim, now, candidates))
                if victim is not None:
                    self._moved_at = now if victim is not kept else self._moved_at
                    self._take(victim, now)
                    changed += [victim] if victim is not kept and victim.reserved_until is None else []
                elif self.held < self.limit and room >= 1:
                    room -= 1
                else:
                    continue
                self._stop_waiting(claim)
                self._add(claim, now)
                changed.append(claim)
                break
            else:
                break
        return changed

    def _queue(self) -> list[Claim]:
        """The next claim of each group, in the order in which the groups are served."""
        heads = [min(waiting, key=attrgetter("since")) for waiting in self._waiting.values()]
        return sorted(heads, key=lambda claim: (self.held_by(claim.group), claim.since))

    def _victim(self, claim: Claim, now: float, candidates: _Candidates) -> Claim | None:
        rules, own = self._rules, self.held_by(claim.group)
        if own and now - self._moved_at < rules.move_every_s:
            return None
        # 1. A holder that has been idle for long.
        if candidates.idle is not None:
            return candidates.idle
        # 2. A holder in a larger group.
        if candidates.largest >= own + 2:
            found = candidates.of_largest if own == 0 else candidates.of_largest_after_min_hold
            if found is not None:
                return found
        # 3. Turns, after a long wait.
        if now - claim.since >= rules.rotate_s:
            turns = (each for each in candidates.after_turn if each.group == claim.group or self.held_by(each.group) > own)
            return next(turns, None)
        return None

    def _expire(self, now: float) -> None:
        for claim in [claim for kept in self._kept.values() for claim in kept]:
            if claim.reserved_until is not None and now >= claim.reserved_until:
                self._remove(claim)

    def _take(self, claim: Claim, now: float) -> None:
        self._remove(claim)
        claim.held = False
        claim.since = now
        if claim.active:
            self._waiting.setdefault(claim.group, {})[claim] = None

    def _add(self, claim: Claim, now: float) -> None:
        claim.held = True
        claim.since = now
        self._holders.setdefault(claim.group, {})[claim] = None
        self.held += 1

    def _remove(self, claim: Claim) -> None:
        _discard(self._holders, claim)
        if claim.reserved_until is not None:
            _discard(self._kept, claim)
        self.held -= 1

    def _stop_waiting(self, claim: Claim) -> None:
        if claim in self._waiting.get(claim.group, ()):
            _discard(self._waiting, claim)


class _Candidates:
    """The holders that may lose their unit, the same for all waiting claims until one is served. Looked for when needed."""

    def __init__(self, holders: dict[str, dict[Claim, None]], rules: ShareRules, now: float) -> None:
        self._holders = holders
        self._rules = rules
        self._now = now

    @cached_property
    def idle(self) -> Claim | None:
        """The one that has been idle for longest, if for long enough."""
        since = self._now - self._rules.idle_s
        found = (each for group in self._holders.values() for each in group if not each.active and each.idle_since <= since)
        return min(found, key=lambda each: each.idle_since, default=None)

    @cached_property
    def largest(self) -> int:
        """Units of the largest group."""
        return max(map(len, self._holders.values()), default=0)

    @cached_property
    def of_largest(self) -> Claim | None:
        """The holder of the largest groups that yields first."""
        return min(self._in_largest(), key=_yields_first, default=None)

    @cached_property
    def of_largest_after_min_hold(self) -> Claim | None:
        since = self._now - self._rules.min_hold_s
        return min((each for each in self._in_largest() if each.since <= since), key=_yields_first, default=None)

    @cached_property
    def after_turn(self) -> list[Claim]:
        """All that have had their unit for a turn, in the order in which they yield."""
        since = self._now - self._rules.rotate_s
        return sorted((each for group in self._holders.values() for each in group if each.since <= since), key=_yields_first)

    def _in_largest(self) -> Iterator[Claim]:
        for group in self._holders.values():
            if len(group) == self.largest:
                yield from group


def _discard(claims: dict[str, dict[Claim, None]], claim: Claim) -> None:
    group = claims[claim.group]
    del group[claim]
    if not group:
        del claims[claim.group]


def _yields_first(claim: Claim) -> tuple[bool, float]:
    """Sort key: idle holders before active ones; among each, the longest first."""
    return (True, claim.since) if claim.active else (False, claim.idle_since)
