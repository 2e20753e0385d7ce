# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The cost of a caption per reader, and of a participant's event, does not depend on the size of the room.

Counted in bytecode instructions, so that a slow machine changes nothing. `bench/events.py` measures the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

import pytest

from live_transcription.call.delivery import CaptionDelivery
from live_transcription.call.publishers import Publishers
from live_transcription.call.roster import Roster
from live_transcription.call.targets import Targets
from live_transcription.capacity.watch import Capacity
from live_transcription.signaling.events import (
    InCall,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
)
from live_transcription.signaling.protocol import SignalingProtocol
from live_transcription.types import Caption
from live_transcription.webrtc.offer_requests import OfferRequests
from sandbox import virtual_clock
from tests.fakes.call import CONFIG, FakeChannel, Machine, Speakers
from tests.fakes.stt import FakeBackend
from tests.unit.signaling.golden import hello_reply, protocol, room_reply, sent

TALKING = InCall.IN_CALL | InCall.WITH_AUDIO


def instructions(work: Callable[[], object]) -> int:
    """Bytecode instructions that this call executes."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    # Python 3.12 reports instructions only if a frame has asked for them before tracing starts.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def in_room(*features: str) -> SignalingProtocol:
    session = protocol(outbox_limit=10_000)
    welcome = {"type": "welcome", "welcome": {"version": "2.0.2", "features": ["mcu", *features]}}
    session.connected(0.0)
    session.receive_text(json.dumps(welcome), 0.0)
    session.permit_hello(0.0)
    session.receive_text(hello_reply(sent(session)[0]["id"], features=json.dumps(["mcu", *features])), 0.0)
    session.receive_text(room_reply(sent(session)[0]["id"]), 0.0)
    assert session.in_room
    return session


def person(number: int, flags: InCall = TALKING) -> Participant:
    return Participant(f"s{number}", nextcloud_session_id=f"nc{number}", user_id=f"user-{number}", in_call=flags)


def caption_instructions(participants: int, readers: int, *features: str) -> float:
    """Per reader, from the delivery to the frames that leave the outbox."""

    async def run() -> float:
        session, targets = in_room(*features), Targets(Roster())
        targets.reset(0.0, recipient_call="recipient-call" in features)
        targets.apply(ParticipantsJoined(tuple(person(number) for number in range(participants))), 0.0)
        for number in range(readers):
            targets.add(f"nc{number}", f"user-{number}", 0.0)
        delivery = CaptionDelivery(session, targets, on_sent=lambda _: None)
        speaker = f"s{participants - 1}"

        def speak() -> None:
            delivery.add(Caption(speaker, "A sentence of several words.", "en"))
            while session.next_frame() is not None:
                pass

        # The second message comes when the interval after the first one is over.
        speak()
        session.outbox.clear()
        await asyncio.sleep(10)
        cost = instructions(speak) / readers
        assert session.outbox.in_flight == (1 if features else readers - (participants == readers))
        delivery.close()
        return cost

    return virtual_clock.run(run())


@pytest.mark.parametrize("features", [(), ("recipient-call",)])
def test_a_caption_costs_as_much_per_reader_in_a_large_room(features: Sequence[str]) -> None:
    small = caption_instructions(50, 50, *features)
    large = caption_instructions(1000, 500, *features)
    assert large <= 1.5 * small


class RoomOfPublishers:
    """The parts of a call that a participant's event goes through."""

    def __init__(self, tasks: asyncio.TaskGroup, capacity: Capacity) -> None:
        self.roster = Roster()
        self.targets = Targets(self.roster)
        self.delivery = CaptionDelivery(in_room(), self.targets, on_sent=lambda _: None)
        self.speakers = Speakers()
        self.publishers = Publishers("room", self.roster, self.targets, self.delivery, capacity, self._new_speaker)
        self.publishers.start(tasks)
        self.apply(ParticipantsJoined((Participant("listener", nextcloud_session_id="nc-listener"),)))
        self.targets.add("nc-listener", None, 0.0)

    def apply(self, event: ParticipantsJoined | ParticipantsUpdated | ParticipantsLeft) -> None:
        self.targets.apply(event, 0.0)
        self.publishers.review()

    def _new_speaker(self, session_id: str, claims: Any, requests: OfferRequests, on_unavailable: Any) -> Any:
        channel = FakeChannel(self, session_id)  # type: ignore[arg-type]
        return self.speakers(
            session_id,
            "en",
            CONFIG,
            FakeBackend(),
            channel=channel,
            on_caption=self.delivery.add,
            requests=requests,
            slot=claims,
        )


@contextlib.asynccontextmanager
async def room_of_publishers(machine: Machine) -> AsyncIterator[RoomOfPublishers]:
    async with asyncio.TaskGroup() as tasks:
        room = RoomOfPublishers(tasks, machine.capacity)
        yield room
        await room.publishers.end(0.0)
        room.publishers.close(returning=False)
        room.delivery.close()


