# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A guest floods the app through a real HPB while another room is captioned: forged offers, odd frames, datagrams.

It measures how fast `GET /heartbeat` answers a separate process, how often captions of the other room come before and during
each flood, and how much the log grows. A server in this process turns any speech into words.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException

from bench.acceptance.scenario import Outcome, main
from bench.common.results import Target
from bench.common.websocket_server import websocket_server
from bench.load.stt import Stt, health
from sandbox import hostile, recording
from sandbox.caller import Caller, from_recording
from tests.rig.setting import Setting, setting

HEARTBEAT_P95_MS = 50.0
LOG_MB = 1.0
#: Share of the captions before a flood that must still come during it. The rest is the machine's noise.
AS_OFTEN = 0.9

_HEARTBEAT_EVERY_S = 0.1
_PAUSE_S = 5.0
_BREATH_S = 0.01


@dataclass(frozen=True, slots=True)
class Phase:
    """`sent`: messages or datagrams of the guest. `captions_per_s`: of the other room."""

    name: str
    seconds: float
    sent: int
    heartbeat_p50_ms: float
    heartbeat_p95_ms: float
    heartbeat_max_ms: float
    captions_per_s: float
    log_octets: int


class Heartbeat:
    """A process that requests the heartbeat all the time, and records when and how long it took."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.answers: list[tuple[float, float]] = []

    async def run(self) -> None:
        program = [sys.executable, "-m", "bench.acceptance.hostile_guest", "--ask", self._url]
        process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                at, took_s = json.loads(line)
                self.answers.append((at, took_s))
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def ask(url: str) -> None:
    """The program of `Heartbeat`: prints a line for each answer until it is killed."""
    parts = urlsplit(url)
    while True:
        began, at = time.perf_counter(), time.time()
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        connection.request("GET", "/heartbeat")
        connection.getresponse().read()
        connection.close()
        took_s = time.perf_counter() - began
        print(json.dumps([at, took_s]), flush=True)
        time.sleep(max(0.0, _HEARTBEAT_EVERY_S - took_s))


class Flood:
    """The floods; each method runs until it is cancelled. `sent`: messages or datagrams so far."""

    def __init__(self, talk: Setting, guest: Caller) -> None:
        self.sent = 0
        self._talk = talk
        self._guest = guest
        (self._app,) = (session_id for session_id, flags in guest.others.items() if flags == 0)
        self._chance = random.Random(1)

    async def offers(self) -> None:
        """Forged offers to the room and to the app's session; every tenth has 60 KB and is expensive to parse."""
        with hostile.listening_port() as (port, _):
            cheap, dear = hostile.forged_offer(port), hostile.dear_offer(port)
            while True:
                offer = dear if self.sent % 20 == 0 else {**cheap, "sid": str(self.sent)}
                await self._send(hostile.send_to_room(self._guest, offer))
                await self._send(hostile.send_to_session(self._guest, self._app, hostile.relayed_by_mistake(offer)))
                await asyncio.sleep(_BREATH_S)

    async def frames(self) -> None:
        """Frames to the app's session: invalid UTF-8, deep JSON, large numbers, wrong types, and requests for real offers."""
        odd: list[dict[str, Any] | bytes] = [
            b'{"type":"chat","roomType":"video","text":"\xff\xfe\xed\xa0\x80"}',
            b'{"type":"offer","roomType":"video","payload":{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}}",
            b'{"type":"candidate","roomType":"video","payload":{"candidate":' + b"9" * 5_000 + b"}}",
            {"type": "candidate", "bitrate": "x", "payload": {"candidate": {"candidate": "x" * 50_000}}},
            {"type": "endOfCandidates", "bitrate": "x"},
            {"type": "transcript", "message": "x" * 10_000, "roomType": "video"},
            {"type": "x" * 60_000},
            {"type": "chat", "roomType": "video", "x": [[]] * 15_000},
            {"type": "chat", "roomType": "video", "x": [[]] * 7_500},
            {"type": "sendoffer", "roomType": "video"},
        ]
        while True:
            await self._send(hostile.send_to_session(self._guest, self._app, self._chance.choice(odd)))
            await asyncio.sleep(_BREATH_S / 2)

    async def _send(self, sending: Awaitable[None]) -> None:
        """Join again whenever the HPB removes the guest."""
        try:
            await sending
            self.sent += 1
        except (ConnectionError, WebSocketException):
            await asyncio.sleep(0.1)

    async def datagrams(self) -> None:
        """Datagrams to each media port of the app: alerts, malformed STUN, fake RTP, and noise."""
        noise = [b"\x80\x6f" + self._chance.randbytes(100), self._chance.randbytes(1_000)]
        pid = self._talk.app.process.pid
        assert pid is not None
        async for count in hostile.spray(pid, [hostile.DTLS_ALERT, hostile.BROKEN_STUN, *noise]):
            self.sent += count


