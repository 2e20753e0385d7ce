# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from sandbox.stt_servers.dialects import DialectName, Spacing
from sandbox.stt_servers.faults import Fault, FaultKind
from sandbox.stt_servers.fleet import Fleet
from sandbox.stt_servers.modal import Behaviour, ColdStart, ModalStandIn
from sandbox.stt_servers.words import evenly, scripted
from tests.unit.sandbox_stt_servers.clients import ModalClient, closing, open_socket, silence, tone, until

TEXT = "Good morning, everybody. Shall we begin?"
WORDS = TEXT.split()


def stand_in(behaviour: Behaviour | None = None, fleet: Fleet | None = None, batch_size: int = 80) -> ModalStandIn:
    return ModalStandIn(scripted(evenly(TEXT)), behaviour, fleet=fleet, batch_size=batch_size, step_s=0.0)


async def test_words_come_as_tokens_once_their_audio_and_the_delay_are_in() -> None:
    async with stand_in() as server, open_socket(server.stream_url) as socket:
        client = ModalClient(socket)
        # The first word ends at 0.72 s; with the delay of 0.48 s it takes 1.2 s of audio, 15 frames.
        await client.send(tone(14 * 0.08))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.2)
        await client.send(tone(0.08))
        assert await client.reply() == {"type": "token", "text": "Good"}
        await client.send(tone(3.0))
        assert [reply["text"] for reply in await client.replies(5)] == WORDS[1:]


@pytest.mark.parametrize("chunk", [480, 1920, 1921, 4800, 50_000])
async def test_audio_of_any_length_is_cut_anew(chunk: int) -> None:
    async with stand_in() as server, open_socket(server.stream_url) as socket:
        client = ModalClient(socket)
        await client.send(tone(3.0), chunk)
        assert [reply["text"] for reply in await client.replies(6)] == WORDS


async def test_what_the_model_had_not_said_is_lost_when_the_client_closes() -> None:
    async with stand_in() as server:
        async with open_socket(server.stream_url) as socket:
            await ModalClient(socket).send(tone(2.0))
        await until(lambda: not server.open_sessions)
        assert server.sessions[0].ended_by == "client"
        assert server.sessions[0].words < len(WORDS)


async def test_the_missions_dialect_with_pieces_and_a_pause() -> None:
    behaviour = Behaviour(dialect=DialectName.MISSION, spacing=Spacing.PIECES)
    async with stand_in(behaviour) as server, open_socket(server.stream_url) as socket:
        client = ModalClient(socket)
        await client.send(np.concatenate([tone(2.4), silence(3.0)]))
        replies: list[Any] = []
        while not replies or not replies[-1]["vad_end"]:
            replies.append(await client.reply())
        assert "".join(reply["text"] for reply in replies).strip() == TEXT
        assert all(set(reply) == {"text", "final", "vad_end"} for reply in replies)
        assert [reply["final"] for reply in replies] == [False] * (len(replies) - 1) + [True]


async def test_the_deployed_dialect_never_tells_a_pause() -> None:
    async with stand_in() as server, open_socket(server.stream_url) as socket:
        client = ModalClient(socket)
        await client.send(np.concatenate([tone(2.4), silence(3.0)]))
        await client.replies(6)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.2)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Modal_Key": "wk-1"}, {"Modal_Key": "wk-1", "Modal_Secret": "ws-2"}, {"Modal_Key": "", "Modal_Secret": "ws-1"}],
)
async def test_wrong_credentials_are_a_401(headers: Mapping[str, str]) -> None:
    async with stand_in(Behaviour(key="wk-1", secret="ws-1")) as server:
        with pytest.raises(InvalidStatus) as refused:
            async with open_socket(server.stream_url, **headers):
                pass
        assert refused.value.response.status_code == 401
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(server.health_url)).status_code == 401
        async with open_socket(server.stream_url, Modal_Key="wk-1", Modal_Secret="ws-1") as socket:
            await ModalClient(socket).send(tone(1.3))
            assert (await ModalClient(socket).reply())["text"] == "Good"


