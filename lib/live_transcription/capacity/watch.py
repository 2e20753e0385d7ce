# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The capacity of this process, shared by all calls: speech-to-text streams, subscriptions, memory, file descriptors and CPU.

One timer serves all of them. `fair_shares` decides which publisher gets a slot (a speech-to-text stream) or a subscription,
`admission` how many of them memory and descriptors allow, and `load` how often captions are sent.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from live_transcription.audio_store.budget import AudioBudget, budget_within
from live_transcription.capacity.admission import (
    SLOT_BYTES,
    SPEAKER_DESCRIPTORS,
    SUBSCRIPTION_BYTES,
    DescriptorAdmission,
    MemoryAdmission,
)
from live_transcription.capacity.descriptors import DescriptorReading
from live_transcription.capacity.fair_shares import Claim, FairShares, ShareRules
from live_transcription.capacity.load import CaptionInterval
from live_transcription.capacity.memory import MemoryMeter, MemoryReading, release_free_memory
from live_transcription.observability.conditions import untranscribed
from live_transcription.status import Condition, LoadStatus, MemoryStatus

#: Seconds between two checks of the event loop's lag and of the waiting claims.
LAG_S = 0.25
#: Memory and descriptors are read at every fourth check.
CHECKS_PER_READING = 4
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


def _nothing() -> None:
    return


def _unknown() -> None:
    return None


