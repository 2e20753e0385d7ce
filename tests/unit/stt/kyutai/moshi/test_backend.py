# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgpack
import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from live_transcription.config import MoshiConfig
from live_transcription.errors import ConfigurationError, SttAtCapacity, SttRefused, SttUnavailable
from live_transcription.observability import metrics
from live_transcription.stt.kyutai.moshi.backend import MoshiBackend
from live_transcription.stt.sockets import sockets
from live_transcription.transcript import Flushed, Token
from live_transcription.types import Secret
from sandbox.virtual_clock import run
from tests.fakes.stt_counts import SttCounts

FRAME = np.full(1920, 0.1, np.float32)


@asynccontextmanager
async def moshi(handler: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0, close_timeout=0.1) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def pack(connection: ServerConnection, **message: object) -> None:
    await connection.send(msgpack.packb(message))


async def model(connection: ServerConnection) -> None:
    """Answer each 1920 samples with a step, and every fifth step with a word six steps later."""
    assert connection.request is not None
    assert connection.request.path == "/api/asr-streaming"
    assert connection.request.headers["kyutai-api-key"] == "mk-test"
    assert "Sec-WebSocket-Extensions" not in connection.request.headers
    await pack(connection, type="Ready")
    steps = 0
    async for message in connection:
        audio = msgpack.unpackb(message)
        assert audio["type"] == "Audio"
        assert len(audio["pcm"]) == 1920
        steps += 1
        if steps > 6 and (steps - 6) % 5 == 0 and any(audio["pcm"]):
            await pack(connection, type="Word", text=f"w{steps}", start_time=(steps - 6) * 0.08)
        await pack(connection, type="Step", step_idx=steps, prs=[0, 0, 0, 0], buffered_pcm=0)


def backend(url: str) -> MoshiBackend:
    return MoshiBackend(MoshiConfig(url, Secret("mk-test")))


def first_tokens() -> float:
    return metrics.registry.get_sample_value("live_transcription_stt_first_token_seconds_count") or 0.0


def test_words_and_a_flush_over_a_real_socket() -> None:
    before, counts = first_tokens(), SttCounts()

    async def scenario() -> None:
        async with moshi(model) as url:
            stt = backend(url)
            async with stt.open_stream("en") as stream:
                for _ in range(22):
                    await stream.send(FRAME)
                await stream.flush()
                events = []
                async for event in stream.events():
                    events.append(event)
                    if isinstance(event, Flushed):
                        await stream.end()
            assert [event.text for event in events if isinstance(event, Token)] == ["w11", "w16", "w21"]
            assert isinstance(events[-1], Flushed)
            assert (counts.words, sockets.open) == (3, 0)
            assert first_tokens() == before + 1

    run(scenario())


def test_a_full_server_is_at_capacity_before_any_audio() -> None:
    async def full(connection: ServerConnection) -> None:
        await pack(connection, type="Error", message="no free channels")

    async def scenario() -> None:
        async with moshi(full) as url:
            with pytest.raises(SttAtCapacity):
                async with backend(url).open_stream("en"):
                    pass

    run(scenario())


@pytest.mark.parametrize("says", [None, "close"])
def test_a_server_that_says_nothing_or_closes_is_unavailable(says: str | None) -> None:
    async def silent(connection: ServerConnection) -> None:
        if says is None:
            await connection.wait_closed()

    async def scenario() -> None:
        async with moshi(silent) as url:
            with pytest.raises(SttUnavailable):
                async with backend(url).open_stream("en"):
                    pass

    run(scenario())


def test_a_wrong_key_is_refused() -> None:
    async def scenario() -> None:
        def refuse(connection: ServerConnection, request: object) -> object:
            return connection.respond(401, "Unauthorized")

        async with serve(model, "127.0.0.1", 0, process_request=refuse) as server:  # type: ignore[arg-type]
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with pytest.raises(SttRefused) as caught:
                async with backend(url).open_stream("en"):
                    pass
            assert "mk-test" not in str(caught.value)

    run(scenario())


def test_warming_opens_a_session_and_so_sees_what_no_page_shows() -> None:
    async def full(connection: ServerConnection) -> None:
        await pack(connection, type="Error", message="no free channels")

    async def dead(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async def scenario() -> None:
        async with moshi(model) as url:
            await backend(url).warm()
        async with moshi(full) as url:
            with pytest.raises(SttAtCapacity):
                await backend(url).warm()
        async with moshi(dead) as url:
            with pytest.raises(SttUnavailable, match="sends nothing"):
                await backend(url).warm()

    run(scenario())


@pytest.mark.parametrize(
    ("url", "stream"),
    [
        ("ws://host:8080", "ws://host:8080/api/asr-streaming"),
        ("https://host/stt/api/asr-streaming", "wss://host/stt/api/asr-streaming"),
        ("ws://host/other", "ws://host/other"),
    ],
)
def test_addresses_are_completed(url: str, stream: str) -> None:
    config = MoshiConfig(url)
    assert config.stream_url == stream
    assert config.headers() == {"kyutai-api-key": "public_token"}


def test_an_error_names_the_malformed_setting() -> None:
    for url in ("host:8080", "ftp://host", "ws://user:pw@host", "ws://"):
        with pytest.raises(ConfigurationError, match="malformed"):
            MoshiConfig(url)
    with pytest.raises(ConfigurationError) as caught:
        MoshiConfig("ws://host", Secret("a b"))
    assert caught.value.setting == "LT_MOSHI_KEY"