async def test_every_way_to_end_is_1000_without_a_reason() -> None:
    async with stand_in(Behaviour(idle_s=0.1)) as server:
        for breach in ("a text frame", b"\0\0\0", None):
            async with open_socket(server.stream_url) as socket:
                if breach is not None:
                    await socket.send(breach)
                assert await closing(socket) == (1000, "")
        assert [session.ended_by for session in server.sessions] == ["text frame", "odd length", "idle"]


async def test_a_session_ends_with_the_functions_time() -> None:
    async with stand_in(Behaviour(session_limit_s=0.2)) as server, open_socket(server.stream_url) as socket:
        assert await closing(socket) == (1000, "")
        assert server.sessions[0].ended_by == "session limit"


async def test_a_full_model_is_told_after_the_first_audio_and_a_dead_one_at_once() -> None:
    async with stand_in(batch_size=1) as server, open_socket(server.stream_url) as first:
        await ModalClient(first).send(tone(1.3))
        await ModalClient(first).reply()
        async with open_socket(server.stream_url) as second:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(second.recv(), 0.1)
            await ModalClient(second).send(tone(0.08))
            assert await closing(second) == (1000, "")
        server.faults.add(Fault(FaultKind.MODEL_DOWN))
        async with open_socket(server.stream_url) as third:
            assert await closing(third) == (1000, "")
        await ModalClient(first).send(tone(2.0))
        assert (await ModalClient(first).reply())["text"] == WORDS[1]


async def test_a_message_above_2_mib_is_refused() -> None:
    async with stand_in() as server, open_socket(server.stream_url) as socket:
        await socket.send(bytes(2 * 1024 * 1024 + 4))
        assert (await closing(socket))[0] == 1009


async def test_a_cold_start_lets_the_handshake_hang_and_health_warms_it() -> None:
    loop = asyncio.get_running_loop()
    async with stand_in(fleet=Fleet(cold_start_s=0.4)) as server:
        began = loop.time()
        async with open_socket(server.stream_url):
            assert loop.time() - began >= 0.39
        server.scale_to_zero()
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(server.health_url)).json()["status"] == "ok"
        assert server.fleet.started == 2
        async with open_socket(server.stream_url):
            assert server.fleet.started == 2


@pytest.mark.parametrize(("mode", "status"), [(ColdStart.REDIRECT, 303), (ColdStart.UNAVAILABLE, 503)])
async def test_a_cold_start_may_also_be_told(mode: ColdStart, status: int) -> None:
    fleet = Fleet(cold_start_s=0.3)
    async with stand_in(Behaviour(cold_start=mode), fleet) as server, httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(server.health_url)).status_code == status
        await asyncio.sleep(0.35)
        assert (await http.get(server.health_url)).status_code == 200


async def test_the_ninth_session_starts_another_container() -> None:
    async with stand_in(fleet=Fleet(slots=2)) as server:
        async with open_socket(server.stream_url), open_socket(server.stream_url), open_socket(server.stream_url):
            assert server.fleet.started == 2
        async with open_socket(server.stream_url):
            assert server.fleet.started == 2


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault(FaultKind.UNAUTHORIZED), 401),
        (Fault(FaultKind.REDIRECT), 303),
        (Fault(FaultKind.STATUS, status=429), 429),
        (Fault(FaultKind.STATUS, status=502), 502),
    ],
)
async def test_handshake_faults_strike_as_often_as_asked(fault: Fault, status: int) -> None:
    async with stand_in() as server:
        server.faults.add(fault)
        async with httpx.AsyncClient(trust_env=False, headers={"Upgrade": "websocket"}) as http:
            refused = await http.get(server.stream_url.replace("ws:", "http:"))
        assert refused.status_code == status
        assert ("__modal_function_call_id" in refused.headers.get("Location", "")) == (status == 303)
        async with open_socket(server.stream_url):
            pass


