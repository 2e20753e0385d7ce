# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import httpx
import numpy as np
import pytest
import respx
from websockets.asyncio.server import ServerConnection, serve

from live_transcription.config import ModalConfig
from live_transcription.errors import (
    SttAtCapacity,
    SttError,
    SttExpired,
    SttProtocolError,
    SttRedirected,
    SttRefused,
    SttStalled,
    SttStarting,
    SttUnavailable,
)
from live_transcription.observability import metrics
from live_transcription.stt.kyutai.modal.backend import ModalBackend
from live_transcription.stt.resilient.backend import ResilientBackend
from live_transcription.stt.sockets import sockets
from live_transcription.transcript import Flushed, Restarted, SttEvent, Token
from live_transcription.types import Secret
from sandbox.virtual_clock import run
from tests.fakes.stt_counts import SttCounts

FRAME = np.full(1920, 0.1, np.float32)
Handler = Callable[[ServerConnection], Awaitable[None]]


class Proxy:
    """Kyutai's proxy as a client sees it. `refusals`: HTTP statuses of the first handshakes.

    `location`: target of redirects; by default the requested address, as from Modal during a cold start.
    """

    def __init__(
        self, handler: Handler, *, refusals: list[int] | None = None, opening_s: float = 0.0, location: str = ""
    ) -> None:
        self.location = location
        self.handler = handler
        self.refusals = refusals or []
        self.opening_s = opening_s
        self.handshakes: list[dict[str, str]] = []
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        async def upgrade(connection: ServerConnection, request: object) -> object:
            self.handshakes.append({name.lower(): value for name, value in request.headers.raw_items()})  # type: ignore[attr-defined]
            await asyncio.sleep(self.opening_s)
            if self.refusals:
                response = connection.respond(self.refusals.pop(0), "no")
                itself = f"{self.url.replace('ws:', 'http:')}/v1/stream?__modal_function_call_id=fc-1"
                response.headers["Location"] = self.location or itself
                return response
            return None

        async with serve(self.handler, "127.0.0.1", 0, process_request=upgrade, open_timeout=None, close_timeout=0.1) as server:  # type: ignore[arg-type]
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self


def backend(proxy: Proxy, *, anywhere: bool = True, open_timeout_s: float = 180) -> ModalBackend:
    return ModalBackend(
        ModalConfig(
            url=proxy.url,
            key=Secret("wk-test"),
            secret=Secret("ws-hidden"),
            credentials_anywhere=anywhere,
            open_timeout_s=open_timeout_s,
        )
    )


async def words(connection: ServerConnection) -> None:
    """Answer each fifth message of audio with a word, like the deployed proxy; close with 1000 at an invalid message."""
    heard = 0
    async for message in connection:
        if isinstance(message, str) or len(message) % 4:
            return
        assert len(message) == 7680
        heard += np.frombuffer(message, "<f4").any()
        if heard and heard % 5 == 0 and np.frombuffer(message, "<f4").any():
            await connection.send(json.dumps({"type": "token", "text": f"w{heard // 5}"}))


async def speak(stt: ModalBackend, frames: int = 20) -> list[SttEvent]:
    async with stt.open_stream("en") as stream:
        for _ in range(frames):
            await stream.send(FRAME)
        await stream.flush()
        await stream.end()
        return [event async for event in stream.events()]


def first_tokens() -> float:
    return metrics.registry.get_sample_value("live_transcription_stt_first_token_seconds_count") or 0.0


def test_words_and_a_flush_over_a_real_socket() -> None:
    before, counts, billed_s = first_tokens(), SttCounts(), sockets.seconds

    async def scenario() -> None:
        async with Proxy(words).running() as proxy:
            stt = backend(proxy)
            assert await speak(stt) == [Token("w1"), Token("w2"), Token("w3"), Token("w4"), Flushed()]
            (headers,) = proxy.handshakes
            assert (headers["modal-key"], headers["modal-secret"]) == ("wk-test", "ws-hidden")
            assert "sec-websocket-extensions" not in headers
            assert (counts.words, sockets.open) == (4, 0)
            assert first_tokens() == before + 1
            assert 0.4 < sockets.seconds - billed_s < 4

    run(scenario())


