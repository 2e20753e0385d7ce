# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Kyutai on Modal, without Modal and without a GPU: `GET /health` and the WebSocket `/v1/stream` on loopback.

It does what the deployed proxy was seen to do, the failures included. Every one of these ends with close code 1000 and an empty
reason: a message whose length is no multiple of 4, any text frame, a full model (after the first audio), a model server that is
down (at once), 30 s without a message, the end of the function's time. A rest under 1920 samples is lost when the client
closes, and so is what the model had not said yet.

    python -m sandbox.stt_servers.modal --port 0 --dialect token --cold-start 30
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

import numpy as np
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from sandbox.stt_servers import dialects
from sandbox.stt_servers.audio_locator import DELAY_S
from sandbox.stt_servers.cli import serve_until_stopped, source_arguments, word_sources
from sandbox.stt_servers.dialects import Dialect, DialectName, Spacing
from sandbox.stt_servers.faults import Fault, FaultKind, SessionFaults
from sandbox.stt_servers.fleet import Container, Fleet
from sandbox.stt_servers.model import Channel, Model, NoFreeChannel
from sandbox.stt_servers.moshi_messages import Audio, Word
from sandbox.stt_servers.serving import SessionRecord, StandIn, as_json, plain, redirect
from sandbox.stt_servers.words import FRAME_SAMPLES, WordSources

PATH = "/v1/stream"

#: Seconds after which Modal answers a request that has no container yet with a redirect to itself.
REDIRECT_S = 150.0


class ColdStart(StrEnum):
    """What a request meets while its container is not up: it hangs (at most `REDIRECT_S`), or gets 303 or 503 at once."""

    HANG = "hang"
    REDIRECT = "redirect"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """`key` and `secret` empty: everybody is let in. `ping_s` counts only with `announce`."""

    key: str = ""
    secret: str = ""
    dialect: DialectName = DialectName.TOKEN
    spacing: Spacing = Spacing.WORDS
    announce: bool = False
    cold_start: ColdStart = ColdStart.HANG
    idle_s: float = 30.0
    session_limit_s: float = 1800.0
    ping_s: float = 10.0


