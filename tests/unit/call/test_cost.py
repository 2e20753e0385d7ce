# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The cost of a caption per reader, and of a participant's event, does not depend on the size of the room.

Counted in bytecode instructions, so that a slow machine changes nothing. `bench/events.py` measures the time.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from itertools import count
from types import FrameType
from typing import Any

import pytest

from live_transcription.call.call import Call
from live_transcription.call.delivery import CaptionDelivery
from live_transcription.call.roster import Roster
from live_transcription.call.targets import Targets
from live_transcription.signaling.events import (
    InCall,
    OfferReceived,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
    SignalingEvent,
)
from live_transcription.signaling.protocol import SignalingProtocol
from live_transcription.speaker.speaker import Speaker
from live_transcription.types import Caption
from sandbox import virtual_clock
from tests.unit.call.test_call import Machine, joined
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


async def caption_instructions(participants: int, readers: int, *features: str) -> float:
    """Per reader, from the delivery to the frames that leave the outbox."""
    session, targets = in_room(*features), Targets(Roster())
    targets.reset(0.0, recipient_call="recipient-call" in features)
    targets.apply(ParticipantsJoined(tuple(person(number) for number in range(participants))), 0.0)
    for number in range(readers):
        targets.add(f"nc{number}", f"user-{number}", 0.0)
    delivery = CaptionDelivery(session, targets, on_sent=lambda _: None)
    # Each look at the clock is later than a message has to wait for the one before.
    clock = count(10.0, 10.0)
    delivery._now = clock.__next__  # type: ignore[method-assign]
    speaker = f"s{participants - 1}"

    def speak() -> None:
        delivery.offer(Caption(speaker, "A sentence of several words.", "en"))
        while (frame := session.next_frame()) is not None:
            session.outbox.sent(frame)

    speak()
    session.outbox.clear()
    cost = instructions(speak) / readers
    frames = session.outbox.unproved_count
    assert frames == (1 if features else readers - (participants == readers))
    delivery.close()
    return cost


@pytest.mark.parametrize("features", [(), ("recipient-call",)])
async def test_a_caption_costs_as_much_per_reader_in_a_large_room(features: Sequence[str]) -> None:
    small = await caption_instructions(50, 50, *features)
    large = await caption_instructions(1000, 500, *features)
    assert large <= 1.5 * small


def test_an_event_costs_as_much_in_a_large_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joins, updates, flags and leaves: memory is full, so that the cost of speakers does not count."""

    async def cost(size: int) -> dict[str, int]:
        async with joined(monkeypatch, sharing=Machine(used_mb=990).capacity) as call:
            call._take(ParticipantsUpdated(tuple(person(number) for number in range(size))))
            for number in range(0, size, 10):
                call.add_target(f"nc{number}", f"user-{number}")
            found = {
                "join": ParticipantsJoined((person(-1, InCall.DISCONNECTED),)),
                "microphone on": ParticipantsUpdated((person(-1),)),
                "unchanged": ParticipantsUpdated((person(-1),)),
                "microphone off": ParticipantsUpdated((person(-1, InCall.IN_CALL),)),
                "a reader's flag": ParticipantsUpdated((person(0, InCall.IN_CALL),)),
                "leave": ParticipantsLeft(("s-1",)),
                "a reader's leave": ParticipantsLeft(("s10",)),
            }
            assert len(call._offers.known) == size
            return {name: take(call, event) for name, event in found.items()}

    def take(call: Call, event: SignalingEvent) -> int:
        return instructions(lambda: call._take(event))

    async def run() -> None:
        small, large = await cost(100), await cost(2000)
        for name, instructions_in_small in small.items():
            assert large[name] <= 1.5 * instructions_in_small, name

    virtual_clock.run(run())


def test_a_speaker_costs_as_much_among_many_speakers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes, speaks and goes while hundreds of microphones are subscribed to, and after hundreds have left."""

    async def stay(speaker: Speaker) -> None:
        await speaker._ending.wait()

    monkeypatch.setattr(Speaker, "run", stay)

    async def cost(size: int) -> dict[str, int]:
        speakers = range(10, 10 + size)
        async with joined(monkeypatch, sharing=Machine().capacity) as call:
            for number in speakers:
                call._take(ParticipantsUpdated((person(number),)))
                call._take(OfferReceived(f"s{number}", "video", "1", "not SDP"))
            await asyncio.sleep(1)
            assert call.speaker_count == size
            found = {
                "join": instructions(lambda: call._take(ParticipantsUpdated((person(-1),)))),
                "caption": instructions(lambda: call._delivery.offer(Caption("s-1", "A word.", "en"))),
            }
            for number in speakers:
                call._take(ParticipantsLeft((f"s{number}",)))
            found["leave"] = instructions(lambda: call._take(ParticipantsLeft(("s-1",))))
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
            session.request_offer(f"s{number}", "video")
            sent(session)
        leave = json.dumps({"type": "event", "event": {"target": "room", "type": "leave", "leave": ["s1"]}})
        return instructions(lambda: session.receive_text(leave, 1.0))

    assert cost(500) <= 1.5 * cost(10)


def test_an_event_copies_no_index_of_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy is one instruction, whatever its size."""

    async def run() -> None:
        async with joined(monkeypatch, sharing=Machine(used_mb=990).capacity) as call:
            call._take(ParticipantsUpdated(tuple(person(number) for number in range(2000))))
            call.add_target("nc2", None)
            roster = call._roster
            monkeypatch.setattr(Roster, "__iter__", lambda _: pytest.fail("all participants are walked"))
            monkeypatch.setattr(roster, "_participants", Watched(roster._participants))
            monkeypatch.setattr(roster, "_publishers", Watched(roster._publishers))
            call._take(ParticipantsJoined((person(-1),)))
            call._take(ParticipantsUpdated((person(5, InCall.IN_CALL),)))
            call._take(ParticipantsLeft(("s-1",)))
            assert len(call._offers.known) == 1999

    virtual_clock.run(run())


class Watched(dict[Any, Any]):
    def __iter__(self) -> Any:
        pytest.fail("a whole index is walked")

    def values(self) -> Any:
        pytest.fail("a whole index is walked")

    def items(self) -> Any:
        pytest.fail("a whole index is walked")
