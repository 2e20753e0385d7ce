# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app is out of descriptors, disk, or address space for a minute: running captions continue, and it recovers soon after.

Somebody talks and somebody reads. Then the app's process runs out of one resource, and a second room requests captions once a
second. When descriptors run out, strangers with unfinished requests take those that become free. After the shortage, the second
room must get captions, and its call must be stored.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.acceptance.scenario import Outcome, main
from bench.common.results import Target
from sandbox import process_stats, recording
from sandbox.caller import Caller, from_recording
from sandbox.nextcloud.app_api import ExAppUnreachable
from sandbox.rig.shortage import SHORTAGES
from tests.rig.setting import Setting, setting

#: Longest time without a caption while somebody talks, in seconds; the recording has pauses.
LONGEST_GAP_S = 5.0
BACK_S = 5.0
#: Strangers who take the free descriptors below the limit.
CROWD = 100
LOG_BYTES = 1_000_000
_SPEECH = from_recording(recording.load("en-conference"))


async def run(options: argparse.Namespace) -> Outcome:
    targets: list[Target] = []
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        for name in options.short_of or list(SHORTAGES):
            path = Path(directory) / name.replace(" ", "-")
            async with setting(path, environment={"LOG_LEVEL": "info"}, hpb_series=options.hpb) as talk:
                found = await _shortage(talk, name, options.seconds, path)
            details[name] = found
            targets += (
                Target(f"{name}: longest gap in captions", found["longest_gap_s"], LONGEST_GAP_S, "s"),
                Target(f"{name}: first caption of a new room after it", found["back_s"], BACK_S, "s"),
                Target(f"{name}: the new call is stored", found["written_s"], BACK_S, "s"),
                Target(f"{name}: log written", found["log_bytes"] / 1e6, LOG_BYTES / 1e6, "MB"),
            )
            print(json.dumps({name: found}), flush=True)
    return Outcome(tuple(targets), details)


async def _shortage(talk: Setting, name: str, seconds: float, path: Path) -> dict[str, Any]:
    first, second = talk.room(), talk.room()
    pid = talk.app.process.pid
    assert pid is not None
    async with (
        talk.speaker(first) as speaker,
        talk.listener(first) as listener,
        talk.speaker(second, "speaker-2") as late,
        talk.listener(second, "listener-2") as reader,
    ):
        assert (await listener.enable_captions("en")).ok
        talking = asyncio.create_task(_talk_on(speaker))
        await listener.captions.wait(speaker=speaker.session_id, timeout_s=30)
        await asyncio.sleep(10)
        log = path / "app.log"
        before, cpu_s, log_bytes = time.time(), process_stats.cpu_seconds(pid), log.stat().st_size
        late_talking = asyncio.create_task(_talk_on(late))
        with SHORTAGES[name](pid):
            crowd = [asyncio.create_task(_crowd(talk.app.process.port)) for _ in range(CROWD if name == "descriptors" else 0)]
            await asyncio.sleep(1.5)  # the app looks once a second
            answers = await _ask_for(reader, seconds)
        for stranger in crowd:
            stranger.cancel()
        over_at = time.time()
        back_s, written_s = await asyncio.gather(_back(reader, late, over_at), _written(path / "calls.json", second, over_at))
        arrived = [caption.at for caption in listener.captions.of(speaker.session_id, since=before)]
        at = [before, *(moment for moment in arrived if moment < over_at), over_at]
        found = {
            "seconds": seconds,
            "captions": len(arrived),
            "longest_gap_s": round(max(later - earlier for earlier, later in pairwise(at)), 2),
            "answers_to_the_second_room": answers,
            "back_s": back_s,
            "written_s": written_s,
            "log_bytes": log.stat().st_size - log_bytes,
            "cpu_s": round(process_stats.cpu_seconds(pid) - cpu_s, 1),
        }
        for task in (talking, late_talking):
            task.cancel()
        await asyncio.wait([talking, late_talking])
        return found


async def _crowd(port: int) -> None:
    """A stranger who begins one request after the other and finishes none, and so takes every free descriptor."""
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /heartbeat HTTP/1.1\r\nHost: ")
                await reader.read()
            finally:
                writer.close()
        await asyncio.sleep(0.1)


async def _talk_on(speaker: Caller) -> None:
    while True:
        await speaker.say(_SPEECH)


async def _ask_for(reader: Caller, seconds: float) -> dict[str, int]:
    """Number of answers of each kind."""
    answers: dict[str, int] = {}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            answer = await reader.enable_captions("en")
        except ExAppUnreachable:
            kind = "none"
        else:
            kind = str(answer.status)
        answers[kind] = answers.get(kind, 0) + 1
        await asyncio.sleep(1.0)
    return answers


async def _back(reader: Caller, speaker: Caller, since: float) -> float | None:
    """Seconds until a user who requests captions every 0.2 s reads one; None: not within 60 s."""
    try:
        async with asyncio.timeout(60):
            while True:
                with suppress(ExAppUnreachable):
                    if (await reader.enable_captions("en")).ok:
                        break
                await asyncio.sleep(0.2)
            caption = await reader.captions.wait(speaker=speaker.session_id, since=since, timeout_s=60)
    except TimeoutError:
        return None
    return round(caption.at - since, 2)


async def _written(path: Path, room: str, since: float) -> float | None:
    try:
        async with asyncio.timeout(60):
            while not path.exists() or room not in path.read_text(encoding="utf-8"):  # noqa: ASYNC110, ASYNC240
                await asyncio.sleep(0.1)
    except TimeoutError:
        return None
    return round(time.time() - since, 2)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each shortage lasts")
    parser.add_argument("--short-of", action="append", choices=list(SHORTAGES), help="only this (may be repeated)")


if __name__ == "__main__":
    sys.exit(main("shortages", run, description=__doc__.splitlines()[0], arguments=_arguments))