def test_an_event_costs_as_much_in_a_large_room() -> None:
    """Joins, updates, flags and leaves. Memory is full, so that the cost of speakers does not count."""

    async def cost(size: int) -> dict[str, int]:
        async with room_of_publishers(Machine(used_mb=990)) as room:
            room.apply(ParticipantsUpdated(tuple(person(number) for number in range(size))))
            for number in range(0, size, 10):
                room.targets.add(f"nc{number}", f"user-{number}", 0.0)
            room.publishers.review()
            found = {
                "join": ParticipantsJoined((person(-1, InCall.DISCONNECTED),)),
                "microphone on": ParticipantsUpdated((person(-1),)),
                "unchanged": ParticipantsUpdated((person(-1),)),
                "microphone off": ParticipantsUpdated((person(-1, InCall.IN_CALL),)),
                "a reader's flag": ParticipantsUpdated((person(0, InCall.IN_CALL),)),
                "leave": ParticipantsLeft(("s-1",)),
                "a reader's leave": ParticipantsLeft(("s10",)),
            }
            assert len(room.roster.publishers()) == size
            return {name: instructions(partial(room.apply, event)) for name, event in found.items()}

    async def run() -> None:
        small, large = await cost(100), await cost(2000)
        for name, instructions_in_small in small.items():
            assert large[name] <= 1.5 * instructions_in_small, name

    virtual_clock.run(run())


def test_a_speaker_costs_as_much_among_many_speakers() -> None:
    """One that comes, speaks and leaves while hundreds of microphones are subscribed to, and after hundreds have left."""

    async def cost(size: int) -> dict[str, int]:
        speakers = range(10, 10 + size)
        async with room_of_publishers(Machine()) as room:
            for number in speakers:
                room.apply(ParticipantsUpdated((person(number),)))
                room.publishers.answered(f"s{number}")
            await asyncio.sleep(1)
            assert room.publishers.connected == size
            found = {
                "join": instructions(lambda: room.apply(ParticipantsUpdated((person(-1),)))),
                "caption": instructions(lambda: room.delivery.add(Caption("s-1", "A word.", "en"))),
            }
            for number in speakers:
                room.apply(ParticipantsLeft((f"s{number}",)))
            found["leave"] = instructions(lambda: room.apply(ParticipantsLeft(("s-1",))))
            return found

    async def run() -> None:
        small, large = await cost(10), await cost(300)
        for name, instructions_in_small in small.items():
            assert large[name] <= 1.5 * instructions_in_small, name

    virtual_clock.run(run())


def test_a_leave_costs_as_much_after_many_offers() -> None:
    def cost(size: int) -> int:
        session = in_room()
        for number in range(size):
            session.channel(f"s{number}").request_offer()
            sent(session)
        leave = json.dumps({"type": "event", "event": {"target": "room", "type": "leave", "leave": ["s1"]}})
        return instructions(lambda: session.receive_text(leave, 1.0))

    assert cost(500) <= 1.5 * cost(10)


def test_an_event_copies_no_index_of_the_room() -> None:
    """A copy is one instruction, whatever its size, but takes memory. Even a list of all sessions takes 16 kB."""

    async def run() -> None:
        async with room_of_publishers(Machine(used_mb=990)) as room:
            room.apply(ParticipantsUpdated(tuple(person(number) for number in range(2000))))
            room.targets.add("nc2", None, 0.0)
            room.publishers.review()
            for event in (
                ParticipantsJoined((person(-1),)),
                ParticipantsUpdated((person(5, InCall.IN_CALL),)),
                ParticipantsLeft(("s-1",)),
            ):
                assert most_memory(partial(room.apply, event)) < 12_000, event
            assert len(room.roster.publishers()) == 1999

    virtual_clock.run(run())


def most_memory(work: Callable[[], object]) -> int:
    """The most memory in bytes that `work` takes at any moment."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_translated_segment_costs_as_much_per_reader_in_a_large_room_with_many_languages() -> None:
    """Each language has 20 readers."""

    async def cost(languages: int) -> float:
        session, targets = in_room(), Targets(Roster())
        targets.reset(0.0)
        readers = 20 * languages
        targets.apply(ParticipantsJoined(tuple(person(number) for number in range(readers + 1))), 0.0)
        delivery = CaptionDelivery(session, targets, on_sent=lambda _: None)
        for number in range(readers):
            targets.add(f"nc{number}", f"user-{number}", 0.0)
            delivery.translate(f"nc{number}", f"l{number % languages}")

        def speak() -> None:
            delivery.translated.add(Caption(f"s{readers}", "A sentence of several words.", "en"))
            while session.next_frame() is not None:
                pass

        speak()
        session.outbox.clear()
        found = instructions(speak) / readers
        assert session.outbox.in_flight == readers
        delivery.close()
        return found

    async def run() -> None:
        assert await cost(40) <= 1.5 * await cost(4)

    virtual_clock.run(run())
