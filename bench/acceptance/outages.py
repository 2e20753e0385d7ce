# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Time until captions return after the HPB was unreachable for 40 s, in four ways, while several rooms are captioned.

Each room counts as one try, since the app uses separate random waits for each room. People talk all the time, and a server in
this process turns any speech into numbered words. A caption counts if it has a word that was said after the HPB was back.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bench.acceptance.scenario import Outcome, main
from bench.common.results import Target
from bench.common.websocket_server import websocket_server
from bench.load.stt import Stt, health
from sandbox import recording
from sandbox.caller import Caller, from_recording
from sandbox.caller.captions import ReceivedCaption
from tests.rig.setting import Setting, setting

#: Captions have to be back within so many seconds. A try is given up after twice the time.
LIMIT_S = 10.0
#: Captions have to come for so long before the next outage, in seconds.
_SETTLE_S = 12.0
_WARM_S = 40.0


async def refused(talk: Setting, away_s: float) -> float:
    """Every connection is closed at once. Returns when the HPB can be reached again (Unix time)."""
    talk.link.refusing = True
    talk.link.cut()
    await asyncio.sleep(away_s)
    talk.link.refusing = False
    return time.time()


async def swallowed(talk: Setting, away_s: float) -> float:
    """Connections are accepted, and no data gets through."""
    talk.link.stall()
    await asyncio.sleep(away_s)
    talk.link.unstall()
    return time.time()


async def frozen(talk: Setting, away_s: float) -> float:
    """The process is stopped by SIGSTOP: the kernel accepts connections, nobody answers."""
    talk.rig.hpb.pause()
    await asyncio.sleep(away_s)
    talk.rig.hpb.resume()
    return time.time()


async def stopped(talk: Setting, away_s: float) -> float:
    """The process ends, and another one starts: all sessions are void, and the callers also join again."""
    await talk.rig.hpb.stop()
    await asyncio.sleep(away_s)
    await talk.rig.hpb.start()
    return time.time()


WAYS: dict[str, Callable[[Setting, float], Awaitable[float]]] = {
    way.__name__: way for way in (refused, swallowed, frozen, stopped)
}


async def captions_after(listener: Caller, since: float, word: int, timeout_s: float) -> float | None:
    """Seconds from `since` to the next caption with a word of this number or a higher one. None: there was none in time."""

    def new(caption: ReceivedCaption) -> bool:
        return any(int(number) >= word for number in re.findall(r"w(\d+)", caption.text))

    try:
        caption = await listener.captions.wait(new, since=since, timeout_s=timeout_s)
    except TimeoutError:
        return None
    return round(caption.at - since, 2)


async def outage(talk: Setting, listeners: list[Caller], stt: Stt, way: str, away_s: float) -> list[float | None]:
    """The wait of each room, in seconds."""
    before, word = time.time(), stt.words
    waits = await asyncio.gather(*(captions_after(listener, before, word, _WARM_S) for listener in listeners))
    assert None not in waits, f"no captions before the outage ({way}): {waits}"
    back_at = await WAYS[way](talk, away_s)
    word = stt.words
    return list(await asyncio.gather(*(captions_after(listener, back_at, word, 2 * LIMIT_S) for listener in listeners)))


async def run(options: argparse.Namespace) -> Outcome:
    speech = from_recording(recording.load("en-short"))
    tries: dict[str, list[float | None]] = {}
    async with AsyncExitStack() as stack:
        stt = Stt(None)
        url = await stack.enter_async_context(websocket_server(stt.hear, on_request=health))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outages-")))
        environment = {"LT_MODAL_URL": url, "LT_STT_ORDER": "modal", "LT_STT_FALLBACK": "false", "LOG_LEVEL": "info"}
        talk = await stack.enter_async_context(setting(directory, environment=environment, hpb_series=options.hpb))
        listeners: list[Caller] = []
        for number in range(options.rooms):
            room = talk.room()
            speaker = await stack.enter_async_context(talk.speaker(room, f"speaker-{number}"))
            for _ in range(int(len(WAYS) * (options.away + 60) / speech.duration_s)):
                speaker.play(speech)
            listeners.append(await stack.enter_async_context(talk.listener(room, f"listener-{number}")))
            answer = await listeners[-1].enable_captions("en")
            assert answer.ok, answer
        for way in options.ways:
            await asyncio.sleep(_SETTLE_S)
            tries[way] = await outage(talk, listeners, stt, way, options.away)
            print(f"{way}: {tries[way]}", flush=True)
        conditions = {
            code: await talk.app.metric("live_transcription_conditions_total", code=code)
            for code in ("hpb-unreachable", "hpb-refused", "media-path")
        }
    waits = [wait for way in tries.values() for wait in way]
    late = sum(wait is None or wait > LIMIT_S for wait in waits)
    worst = None if None in waits else max(wait for wait in waits if wait is not None)
    details: dict[str, Any] = {"tries": tries, "number": len(waits), "conditions": conditions}
    return Outcome((Target("tries with captions too late", late, 0), Target("latest captions", worst, LIMIT_S, "s")), details)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rooms", type=int, default=5, help="rooms at once; each is one try per way")
    parser.add_argument("--away", type=float, default=40.0, help="seconds for which the HPB is away")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), help="ways of being away")


if __name__ == "__main__":
    sys.exit(main("outages", run, description=__doc__ or "", arguments=arguments))
