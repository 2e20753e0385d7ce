# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The capacity of this process, for all calls: speech-to-text streams, subscriptions, memory and the event loop's lag.

One timer serves all of them. `fair_shares` decides who gets a slot (a speech-to-text stream) or a subscription, `admission` how
many of them memory allows, and `load` how often captions are sent.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from live_transcription.audio_store.budget import AudioBudget, budget_within
from live_transcription.capacity.admission import SLOT_BYTES, SUBSCRIPTION_BYTES, Admission
from live_transcription.capacity.descriptors import Descriptors
from live_transcription.capacity.fair_shares import Claim, FairShares, ShareRules
from live_transcription.capacity.load import LoadControl
from live_transcription.capacity.memory import MemoryMeter, MemoryReading, release_free_memory
from live_transcription.capacity.pace import Pace
from live_transcription.observability.conditions import speakers_are
from live_transcription.status import Condition, LoadStatus, MemoryStatus

#: Seconds between two checks of the event loop's lag and of the waiting claims, and the number of checks per memory reading.
LAG_S = 0.25
LOOKS_PER_READING = 4
#: Seconds between two attempts to return free memory to the system while memory is low.
RELEASE_S = 30.0
#: A slot may go to another speaker after 10 s of silence; speakers in one call take turns of 30 s.
SLOT_RULES = ShareRules(idle_s=10.0, min_hold_s=5.0, rotate_s=30.0)
#: Publishers that one process subscribes to, or the number of slots if that is larger. A silent one takes 0.2 MB, and 0.2 ms of
#: CPU per second.
MAX_SUBSCRIPTIONS = 2_000
#: Beyond that limit publishers take turns. A new subscription costs 5 to 9 ms of CPU, so one is taken away after a minute of
#: silence at the earliest.
SUBSCRIPTION_RULES = ShareRules(idle_s=60.0, min_hold_s=10.0, rotate_s=60.0, move_every_s=0.25)


class _Claim(Claim):
    """`changed` is called when the unit is granted or taken away."""

    __slots__ = ("changed",)

    def __init__(self, group: str, changed: Callable[[], None]) -> None:
        super().__init__(group)
        self.changed = changed


class PublisherClaims:
    """One publisher's claims: a subscription, and a slot (the right to a speech-to-text stream). No method waits.

    `on_subscription` is called when the subscription is granted later, or taken away. After `release` nothing changes any more.
    """

    def __init__(self, capacity: Capacity, call: str, on_subscription: Callable[[], None]) -> None:
        self._capacity = capacity
        self._subscription = _Claim(call, on_subscription)
        self._slot = _Claim(call, self._slot_changed)
        #: Called when the slot is granted later, or taken away.
        self.on_slot: Callable[[], None] = _nothing
        self._released = False

    def _slot_changed(self) -> None:
        self.on_slot()

    @property
    def subscribed(self) -> bool:
        return self._subscription.held

    @property
    def held(self) -> bool:
        """Whether the publisher has a slot."""
        return self._slot.held

    def subscribe(self) -> bool:
        """Request a subscription. Returns whether it was granted at once."""
        self._capacity.want_subscription(self._subscription)
        return self._subscription.held

    def speaking(self) -> bool:
        """Speech has begun: request a slot. Returns whether the publisher has one."""
        if not self._released:
            self._capacity.speaking(self._subscription, self._slot)
        return self._slot.held

    def silent(self) -> None:
        """Speech has ended: others may get the slot."""
        if not self._released:
            self._capacity.silent(self._subscription, self._slot)

    def lost(self) -> None:
        """The subscription failed: the slot is free for others at once."""
        if not self._released:
            self._capacity.lost(self._slot)

    def release(self, *, keep: bool = False) -> None:
        """The publisher is gone. `keep`: reserve the units, since the publisher will be back in a moment."""
        if not self._released:
            self._released = True
            self._capacity.release(self._subscription, self._slot, keep=keep)


