# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Generator, receivers and speech-to-text server together, and windows of time in which their cost is measured."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from bench.common.child_process import Child
from bench.common.figures import percentile
from sandbox import process_stats

_CONNECT_S = 60.0


@dataclass(slots=True)
class Usage:
    """What a receiver took in one or more windows. `lags_s`: how late its event loop was, sampled.

    `waited_s`: how long it could have run, but the machine had no core for it. `drops`: datagrams that came to a full socket
    buffer. `sent`: packets that the generator sent to it. `heard_s`: seconds of audio that reached the speech-to-text server.
    """

    seconds: float = 0.0
    cpu_s: float = 0.0
    waited_s: float = 0.0
    lags_s: list[float] = field(default_factory=list)
    drops: int = 0
    heard_s: float = 0.0
    sent: int = 0
    generator_cpu_s: float = 0.0
    generator_late_ms: float = 0.0
    sink_cpu_s: float = 0.0

    def add(self, other: Usage) -> None:
        self.seconds += other.seconds
        self.cpu_s += other.cpu_s
        self.waited_s += other.waited_s
        self.lags_s += other.lags_s
        self.drops += other.drops
        self.heard_s += other.heard_s
        self.sent += other.sent
        self.generator_cpu_s += other.generator_cpu_s
        self.generator_late_ms = max(self.generator_late_ms, other.generator_late_ms)
        self.sink_cpu_s += other.sink_cpu_s

    @property
    def lag_max_ms(self) -> float:
        return round(max(self.lags_s, default=0.0) * 1000, 1)

    @property
    def lag_p95_ms(self) -> float:
        return round((percentile(self.lags_s, 0.95) or 0.0) * 1000, 1)


class ReceiverLate(Exception):
    """Not every peer was connected in time."""


class Rig:
    """An async context manager with one receiving process for each of `variants`.

    `receiver`: the module that a receiving process runs, with a variant's name and `--stt URL` as its arguments.
    """

    def __init__(self, variants: Sequence[str], *, receiver: str = "bench.media.receiver", stt_path: str = "") -> None:
        self.receivers: dict[str, Child] = {}
        self.peers = Counter[str]()
        self._variants = variants
        self._receiver = receiver
        self._stt_path = stt_path
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with self._stack:
            enter = self._stack.enter_async_context
            self.stt_sink = await enter(Child("bench.media.stt_sink"))
            url = self.stt_sink.greeting["url"]
            self.generator = await enter(Child("bench.media.generator", on_news=self._to_receiver))
            for variant in self._variants:
                self.receivers[variant] = await enter(
                    Child(self._receiver, variant, "--stt", f"{url}/{variant}{self._stt_path}", on_news=self._to_generator)
                )
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    def _to_receiver(self, name: str, arguments: dict[str, Any]) -> None:
        self.receivers[arguments["peer"].split("-")[0]].tell(name, **arguments)

    def _to_generator(self, name: str, arguments: dict[str, Any]) -> None:
        self.generator.tell(name, **arguments)

    async def add(self, variant: str, count: int) -> float:
        """So many more peers, connected; CPU seconds that they took in the receiver. Raises ReceiverLate."""
        first, total = self.peers[variant], self.peers[variant] + count
        before = await self.receivers[variant].do("report")
        self.receivers[variant].tell("add", peers=[f"{variant}-{number}" for number in range(first, total)])
        self.peers[variant] = total
        deadline = time.monotonic() + _CONNECT_S
        while (connected := (await self.generator.do("report", group=f"{variant}-"))["connected"]) < total:
            if time.monotonic() > deadline:
                raise ReceiverLate(f"{variant}: {connected} of {total} peers are connected after {_CONNECT_S:g} s")
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
        after = await self.receivers[variant].do("report")
        return float(after["cpu_s"] - before["cpu_s"])

    def memory(self, variant: str) -> process_stats.Memory:
        return process_stats.memory(self.receivers[variant].pid)

    async def window(self, variant: str, play: dict[str, Any], *, warm_s: float, seconds: float) -> dict[str, Usage]:
        """Play to one variant, let it settle, then measure; the others, which get nothing meanwhile, are measured too."""
        await self.generator.do("play", group=variant, **play)
        await asyncio.sleep(warm_s)
        # An occasional packet prevents silent subscribers from requesting their publisher again within the window.
        await self.generator.do("touch")
        before = await self._snapshot(variant)
        await asyncio.sleep(seconds)
        after = await self._snapshot(variant)
        await self.generator.do("hush", group=variant)
        return {name: _difference(before, after, name, variant) for name in self.receivers}

    async def rest(self, seconds: float) -> dict[str, Usage]:
        """Nothing is played to anybody."""
        await self.generator.do("touch")
        await asyncio.sleep(1.0)
        before = await self._snapshot("nobody")
        await asyncio.sleep(seconds)
        after = await self._snapshot("nobody")
        return {name: _difference(before, after, name, "nobody") for name in self.receivers}

    async def _snapshot(self, variant: str) -> dict[str, Any]:
        generator = await self.generator.do("report", group=f"{variant}-")
        sink = await self.stt_sink.do("report")
        reports = {name: await child.do("report") for name, child in self.receivers.items()}
        waited = {name: process_stats.main_thread_waited_seconds(child.pid) for name, child in self.receivers.items()}
        drops = {name: process_stats.udp_drops(child.pid) for name, child in self.receivers.items()}
        return {"generator": generator, "sink": sink, "receivers": reports, "drops": drops, "waited": waited}


def _difference(before: dict[str, Any], after: dict[str, Any], name: str, playing: str) -> Usage:
    first, last = before["receivers"][name], after["receivers"][name]
    usage = Usage(
        seconds=last["at"] - first["at"],
        cpu_s=last["cpu_s"] - first["cpu_s"],
        waited_s=after["waited"][name] - before["waited"][name],
        lags_s=last["lags_s"],
        drops=sum(count - before["drops"][name].get(inode, 0) for inode, count in after["drops"][name].items()),
    )
    if name == playing:
        generator, earlier = after["generator"], before["generator"]
        path = f"/{name}"
        usage.heard_s = after["sink"]["heard_s"].get(path, 0.0) - before["sink"]["heard_s"].get(path, 0.0)
        usage.sent = generator["sent"] - earlier["sent"]
        usage.generator_cpu_s = generator["cpu_s"] - earlier["cpu_s"]
        usage.generator_late_ms = generator["late_p95_ms"]
        usage.sink_cpu_s = after["sink"]["cpu_s"] - before["sink"]["cpu_s"]
    return usage
