# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The proxy on a real port, in front of the moshi stand-in on another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest

from deploy.proxy import Proxy, ProxySettings
from sandbox.stt_servers.faults import Fault, FaultKind
from sandbox.stt_servers.moshi import MoshiStandIn
from sandbox.stt_servers.words import evenly, scripted
from tests.unit.deploy.asgi import serving
from tests.unit.sandbox_stt_servers.clients import ModalClient, closing, open_socket, silence, tone, until

TEXT = "Good morning, everybody. Shall we begin?"
WORDS = TEXT.split()


@contextlib.asynccontextmanager
async def proxied(batch_size: int = 64, step_s: float = 0.0, **options: Any) -> AsyncIterator[tuple[MoshiStandIn, str]]:
    model = MoshiStandIn(scripted(evenly(TEXT)), batch_size=batch_size, step_s=step_s)
    async with model, serving(Proxy(ProxySettings(f"{model.host}:{model.port}", **options))) as address:
        yield model, f"ws://{address}/v1/stream"


async def replies_until(client: ModalClient, kind: str) -> list[dict[str, Any]]:
    replies: list[dict[str, Any]] = []
    while not replies or replies[-1]["type"] != kind:
        replies.append(await client.reply())
    return replies


async def test_a_client_of_the_known_dialect_gets_its_words_and_more() -> None:
    async with proxied() as (_, url), open_socket(url) as socket:
        client = ModalClient(socket)
        await client.send(np.concatenate([tone(2.4), silence(2.5)]), chunk=4800)
        replies = await replies_until(client, "vad_end")
        tokens = [reply for reply in replies if reply["type"] == "token"]
        assert [token["text"] for token in tokens] == WORDS
        assert [token["start_time"] for token in tokens] == pytest.approx([0.4, 0.72, 1.04, 1.36, 1.68, 2.0], abs=0.081)
        assert replies[0]["type"] == "ready"
        assert sum(reply["type"] == "word_end" for reply in replies) == len(WORDS) - 1


async def test_end_brings_the_tail_that_a_close_would_lose_and_the_session_goes_on() -> None:
    async with proxied() as (_, url), open_socket(url) as socket:
        client = ModalClient(socket)
        await client.send(tone(2.35))
        await socket.send('{"type":"end"}')
        replies = await replies_until(client, "done")
        assert [reply["text"] for reply in replies if reply["type"] == "token"] == WORDS
        await client.send(tone(0.5))
        await socket.send('{"type":"end"}')
        assert (await replies_until(client, "done"))[-1]["type"] == "done"


async def test_a_client_that_just_closes_frees_its_place() -> None:
    async with proxied(batch_size=1) as (model, url):
        for _ in range(3):
            async with open_socket(url) as socket:
                client = ModalClient(socket)
                await client.send(tone(1.3))
                await replies_until(client, "token")
            await until(lambda: not model.model.used_slots)


async def test_a_client_that_is_cut_off_frees_its_place() -> None:
    async with proxied(batch_size=1) as (model, url), open_socket(url) as socket:
        await ModalClient(socket).send(tone(0.5))
        socket.transport.abort()
        await until(lambda: not model.model.used_slots)


async def test_text_and_odd_lengths_do_not_kill_a_session() -> None:
    async with proxied() as (_, url), open_socket(url) as socket:
        client = ModalClient(socket)
        await socket.send("hello")
        await socket.send(b"abc")
        replies = [await client.reply() for _ in range(3)]
        assert sorted(reply.get("code", reply["type"]) for reply in replies) == ["bad_audio", "ready", "unknown_message"]
        await client.send(tone(1.3))
        assert (await replies_until(client, "token"))[-1]["text"] == "Good"


async def test_a_full_model_is_told_before_any_audio() -> None:
    async with proxied(batch_size=1) as (_, url), open_socket(url) as first:
        await replies_until(ModalClient(first), "ready")
        async with open_socket(url) as second:
            (reply,) = await replies_until(ModalClient(second), "error")
            assert reply["code"] == "capacity"
            assert await closing(second) == (1013, "no free channel")
        await ModalClient(first).send(tone(1.3))
        assert (await replies_until(ModalClient(first), "token"))[-1]["text"] == "Good"


async def test_a_model_that_is_not_there_is_told() -> None:
    async with proxied() as (model, url), httpx.AsyncClient(trust_env=False) as http:
        health = url.replace("ws:", "http:").replace("/v1/stream", "/health")
        assert (await http.get(health)).json()["total_slots"] == 64
        async with model.outage():
            assert (await http.get(health)).status_code == 503
            async with open_socket(url) as socket:
                (reply,) = await replies_until(ModalClient(socket), "error")
                assert reply["code"] == "model_unavailable"
                assert (await closing(socket))[0] == 1011
        assert (await http.get(health)).status_code == 200