FLOODS = ("offers", "frames", "datagrams")


async def measure(
    name: str, seconds: float, talk: Setting, heartbeat: Heartbeat, listener: Caller, flood: Flood | None = None
) -> Phase:
    log = talk.app.process.log
    began, size = time.time(), log.stat().st_size
    if flood is None:
        await asyncio.sleep(seconds)
    else:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await getattr(flood, name)()
    ended = time.time()
    took = sorted(took_s * 1e3 for at, took_s in heartbeat.answers if began <= at < ended)
    captions = sum(caption.at < ended for caption in listener.captions.of(since=began))
    p95 = statistics.quantiles(took, n=20)[-1]
    seconds, sent = round(ended - began, 1), 0 if flood is None else flood.sent
    middle, longest = round(statistics.median(took), 1), round(took[-1], 1)
    per_s, grown = round(captions / seconds, 2), log.stat().st_size - size
    phase = Phase(name, seconds, sent, middle, round(p95, 1), longest, per_s, grown)
    print(phase, flush=True)
    return phase


async def run(options: argparse.Namespace) -> Outcome:
    speech = from_recording(recording.load("en-short"))
    seconds_in_all = len(options.floods) * (2 * options.seconds + 2 * _PAUSE_S) + 60
    phases: list[Phase] = []
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(websocket_server(Stt(None).hear, on_request=health))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hostile-")))
        environment = {"LT_MODAL_URL": url, "LT_STT_ORDER": "modal", "LT_STT_FALLBACK": "false", "LOG_LEVEL": "info"}
        talk = await stack.enter_async_context(setting(directory, environment=environment, hpb_series=options.hpb))
        callers: list[Caller] = []
        listeners: list[Caller] = []
        for name in ("guest", "speaker"):  # each in a room of its own, both captioned
            room = talk.room()
            callers.append(await stack.enter_async_context(talk.speaker(room, name)))
            for _ in range(int(seconds_in_all / speech.duration_s)):
                callers[-1].play(speech)
            listeners.append(await stack.enter_async_context(talk.listener(room, f"{name}-listener")))
            assert (await listeners[-1].enable_captions("en")).ok
            await listeners[-1].captions.wait(speaker=callers[-1].session_id)
        guest, other = callers[0], listeners[1]
        heartbeat = Heartbeat(talk.app.ex_app.url)
        asking = asyncio.create_task(heartbeat.run())
        try:
            for name in options.floods:
                await asyncio.sleep(_PAUSE_S)
                phases.append(await measure(f"before {name}", options.seconds / 2, talk, heartbeat, other))
                phases.append(await measure(name, options.seconds, talk, heartbeat, other, Flood(talk, guest)))
            await asyncio.sleep(_PAUSE_S)
            phases.append(await measure("after", options.seconds / 2, talk, heartbeat, other))
            reconnects = await talk.app.metric("live_transcription_signaling_reconnects_total")
        finally:
            asking.cancel()
            await asyncio.wait([asking])
    during = [phase for phase in phases if phase.name in FLOODS]
    before = {phase.name.removeprefix("before "): phase for phase in phases if phase.name.startswith("before ")}
    rarer = max(before[phase.name].captions_per_s / max(0.01, phase.captions_per_s) for phase in during)
    targets = (
        Target("heartbeat p95 during a flood", max(phase.heartbeat_p95_ms for phase in during), HEARTBEAT_P95_MS, "ms"),
        Target("captions of the other room, rarer by a factor of", round(rarer, 2), round(1 / AS_OFTEN, 2)),
        Target("log growth in a flood", round(max(phase.log_octets for phase in during) / 1e6, 3), LOG_MB, "MB"),
        Target("signaling connections lost", reconnects, 0),
    )
    details = {"phases": [{field: getattr(phase, field) for field in Phase.__slots__} for phase in phases]}
    return Outcome(targets, details)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each flood")
    parser.add_argument("--floods", nargs="+", choices=FLOODS, default=list(FLOODS))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        ask(sys.argv[2])
    sys.exit(main("hostile_guest", run, description=__doc__ or "", arguments=arguments))