class Capacity:
    """Shares slots and subscriptions between the calls, and sets the `pace` of captions.

    `descriptors`: limits subscriptions by open files. `audio`: the budget of waiting audio, set to a share of the memory limit.
    Before `watch` runs, memory is read once and the lag is zero. `read` and `release` replace the system in tests.
    """

    def __init__(
        self,
        *,
        descriptors: Descriptors | None = None,
        audio: AudioBudget | None = None,
        read: Callable[[], MemoryReading] | None = None,
        release: Callable[[], None] = release_free_memory,
    ) -> None:
        self.pace = Pace()
        self._descriptors = descriptors
        self._audio = audio
        self._read = read or MemoryMeter.of_this_process().read
        self._release_memory = release
        self._released_at = float("-inf")
        self._slots = FairShares(sys.maxsize, SLOT_RULES)
        self._subscriptions = FairShares(MAX_SUBSCRIPTIONS, SUBSCRIPTION_RULES)
        self._admission = Admission()
        self._load = LoadControl()
        self._reading = MemoryReading(0)
        self._look_at_memory(float("-inf"))

    def limit(self, max_speakers: int, max_memory_mb: int) -> None:
        """Apply new settings; conditions follow within a second."""
        self._admission.limit(max_memory_mb << 20)
        self._slots.limit = max_speakers
        self._subscriptions.limit = max(MAX_SUBSCRIPTIONS, max_speakers)

    async def watch(self) -> None:
        """Read memory, measure lag and share the units until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._look_at_memory(loop.time())
            if self._admission.memory_is_short and loop.time() - self._released_at >= RELEASE_S:
                self._released_at = loop.time()
                await asyncio.to_thread(self._release_memory)
                self._look_at_memory(loop.time())
            for _ in range(LOOKS_PER_READING):
                due = loop.time() + LAG_S
                await asyncio.sleep(LAG_S)
                self.pace.stretch = self._load.observe(loop.time() - due)
                self._share_slots(loop.time())
                self._share_subscriptions(loop.time())

    # Claims.

    def claims(self, call: str, on_subscription: Callable[[], None]) -> PublisherClaims:
        """For one publisher of a call."""
        return PublisherClaims(self, call, on_subscription)

    def expect_back(self, call: str) -> None:
        """The call's publishers get new session ids: void their claims, and reserve their units for the call's next claims."""
        now = self._now()
        self._slots.keep_all(call, now)
        self._subscriptions.keep_all(call, now)

    def want_subscription(self, subscription: _Claim) -> None:
        now = self._now()
        self._subscriptions.want(subscription, now)
        self._share_subscriptions(now)

    def speaking(self, subscription: _Claim, slot: _Claim) -> None:
        now = self._now()
        self._subscriptions.want(subscription, now)
        self._slots.want(slot, now)
        self._share_slots(now)

    def silent(self, subscription: _Claim, slot: _Claim) -> None:
        now = self._now()
        self._subscriptions.pause(subscription, now)
        self._slots.pause(slot, now)

    def lost(self, slot: _Claim) -> None:
        self._slots.forsake(slot)

    def release(self, subscription: _Claim, slot: _Claim, *, keep: bool) -> None:
        for shares, claim in ((self._subscriptions, subscription), (self._slots, slot)):
            if keep:
                shares.keep(claim, self._now())
            else:
                shares.drop(claim)
            claim.changed = _nothing

    def _share_slots(self, now: float) -> None:
        if not self._slots.waiting:
            return
        before = self._slots.held
        changed = self._slots.decide(now, self._admission.room(SLOT_BYTES, now))
        self._admission.promise((self._slots.held - before) * SLOT_BYTES, now)
        _notify(changed)

    def _share_subscriptions(self, now: float) -> None:
        if not self._subscriptions.waiting:
            return
        before = self._subscriptions.held
        room = self._admission.room(SUBSCRIPTION_BYTES, now)
        if self._descriptors is not None:
            room = min(room, self._descriptors.speaker_room(now))
        changed = self._subscriptions.decide(now, room)
        added = self._subscriptions.held - before
        self._admission.promise(added * SUBSCRIPTION_BYTES, now)
        if self._descriptors is not None:
            self._descriptors.promise_speakers(added, now)
        for claim in changed:
            if claim.held:
                # A new subscription has a minute until it counts as idle.
                self._subscriptions.pause(claim, now)
        _notify(changed)

    # Numbers.

    @property
    def speakers_waiting(self) -> int:
        """Number of publishers that speak without a slot."""
        return self._slots.waiting

    @property
    def slots(self) -> int:
        """Number of slots that publishers have."""
        return self._slots.in_use

    def shortages(self) -> tuple[Condition, ...]:
        """The current shortages, for an administrator."""
        waiting = self._slots.waiting
        untranscribed = f"{speakers_are(waiting)} not being transcribed." if waiting else ""
        found = self._admission.shortages(untranscribed)
        if not found and waiting:
            found = (
                Condition.of(
                    "speakers",
                    "All {limit} speech-to-text streams are in use.",
                    "Raise the maximum number of speakers in the settings if this machine can do more.",
                    addition=untranscribed,
                    limit=str(self._slots.limit),
                ),
            )
        if self._subscriptions.waiting and self._subscriptions.held >= self._subscriptions.limit:
            found += (
                Condition.of(
                    "subscriptions",
                    "The app receives {limit} microphones, its maximum. The others take turns with silent ones, so their "
                    "captions may start late.",
                    "Ask people who only listen to join the call without a microphone.",
                    limit=str(self._subscriptions.limit),
                ),
            )
        files = () if self._descriptors is None else self._descriptors.shortages()
        return (*files, *found, *self._load.shortages())

    def memory(self) -> MemoryStatus:
        bound = self._admission.tightest
        if bound is None:
            return MemoryStatus(self._reading.resident)
        return MemoryStatus(self._reading.resident, bound.used, bound.limit, bound.source.value)

    def load(self) -> LoadStatus:
        return LoadStatus(self._load.lag_s, self._load.stretch)

    def _look_at_memory(self, now: float) -> None:
        self._reading = self._read()
        self._admission.observe(self._reading, now)
        if self._audio is not None:
            self._audio.limit_bytes = budget_within(self._admission.memory_limit)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _nothing() -> None:
    return


def _notify(changed: list[Claim]) -> None:
    for claim in changed:
        assert isinstance(claim, _Claim)
        claim.changed()
