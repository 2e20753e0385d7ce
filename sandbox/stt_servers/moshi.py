# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""moshi-server, without a GPU: `/api/asr-streaming` in msgpack, `GET /api/modules_info` and `/api/build_info`, on loopback.

Follows `batched_asr.rs` and `main.rs` of kyutai-labs/moshi. Its ways to end a session: `Error "no free channels"` and a close
without a code when the batch is full; a connection that just drops, without a close frame, when the client closes, when a
message cannot be read, when nothing at all has come for 20 s, or after 120 s without binary. `tests/moshi/test_contract.py`
compares it with the real server.

    python -m sandbox.stt_servers.moshi --port 0 --api-key public_token --batch-size 64
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame
from websockets.http11 import Request, Response

from sandbox.stt_servers.audio_locator import DELAY_S, DELAY_STEPS
from sandbox.stt_servers.cli import serve_until_stopped, source_arguments, word_sources
from sandbox.stt_servers.faults import Fault, FaultKind, SessionFaults
from sandbox.stt_servers.model import Channel, Model, NoFreeChannel
from sandbox.stt_servers.moshi_messages import Audio, BadMessage, EndWord, Error, Marker, Ready, Step, Word, pack, unpack
from sandbox.stt_servers.serving import SessionRecord, StandIn, as_json, plain
from sandbox.stt_servers.words import WordSources

PATH = "/api/asr-streaming"
API_KEY_HEADER = "kyutai-api-key"

#: Seconds without anything to send before the server pings. A client that sends nothing for twice as long, not even a pong,
#: is dropped.
PING_S = 10.0
#: A frame that comes so many seconds after the last binary one ends the session.
NO_AUDIO_S = 120.0


class AbruptConnection(ServerConnection):
    """Drops the TCP connection where RFC 6455 wants a close frame, as the real server does."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        #: Called for each frame, control frames included, before it is worked on.
        self.frame_arrived: Callable[[], None] = lambda: None
        self._receiving = False

    def data_received(self, data: bytes) -> None:
        self._receiving = True
        try:
            super().data_received(data)
        finally:
            self._receiving = False

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame):
            self.frame_arrived()
        super().process_event(event)

    def send_data(self) -> None:
        if self._receiving and self.protocol.close_rcvd is not None:
            self.protocol.data_to_send()
            self.transport.close()
        elif self._receiving and self.protocol.close_sent is not None:
            self.transport.abort()
        else:
            super().send_data()


class MoshiStandIn(StandIn):
    """`delay_steps`, `pause_heads`: of another model than the 1B one, see `hearing.Hearing`."""

    name = "moshi"
    max_message = (64 * 1024 * 1024, 16 * 1024 * 1024)
    connection_type = AbruptConnection

    def __init__(
        self,
        sources: WordSources,
        *,
        api_key: str = "public_token",
        batch_size: int = 64,
        step_s: float = 0.015,
        ping_s: float = PING_S,
        no_audio_s: float = NO_AUDIO_S,
        delay_steps: int = DELAY_STEPS,
        pause_heads: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        model = Model(sources, batch_size=batch_size, step_s=step_s, delay_steps=delay_steps, pause_heads=pause_heads)
        super().__init__(model, host=host, port=port)
        self.api_key = api_key
        self.ping_s = ping_s
        self.no_audio_s = no_audio_s

    @property
    def stream_url(self) -> str:
        return f"ws://{self.host}:{self.port}{PATH}"

    async def answer(self, _connection: ServerConnection, request: Request) -> Response | None:
        parts = urlsplit(request.path)
        if parts.path == "/api/modules_info":
            return as_json([self._module()])
        if parts.path == "/api/build_info":
            return as_json({"build_timestamp": "stand-in", "git_hash": "stand-in"})
        if parts.path == "/metrics":
            return plain(200, self._metrics(), {"Content-Type": "text/plain; version=0.0.4"})
        if parts.path != PATH:
            return plain(404, "")
        if not _upgrades(request.headers):
            return plain(400, "not a WebSocket handshake")
        # A header wins over the query, even an empty one.
        given = request.headers.get_all(API_KEY_HEADER) or parse_qs(parts.query).get("auth_id", [])
        return None if given[:1] == [self.api_key] else self.unauthorized()

    def unauthorized(self) -> Response:
        return plain(401, "")

    def _metrics(self) -> str:
        """As the real server's, which are registered by the first session: before it the page is empty."""
        if not self.sessions:
            return ""
        return (
            "# TYPE asr_connect counter\n"
            f'asr_connect{{handler="all"}} {len(self.sessions)}\n'
            "# TYPE asr_open_channels gauge\n"
            f'asr_open_channels{{handler="all"}} {self.model.used_slots}\n'
        )

    def _module(self) -> dict[str, str]:
        return {
            "type": "batched_asr",
            "path": PATH,
            "lm": "stand-in",
            "audio_tokenizer": "stand-in",
            "used_slots": str(self.model.used_slots),
            "total_slots": str(self.model.batch_size),
        }

    async def converse(self, connection: ServerConnection, record: SessionRecord, faults: SessionFaults) -> str:
        if faults.has(FaultKind.MODEL_DOWN):
            connection.transport.abort()
            return "model down"
        if faults.has(FaultKind.FULL):
            return await self._refuse(connection)
        assert isinstance(connection, AbruptConnection)
        try:
            async with self.model.channel() as channel:
                return await _Session(connection, channel, record, faults, self).run()
        except NoFreeChannel:
            return await self._refuse(connection)

    async def _refuse(self, connection: ServerConnection) -> str:
        """The real server's close frame has no code."""
        await connection.send(pack(Error("no free channels")))
        connection.protocol.send_close()
        connection.transport.write(b"".join(connection.protocol.data_to_send()))
        await connection.wait_closed()
        return "full"