async def test_a_cut_leaves_no_close_frame_and_a_stall_leaves_the_socket_open() -> None:
    async with stand_in() as server:
        server.faults.add(Fault(FaultKind.CUT, after_s=1.5))
        async with open_socket(server.stream_url) as socket:
            client = ModalClient(socket)
            await client.send(tone(1.44))
            assert (await client.reply())["text"] == "Good"
            await client.send(tone(0.08))
            assert await closing(socket) == (None, "")
        server.faults.add(Fault(FaultKind.STALL, after_s=0.5, duration_s=0.3))
        async with open_socket(server.stream_url) as socket:
            client = ModalClient(socket)
            await client.send(tone(3.0))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.15)
            assert [reply["text"] for reply in await client.replies(6)] == WORDS


async def test_a_slow_reader_holds_the_client_back_and_then_goes_on() -> None:
    async with stand_in() as server:
        server.faults.add(Fault(FaultKind.SLOW_READER, duration_s=0.5))
        async with open_socket(server.stream_url) as socket:
            await socket.send(bytes(7680))
            await asyncio.sleep(0.05)
            pong = await socket.ping()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(pong), 0.2)
            await asyncio.wait_for(pong, 2)


@pytest.mark.parametrize("name", list(DialectName))
async def test_noise_comes_between_the_words_which_stay_whole(name: DialectName) -> None:
    async with stand_in(Behaviour(dialect=name)) as server:
        for kind in (FaultKind.GARBAGE, FaultKind.HUGE, FaultKind.NAN, FaultKind.CONTRADICT):
            server.faults.add(Fault(kind, after_s=2.0))
        async with open_socket(server.stream_url) as socket:
            await ModalClient(socket).send(tone(3.0))
            texts: list[str] = []
            noise = 0
            while texts[-1:] != WORDS[-1:]:
                message = await asyncio.wait_for(socket.recv(), 5)
                try:
                    parsed = json.loads(message)
                except (ValueError, RecursionError):
                    noise += 1
                    continue
                text = parsed.get("text") if isinstance(parsed, dict) else None
                if text in WORDS and text not in texts:
                    texts.append(text)
                else:
                    noise += 1
            assert texts == WORDS
            assert noise > 15


async def test_nan_spoils_the_session_but_not_its_neighbours() -> None:
    async with stand_in() as server, open_socket(server.stream_url) as spoilt, open_socket(server.stream_url) as sound:
        await ModalClient(spoilt).send(np.full(24_000 * 3, np.nan, "<f4"))
        await ModalClient(sound).send(tone(3.0))
        assert [reply["text"] for reply in await ModalClient(sound).replies(6)] == WORDS
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(spoilt.recv(), 0.2)


async def test_an_outage_cuts_what_is_open_and_refuses_until_it_ends() -> None:
    async with stand_in() as server, open_socket(server.stream_url) as socket:
        await ModalClient(socket).send(tone(0.5))
        async with server.outage():
            assert await closing(socket) == (None, "")
            with pytest.raises(OSError, match="Connect call failed"):
                async with open_socket(server.stream_url):
                    pass
        async with open_socket(server.stream_url) as again:
            await ModalClient(again).send(tone(1.3))
            assert (await ModalClient(again).reply())["text"] == "Good"


async def test_another_process_can_do_all_that_by_http() -> None:
    async with stand_in() as server, httpx.AsyncClient(base_url=server.http_url, trust_env=False) as http:
        state = (await http.get("/admin/fault", params={"kind": "close", "after_s": "1", "times": "2"})).json()
        assert state["faults"] == [{"kind": "close", "times": 2, "hits": 0}]
        async with open_socket(server.stream_url) as socket:
            await ModalClient(socket).send(tone(1.0))
            assert await closing(socket) == (1000, "")
        assert (await http.get("/admin/state")).json()["sessions"][0]["ended_by"] == "fault: close"
        assert (await http.get("/admin/clear")).json()["faults"] == []
        assert (await http.get("/admin/fault", params={"kind": "nobody"})).status_code == 400
        assert (await http.get("/admin/unknown")).status_code == 404
        async with open_socket(server.stream_url) as socket:
            await http.get("/admin/outage", params={"seconds": "60"})
            assert await closing(socket) == (None, "")
