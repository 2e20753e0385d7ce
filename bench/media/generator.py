# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The SFU of the receive benchmarks: `python -m bench.media.generator`. Sends to all peers in one schedule, spread over 20 ms.

Commands (`bench.common`; a peer's name is `group-number`):

- `offer {peer}`: comes as the news `offer {peer, sid, sdp}`; a peer of that name that was there is closed.
- `answer {peer, sdp}`
- `prepare {programs}`: encode them now.
- `play {group, first, count, program, endless, impairment}`: each peer from another place of an endless program, and with a
  seed of its own. `hush {group}` ends it, `touch` sends one packet of silence to each peer that plays nothing.
- `report {group}`: the packets sent since the last report, and how late; `detail` for each peer.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from functools import partial
from typing import Any

from bench.common.figures import percentile
from bench.common.json_lines import Commands, obey, tell
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
        self.commands: Commands = {
            "offer": self._offer,
            "answer": self._answer,
            "prepare": self._prepare,
            "play": self._play,
            "hush": self._hush,
            "touch": self._touch,
            "report": self._report,
        }

    async def _answer(self, peer: str, sdp: str) -> None:
        self._senders[peer].answer(sdp, self._tasks)

    async def _prepare(self, programs: list[str]) -> None:
        for name in programs:
            self._program(name)

    async def _hush(self, group: str) -> None:
        for sender in self._group(group):
            sender.playback = None
        self._arrange()

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
        tell("offer", peer=peer, sid=sender.sid, sdp=await sender.offer())

    async def _play(
        self,
        group: str,
        program: str,
        count: int,
        first: int = 0,
        impairment: dict[str, Any] | None = None,
        *,
        endless: bool = True,
    ) -> None:
        steps = self._program(program)
        for number in range(first, first + count):
            self._senders[f"{group}-{number}"].playback = Playback(
                partial(self._ready, program),
                len(steps),
                number * _STRIDE % len(steps) if endless else 0,
                endless,
                ImpairedPath(Impairment(**({"seed": number + 1} | (impairment or {})))),
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

    async def _touch(self) -> None:
        for sender in self._senders.values():
            if sender.playback is None and sender.connected:
                tail = self._ready("silence", sender.level_id)[0]
                assert tail is not None
                sender.send(sender.datagram(tail))

    def _arrange(self) -> None:
        """Spread the playing publishers evenly over the slots."""
        playing = [sender for sender in self._senders.values() if sender.playback is not None]
        self._slots = [playing[number::SLOTS] for number in range(SLOTS)]
        if playing and self._timer is None:
            self._due = self._loop.time()
            self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        """Send one slot. Deadlines are absolute: late packets are sent at once, and none is left out."""
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

    async def _report(self, group: str = "", *, detail: bool = False) -> dict[str, Any]:
        senders = {name: sender for name, sender in self._senders.items() if name.startswith(group)}
        playing = {name: sender.playback for name, sender in senders.items() if sender.playback is not None}
        lateness, self._lateness = self._lateness, []
        report: dict[str, Any] = {
            "at": time.monotonic(),
            "cpu_s": time.process_time(),
            "connected": sum(sender.connected for sender in senders.values()),
            "sent": sum(playback.sent for playback in playing.values()),
            "lost": sum(playback.path.lost for playback in playing.values()),
            "playing": sum(not playback.over for playback in playing.values()) + len(self._late),
            "late_p95_ms": round((percentile(lateness, 0.95) or 0.0) * 1000, 2),
            "late_max_ms": round(max(lateness, default=0.0) * 1000, 2),
        }
        if detail:
            report["peers"] = {
                name: {"steps": playback.position, "sent": playback.sent, "lost": playback.path.lost}
                for name, playback in playing.items()
            }
        return report


async def main() -> None:
    loopback_ice.install()
    async with asyncio.TaskGroup() as tasks:
        generator = Generator(tasks)
        await obey(generator.commands)
        await generator.close()


if __name__ == "__main__":
    asyncio.run(main())