class PublisherClaims:
    """One publisher's claims: a subscription, and a slot (the right to a speech-to-text stream). No method waits.

    `on_subscription` is called when the subscription is granted later, or taken away. After `release` no method has an effect.
    """

    def __init__(self, capacity: Capacity, call: str, on_subscription: Callable[[], None]) -> None:
        self._capacity = capacity
        self._subscription = Claim(call, on_subscription)
        self._slot = Claim(call, lambda: self.on_slot())  # noqa: PLW0108 - the owner sets `on_slot` later
        #: Called when the slot is granted later, or taken away.
        self.on_slot: Callable[[], None] = _nothing
        self._released = False

    @property
    def subscribed(self) -> bool:
        return self._subscription.held

    @property
    def held(self) -> bool:
        """Whether the publisher has a slot."""
        return self._slot.held

    def subscribe(self) -> bool:
        """Request a subscription. Returns whether it was granted at once."""
        self._capacity.want(self._subscription, None)
        return self._subscription.held

    def speaking(self) -> bool:
        """Speech has begun: request a slot. Returns whether the publisher has one."""
        if not self._released:
            self._capacity.want(self._subscription, self._slot)
        return self._slot.held

    def silent(self) -> None:
        """Speech has ended: others may get the slot."""
        if not self._released:
            self._capacity.pause(self._subscription, self._slot)

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
    """Shares slots and subscriptions between the calls, and sets the `interval` between captions.

    `audio`: the budget of buffered audio, set to a share of the memory limit. `read` and `read_descriptors` are called once at
    first, and then about once a second by `watch`; without `read_descriptors` descriptors are unlimited. `release` returns free
    memory to the system. `engine_capacity`: how many speakers the speech-to-text engines can serve, None if that is not known.
    """

    def __init__(
        self,
        *,
        audio: AudioBudget | None = None,
        read: Callable[[], MemoryReading] | None = None,
        read_descriptors: Callable[[], DescriptorReading] | None = None,
        release: Callable[[], None] = release_free_memory,
        engine_capacity: Callable[[], int | None] = _unknown,
    ) -> None:
        self.interval = CaptionInterval()
        self._audio = audio
        self._read_memory = read or MemoryMeter.of_this_process().read
        self._read_descriptors = read_descriptors or _unlimited
        self._release_memory = release
        self._engine_capacity = engine_capacity
        self._released_at = float("-inf")
        self._slots = FairShares(sys.maxsize, SLOT_RULES)
        self._subscriptions = FairShares(MAX_SUBSCRIPTIONS, SUBSCRIPTION_RULES)
        self._memory = MemoryAdmission()
        self._descriptors = DescriptorAdmission()
        self._reading = MemoryReading(0)
        self.observe(float("-inf"))

    def limit(self, max_speakers: int, max_memory_mb: int) -> None:
        """Apply new settings; conditions follow within a second."""
        self._memory.max_memory = max_memory_mb << 20
        self._slots.limit = max_speakers
        self._subscriptions.limit = max(MAX_SUBSCRIPTIONS, max_speakers)

    async def watch(self) -> None:
        """Read memory, measure lag and share the units until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self.observe(loop.time())
            if self._memory.is_short and loop.time() - self._released_at >= RELEASE_S:
                self._released_at = loop.time()
                await asyncio.to_thread(self._release_memory)
                self.observe(loop.time())
            for _ in range(CHECKS_PER_READING):
                due = loop.time() + LAG_S
                await asyncio.sleep(LAG_S)
                self.interval.observe(loop.time() - due)
                self._share_slots(loop.time())
                self._share_subscriptions(loop.time())

    def require_call(self) -> None:
        """Reserve the descriptors of a further call. Raises OutOfDescriptors."""
        self._descriptors.require_call(self._now())

    # Claims.

    def claims(self, call: str, on_subscription: Callable[[], None]) -> PublisherClaims:
        """For one publisher of a call."""
        return PublisherClaims(self, call, on_subscription)

    def expect_back(self, call: str) -> None:
        """The call's publishers get new session ids: void their claims, and reserve their units for the call's next claims."""
        now = self._now()
        self._slots.keep_all(call, now)
        self._subscriptions.keep_all(call, now)

    def want(self, subscription: Claim, slot: Claim | None) -> None:
        now = self._now()
        self._subscriptions.want(subscription, now)
        if slot is None:
            self._share_subscriptions(now)
        else:
            self._slots.want(slot, now)
            self._share_slots(now)

    def pause(self, subscription: Claim, slot: Claim) -> None:
        now = self._now()
        self._subscriptions.pause(subscription, now)
        self._slots.pause(slot, now)

    def lost(self, slot: Claim) -> None:
        self._slots.forsake(slot)

    def release(self, subscription: Claim, slot: Claim, *, keep: bool) -> None:
        for shares, claim in ((self._subscriptions, subscription), (self._slots, slot)):
            if keep:
                shares.keep(claim, self._now())
            else:
                shares.drop(claim)
            claim.changed = None

    def _share_slots(self, now: float) -> None:
        if not self._slots.waiting:
            return
        before = self._slots.held
        room = self._memory.room(SLOT_BYTES, now)
        if (most := self._engine_capacity()) is not None:
            room = min(room, most - before)
        changed = self._slots.decide(now, room)
        self._memory.promise((self._slots.held - before) * SLOT_BYTES, now)
        _notify(changed)

    def _share_subscriptions(self, now: float) -> None:
        if not self._subscriptions.waiting:
            return
        before = self._subscriptions.held
        room = min(self._memory.room(SUBSCRIPTION_BYTES, now), self._descriptors.room(SPEAKER_DESCRIPTORS, now))
        changed = self._subscriptions.decide(now, room)
        added = self._subscriptions.held - before
        self._memory.promise(added * SUBSCRIPTION_BYTES, now)
        self._descriptors.promise(added * SPEAKER_DESCRIPTORS, now)
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
        silent = untranscribed(waiting) if waiting else ""
        found = self._memory.shortages(silent)
        engine = self._engine_capacity()
        if not found and waiting and engine is not None and engine < self._slots.limit:
            found = (
                Condition.of(
                    "speakers",
                    "The speech-to-text engines can transcribe {limit} speakers at the same time.",
                    "Give the app more CPU cores, or configure a speech-to-text server.",
                    addition=silent,
                    limit=str(engine),
                ),
            )
        elif not found and waiting:
            found = (
                Condition.of(
                    "speakers",
                    "All {limit} speech-to-text streams are in use.",
                    "Raise the maximum number of speakers in the settings if this machine can do more.",
                    addition=silent,
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
        return (*self._descriptors.shortages(self._now()), *found, *self.interval.shortages())

    def memory(self) -> MemoryStatus:
        bound = self._memory.tightest
        if bound is None:
            return MemoryStatus(self._reading.resident)
        return MemoryStatus(self._reading.resident, bound.used, bound.limit, bound.source.value)

    def load(self) -> LoadStatus:
        return LoadStatus(self.interval.lag_s, self.interval.stretch)

    def observe(self, now: float) -> None:
        self._reading = self._read_memory()
        self._memory.observe(self._reading, now)
        self._descriptors.observe(self._read_descriptors())
        if self._audio is not None:
            self._audio.limit_bytes = budget_within(self._memory.memory_limit)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _unlimited() -> DescriptorReading:
    return DescriptorReading(0, None)


def _notify(changed: list[Claim]) -> None:
    for claim in changed:
        if claim.changed is not None:
            claim.changed()
