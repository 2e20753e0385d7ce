# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""STUN and TURN: only configured servers, only when needed, over UDP and TCP, without delaying the end."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from aioice import Candidate

from live_transcription.errors import TransportLost
from live_transcription.types import IceServer, Secret
from live_transcription.webrtc import audio_transport, ice_servers
from live_transcription.webrtc.audio_transport import AudioTransport
from live_transcription.webrtc.ice_connection import IceConnection
from live_transcription.webrtc.sdp import parse_offer
from sandbox import virtual_clock

from .publisher import Publisher
from .test_subscriber import hurry_consent, sockets, subscribed, tasks
from .turn_server import PASSWORD, USER, TurnServer, turn_server


def turn(server: TurnServer, transport: str, password: str = PASSWORD) -> IceServer:
    host, port = server.address
    return IceServer((f"turn:{host}:{port}?transport={transport}",), USER, Secret(password))


@pytest.fixture
def no_direct_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open only an IPv6 socket that reaches nobody, so that only a relay reaches the publisher's IPv4 candidates."""
    monkeypatch.setattr(audio_transport, "host_addresses", lambda: ["::1"])
    monkeypatch.setattr(audio_transport, "RELAY_AFTER_S", 0.0)


def ipv4_only(offer: str) -> str:
    return "".join(f"{line}\r\n" for line in offer.splitlines() if not (line.startswith("a=candidate:") and "::" in line))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_without_a_direct_path_audio_arrives_over_turn(no_direct_path: None, transport: str) -> None:
    async with turn_server(transport) as server:
        publisher = Publisher(ice_servers=(turn(server, transport),))
        publisher.filter = ipv4_only
        offer = ipv4_only(await publisher.offer())
        before, descriptors = tasks(), sockets()
        async with subscribed(publisher):
            await publisher.negotiate(sdp=offer)
            await publisher.receive(10)
            assert server.relays == 1
            assert [answer.code for answer in publisher.subscriber.turn_answers.values()] == [0]
            assert server.relayed_datagrams > 0
            chosen = publisher.peers[-1].transport.connection.chosen_socket()
            assert chosen is None, "datagrams of a relay are wrapped, so nothing filters them"
            assert [candidate.split(" typ ")[1].split()[0] for candidate in publisher.candidates] == ["relay"]
            assert "a=ice-options:trickle" in publisher.answers[0]
        assert server.relays == 0
        await asyncio.sleep(0.01)
        assert tasks() <= before
        assert sockets() <= descriptors


async def test_a_broken_connection_to_the_turn_server_is_a_lost_transport(no_direct_path: None) -> None:
    async with turn_server("tcp") as server:
        publisher = Publisher(ice_servers=(turn(server, "tcp"),))
        publisher.filter = ipv4_only
        offer = ipv4_only(await publisher.offer())
        async with subscribed(publisher) as running:
            await publisher.negotiate(sdp=offer)
            await publisher.receive(3)
            for connection in list(server.allocations):
                connection._transport.abort()  # type: ignore[attr-defined]
            with pytest.raises(TransportLost):
                async with asyncio.timeout(3):
                    await running


