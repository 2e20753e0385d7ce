# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""From Talk's request to the first audio frame, with a real HPB and Janus: `python -m bench.join [--joins N] [--speakers N]`.

Each join is a fresh room in which people are talking already; somebody asks for captions, and the clock runs from Talk's
request until `/metrics`, read every 5 ms, shows that the app has the first frame of every speaker. Then the room is
left again, and the clock runs until the app has closed every socket of it. Needs `scripts/install_rig.sh`.

Prints a summary and writes `build/bench/join.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.common.results import write
from sandbox.caller import Caller, tone
from sandbox.nextcloud import Nextcloud
from sandbox.rig import AppProcess, Rig, RigUnavailable

HEARD = "live_transcription_join_seconds_count"
_POLL_S = 0.005
_PATIENCE_S = 15.0


@dataclass
class Series:
    """Seconds, one value per join. `first`: until the first speaker is transcribed, `all`: until every speaker is."""

    answer: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)
    leave: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        return {
            name: {"p50_s": round(statistics.median(values), 3), "max_s": round(max(values), 3)}
            for name, values in (("answer", self.answer), ("first", self.first), ("all", self.all), ("leave", self.leave))
            if values
        }


async def join_once(nextcloud: Nextcloud, rig: Rig, app: AppProcess, speakers: int, series: Series) -> None:
    room = nextcloud.talk.rooms.create().token
    async with AsyncExitStack() as stack:
        for number in range(speakers):
            name = f"speaker-{number + 1}"
            await stack.enter_async_context(Caller(rig.signaling_url, nextcloud, room, name, name, tone(60)))
        listener = await stack.enter_async_context(
            Caller(rig.signaling_url, nextcloud, room, "listener-1", "listener-1", publishes=False)
        )
        before = await app.metric(HEARD)
        started = time.monotonic()
        answer = await listener.enable_captions("en")
        if not answer.ok:
            raise RuntimeError(f"the app answered {answer.status}: {answer.body}")
        series.answer.append(answer.elapsed_s)
        series.first.append(await until_heard(app, before + 1, started))
        series.all.append(await until_heard(app, before + speakers, started))

        started = time.monotonic()
        await nextcloud.talk.leave(room)
        while app.usage().udp:
            if time.monotonic() - started > _PATIENCE_S:
                raise RuntimeError("media sockets are still open after the app has left")
            await asyncio.sleep(_POLL_S)
        series.leave.append(time.monotonic() - started)


async def until_heard(app: AppProcess, count: float, started: float) -> float:
    while await app.metric(HEARD) < count:
        if time.monotonic() - started > _PATIENCE_S:
            raise RuntimeError(f"not every speaker was transcribed within {_PATIENCE_S:g} s")
        await asyncio.sleep(_POLL_S)
    return time.monotonic() - started


async def run(joins: int, speakers: int, hpb_series: str) -> dict[str, Any]:
    series = Series()
    async with AsyncExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        nextcloud = await stack.enter_async_context(Nextcloud())
        rig = await stack.enter_async_context(Rig(nextcloud.url, nextcloud.signaling_secret, hpb_series=hpb_series))
        nextcloud.hpb_url = rig.hpb_url
        log = Path(scratch) / "app.log"
        app = await stack.enter_async_context(AppProcess(nextcloud, rig.hpb_url, rig.internal_secret, log=log))
        for number in range(joins):
            await join_once(nextcloud, rig, app, speakers, series)
            print(f"join {number + 1:2}/{joins}: first {series.first[-1]:.3f} s, all {series.all[-1]:.3f} s", flush=True)
    return {"joins": joins, "speakers": speakers, "hpb": hpb_series, **series.summary()}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--joins", type=int, default=20)
    parser.add_argument("--speakers", type=int, default=1)
    parser.add_argument("--hpb", default="2.0", help="series of the HPB")
    options = parser.parse_args()
    try:
        result = asyncio.run(run(options.joins, options.speakers, options.hpb))
    except RigUnavailable as error:
        print(error, file=sys.stderr)
        return 77
    path = write("join", result)
    for name in ("answer", "first", "all", "leave"):
        print(f"{name:>7}: median {result[name]['p50_s']:.3f} s, max {result[name]['max_s']:.3f} s")
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