def test_credentials_are_not_sent_to_other_hosts() -> None:
    async def scenario() -> None:
        async with Proxy(words).running() as proxy:
            await speak(backend(proxy, anywhere=False))
            assert not {"modal-key", "modal-secret"} & proxy.handshakes[0].keys()

    run(scenario())


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, SttRefused), (403, SttRefused), (404, SttRefused), (302, SttStarting), (303, SttStarting), (307, SttStarting),
        (429, SttAtCapacity), (500, SttUnavailable), (502, SttStarting), (503, SttStarting), (504, SttStarting),
        (400, SttProtocolError),
    ],
)  # fmt: skip
def test_a_failed_handshake_raises_its_error_and_no_redirect_is_followed(status: int, expected: type[SttError]) -> None:
    async def scenario() -> None:
        async with Proxy(words, refusals=[status]).running() as proxy:
            with pytest.raises(expected) as caught:
                await speak(backend(proxy))
            assert type(caught.value) is expected
            assert "hidden" not in repr(caught.value) + str(caught.value.__dict__)
            assert len(proxy.handshakes) == 1

    run(scenario())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_error_names_the_target_of_a_redirect_which_is_not_followed(status: int) -> None:
    async def scenario() -> None:
        async with (
            Proxy(words).running() as elsewhere,
            Proxy(words, refusals=[status], location=f"{elsewhere.url}/v1/stream?hidden").running() as proxy,
        ):
            with pytest.raises(SttRedirected, match=r"redirects to ws://127\.0\.0\.1:\d+\. Enter") as caught:
                await speak(backend(proxy))
            assert "hidden" not in str(caught.value)
            assert (len(proxy.handshakes), elsewhere.handshakes) == (1, [])

    run(scenario())


def test_a_handshake_may_hang_as_long_as_a_cold_start_and_no_longer() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with Proxy(words, opening_s=120).running() as proxy:
            assert len(await speak(backend(proxy))) == 5
            assert 120 <= loop.time() < 125
        started = loop.time()
        async with Proxy(words, opening_s=400).running() as proxy:
            with pytest.raises(SttStarting):
                await speak(backend(proxy))
            assert loop.time() - started == pytest.approx(180, abs=1)

    run(scenario())


async def test_a_closed_port_is_unavailable(unused_tcp_port: int) -> None:
    proxy = Proxy(words)
    proxy.url = f"ws://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(SttUnavailable):
        await speak(backend(proxy))


def test_closes_with_1000_are_distinguished() -> None:
    async def at_first_audio(connection: ServerConnection) -> None:
        await connection.recv()

    async def after_a_word(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"type": "token", "text": "a"}')

    async def when_idle(connection: ServerConnection) -> None:
        while True:
            try:
                async with asyncio.timeout(30):
                    await connection.recv()
            except TimeoutError:
                return

    async def at_its_age(connection: ServerConnection) -> None:
        try:
            async with asyncio.timeout(29.9 * 60):
                await words(connection)
        except TimeoutError:
            return

    async def failure(handler: Handler, frames: int, every_s: float = 0.08) -> SttError:
        async with Proxy(handler).running() as proxy, backend(proxy).open_stream("en") as stream:

            async def send() -> None:
                for _ in range(frames):
                    await stream.send(FRAME)
                    await asyncio.sleep(every_s)

            sender = asyncio.create_task(send())
            try:
                async for _ in stream.events():
                    pass
            except SttError as error:
                return error
            finally:
                sender.cancel()
                await asyncio.wait([sender])
        raise AssertionError

    async def scenario() -> None:
        assert type(await failure(at_first_audio, 1)) is SttAtCapacity
        assert type(await failure(after_a_word, 1)) is SttUnavailable
        assert type(await failure(when_idle, 3)) is SttExpired
        assert type(await failure(at_its_age, 10**6, every_s=5.0)) is SttExpired

    run(scenario())


@pytest.mark.parametrize(
    "nonsense",
    ["{", "x" * 1_000_000, b"\x00" * 1_000_000, '{"type": "novel"}', "[" * 100_000, '{"type": "ping"}'],
    ids=["half", "long text", "long binary", "unknown", "nested", "ping"],
)
def test_nonsense_between_words_is_ignored(nonsense: str | bytes) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(nonsense)
        await words(connection)

    async def scenario() -> None:
        async with Proxy(handler).running() as proxy:
            assert len(await speak(backend(proxy))) == 5

    run(scenario())


