# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The SFU of the receive benchmarks: `python -m bench.media.generator`. Sends to all peers in one schedule, spread over 20 ms.

Commands (JSON lines; a peer's name is `group-number`):

- `offer {peer}`: answered with the line `offer {peer, sid, sdp}`; a peer of that name that was there is closed.
- `answer {peer, sdp}`
- `prepare {programs}`: encode them now.
- `play {group, first, count, program, endless, impairment}`: each peer from another place of an endless program, and with a
  seed of its own. `hush {group}` ends it, `touch` sends one packet of silence to each peer that plays nothing.
- `report {group}`: what was sent since the last report, and how late; `detail` for each peer.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from functools import partial
from typing import Any

from bench.media.lines import commands, emit
from bench.media.programs import Program, program
from bench.media.sender import Playback, Sender, tails
from sandbox import loopback_ice
from sandbox.sfu import ImpairedPath, Impairment
from sandbox.sfu.certificate import SfuCertificate

SLOT_S = 0.002
SLOTS = 10
#: Steps between the places at which two neighbours begin; a prime.
_STRIDE = 997


class Generator:
    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._certificate = SfuCertificate.of_kind("ecdsa")
        self._senders: dict[str, Sender] = {}
        self._programs: dict[str, Program] = {}
        self._tails: dict[tuple[str, int | None], list[bytes | None]] = {}
        self._slots: list[list[Sender]] = [[] for _ in range(SLOTS)]
        self._late: list[tuple[float, int, Sender, bytes]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._slot = 0
        self._due = 0.0
        self._lateness: list[float] = []

    async def obey(self, command: dict[str, Any]) -> dict[str, Any] | None:
        match command["do"]:
            case "offer":
                await self._offer(command["peer"])
            case "answer":
                self._senders[command["peer"]].answer(command["sdp"], self._tasks)
            case "prepare":
                for name in command["programs"]:
                    self._program(name)
            case "play":
                self._play(command)
            case "hush":
                for sender in self._group(command["group"]):
                    sender.playback = None
                self._arrange()
            case "touch":
                self._touch()
            case "report":
                return self._report(command)
        return {}

    async def close(self) -> None:
        for sender in self._senders.values():
            await sender.close()

    def _group(self, group: str) -> list[Sender]:
        return [sender for name, sender in self._senders.items() if name.startswith(f"{group}-")]

    async def _offer(self, peer: str) -> None:
        before = self._senders.get(peer)
        sender = self._senders[peer] = Sender(self._certificate)
        if before is not None:
            sender.playback = before.playback
            self._arrange()
            await before.close()
        emit(do="offer", peer=peer, sid=sender.sid, sdp=await sender.offer())

    def _play(self, command: dict[str, Any]) -> None:
        name, first, count = command["program"], command.get("first", 0), command["count"]
        endless = command.get("endless", True)
        steps = self._program(name)
        for number in range(first, first + count):
            sender = self._senders[f"{command['group']}-{number}"]
            impairment = Impairment(**({"seed": number + 1} | command.get("impairment", {})))
            sender.playback = Playback(
                partial(self._ready, name),
                len(steps),
                number * _STRIDE % len(steps) if endless else 0,
                endless,
                ImpairedPath(impairment),
            )
        self._arrange()

    def _ready(self, name: str, level_id: int | None) -> list[bytes | None]:
        key = (name, level_id)
        if key not in self._tails:
            self._tails[key] = tails(self._program(name), level_id)
        return self._tails[key]

    def _program(self, name: str) -> Program:
        """Encoded at its first use, during which nothing is sent."""
        if name not in self._programs:
            self._programs[name] = program(name)
        return self._programs[name]

    def _touch(self) -> None:
        for sender in self._senders.values():
            if sender.playback is None and sender.connected:
                tail = self._ready("silence", sender.level_id)[0]
                assert tail is not None
                sender.send(sender.datagram(tail))

    def _arrange(self) -> None:
        """Who plays is spread over the slots evenly."""
        playing = [sender for sender in self._senders.values() if sender.playback is not None]
        self._slots = [playing[number::SLOTS] for number in range(SLOTS)]
        if playing and self._timer is None:
            self._due = self._loop.time()
            self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        """One slot. Deadlines are absolute: what is late is sent at once, and nothing is left out."""
        now = self._loop.time()
        late = self._late
        while late and late[0][0] <= now:
            _, _, sender, datagram = heapq.heappop(late)
            sender.send(datagram)
        slot = self._slots[self._slot]
        if slot:
            self._lateness.append(now - self._due)
            for sender in slot:
                step = sender.step()
                if step is None:
                    continue
                datagram, delay_s = step
                if delay_s > 0:
                    # Counted from when it was due: a late schedule must not shuffle what it catches up with.
                    heapq.heappush(late, (self._due + delay_s, next(self._order), sender, datagram))
                else:
                    sender.send(datagram)
        self._timer = None
        if late or any(self._slots):
            self._next_slot()
            while not late and not self._slots[self._slot]:
                self._next_slot()
            self._timer = self._loop.call_at(self._due, self._tick)

    def _next_slot(self) -> None:
        self._slot = (self._slot + 1) % SLOTS
        self._due += SLOT_S

    def _report(self, command: dict[str, Any]) -> dict[str, Any]:
        senders = {name: sender for name, sender in self._senders.items() if name.startswith(command.get("group", ""))}
        playing = {name: sender.playback for name, sender in senders.items() if sender.playback is not None}
        ordered, self._lateness = sorted(self._lateness), []
        report: dict[str, Any] = {
            "at": time.monotonic(),
            "cpu_s": time.process_time(),
            "connected": sum(sender.connected for sender in senders.values()),
            "sent": sum(playback.sent for playback in playing.values()),
            "lost": sum(playback.path.lost for playback in playing.values()),
            "playing": sum(not playback.over for playback in playing.values()) + len(self._late),
            "late_p95_ms": round(ordered[int(len(ordered) * 0.95)] * 1000, 2) if ordered else 0.0,
            "late_max_ms": round(ordered[-1] * 1000, 2) if ordered else 0.0,
        }
        if command.get("detail"):
            report["peers"] = {
                name: {"steps": playback.position, "sent": playback.sent, "lost": playback.path.lost}
                for name, playback in playing.items()
            }
        return report


async def main() -> None:
    loopback_ice.install()
    async with asyncio.TaskGroup() as tasks:
        generator = Generator(tasks)
        async for command in commands():
            if command["do"] == "end":
                break
            answer = await generator.obey(command)
            if "id" in command:
                emit(id=command["id"], **(answer or {}))
        await generator.close()


if __name__ == "__main__":
    asyncio.run(main())
