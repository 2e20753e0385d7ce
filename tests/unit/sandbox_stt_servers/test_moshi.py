# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import asyncio
import math
from typing import Any

import httpx
import msgpack
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from sandbox.stt_servers.faults import Fault, FaultKind
from sandbox.stt_servers.moshi import MoshiStandIn
from sandbox.stt_servers.words import evenly, scripted
from tests.unit.sandbox_stt_servers.clients import FRAME, MoshiClient, closing, open_socket, silence, tone, until

TEXT = "Good morning, everybody. Shall we begin?"
KEY = {"kyutai_api_key": "public_token"}


def stand_in(batch_size: int = 64, **options: Any) -> MoshiStandIn:
    return MoshiStandIn(scripted(evenly(TEXT)), batch_size=batch_size, step_s=0.0, **options)


async def test_ready_then_a_step_for_each_frame_and_words_with_their_times() -> None:
    async with stand_in() as server, open_socket(server.stream_url, **KEY) as socket:
        client = MoshiClient(socket)
        await client.audio(np.concatenate([tone(2.4), silence(8 * 0.08)]))
        messages = await client.until_step(38)
        assert messages[0] == {"type": "Ready"}
        steps = [message for message in messages if message["type"] == "Step"]
        assert all(len(step["prs"]) == 4 for step in steps)
        assert [step["step_idx"] for step in steps] == list(range(1, 39))
        words = [message for message in messages if message["type"] == "Word"]
        assert [word["text"] for word in words] == TEXT.split()
        assert [word["start_time"] for word in words] == pytest.approx([0.4, 0.72, 1.04, 1.36, 1.68, 2.0], abs=0.081)
        # A word's end is sent with the next word, so never for the last one.
        assert sum(message["type"] == "EndWord" for message in messages) == len(words) - 1
        first = next(place for place, message in enumerate(messages) if message["type"] == "Word")
        assert sum(message["type"] == "Step" for message in messages[:first]) == 15


async def test_pause_heads_say_nothing_at_first_then_hear_silence() -> None:
    async with stand_in() as server, open_socket(server.stream_url, **KEY) as socket:
        client = MoshiClient(socket)
        await client.audio(np.concatenate([tone(2.4), silence(1.6)]))
        steps = [message for message in await client.until_step(50) if message["type"] == "Step"]
        pauses = [step["prs"][2] > 0.6 for step in steps]
        assert all(pauses[:12])
        assert not any(pauses[12:34])
        assert all(pauses[40:])


async def test_a_short_message_costs_a_step_of_the_queue_like_a_whole_one() -> None:
    async with (
        MoshiStandIn(scripted([]), step_s=0.02) as server,
        open_socket(server.stream_url, **KEY) as busy,
        open_socket(server.stream_url, **KEY) as socket,
    ):
        await MoshiClient(busy).audio(tone(8.0))
        short = MoshiClient(socket)
        # 40 messages of a quarter frame: ten frames' worth of audio takes forty steps while others keep the model busy.
        await short.audio(tone(10 * 0.08), chunk=FRAME // 4)
        steps = [message["step_idx"] for message in await short.until_step(10) if message["type"] == "Step"]
        assert steps[-1] - steps[0] >= 3 * 9


async def test_a_marker_comes_back_by_the_servers_steps_and_waits_while_nobody_sends() -> None:
    async with stand_in() as server, open_socket(server.stream_url, **KEY) as socket:
        client = MoshiClient(socket)
        await client.audio(tone(0.8))
        await client.send(type="Marker", id=7)
        await client.until_step(10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.2)
        await client.audio(silence(6 * 0.08))
        messages = await client.until_step(6)
        messages.append(await client.message())
        assert {"type": "Marker", "id": 7} in messages


async def test_a_wrong_key_is_a_401_and_the_query_will_do_as_well() -> None:
    async with stand_in() as server:
        for headers in ({}, {"kyutai_api_key": "guess"}):
            with pytest.raises(InvalidStatus) as refused:
                async with open_socket(server.stream_url, **headers):
                    pass
            assert refused.value.response.status_code == 401
        async with open_socket(f"{server.stream_url}?auth_id=public_token") as socket:
            assert await MoshiClient(socket).message() == {"type": "Ready"}


async def test_a_full_batch_is_told_and_closed_without_a_code() -> None:
    async with stand_in(batch_size=1) as server, open_socket(server.stream_url, **KEY) as first:
        assert await MoshiClient(first).message() == {"type": "Ready"}
        async with httpx.AsyncClient(base_url=server.http_url, trust_env=False) as http:
            (module,) = (await http.get("/api/modules_info")).json()
        assert (module["used_slots"], module["total_slots"]) == ("1", "1")
        async with open_socket(server.stream_url, **KEY) as second:
            assert await MoshiClient(second).message() == {"type": "Error", "message": "no free channels"}
            assert (await closing(second))[0] == 1005
        await first.close()
        await until(lambda: not server.model.used_slots)
        async with open_socket(server.stream_url, **KEY) as third:
            assert await MoshiClient(third).message() == {"type": "Ready"}


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        msgpack.packb(7),
        msgpack.packb({"type": "Audio"}),
        msgpack.packb({"type": "Audio", "pcm": "loud"}),
        msgpack.packb({"type": "Nobody"}),
        msgpack.packb({"pcm": [0.0]}),
    ],
)
async def test_an_unreadable_message_drops_the_connection_without_a_word(message: bytes) -> None:
    async with stand_in() as server, open_socket(server.stream_url, **KEY) as socket:
        await MoshiClient(socket).message()
        await socket.send("text frames are not even looked at")
        await socket.send(message)
        assert await closing(socket) == (None, "")
        await until(lambda: not server.open_sessions)
        assert server.sessions[0].ended_by == "bad message"