def test_a_message_above_the_limit_ends_only_the_connection() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send("x" * 10_000_000)
        await connection.wait_closed()

    async def scenario() -> None:
        async with Proxy(handler).running() as proxy:
            with pytest.raises(SttUnavailable):
                await speak(backend(proxy))

    run(scenario())


def test_a_server_that_never_answers_is_abandoned() -> None:
    async def handler(connection: ServerConnection) -> None:
        async for _ in connection:
            pass

    async def scenario() -> None:
        async with Proxy(handler).running() as proxy, backend(proxy).open_stream("en") as stream:
            for _ in range(300):
                await stream.send(FRAME)
            with pytest.raises(SttStalled):
                async for _ in stream.events():
                    pass
            assert asyncio.get_running_loop().time() == pytest.approx(6, abs=0.5)

    run(scenario())


def test_a_flush_wakes_a_reader_that_waits_for_the_server() -> None:
    async def scenario() -> None:
        async with Proxy(words).running() as proxy, backend(proxy).open_stream("en") as stream:
            events = stream.events()
            first = asyncio.ensure_future(anext(events))
            await stream.send(FRAME)
            await asyncio.sleep(5)
            await stream.flush()
            flushed_at = asyncio.get_running_loop().time()
            assert await first == Flushed()
            assert asyncio.get_running_loop().time() == pytest.approx(flushed_at + 0.48, abs=0.1)
            await events.aclose()

    run(scenario())


def greeting(hangs: set[int]) -> Handler:
    """A proxy that announces itself and answers `end`, except in the sessions with these numbers."""
    sessions = 0

    async def handle(connection: ServerConnection) -> None:
        nonlocal sessions
        sessions += 1
        if sessions in hangs:
            await connection.wait_closed()
            return
        await connection.send('{"type":"ready","delay_s":0.48,"sample_rate":24000}')
        async for message in connection:
            if message == '{"type":"end"}':
                # A slow model: the words come long after the audio.
                for _ in range(2):
                    await asyncio.sleep(10)
                    await connection.send('{"type":"ping"}')
                await connection.send('{"type":"token","text":"late"}')
                await asyncio.sleep(9)
                await connection.send('{"type":"token","text":"words"}')
                await connection.send('{"type":"done"}')

    return handle


def test_our_own_proxy_says_when_the_last_word_has_come() -> None:
    async def scenario() -> None:
        async with Proxy(greeting(set())).running() as proxy:
            assert await speak(backend(proxy), 5) == [Token("late"), Token("words"), Flushed()]

    run(scenario())


def test_a_proxy_that_has_announced_itself_once_has_to_do_so_in_each_session() -> None:
    async def scenario() -> None:
        async with Proxy(greeting({2})).running() as proxy:
            stt = backend(proxy)
            await speak(stt, 5)
            with pytest.raises(SttUnavailable, match="sends nothing"):
                await speak(stt, 5)
            assert await speak(stt, 5) == [Token("late"), Token("words"), Flushed()]

    run(scenario())


def test_a_frame_that_is_not_finite_is_sent_as_silence() -> None:
    async def scenario() -> None:
        received: asyncio.Queue[np.ndarray] = asyncio.Queue()

        async def record(connection: ServerConnection) -> None:
            async for message in connection:
                assert isinstance(message, bytes)
                received.put_nowait(np.frombuffer(message, "<f4"))

        before = metrics.total_of(metrics.stt_silenced_frames)
        async with Proxy(record).running() as proxy, backend(proxy).open_stream("en") as stream:
            for value in (np.nan, np.inf, -np.inf, 0.5):
                frame = FRAME.copy()
                frame[7] = value
                await stream.send(frame)
            assert [bool((await received.get()).any()) for _ in range(4)] == [False, False, False, True]
        assert metrics.total_of(metrics.stt_silenced_frames) == before + 3

    run(scenario())