class _Session:
    """The server's two loops: what it receives goes to the channel, what the channel says goes to the client."""

    def __init__(
        self,
        connection: AbruptConnection,
        channel: Channel,
        record: SessionRecord,
        faults: SessionFaults,
        server: MoshiStandIn,
    ) -> None:
        self._clock = asyncio.get_running_loop().time
        self._heard_at = 0.0
        self._binary_at = 0.0
        self._ended_by = ""
        self._connection = connection
        self._channel = channel
        self._record = record
        self._faults = faults
        self._server = server
        self._speaking = asyncio.Event()
        self._speaking.set()

    async def run(self) -> str:
        """When it returns, the connection is dropped without a close frame, as both halves of the real one are."""
        self._heard_at = self._binary_at = self._clock()
        self._connection.frame_arrived = self._frame_arrived
        tasks = [asyncio.create_task(work, name="moshi-session") for work in (self._speak(), self._watch())]
        try:
            return await self._listen()
        except ConnectionClosed:
            return self._ended_by or "client"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if self._connection.protocol.close_rcvd is None:
                self._connection.transport.abort()

    def _frame_arrived(self) -> None:
        self._heard_at = self._clock()
        if self._heard_at - self._binary_at > self._server.no_audio_s:
            self._ended_by = "no audio"
            self._connection.transport.abort()

    async def _watch(self) -> None:
        while (wait_s := self._heard_at + 2 * self._server.ping_s - self._clock()) > 0:  # noqa: ASYNC110  the time moves
            await asyncio.sleep(wait_s)
        # The real server reads no more, not even pings, but sends what it makes of the audio that is queued. Then it drops the
        # connection. A busy server sends no pings, so this meets clients that wait for it in silence.
        self._ended_by = "no answer"
        self._connection.transport.pause_reading()
        self._channel.end_input()

    async def _listen(self) -> str:
        while True:
            message = await self._connection.recv()
            if isinstance(message, str):
                continue
            self._binary_at = self._clock()
            try:
                incoming = unpack(message)
            except BadMessage:
                return "bad message"
            self._record.messages += 1
            if isinstance(incoming, Audio):
                self._record.samples += len(incoming.pcm)
            self._channel.send(incoming)
            for fault in self._faults.due(self._record.audio_s):
                ended = await self._strike(fault)
                if ended:
                    return ended

    async def _strike(self, fault: Fault) -> str:
        """What ended the session, or an empty text if it continues."""
        match fault.kind:
            case FaultKind.CLOSE:
                await self._connection.close(code=1000)
                return "fault: close"
            case FaultKind.CUT:
                return "fault: cut"
            case FaultKind.MODEL_DIES:
                self._server.model.die()
            case FaultKind.STALL:
                self._speaking.clear()
                asyncio.get_running_loop().call_later(fault.duration_s, self._speaking.set)
            case FaultKind.SLOW_READER:
                self._connection.transport.pause_reading()
                await asyncio.wait([self._connection.connection_lost_waiter], timeout=fault.duration_s)
                self._connection.transport.resume_reading()
            case _:
                for frame in _noise(fault.kind):
                    await self._connection.send(frame)
        return ""

    async def _speak(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._server.ping_s):
                    message = await self._channel.outbound.get()
            except TimeoutError:
                # `ping()` of the library wants another payload each time; the real server's is empty.
                self._connection.protocol.send_ping(b"")
                self._connection.send_data()
                continue
            if message is None:
                self._connection.transport.abort()
                return
            await self._speaking.wait()
            frame = pack(message)
            await self._connection.send(frame)
            if isinstance(message, Word):
                self._record.words += 1
                if self._faults.struck(FaultKind.DUPLICATE):
                    await self._connection.send(frame)


