# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Event loop time of captions, participants' events and large rooms: `python -m bench.events [--rounds N]`.

- Captions from the call's delivery to the frames in the outbox, in rooms of several sizes, with and without `recipient-call`.
- Joins, in-call flags and leaves one by one, from the HPB's frames to the call's decision about speakers (none is started).
- A `participants/update` of a large room: the longest time without a turn for other tasks, and the total time.
- A server that sends frames of 4 MB to a stalled call: growth of the process, and octets in the call's queue.

CPU time of this process, the best of several rounds; ratios are of one run. Prints tables and writes `build/bench/events.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from websockets.asyncio.server import ServerConnection

from bench.common.child_process import Child
from bench.common.json_lines import obey
from bench.common.machine import service_facts
from bench.common.results import Target, table, write
from bench.common.websocket_server import websocket_server
from live_transcription.call.delivery import CaptionDelivery
from live_transcription.call.publishers import Publishers
from live_transcription.call.roster import Roster
from live_transcription.call.targets import Targets
from live_transcription.capacity.memory import MemoryBound, MemoryReading, MemorySource
from live_transcription.capacity.watch import Capacity
from live_transcription.config import HpbConfig
from live_transcription.signaling.connection import SignalingConnection
from live_transcription.signaling.event_queue import EventQueue
from live_transcription.signaling.events import ParticipantsJoined, ParticipantsLeft, ParticipantsUpdated, SignalingEvent
from live_transcription.signaling.hello_guard import HelloGuard
from live_transcription.signaling.protocol import SignalingProtocol
from live_transcription.types import Caption, Secret

ROOM = "room"
ROOMS = ((50, 50), (200, 200), (1_000, 500))
JOINS = 2_000
LARGE_ROOM = 10_000
FLOOD_S = 8.0
FLOOD_FRAME = 4_000_000
#: Talk's and the HPB's session ids are that long at most.
_ID = 255
_MB = 1e6
CONFIG = HpbConfig("ws://127.0.0.1:9", Secret("secret"), "https://cloud.example.com")


# Frames of the HPB.


def session(number: int) -> str:
    return f"{number:06d}".ljust(_ID, "s")


def event(target: str, kind: str, body: Any) -> str:
    return json.dumps({"type": "event", "event": {"target": target, "type": kind, kind: body}}, separators=(",", ":"))


def join(number: int) -> str:
    entry = {"sessionid": session(number), "roomsessionid": f"nc{number}".ljust(_ID, "n"), "userid": f"user-{number}"}
    return event("room", "join", [entry])


def update(numbers: Sequence[int], flags: int) -> str:
    users = [
        {
            "inCall": flags,
            "lastPing": 1_760_000_000,
            "sessionId": session(number),
            "nextcloudSessionId": f"nc{number}".ljust(_ID, "n"),
            "participantPermissions": 254,
            "participantType": 3,
            "userId": f"user-{number}",
            "actorType": "users",
            "actorId": f"user-{number}",
            "displayName": f"Participant {number}",
        }
        for number in numbers
    ]
    return event("participants", "update", {"roomid": ROOM, "users": users})


def leave(number: int) -> str:
    return event("room", "leave", [session(number)])


WELCOME = json.dumps({"type": "welcome", "welcome": {"version": "2.0.2", "features": ["mcu", "recipient-call"]}})


def answer(frame: dict[str, Any], features: Sequence[str]) -> str:
    """The HPB's answers to hello, room and bye."""
    body: dict[str, Any] = {}
    if frame["type"] == "hello":
        server = {"version": "2.0.2", "features": list(features)}
        body = {"version": "2.0", "sessionid": "own", "resumeid": "resume", "server": server}
    elif frame["type"] == "room":
        body = {"roomid": ROOM}
    return json.dumps({"id": frame["id"], "type": frame["type"], frame["type"]: body})


def in_room(*features: str) -> SignalingProtocol:
    protocol = SignalingProtocol(CONFIG, ROOM, outbox_limit=10_000)
    protocol.connected(0.0)
    protocol.receive_text(json.dumps({"type": "welcome", "welcome": {"version": "2.0.2", "features": ["mcu", *features]}}), 0.0)
    protocol.permit_hello(0.0)
    while (frame := protocol.next_frame()) is not None:
        protocol.receive_text(answer(json.loads(frame.text), ["mcu", *features]), 0.0)
    assert protocol.in_room
    protocol.take_events()
    return protocol


def best(rounds: int, work: Callable[[], object]) -> float:
    """CPU seconds."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


# Captions.


async def caption_cost(participants: int, readers: int, rounds: int, *features: str) -> float:
    """CPU seconds per caption, including taking its frames from the outbox."""
    protocol, targets = in_room(*features), Targets(Roster())
    targets.reset(0.0, recipient_call="recipient-call" in features)
    for number in range(participants):
        for frame in (join(number), update([number], 3)):
            protocol.receive_text(frame, 0.0)
            for found in protocol.take_events():
                targets.apply(found, 0.0)
    for number in range(readers):
        targets.add(f"nc{number}".ljust(_ID, "n"), f"user-{number}", 0.0)
    delivery = CaptionDelivery(protocol, targets, on_sent=_ignore)
    # Each look at the clock is later than a message has to wait for the previous one.
    clock = itertools.count(10.0, 10.0)
    delivery._now = clock.__next__  # type: ignore[method-assign]
    times = 20

    def speak() -> None:
        for _ in range(times):
            delivery.add(Caption(session(participants - 1), "A sentence of several words, as they are.", "en"))
            while protocol.next_frame() is not None:
                pass
            if (number := protocol.outbox.last_in_flight) is not None:
                protocol.outbox.acknowledge(number)

    cost = best(rounds, speak) / times
    delivery.close()
    return cost


async def captions(rounds: int) -> list[dict[str, Any]]:
    rows = []
    for features in ((), ("recipient-call",)):
        for participants, readers in ROOMS:
            cost = await caption_cost(participants, readers, rounds, *features)
            rows.append(
                {
                    "recipient": "call" if features else "sessions",
                    "participants": participants,
                    "readers": readers,
                    "caption_ms": round(cost * 1e3, 3),
                    "reader_us": round(cost / readers * 1e6, 3),
                }
            )
    return rows


# Participants.


class QuietRoom:
    """The part of a call that decides about speakers, with one reader. It starts no speaker, since memory is full."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.roster = Roster()
        self._targets = Targets(self.roster)
        self._targets.reset(0.0, own_session_id="own")
        self._delivery = CaptionDelivery(in_room(), self._targets, on_sent=_ignore)
        capacity = Capacity(read=_full)
        self._publishers = Publishers(ROOM, self.roster, self._targets, self._delivery, capacity, _no_speaker)
        self._publishers.start(tasks)
        self._targets.add("reader", None, 0.0)

    def apply(self, event: SignalingEvent) -> None:
        if isinstance(event, ParticipantsJoined | ParticipantsUpdated | ParticipantsLeft):
            self._targets.apply(event, 0.0)
            self._publishers.review()

    def close(self) -> None:
        self._publishers.close(returning=False)
        self._delivery.close()


@contextlib.asynccontextmanager
async def quiet_room() -> AsyncIterator[QuietRoom]:
    async with asyncio.TaskGroup() as tasks:
        room = QuietRoom(tasks)
        yield room
        room.close()


def _no_speaker(*_: object) -> Any:
    raise AssertionError("memory is full, so no speaker may start")


def _full() -> MemoryReading:
    """No memory for one more publisher, so that no speaker is started."""
    return MemoryReading(1 << 30, (MemoryBound(MemorySource.CONTAINER, 1 << 30, 1 << 30),))


def _ignore(_: object) -> None:
    pass


def one_by_one(room: QuietRoom, protocol: SignalingProtocol, frames: Sequence[str]) -> float:
    """CPU seconds for all of them."""

    def receive() -> None:
        for frame in frames:
            protocol.receive_text(frame, 0.0)
            for found in protocol.take_events():
                room.apply(found)

    return best(1, receive)


async def participants(number: int, rounds: int) -> dict[str, float]:
    """CPU seconds for so many events of each kind, in a room that grows to that size, stays, and shrinks."""
    found: dict[str, list[float]] = {}
    everybody = range(number)
    reader = event("room", "join", [{"sessionid": "reader-session", "roomsessionid": "reader"}])
    for _ in range(rounds):
        async with quiet_room() as room:
            protocol = in_room()
            one_by_one(room, protocol, [reader])
            for kind, frames in (
                ("joins", [frame for n in everybody for frame in (join(n), update([n], 1))]),
                ("microphones on", [update([n], 3) for n in everybody]),
                ("unchanged", [update([n], 3) for n in everybody]),
                ("microphones off", [update([n], 1) for n in everybody]),
                ("leaves", [leave(n) for n in everybody]),
            ):
                found.setdefault(kind, []).append(one_by_one(room, protocol, frames))
    return {kind: min(values) for kind, values in found.items()}


async def large_room(number: int, rounds: int) -> dict[str, Any]:
    """Measure one update that lists all participants."""
    frame = update(range(number), 3)
    results = []
    for _ in range(rounds):
        async with quiet_room() as room:
            protocol, slices = in_room(), []
            for _ in _receive(protocol, frame, slices):
                for found in protocol.take_events():
                    room.apply(found)
            assert len(room.roster) == number
        results.append((max(slices), sum(slices)))
    return {
        "participants": number,
        "frame_mb": round(len(frame) / _MB, 2),
        "json_ms": round(best(rounds, lambda: json.loads(frame)) * 1e3, 1),
        "longest_ms": round(min(longest for longest, _ in results) * 1e3, 1),
        "all_ms": round(min(whole for _, whole in results) * 1e3, 1),
    }


def _receive(protocol: SignalingProtocol, frame: str, slices: list[float]) -> Iterator[float]:
    began = time.process_time()
    for share in protocol.receive_large(frame, 0.0):
        yield share
        slices.append(time.process_time() - began)
        began = time.process_time()


# A flood of large frames.


async def serve_flood() -> None:
    """The child process: an HPB that sends large updates to a client in the room as fast as it reads them."""
    number = FLOOD_FRAME // len(update([1], 3))
    frame = update(range(number), 3)

    async def converse(connection: ServerConnection) -> None:
        await connection.send(WELCOME)
        async for text in connection:
            request = json.loads(text)
            await connection.send(answer(request, ["mcu"]))
            while request["type"] == "room":
                await connection.send(frame)

    async with websocket_server(converse) as url:
        await obey({}, url=url)


async def flood(seconds: float) -> dict[str, Any]:
    """A call that takes no event."""
    async with Child("bench.events", "--serve-flood") as server:
        config = HpbConfig(server.greeting["url"], Secret("secret"), "https://cloud.example.com")
        queue = EventQueue()
        connection = SignalingConnection(config, ROOM, guard=HelloGuard(), event_queue=queue)
        before = _peak_mb()
        running = asyncio.create_task(connection.run())
        await asyncio.sleep(seconds)
        queued, octets = len(queue), queue.octets
        running.cancel()
        await asyncio.wait([running])
    return {
        "seconds": seconds,
        "queued_events": queued,
        "queued_mb": round(octets / _MB, 1),
        "growth_mb": round(_peak_mb() - before, 1),
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# The report.


async def measure(rounds: int, flood_s: float) -> dict[str, Any]:
    flooded = await flood(flood_s)  # first: it is measured by the highest memory use so far
    return {
        "flood": flooded,
        "captions": await captions(rounds),
        "participants": {str(number): await participants(number, rounds) for number in (JOINS // 4, JOINS)},
        "large_room": [await large_room(number, rounds) for number in (LARGE_ROOM // 10, LARGE_ROOM)],
    }


def targets_of(result: dict[str, Any]) -> list[Target]:
    def per_reader(recipient: str) -> float:
        costs = [row["reader_us"] for row in result["captions"] if row["recipient"] == recipient]
        return round(costs[-1] / costs[0], 2)

    joins = result["participants"][str(JOINS)]["joins"]
    return [
        Target("caption per reader, 1,000 x 500 to 50 x 50", per_reader("sessions"), 1.5),
        Target("the same with recipient-call", per_reader("call"), 1.5),
        Target(f"{JOINS} joins one by one", round(joins, 3), 0.3, "s"),
        Target(f"longest slice of an update of {LARGE_ROOM}", result["large_room"][-1]["longest_ms"], 50.0, "ms"),
        Target("a stalled call's queue", result["flood"]["queued_mb"], 33.6, "MB"),
    ]


def show(result: dict[str, Any]) -> None:
    columns = ("recipient", "participants", "readers", "caption_ms", "reader_us")
    print("captions: ms of CPU each, and µs per reader")
    print(table(columns, ([row[column] for column in columns] for row in result["captions"]), left=1))
    small, large = result["participants"].values()
    sizes = list(result["participants"])
    print("\nparticipants one by one: seconds of CPU for all, and the cost of one in the large room relative to the small")
    growth = int(sizes[1]) / int(sizes[0])
    rows = [(kind, f"{small[kind]:.3f}", f"{large[kind]:.3f}", f"{large[kind] / small[kind] / growth:.2f}") for kind in large]
    print(table(("event", *sizes, "ratio"), rows))
    print("\none update that lists everybody")
    columns = ("participants", "frame_mb", "json_ms", "longest_ms", "all_ms")
    print(table(columns, ([row[column] for column in columns] for row in result["large_room"])))
    print("\n4 MB frames to a stalled call")
    print(table(tuple(result["flood"]), [list(result["flood"].values())]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.events", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flood-seconds", type=float, default=FLOOD_S)
    parser.add_argument("--serve-flood", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_flood:
        asyncio.run(serve_flood())
        return 0
    machine = service_facts()
    result = asyncio.run(measure(options.rounds, options.flood_seconds))
    targets = targets_of(result)
    load = service_facts()["load_average"]
    result |= {"machine": machine, "load_average_after": load, "targets": [target.result() for target in targets]}
    path = write("events", result)
    show(result)
    print()
    for target in targets:
        print(target.row())
    print(f"load average {machine['load_average']} before, {load} after; written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