def test_secrets_never_reach_a_log(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with Proxy(words, refusals=[503, 401]).running() as proxy:
            stt = backend(proxy)
            for _ in range(2):
                with pytest.raises(SttError):
                    await speak(stt)
            await speak(stt)

    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("live_transcription") and not name.endswith(".wire"):
            caplog.set_level(logging.DEBUG, logger=name)
    run(scenario())
    client = [record for record in caplog.records if not record.name.startswith("websockets.server")]
    assert "ws-hidden" not in "".join(record.getMessage() for record in client)


def test_with_resilience_a_cold_start_and_a_broken_session_lose_no_word() -> None:
    counts = SttCounts()
    sessions = 0

    async def numbers(connection: ServerConnection) -> None:
        """Send the number that the audio contains; break once in mid-sentence."""
        nonlocal sessions
        sessions += 1
        heard = 0
        async for message in connection:
            value = round(float(np.frombuffer(message, "<f4")[0]) * 1000)
            heard += 1
            if value:
                await connection.send(json.dumps({"type": "token", "text": f"w{value}"}))
            if sessions == 1 and heard == 40:
                return

    async def scenario() -> None:
        async with Proxy(numbers, refusals=[503, 303, 502], opening_s=2).running() as proxy:
            stt = ResilientBackend(backend(proxy), random=Random(1))
            emitted: list[str] = []
            async with stt.open_stream("en") as stream:

                async def read() -> None:
                    async for event in stream.events():
                        if isinstance(event, Token):
                            emitted.append(event.text)
                        elif isinstance(event, Restarted):
                            emitted.clear()

                reader = asyncio.create_task(read())
                for number in range(1, 101):
                    await stream.send(np.full(1920, number / 1000, np.float32))
                    await asyncio.sleep(0.08)
                await stream.flush()
                await stream.end()
                await reader
            assert emitted == [f"w{number}" for number in range(1, 101)]
            assert sessions == 2
            assert counts.reconnects["stt_starting"] == 3

    run(scenario())


@respx.mock
async def test_warming_sends_credentials_to_modal_only() -> None:
    host = "team--kyutai-stt-rust-kyutaisttrustservice-serve.modal.run"
    modal = respx.get(f"https://{host}/health").respond(200)
    stt = ModalBackend(ModalConfig(workspace="team", key=Secret("wk-test"), secret=Secret("ws-hidden")))
    await asyncio.gather(*(stt.warm() for _ in range(5)))
    assert modal.call_count == 1
    assert modal.calls.last.request.headers["modal-secret"] == "ws-hidden"
    other = respx.get("https://stt.example.com/health").respond(200)
    await ModalBackend(ModalConfig(url="https://stt.example.com", key=Secret("wk-test"), secret=Secret("ws-hidden"))).warm()
    assert "modal-key" not in other.calls.last.request.headers


@respx.mock
@pytest.mark.parametrize("answer", [401, 404, 429, 500, httpx.ConnectError("refused")])
async def test_warming_raises_the_error_of_the_server(answer: int | Exception) -> None:
    expected = {401: SttRefused, 404: SttRefused, 429: SttAtCapacity, 500: SttUnavailable}
    respx.get("https://stt.example.com/health").mock(
        side_effect=[httpx.Response(answer) if isinstance(answer, int) else answer]
    )
    with pytest.raises(expected.get(answer, SttUnavailable)):  # type: ignore[call-overload]
        await ModalBackend(ModalConfig(url="https://stt.example.com")).warm()


def test_warming_waits_while_the_container_starts() -> None:
    async def scenario() -> None:
        answers = [
            httpx.Response(503),
            httpx.Response(303, headers={"Location": "https://stt.example.com/health?__modal_function_call_id=fc-1"}),
            httpx.Response(200),
            httpx.Response(302, headers={"Location": "https://elsewhere.example.com/health"}),
        ]
        with respx.mock:
            route = respx.get("https://stt.example.com/health").mock(side_effect=answers)
            stt = ModalBackend(ModalConfig(url="https://stt.example.com"))
            await stt.warm()
            assert route.call_count == 3
            with pytest.raises(SttRedirected, match=r"redirects to https://elsewhere\.example\.com\."):
                await ModalBackend(ModalConfig(url="https://stt.example.com")).warm()

    run(scenario())