class ModalStandIn(StandIn):
    """`fleet` decides when there is a container; `batch_size` is the model's, which the fleet's slots usually keep within."""

    name = "modal"
    max_message = 2 * 1024 * 1024

    def __init__(
        self,
        sources: WordSources,
        behaviour: Behaviour | None = None,
        *,
        fleet: Fleet | None = None,
        batch_size: int = 80,
        step_s: float = 0.015,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(Model(sources, batch_size=batch_size, step_s=step_s), host=host, port=port)
        self.behaviour = behaviour or Behaviour()
        self.fleet = fleet or Fleet()
        self._released = asyncio.Event()

    @property
    def stream_url(self) -> str:
        return f"ws://{self.host}:{self.port}{PATH}"

    @property
    def health_url(self) -> str:
        return f"{self.http_url}/health"

    def scale_to_zero(self) -> None:
        self.fleet.scale_to_zero()

    def unauthorized(self) -> Response:
        return plain(401, "modal-http: missing credentials for proxy authorization")

    async def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        if not self._authorized(request):
            return self.unauthorized()
        path = urlsplit(request.path).path
        refusal = await self._find_container(connection, path)
        if refusal is not None:
            return refusal
        if path == "/health":
            return as_json(
                {"status": "ok", "model": "stand-in", "gpu": "none", "backend": "rust", "batch_size": self.fleet.slots}
            )
        return None if path == PATH else plain(404, '{"detail":"Not Found"}')

    def _authorized(self, request: Request) -> bool:
        if not self.behaviour.key and not self.behaviour.secret:
            return True
        key = request.headers.get("Modal-Key", "")
        secret = request.headers.get("Modal-Secret", "")
        return hmac.compare_digest(key, self.behaviour.key) and hmac.compare_digest(secret, self.behaviour.secret)

    async def _find_container(self, connection: ServerConnection, path: str) -> Response | None:
        """Take a slot for as long as the connection lives; an answer if there is none in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (REDIRECT_S if self.behaviour.cold_start is ColdStart.HANG else 0.0)
        while (container := self.fleet.admit(loop.time())) is None:
            if loop.time() >= deadline:
                return self._not_yet(path)
            self._released.clear()
            if not await self.pause(connection, 0.1):
                return plain(503, "gone")
        connection.connection_lost_waiter.add_done_callback(lambda _: self._release(container))
        if container.ready_at <= loop.time():
            return None
        wait_s = min(container.ready_at, deadline) - loop.time()
        if wait_s > 0 and not await self.pause(connection, wait_s):
            return plain(503, "gone")
        return None if container.ready_at <= loop.time() + 1e-3 else self._not_yet(path)

    def _release(self, container: Container) -> None:
        self.fleet.release(container, asyncio.get_running_loop().time())

    def _not_yet(self, path: str) -> Response:
        if self.behaviour.cold_start is ColdStart.UNAVAILABLE:
            return plain(503, "no container is up yet")
        return redirect(f"{self.http_url}{path}?__modal_function_call_id=fc-stand-in")

    async def converse(self, connection: ServerConnection, record: SessionRecord, faults: SessionFaults) -> str:
        if faults.has(FaultKind.MODEL_DOWN):
            return "model down"
        if faults.has(FaultKind.FULL):
            await connection.recv()
            return "full"
        try:
            async with self.model.channel() as channel:
                return await _Session(connection, channel, record, faults, self).run()
        except NoFreeChannel:
            await connection.recv()
            return "full"


class _Session:
    """The proxy's two halves: client to model, and model to client."""

    def __init__(
        self,
        connection: ServerConnection,
        channel: Channel,
        record: SessionRecord,
        faults: SessionFaults,
        server: ModalStandIn,
    ) -> None:
        behaviour = server.behaviour
        self._model = server.model
        self._connection = connection
        self._channel = channel
        self._record = record
        self._faults = faults
        self._behaviour = behaviour
        self._dialect = Dialect(behaviour.dialect, behaviour.spacing, announce=behaviour.announce)
        self._last_word = ""
        self._speaking = asyncio.Event()
        self._speaking.set()
        self._rest = np.zeros(0, np.float32)

    async def run(self) -> str:
        speaking = asyncio.create_task(self._speak(), name="modal-speak")
        try:
            async with asyncio.timeout(self._behaviour.session_limit_s):
                return await self._listen()
        except TimeoutError:
            return "session limit"
        except ConnectionClosed:
            return "client"
        finally:
            speaking.cancel()
            await asyncio.wait([speaking])

    async def _listen(self) -> str:
        while True:
            try:
                async with asyncio.timeout(self._behaviour.idle_s):
                    message = await self._connection.recv()
            except TimeoutError:
                return "idle"
            if isinstance(message, str):
                return "text frame"
            if len(message) % 4:
                return "odd length"
            self._take(np.frombuffer(message, dtype="<f4").astype(np.float32))
            for fault in self._faults.due(self._record.audio_s):
                ended = await self._strike(fault)
                if ended:
                    return ended

    def _take(self, pcm: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
        self._record.messages += 1
        self._record.samples += len(pcm)
        samples = np.concatenate([self._rest, pcm])
        whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
        for begin in range(0, whole, FRAME_SAMPLES):
            self._channel.send(Audio(samples[begin : begin + FRAME_SAMPLES]))
        self._rest = samples[whole:]

    async def _strike(self, fault: Fault) -> str:
        """What ended the session, or an empty text if it continues."""
        match fault.kind:
            case FaultKind.CLOSE:
                return "fault: close"
            case FaultKind.CUT:
                self._connection.transport.abort()
                return "fault: cut"
            case FaultKind.MODEL_DIES:
                self._model.die()
            case FaultKind.STALL:
                self._speaking.clear()
                asyncio.get_running_loop().call_later(fault.duration_s, self._speaking.set)
            case FaultKind.SLOW_READER:
                self._connection.transport.pause_reading()
                await asyncio.wait([self._connection.connection_lost_waiter], timeout=fault.duration_s)
                self._connection.transport.resume_reading()
            case _:
                for frame in self._noise(fault.kind):
                    await self._connection.send(frame)
        return ""

    def _noise(self, kind: FaultKind) -> Sequence[str | bytes]:
        name = self._behaviour.dialect
        match kind:
            case FaultKind.GARBAGE:
                return dialects.garbage()
            case FaultKind.HUGE:
                return (dialects.huge(name),)
            case FaultKind.NAN:
                return dialects.not_numbers(name)
            case FaultKind.CONTRADICT:
                return dialects.contradictions(name, self._last_word)
        return ()

    async def _speak(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._behaviour.ping_s if self._behaviour.announce else None):
                    message = await self._channel.outbound.get()
            except TimeoutError:
                await self._connection.send('{"type":"ping"}')
                continue
            if message is None:
                return
            await self._speaking.wait()
            frames = self._dialect.render(message)
            if isinstance(message, Word):
                self._record.words += 1
                self._last_word = message.text
                frames *= 2 if self._faults.struck(FaultKind.DUPLICATE) else 1
            for frame in frames:
                await self._connection.send(frame)


def main() -> None:
    parser = source_arguments("Kyutai on Modal, on loopback", faults=True)
    parser.add_argument("--key", default="", help="the Modal-Key header that is let in (default: everybody is)")
    parser.add_argument("--secret", default="", help="the Modal-Secret header that goes with it")
    parser.add_argument("--dialect", type=DialectName, choices=list(DialectName), default=DialectName.TOKEN)
    parser.add_argument("--spacing", type=Spacing, choices=list(Spacing), default=Spacing.WORDS)
    parser.add_argument(
        "--announce", action="store_true", help="send the documented vad_end and ping, which the deployed one never does"
    )
    parser.add_argument("--cold-start", type=float, default=0.0, metavar="S", help="seconds until a container is up")
    parser.add_argument("--cold-start-mode", type=ColdStart, choices=list(ColdStart), default=ColdStart.HANG)
    parser.add_argument("--slots", type=int, default=8, help="sessions in one container")
    parser.add_argument("--max-containers", type=int, default=10)
    parser.add_argument("--idle", type=float, default=30.0, metavar="S")
    parser.add_argument("--session-limit", type=float, default=1800.0, metavar="S")
    arguments = parser.parse_args()
    behaviour = Behaviour(
        key=arguments.key,
        secret=arguments.secret,
        dialect=arguments.dialect,
        spacing=arguments.spacing,
        announce=arguments.announce,
        cold_start=arguments.cold_start_mode,
        idle_s=arguments.idle,
        session_limit_s=arguments.session_limit,
    )
    fleet = Fleet(slots=arguments.slots, max_containers=arguments.max_containers, cold_start_s=arguments.cold_start)
    serve_until_stopped(
        lambda: ModalStandIn(
            word_sources(arguments),
            behaviour,
            fleet=fleet,
            batch_size=arguments.slots * arguments.max_containers,
            step_s=arguments.step,
            port=arguments.port,
        ),
        arguments.fault,
        delay_s=DELAY_S,
    )


if __name__ == "__main__":
    main()
