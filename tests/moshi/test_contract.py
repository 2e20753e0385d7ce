# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What a client sees of moshi-server: the same tests for the real one and for its stand-in, which may be stricter at most."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sandbox.moshi_server import MoshiServer
from sandbox.moshi_server.speech import POISON, say, silence
from sandbox.moshi_server.weights import LATE_DELAY_STEPS, TWO_PIECES, WORDS
from sandbox.stt_servers.faults import Fault, FaultKind
from sandbox.stt_servers.loudness import loud_words
from sandbox.stt_servers.moshi import MoshiStandIn
from tests.moshi.conftest import Servers
from tests.moshi.silent_client import Silence, silent_session
from tests.unit.sandbox_stt_servers.clients import FRAME, PATIENCE_S, MoshiClient, closing, open_socket, until

KEY = {"kyutai_api_key": "public_token"}
STAND_IN, REAL = "stand-in", "real"

pytestmark = pytest.mark.parametrize("kind", [STAND_IN, REAL])


@dataclass
class Server:
    stream_url: str
    http_url: str
    itself: MoshiStandIn | MoshiServer


def stand_in(**options: Any) -> MoshiStandIn:
    return MoshiStandIn(loud_words(), step_s=0.005, **{"batch_size": 2, **options})


@pytest.fixture
async def server(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """Either server with two slots, none of them taken."""
    if kind == REAL:
        real: MoshiServer = request.getfixturevalue("real")
        yield Server(real.stream_url, real.http_url, real)
        await free(real.http_url)
    else:
        async with stand_in() as server:
            yield Server(server.stream_url, server.http_url, server)


@asynccontextmanager
async def another(kind: str, request: pytest.FixtureRequest, **options: Any) -> AsyncIterator[Server]:
    """A server of the test's own, of either kind."""
    if kind == REAL:
        servers: Servers = request.getfixturevalue("servers")
        async with servers(**options) as real:
            yield Server(real.stream_url, real.http_url, real)
    else:
        if not options.get("pause_heads", True):
            options["delay_steps"] = LATE_DELAY_STEPS
        async with stand_in(**options) as server:
            yield Server(server.stream_url, server.http_url, server)


async def module(http_url: str) -> dict[str, str]:
    async with httpx.AsyncClient(base_url=http_url, trust_env=False) as http:
        (found,) = (await http.get("/api/modules_info")).json()
    return dict(found)


async def free(http_url: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await module(http_url))["used_slots"] != "0":  # noqa: ASYNC110  another process sets no event
            await asyncio.sleep(0.02)


async def test_each_word_comes_in_its_step_with_its_time(server: Server) -> None:
    spoken = (*TWO_PIECES, WORDS[0], WORDS[11], WORDS[-1])
    audio = np.concatenate([silence(2), say(*spoken), silence(8)])
    async with open_socket(server.stream_url, **KEY) as socket:
        client = MoshiClient(socket)
        await client.audio(audio)
        messages = await client.until_step(len(audio) // FRAME)
    assert messages[0] == {"type": "Ready"}
    steps = [message for message in messages if message["type"] == "Step"]
    assert [step["step_idx"] - steps[0]["step_idx"] for step in steps] == list(range(len(steps)))
    assert all(len(step["prs"]) == 4 and step["buffered_pcm"] == 0 for step in steps)
    words = [message for message in messages if message["type"] == "Word"]
    assert [word["text"] for word in words] == list(spoken)
    starts = [2 + 5 * place for place in range(len(spoken))]
    assert [word["start_time"] for word in words] == pytest.approx([start * 0.08 for start in starts])
    # Eight steps after a word begins it is sent, behind the step's own message; a word of two pieces takes one more.
    told_in, step = [], 0
    for before, message in itertools.pairwise(messages):
        step += message["type"] == "Step"
        if message["type"] == "Word":
            told_in.append(step)
            assert before["type"] in ("Step", "EndWord")
    assert told_in == [start + 8 + (word in TWO_PIECES) for start, word in zip(starts, spoken, strict=True)]
    # The end of a word is sent when the next one begins, so never for the last one.
    ends = [message["stop_time"] for message in messages if message["type"] == "EndWord"]
    assert ends == pytest.approx([start * 0.08 for start in starts[1:]])


async def test_the_third_pause_head_hears_silence_between_words(server: Server) -> None:
    audio = np.concatenate([silence(12), say(*WORDS[:3], gap=2), silence(14)])
    async with open_socket(server.stream_url, **KEY) as socket:
        client = MoshiClient(socket)
        await client.audio(audio)
        steps = [message for message in await client.until_step(len(audio) // FRAME) if message["type"] == "Step"]
    pauses = [step["prs"][2] > 0.6 for step in steps]
    assert not any(pauses[16:25])
    assert all(pauses[-4:])


async def test_a_marker_waits_for_the_models_delay_and_counts_the_steps_of_all_sessions(server: Server) -> None:
    async with open_socket(server.stream_url, **KEY) as socket, open_socket(server.stream_url, **KEY) as other:
        client = MoshiClient(socket)
        await client.audio(silence(4))
        await client.send(type="Marker", id=7)
        await client.until_step(4)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.2)
        await MoshiClient(other).audio(silence(8))
        assert await client.message() == {"type": "Marker", "id": 7}


async def test_a_short_message_costs_a_step_like_a_whole_one(server: Server) -> None:
    async with open_socket(server.stream_url, **KEY) as socket, open_socket(server.stream_url, **KEY) as busy:
        await MoshiClient(busy).audio(silence(60))
        await MoshiClient(socket).audio(silence(8), chunk=FRAME // 4)
        short = [m["step_idx"] for m in await MoshiClient(socket).until_step(8) if m["type"] == "Step"]
    assert short[-1] - short[0] >= 3 * 7


async def test_a_long_message_is_worked_on_step_by_step(server: Server) -> None:
    async with open_socket(server.stream_url, **KEY) as socket:
        client = MoshiClient(socket)
        await client.audio(say("kilo", "lima", "mike"), chunk=24_000)
        await client.audio(silence(8))
        messages = await client.until_step(23)
    assert [message["text"] for message in messages if message["type"] == "Word"] == ["kilo", "lima", "mike"]
    assert max(message["buffered_pcm"] for message in messages if message["type"] == "Step") > FRAME


@pytest.mark.parametrize("headers", [{}, {"kyutai_api_key": "guess"}, {"kyutai_api_key": ""}], ids=["none", "wrong", "empty"])
async def test_a_wrong_key_is_a_401_without_a_body(server: Server, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with open_socket(server.stream_url, **headers):
            pass
    assert refused.value.response.status_code == 401
    assert not refused.value.response.body


async def test_the_query_will_do_as_well_but_a_header_wins(server: Server) -> None:
    url = f"{server.stream_url}?auth_id=public_token"
    async with open_socket(url) as socket:
        assert await MoshiClient(socket).message() == {"type": "Ready"}
    for key in ("", "guess"):
        with pytest.raises(InvalidStatus) as refused:
            async with open_socket(url, kyutai_api_key=key):
                pass
        assert refused.value.response.status_code == 401


async def test_pages_beside_the_stream(server: Server) -> None:
    async with open_socket(server.stream_url, **KEY) as socket:
        assert await MoshiClient(socket).message() == {"type": "Ready"}
    await free(server.http_url)
    async with httpx.AsyncClient(base_url=server.http_url, trust_env=False) as http:
        path = urlsplit(server.stream_url).path
        for headers in ({}, {"kyutai-api-key": "public_token"}):
            assert (await http.get(path, headers=headers)).status_code == 400
        metrics = await http.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "asr_open_channels" in metrics.text
        assert "git_hash" in (await http.get("/api/build_info")).json()
        for other in ("/", "/api/nothing"):
            assert (await http.get(other)).status_code == 404
    found = await module(server.http_url)
    assert (found["path"], found["used_slots"], found["total_slots"]) == (path, "0", "2")


async def test_a_full_server_says_so_and_closes_without_a_code(server: Server) -> None:
    async with open_socket(server.stream_url, **KEY) as first, open_socket(server.stream_url, **KEY) as second:
        for socket in (first, second):
            assert await MoshiClient(socket).message() == {"type": "Ready"}
        assert (await module(server.http_url))["used_slots"] == "2"
        async with open_socket(server.stream_url, **KEY) as third:
            assert await MoshiClient(third).message() == {"type": "Error", "message": "no free channels"}
            assert (await closing(third))[0] == 1005
    await free(server.http_url)


async def test_a_client_that_closes_gets_no_close_frame_and_frees_its_slot(server: Server) -> None:
    async with open_socket(server.stream_url, **KEY) as socket:
        client = MoshiClient(socket)
        await client.audio(silence(1))
        await client.until_step(1)
        await socket.close()
        assert (socket.close_code, socket.close_reason) == (1006, "")
    await free(server.http_url)


async def test_a_client_that_is_cut_off_frees_its_slot_whatever_is_queued(server: Server) -> None:
    async with open_socket(server.stream_url, **KEY) as socket:
        await MoshiClient(socket).audio(silence(200))
        await MoshiClient(socket).until_step(1)
        socket.transport.abort()
        await free(server.http_url)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        msgpack.packb(7),
        msgpack.packb([]),
        msgpack.packb({}),
        msgpack.packb({"pcm": [0.0]}),
        msgpack.packb({"type": "Nobody"}),
        msgpack.packb({"type": "Audio"}),
        msgpack.packb({"type": "Audio", "pcm": "loud"}),
        msgpack.packb({"type": "Audio", "pcm": [0.0, "1.0"]}),
        msgpack.packb({"type": "Audio", "pcm": [0.0, True]}),
        msgpack.packb({"type": "Audio", "pcm": [0.0, None]}),
        msgpack.packb({"type": "Marker", "id": True}),
        msgpack.packb({"type": "Marker", "id": 1.0}),
        msgpack.packb({"type": "Marker", "id": 2**63}),
        b"\x83\xa4type\xa6Marker\xa2id\x01\xa2id\x02",
        msgpack.packb({"type": "Audio", "pcm": [0.0] * 1920})[:-1],
    ],
    ids=range(17),
)
async def test_an_unreadable_message_drops_the_connection_without_a_word(server: Server, message: bytes) -> None:
    async with open_socket(server.stream_url, **KEY) as socket:
        assert await MoshiClient(socket).message() == {"type": "Ready"}
        await socket.send("text frames are not even looked at")
        await socket.send(message)
        assert await closing(socket) == (None, "")
    await free(server.http_url)


async def test_what_counts_as_a_message(server: Server) -> None:
    """Arrays with the type first, further keys, whole numbers and float64 as samples, octets behind the message."""
    half = [0.0] * (FRAME // 2)
    async with open_socket(server.stream_url, **KEY) as socket:
        client = MoshiClient(socket)
        assert await client.message() == {"type": "Ready"}
        for message in (
            msgpack.packb(["Audio", half]),
            msgpack.packb({"type": "Audio", "pcm": [0] * (FRAME // 2), "more": {"of": "it"}}),
            msgpack.packb({"type": "Audio", "pcm": half}) + b"behind",
            msgpack.packb({"type": "Audio", "pcm": half}, use_single_float=True),
            msgpack.packb({"pcm": [], "type": "Audio"}),
        ):
            await socket.send(message)
        assert len([m for m in await client.until_step(2) if m["type"] == "Step"]) == 2
        await socket.send(msgpack.packb(["Init"]))
        assert await client.message() == {"type": "Ready"}


async def test_a_frame_of_16_mib_is_too_large_and_is_answered_by_a_cut(server: Server) -> None:
    async with open_socket(server.stream_url, **KEY) as socket:
        assert await MoshiClient(socket).message() == {"type": "Ready"}
        with contextlib.suppress(ConnectionClosed):
            await socket.send(bytes(16 * 2**20 + 1))
        assert await closing(socket) == (None, "")


async def test_minutes_of_audio_are_taken_at_once(server: Server) -> None:
    async with open_socket(server.stream_url, **KEY) as socket, asyncio.timeout(PATIENCE_S):
        await MoshiClient(socket).audio(silence(750))
        await (await socket.ping())


async def test_silence_of_the_server_is_a_ping_and_silence_of_the_client_ends_it(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """An empty ping, and the end when nothing has come for twice as long."""
    if kind == REAL:
        session: Future[Silence] = request.getfixturevalue("silence_of_real")
        ping_s, seen = 10.0, await asyncio.wrap_future(session)
    else:
        ping_s = 0.5
        async with stand_in(ping_s=ping_s) as server:
            seen = await silent_session(urlsplit(server.stream_url).netloc)
    assert seen.first == b"\x89\x00"
    assert seen.rest in (b"", b"\x89\x00")
    assert seen.first_s >= 0.95 * ping_s
    assert seen.end_s >= 1.95 * ping_s


async def test_a_model_without_pause_heads_sends_no_steps_and_late_words(kind: str, request: pytest.FixtureRequest) -> None:
    async with (
        another(kind, request, batch_size=1, pause_heads=False) as server,
        open_socket(server.stream_url, **KEY) as socket,
    ):
        client = MoshiClient(socket)
        await client.audio(np.concatenate([say("alpha", "bravo"), silence(LATE_DELAY_STEPS + 4)]))
        messages = [await client.message() for _ in range(4)]
        assert [message["type"] for message in messages] == ["Ready", "Word", "EndWord", "Word"]
        assert [message["start_time"] for message in messages if "start_time" in message] == pytest.approx([0.0, 0.4])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.3)


async def test_a_dead_model_listens_on_and_frees_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    async with another(kind, request) as server, open_socket(server.stream_url, **KEY) as socket:
        client = MoshiClient(socket)
        if isinstance(server.itself, MoshiStandIn):
            server.itself.faults.add(Fault(FaultKind.MODEL_DIES))
            async with open_socket(server.stream_url, **KEY) as killer:
                await MoshiClient(killer).audio(silence(1))
                await until(lambda: not server.itself.model.alive)  # type: ignore[union-attr]
        else:
            async with open_socket(server.stream_url, **KEY) as killer:
                await MoshiClient(killer).audio(np.concatenate([say(POISON), silence(8)]))
                async with asyncio.timeout(PATIENCE_S):
                    while not server.itself.logged("model_loop"):  # noqa: ASYNC110  another process sets no event
                        await asyncio.sleep(0.02)
        assert await client.message() == {"type": "Ready"}
        await client.audio(silence(2))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.5)
        assert (await module(server.http_url))["used_slots"] == "2"
        async with open_socket(server.stream_url, **KEY) as third:
            assert (await MoshiClient(third).message())["message"] == "no free channels"


async def test_nan_makes_a_slot_deaf_for_the_next_session_too(kind: str, request: pytest.FixtureRequest) -> None:
    async with another(kind, request, batch_size=1) as server:
        for bad in (True, False):
            async with open_socket(server.stream_url, **KEY) as socket:
                client = MoshiClient(socket)
                spoilt = np.full(FRAME if bad else 0, np.nan, "<f4")
                audio = np.concatenate([say("alpha"), silence(8), spoilt, say("bravo"), silence(8)])
                await client.audio(audio)
                messages = await client.until_step(len(audio) // FRAME)
                texts = [message["text"] for message in messages if message["type"] == "Word"]
                assert texts == (["alpha"] if bad else [])
                assert all(math.isfinite(pr) for message in messages if message["type"] == "Step" for pr in message["prs"])
            await free(server.http_url)