async def test_a_client_that_answers_nothing_is_dropped() -> None:
    async with stand_in(ping_s=0.1) as server, open_socket(server.stream_url, **KEY) as socket:
        assert await MoshiClient(socket).message() == {"type": "Ready"}
        socket.transport.pause_reading()
        await until(lambda: not server.open_sessions)
        assert server.sessions[0].ended_by == "no answer"


async def test_a_client_that_waits_in_silence_for_a_busy_server_is_not_read_any_more() -> None:
    async with MoshiStandIn(scripted([]), step_s=0.05, ping_s=0.2) as server, open_socket(server.stream_url, **KEY) as socket:
        client = MoshiClient(socket)
        await client.audio(tone(1.6))
        await client.until_step(15)
        await client.audio(tone(1.6))
        await client.until_step(5)
        assert await closing(socket) == (None, "")
        await until(lambda: not server.open_sessions)
        assert server.sessions[0].ended_by == "no answer"
        assert server.sessions[0].audio_s == pytest.approx(1.6)


async def test_a_slot_is_free_only_when_the_step_under_way_is_done() -> None:
    async with MoshiStandIn(scripted([]), batch_size=1, step_s=0.3) as server:
        async with open_socket(server.stream_url, **KEY) as socket:
            await MoshiClient(socket).audio(tone(0.16))
            await MoshiClient(socket).until_step(1)
            socket.transport.abort()
            await until(lambda: not server.open_sessions)
            assert server.model.used_slots == 1
        await until(lambda: not server.model.used_slots)


async def test_a_slow_model_falls_behind_and_says_nothing() -> None:
    async with (
        MoshiStandIn(scripted(evenly(TEXT)), step_s=0.16) as server,
        open_socket(server.stream_url, **KEY) as socket,
    ):
        client = MoshiClient(socket)
        began = asyncio.get_running_loop().time()
        await client.audio(tone(1.6))
        messages = await client.until_step(20)
        assert asyncio.get_running_loop().time() - began >= 19 * 0.16
        assert {message["type"] for message in messages} <= {"Ready", "Step", "Word", "EndWord"}


async def test_an_outage_restarts_a_model_that_died() -> None:
    async with stand_in(batch_size=1) as server:
        server.faults.add(Fault(FaultKind.MODEL_DIES))
        async with open_socket(server.stream_url, **KEY) as socket:
            await MoshiClient(socket).audio(tone(0.08))
            await until(lambda: not server.model.alive)
        async with open_socket(server.stream_url, **KEY) as socket:
            assert await MoshiClient(socket).message() == {"type": "Error", "message": "no free channels"}
        async with server.outage():
            pass
        async with open_socket(server.stream_url, **KEY) as socket:
            assert await MoshiClient(socket).message() == {"type": "Ready"}


async def test_without_audio_it_pings_and_gives_up_in_the_end() -> None:
    async with stand_in(ping_s=0.1, no_audio_s=0.5) as server, open_socket(server.stream_url, **KEY) as socket:
        assert await MoshiClient(socket).message() == {"type": "Ready"}
        assert await closing(socket) == (None, "")
        await until(lambda: not server.open_sessions)
        assert server.sessions[0].ended_by == "no audio"


async def test_faster_than_real_time_is_taken_as_it_comes() -> None:
    async with stand_in() as server, open_socket(server.stream_url, **KEY) as socket:
        client = MoshiClient(socket)
        await client.audio(tone(20.0))
        messages = await client.until_step(250)
        assert [message["text"] for message in messages if message["type"] == "Word"] == TEXT.split()


async def test_faults_in_a_session_leave_the_words_whole() -> None:
    async with stand_in() as server:
        for kind in (FaultKind.GARBAGE, FaultKind.NAN, FaultKind.CONTRADICT, FaultKind.HUGE, FaultKind.DUPLICATE):
            server.faults.add(Fault(kind, after_s=0.0))
        async with open_socket(server.stream_url, **KEY) as socket:
            await MoshiClient(socket).audio(np.concatenate([tone(2.4), silence(0.64)]))
            texts: list[str] = []
            not_numbers = 0
            while texts.count("begin?") < 2:
                message = await asyncio.wait_for(socket.recv(), 5)
                try:
                    fields = msgpack.unpackb(message) if isinstance(message, bytes) else None
                except (ValueError, msgpack.UnpackException):
                    continue
                if not isinstance(fields, dict):
                    continue
                not_numbers += any(isinstance(value, float) and not math.isfinite(value) for value in fields.get("prs") or [])
                if isinstance(fields.get("text"), str) and 0 < len(fields["text"]) < 100:
                    texts.append(fields["text"])
            assert texts == [word for word in TEXT.split() for _ in range(2)]
            assert not_numbers


async def test_a_dead_model_and_a_cut_drop_the_connection() -> None:
    async with stand_in() as server:
        server.faults.add(Fault(FaultKind.MODEL_DOWN))
        async with open_socket(server.stream_url, **KEY) as socket:
            assert await closing(socket) == (None, "")
        server.faults.add(Fault(FaultKind.CUT, after_s=0.5))
        async with open_socket(server.stream_url, **KEY) as socket:
            await MoshiClient(socket).audio(tone(0.5))
            assert await closing(socket) == (None, "")
