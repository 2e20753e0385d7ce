# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A real moshi-server that is killed, stopped for a while, full, hung or deaf: which words arrive once, and how late.

24 known words are said in real time through the engines as the app assembles them. In the last two cases, a second server is
the next engine, and the measure is the speech for which a reader waits for its words.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bench.acceptance.scenario import Outcome, main
from bench.common.results import Target
from live_transcription.config import MoshiConfig
from live_transcription.stt.base import SttBackend
from live_transcription.stt.fallback.backend import FallbackBackend
from live_transcription.stt.kyutai.moshi.backend import MoshiBackend
from live_transcription.stt.resilient.backend import ResilientBackend
from live_transcription.stt.resilient.retry import ResiliencePolicy
from live_transcription.types import SAMPLE_RATE, Frame
from sandbox.moshi_server import MoshiServer, MoshiUnavailable
from sandbox.moshi_server.speech import TAIL_FRAMES, say, silence
from sandbox.moshi_server.weights import WORDS
from sandbox.rig import RigUnavailable
from tests.moshi.listener import Listener, listening

#: A reader may wait for so much speech until the next engine's words appear.
LIMIT_S = 18.0
#: Seconds after the speech for its last word, long enough for a busy machine.
_LAST_WORD_S = 180.0
#: Number of words before the fault.
_BEFORE = 8
#: 24 words in 38 s, one every 1.6 s.
_SPEECH = say(*WORDS, frames=8, gap=12)


def backend(*servers: MoshiServer) -> SttBackend:
    engines = [MoshiBackend(MoshiConfig(url=server.stream_url)) for server in servers]
    return ResilientBackend(FallbackBackend(engines), policy=ResiliencePolicy(ring_s=120))


@asynccontextmanager
async def running(directory: Path, **options: Any) -> AsyncIterator[MoshiServer]:
    server = MoshiServer(directory, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


async def stopped(server: MoshiServer, seconds: float) -> None:
    server.pause()
    await asyncio.sleep(seconds)
    server.resume()


async def killed(server: MoshiServer, seconds: float) -> None:
    await server.kill()
    await asyncio.sleep(seconds)
    await server.start()


async def say_all(listener: Listener, audio: Frame) -> None:
    await listener.say(audio, speed=1.0, speech=True)
    await listener.stream.flush()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORD_S):
            while WORDS[-1] not in listener.words and not listener.ended:  # noqa: ASYNC110  other tasks wait for its news
                await asyncio.sleep(0.1)


async def words_through(directory: Path, fault: Callable[[MoshiServer, float], Awaitable[None]], seconds: float) -> int:
    """The number of words that are missing or repeated after a fault of the only engine."""
    async with running(directory) as server, listening(backend(server)) as listener:
        saying = asyncio.create_task(say_all(listener, np.concatenate([_SPEECH, silence(TAIL_FRAMES)])))
        await listener.until_words(_BEFORE)
        await fault(server, seconds)
        await asyncio.wait([saying])
        return wrong(listener)


async def words_past_full(directory: Path) -> int:
    """The number of words that are missing or repeated if the only slot is taken for the first ten seconds."""
    async with running(directory, batch_size=1) as server:
        other = MoshiBackend(MoshiConfig(url=server.stream_url))
        async with AsyncExitStack() as taken:
            await taken.enter_async_context(other.open_stream("en"))
            async with listening(backend(server)) as listener:
                saying = asyncio.create_task(say_all(listener, np.concatenate([_SPEECH, silence(TAIL_FRAMES)])))
                await asyncio.sleep(10)
                await taken.aclose()
                await asyncio.wait([saying])
                return wrong(listener)


def wrong(listener: Listener) -> int:
    """Words that are missing, repeated, or out of order."""
    print(f"  {len(listener.words)} words: {' '.join(listener.words)}; {listener.failure or 'no failure'}", flush=True)
    times = Counter(listener.words)
    places = [WORDS.index(word) for word in listener.words]
    return sum(abs(times[word] - 1) for word in WORDS) + sum(after < before for before, after in pairwise(places))


async def wait_for_next(directory: Path, *, deaf: bool) -> tuple[int, float]:
    """Missing or repeated words, and the longest time in seconds without a new word of speech, with a second engine."""
    times: list[float] = []
    clock = asyncio.get_running_loop().time
    async with (
        running(directory / "first", fault="deaf" if deaf else "") as ill,
        running(directory / "second") as healthy,
        listening(backend(ill, healthy)) as listener,
    ):

        async def watch() -> None:
            while True:
                count = len(listener.words)
                await listener.until(lambda count=count: len(listener.words) > count)
                times.append(clock())

        times.append(clock())
        saying = asyncio.create_task(say_all(listener, np.concatenate([_SPEECH, silence(TAIL_FRAMES)])))
        watching = asyncio.create_task(watch())
        if not deaf:
            await listener.until_words(_BEFORE)
            ill.pause()
        await asyncio.wait([saying])
        watching.cancel()
        await asyncio.wait([watching])
        return wrong(listener), max(round(after - before, 1) for before, after in pairwise(times))


async def case(name: str, directory: Path) -> list[Target]:
    match name.split("-"):
        case ["kill"]:
            faults = await words_through(directory, killed, 2.0)
        case ["stop", seconds]:
            faults = await words_through(directory, stopped, float(seconds))
        case ["full"]:
            faults = await words_past_full(directory)
        case _:
            faults, wait_s = await wait_for_next(directory, deaf=name == "deaf")
            return [
                Target(f"missing or repeated words, {name}", faults, 0),
                Target(f"wait for the next engine, {name}", wait_s, LIMIT_S, "s"),
            ]
    return [Target(f"missing or repeated words, {name}", faults, 0)]


async def run(options: argparse.Namespace) -> Outcome:
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(prefix="engine-faults-") as directory:
        for name in options.cases:
            print(name, flush=True)
            try:
                targets += await case(name, Path(directory) / name)
            except MoshiUnavailable as reason:
                raise RigUnavailable(str(reason)) from None
    return Outcome(tuple(targets), {"words": len(WORDS), "speech_s": round(len(_SPEECH) / SAMPLE_RATE, 1)})


CASES = ("kill", "stop-10", "stop-20", "stop-45", "full", "hung", "deaf")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES, help="kill -9, SIGSTOP for so many seconds, …")


if __name__ == "__main__":
    sys.exit(main("engine_faults", run, description=__doc__ or "", arguments=arguments))
