# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""STUN and TURN: only what is configured, only when needed, over UDP and TCP, and never in the way of closing."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from live_transcription.errors import TransportLost
from live_transcription.types import IceServer, Secret
from live_transcription.webrtc import audio_transport
from live_transcription.webrtc.peer import Peer

from .publisher import Publisher
from .test_subscriber import hurry_consent, sockets, subscribed, tasks
from .turn_server import PASSWORD, USER, TurnServer, turn_server


def turn(server: TurnServer, transport: str, password: str = PASSWORD) -> IceServer:
    host, port = server.address
    return IceServer((f"turn:{host}:{port}?transport={transport}",), USER, Secret(password))


@pytest.fixture
def no_direct_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an IPv6 socket that reaches nobody: the publisher's IPv4 candidates are left to the relay."""
    monkeypatch.setattr(audio_transport, "host_addresses", lambda: ["::1"])
    monkeypatch.setattr(audio_transport, "_RELAY_AFTER_S", 0.0)


def ipv4_only(offer: str) -> str:
    return "".join(f"{line}\r\n" for line in offer.splitlines() if not (line.startswith("a=candidate:") and "::" in line))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_where_there_is_no_direct_path_audio_comes_over_turn(no_direct_path: None, transport: str) -> None:
    async with turn_server(transport) as server:
        publisher = Publisher(ice_servers=(turn(server, transport),))
        publisher.filter = ipv4_only
        offer = ipv4_only(await publisher.offer())
        before, descriptors = tasks(), sockets()
        async with subscribed(publisher):
            await publisher.negotiate(sdp=offer)
            await publisher.heard(10)
            assert server.relays == 1
            assert [answer.code for answer in publisher.subscriber.turn_answers.values()] == [0]
            assert server.relayed_datagrams > 0
            peer = publisher.subscriber._peer
            assert isinstance(peer, Peer)
            assert peer._transport._connection.chosen_socket() is None, (
                "datagrams of a relay are wrapped, so nothing filters them"
            )
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
            await publisher.heard(3)
            for connection in list(server.allocations):
                connection._transport.abort()  # type: ignore[attr-defined]
            with pytest.raises(TransportLost):
                async with asyncio.timeout(3):
                    await running


async def test_over_a_relay_a_mute_ends_nothing_and_a_dead_path_is_noticed_by_its_consent(
    no_direct_path: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry_consent(monkeypatch)
    async with turn_server("udp") as server:
        publisher = Publisher(ice_servers=(turn(server, "udp"),))
        publisher.filter = ipv4_only
        offer = ipv4_only(await publisher.offer())
        async with subscribed(publisher) as running:
            await publisher.negotiate(sdp=offer)
            await publisher.heard(3)
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
        await publisher.heard(3)
        server.mute = True
        running.cancel()
        started = time.monotonic()
        await asyncio.wait([running])
        assert time.monotonic() - started < 2
        await publisher.peer.close()
        await asyncio.sleep(0.01)
        assert tasks() <= before
        assert sockets() <= descriptors + 1  # the relay of the server that died


async def test_wrong_turn_credentials_say_so(no_direct_path: None, caplog: pytest.LogCaptureFixture) -> None:
    async with turn_server("udp") as server:
        publisher = Publisher(ice_servers=(turn(server, "udp", "wrong"),), connect_timeout_s=0.5)
        publisher.filter = ipv4_only
        offer = ipv4_only(await publisher.offer())
        with caplog.at_level(logging.INFO):
            async with subscribed(publisher) as running:
                publisher.subscriber.offer("1", offer)
                with pytest.raises(TransportLost, match="1 STUN or TURN servers did not serve"):
                    await running
        assert [answer.code for answer in publisher.subscriber.turn_answers.values()] == [401]
        assert "does not serve" in caplog.text
        assert "wrong" not in caplog.text
        assert USER not in caplog.text


async def test_turn_is_not_asked_where_there_is_a_direct_path_and_stun_does_not_delay_the_answer() -> None:
    async with turn_server("udp") as server:
        host, port = server.address
        publisher = Publisher(ice_servers=(IceServer((f"stun:{host}:{port}",)), turn(server, "udp")))
        async with subscribed(publisher):
            await publisher.negotiate()
            await publisher.heard(20)
            assert server.bindings > 0
            assert server.relays == 0


async def test_a_dead_stun_server_costs_nothing() -> None:
    async with turn_server("udp") as server:
        server.mute = True
        host, port = server.address
        publisher = Publisher(ice_servers=(IceServer((f"stun:{host}:{port}",)),))
        started = time.monotonic()
        async with subscribed(publisher):
            await publisher.negotiate()
            await publisher.heard(1)
            assert time.monotonic() - started < 2


async def test_our_address_as_the_stun_server_sees_it_is_trickled(monkeypatch: pytest.MonkeyPatch) -> None:
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