async def test_a_dead_model_loop_is_unavailable_and_not_full() -> None:
    async with proxied(batch_size=2) as (model, url), httpx.AsyncClient(trust_env=False, timeout=30) as http:
        health = url.replace("ws:", "http:").replace("/v1/stream", "/health")
        model.model.die()
        # Its HTTP pages answer, but the probe gets no `Ready`, and takes a slot that is never freed.
        response = await http.get(health)
        assert (response.status_code, response.json()["status"]) == (503, "unavailable")
        assert "no session" in response.json()["reason"]
        async with open_socket(url) as socket:
            (reply,) = await replies_until(ModalClient(socket), "error")
            assert (reply["code"], (await closing(socket))[0]) == ("model_unavailable", 1011)
        # All slots are used now, but not by clients.
        async with open_socket(url) as socket:
            (reply,) = await replies_until(ModalClient(socket), "error")
            assert (reply["code"], (await closing(socket))[0]) == ("model_unavailable", 1011)
        assert (await http.get(health)).status_code == 503


async def test_a_full_model_is_healthy() -> None:
    async with proxied(batch_size=1) as (_, url), open_socket(url) as first, httpx.AsyncClient(trust_env=False) as http:
        await replies_until(ModalClient(first), "ready")
        response = await http.get(url.replace("ws:", "http:").replace("/v1/stream", "/health"))
        assert (response.status_code, response.json()["used_slots"]) == (200, 1)


async def test_a_slot_that_is_freed_a_moment_later_is_waited_for() -> None:
    async with proxied(batch_size=1) as (_, url), open_socket(url) as first:
        await replies_until(ModalClient(first), "ready")
        asyncio.get_running_loop().call_later(0.3, first.transport.abort)
        async with open_socket(url) as second:
            assert (await replies_until(ModalClient(second), "ready"))[0]["type"] == "ready"


async def test_a_model_that_dies_in_mid_sentence_is_told() -> None:
    async with proxied() as (model, url):
        model.faults.add(Fault(FaultKind.CUT, after_s=1.5))
        async with open_socket(url) as socket:
            await ModalClient(socket).send(tone(2.0))
            reply = (await replies_until(ModalClient(socket), "error"))[-1]
            assert reply["code"] == "model_lost"
            assert (await closing(socket))[0] == 1011


@pytest.mark.parametrize("kind", [FaultKind.GARBAGE, FaultKind.NAN, FaultKind.CONTRADICT])
async def test_a_model_that_talks_nonsense_does_not_break_the_wire(kind: FaultKind) -> None:
    async with proxied() as (model, url):
        model.faults.add(Fault(kind, after_s=1.0))
        async with open_socket(url) as socket:
            client = ModalClient(socket)
            await client.send(tone(2.4))
            await socket.send('{"type":"end"}')
            replies = await replies_until(client, "done")
            assert [reply["text"] for reply in replies if reply["type"] == "token"] == WORDS


async def test_nan_of_a_client_spoils_nothing() -> None:
    async with proxied() as (_, url), open_socket(url) as socket:
        client = ModalClient(socket)
        await client.send(np.full(1920 * 5, np.nan, "<f4"))
        await client.send(tone(2.4))
        tokens: list[str] = []
        while len(tokens) < 5:
            reply = await client.reply()
            tokens += [reply["text"]] if reply["type"] == "token" else []
        assert tokens == WORDS[:5]


async def test_an_idle_session_ends_with_a_reason() -> None:
    async with proxied(idle_s=0.2) as (_, url), open_socket(url) as socket:
        replies = await replies_until(ModalClient(socket), "error")
        assert replies[-1]["code"] == "idle"
        assert await closing(socket) == (1000, "idle")


async def test_an_old_session_ends_in_good_order() -> None:
    async with proxied(session_limit_s=0.4) as (_, url), open_socket(url) as socket:
        await ModalClient(socket).send(tone(2.35))
        replies = await replies_until(ModalClient(socket), "error")
        assert [reply["text"] for reply in replies if reply["type"] == "token"] == WORDS
        assert replies[-1]["code"] == "expired"
        assert await closing(socket) == (1000, "session limit")


async def test_a_replay_faster_than_the_model_is_held_back_and_all_heard() -> None:
    async with proxied(step_s=0.001) as (model, url), open_socket(url) as socket:
        client = ModalClient(socket)
        sending = asyncio.create_task(client.send(tone(40.0), chunk=24_000))
        replies: list[dict[str, Any]] = []
        while sum(reply["type"] == "token" for reply in replies) < len(WORDS):
            replies.append(await client.reply())
        await asyncio.wait_for(sending, 20)
        await socket.send('{"type":"end"}')
        await asyncio.wait_for(replies_until(client, "done"), 20)
        assert model.sessions[0].audio_s == pytest.approx(40.0 + 8 * 0.08)


async def test_other_paths_are_no_streams() -> None:
    async with proxied() as (_, url), httpx.AsyncClient(trust_env=False) as http:
        base = url.replace("ws:", "http:").removesuffix("/v1/stream")
        assert (await http.get(f"{base}/")).json()["websocket"] == "/v1/stream"
        assert (await http.get(f"{base}/nothing")).status_code == 404
        with pytest.raises(Exception, match="403"):
            async with open_socket(url + "s"):
                pass