async def test_over_a_relay_a_mute_keeps_the_peer_and_a_dead_path_ends_it(
    no_direct_path: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry_consent(monkeypatch)
    async with turn_server("udp") as server:
        publisher = Publisher(ice_servers=(turn(server, "udp"),))
        publisher.filter = ipv4_only
        offer = ipv4_only(await publisher.offer())
        async with subscribed(publisher) as running:
            await publisher.negotiate(sdp=offer)
            await publisher.receive(3)
            publisher.peer.getSenders()[0].replaceTrack(None)
            await asyncio.sleep(1.0)
            assert not running.done(), "kept for many times the time in which consent expires"
            server.mute = True
            with pytest.raises(TransportLost):
                async with asyncio.timeout(3):
                    await running


async def test_a_turn_server_that_dies_does_not_delay_closing(no_direct_path: None) -> None:
    async with turn_server("udp") as server:
        publisher = Publisher(ice_servers=(turn(server, "udp"),))
        publisher.filter = ipv4_only
        offer = ipv4_only(await publisher.offer())
        before, descriptors = tasks(), sockets()
        running = asyncio.create_task(publisher.subscriber.run())
        await publisher.negotiate(sdp=offer)
        await publisher.receive(3)
        server.mute = True
        running.cancel()
        started = time.monotonic()
        await asyncio.wait([running])
        assert time.monotonic() - started < 2
        await publisher.peer.close()
        await asyncio.sleep(0.01)
        assert tasks() <= before
        assert sockets() <= descriptors + 1  # the relay of the server that died


async def test_wrong_turn_credentials_are_reported(no_direct_path: None, caplog: pytest.LogCaptureFixture) -> None:
    async with turn_server("udp") as server:
        publisher = Publisher(ice_servers=(turn(server, "udp", "wrong"),), connect_timeout_s=0.5)
        publisher.filter = ipv4_only
        offer = ipv4_only(await publisher.offer())
        with caplog.at_level(logging.INFO):
            async with subscribed(publisher) as running:
                publisher.subscriber.offer("1", offer)
                with pytest.raises(TransportLost, match="1 STUN or TURN servers failed"):
                    await running
        assert [answer.code for answer in publisher.subscriber.turn_answers.values()] == [401]
        assert f"port {server.address[1]} failed" in caplog.text
        assert "wrong" not in caplog.text
        assert USER not in caplog.text


async def test_with_a_direct_path_no_relay_is_allocated_and_stun_does_not_delay_the_answer() -> None:
    async with turn_server("udp") as server:
        host, port = server.address
        publisher = Publisher(ice_servers=(IceServer((f"stun:{host}:{port}",)), turn(server, "udp")))
        async with subscribed(publisher):
            await publisher.negotiate()
            await publisher.receive(20)
            assert server.bindings > 0
            assert server.relays == 0


async def test_a_dead_stun_server_does_not_delay_the_connection() -> None:
    async with turn_server("udp") as server:
        server.mute = True
        host, port = server.address
        publisher = Publisher(ice_servers=(IceServer((f"stun:{host}:{port}",)),))
        started = time.monotonic()
        async with subscribed(publisher):
            await publisher.negotiate()
            await publisher.receive(1)
            assert time.monotonic() - started < 2


async def test_the_reflexive_candidate_is_trickled(monkeypatch: pytest.MonkeyPatch) -> None:
    async with turn_server("udp") as server:
        host, port = server.address
        publisher = Publisher(ice_servers=(IceServer((f"stun:{host}:{port}",)),), connect_timeout_s=0.3)
        offer = (await publisher.offer()).splitlines()
        bare = "".join(f"{line}\r\n" for line in offer if not line.startswith(("a=candidate:", "a=end-of")))
        async with subscribed(publisher) as running:
            publisher.subscriber.offer("1", bare)
            with pytest.raises(TransportLost):
                await running
        assert any("198.51.100.7" in candidate and "typ srflx" in candidate for candidate in publisher.candidates)


class Agent:
    """Runs an `AudioTransport` whose ICE agent is replaced, and notes when it asks TURN servers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, direct_path_after_s: float) -> None:
        self.relays_at: list[float] = []

        async def connect(_: IceConnection) -> None:
            await asyncio.sleep(direct_path_after_s)
            raise ConnectionError("far enough for this test")

        async def relayed(_: IceConnection, __: ice_servers.TurnServer) -> list[Candidate]:
            self.relays_at.append(asyncio.get_running_loop().time())
            return []

        monkeypatch.setattr(IceConnection, "connect", connect)
        monkeypatch.setattr(IceConnection, "relayed", relayed)

    async def run(self) -> None:
        publisher = Publisher()
        transport = AudioTransport(parse_offer(await publisher.offer()), lambda *_: None)
        server = IceServer(("turn:192.0.2.9:3478",), USER, Secret(PASSWORD))
        began = asyncio.get_running_loop().time()
        with pytest.raises(TransportLost):
            await transport.connect((server,), lambda _: None)
        self.relays_at = [at - began for at in self.relays_at]
        await transport.aclose()
        await publisher.peer.close()


def test_turn_is_asked_when_there_is_no_direct_path_after_0_3_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(monkeypatch, direct_path_after_s=5.0)
    virtual_clock.run(agent.run())
    assert agent.relays_at == [pytest.approx(0.3)]


def test_turn_is_not_asked_when_there_is_a_direct_path_by_then(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(monkeypatch, direct_path_after_s=0.25)
    virtual_clock.run(agent.run())
    assert agent.relays_at == []