def _upgrades(headers: Headers) -> bool:
    """Whether the real server takes a request for a WebSocket handshake; it looks at the key only after that."""

    def first(name: str) -> str:
        return next(iter(headers.get_all(name)), "")

    return (
        "upgrade" in first("Connection").lower()
        and first("Upgrade").lower() == "websocket"
        and first("Sec-WebSocket-Version") == "13"
        and "Sec-WebSocket-Key" in headers
    )


_GARBAGE: tuple[str | bytes, ...] = (
    "a text frame",
    b"",
    b"\xc1",
    b"\x81\xa4type",
    b"\x2a",
    b"\x90",
    b"\x80",
    b"\xdd\xff\xff\xff\xff",
    b"\x91" * 3000,
    b"\x81\xa4type\xa4Word",
    b"\x82\xa4type\xa4Word\xa4text\xc0",
    b"\x83\xa4type\xa4Word\xa4text\x07\xaastart_time\xa3now",
    b"\x82\xa4type\xa4Step\xa3prs\x90",
    b"\x81\xa4type\xacNobody knows",
    b"\x82\xa4type\xa5Ready\xa5extra\xc4\x02\xff\xfe",
)


def _noise(kind: FaultKind) -> Sequence[str | bytes]:
    match kind:
        case FaultKind.GARBAGE:
            return _GARBAGE
        case FaultKind.HUGE:
            return (pack(Word("a" * 10_000_000, 0.0)),)
        case FaultKind.NAN:
            nothing = math.nan
            return (
                pack(Step(1, (nothing,) * 4, 0)),
                pack(Word("", nothing)),
                pack(EndWord(math.inf)),
                pack(Step(2, (-math.inf, 2.0, 5.0, 1e300), 0)),
            )
        case FaultKind.CONTRADICT:
            return (
                pack(Ready()),
                pack(EndWord(-5.0)),
                pack(Step(0, (0.99,) * 4, 2**40)),
                pack(Step(0, (0.99,), 0)),
                pack(EndWord(1e9)),
                pack(Marker(-1)),
                pack(Word("", -3.0)),
            )
    return ()


def main() -> None:
    parser = source_arguments("moshi-server, on loopback", faults=True)
    parser.add_argument("--api-key", default="public_token", help=f"what the header {API_KEY_HEADER} has to say")
    parser.add_argument("--batch-size", type=int, default=64, help="sessions at once")
    arguments = parser.parse_args()
    serve_until_stopped(
        lambda: MoshiStandIn(
            word_sources(arguments),
            api_key=arguments.api_key,
            batch_size=arguments.batch_size,
            step_s=arguments.step,
            port=arguments.port,
        ),
        arguments.fault,
        delay_s=DELAY_S,
    )


if __name__ == "__main__":
    main()
