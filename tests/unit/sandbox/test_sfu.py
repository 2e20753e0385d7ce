# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The SFU stand-in between two stock aiortc peers on loopback."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack
from aiortc.rtcdtlstransport import RTCCertificate

from sandbox import loopback_ice
from sandbox.sfu import Impairment, Publisher, Sfu, SfuError, Subscriber
from sandbox.sfu.rtp import RtpPacket, build_rtp, parse_rtp

PUBLISHER, STREAM = "session-1", "video"


@pytest.fixture(autouse=True)
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", loopback_ice.loopback_addresses)


def peer_connection() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def publish(sfu: Sfu, sid: str = "1") -> RTCPeerConnection:
    peer = peer_connection()
    peer.addTrack(AudioStreamTrack())
    await peer.setLocalDescription(await peer.createOffer())
    answer = await sfu.publish(PUBLISHER, STREAM, sid, peer.localDescription.sdp)
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    return peer


class Listener:
    """A stock aiortc subscriber that hands out the RTP packets before they are decoded."""

    def __init__(self) -> None:
        self.peer = peer_connection()
        self.packets: asyncio.Queue[Any] = asyncio.Queue(maxsize=1000)

    async def answer(self, offer: str) -> str:
        await self.peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for transceiver in self.peer.getTransceivers():
            transceiver.receiver._handle_rtp_packet = self._received
        await self.peer.setLocalDescription(await self.peer.createAnswer())
        return str(self.peer.localDescription.sdp)

    async def _received(self, packet: Any, arrival_time_ms: int) -> None:
        self.packets.put_nowait(packet)

    async def next_packets(self, count: int) -> list[Any]:
        async with asyncio.timeout(10):
            return [await self.packets.get() for _ in range(count)]


async def subscribe(sfu: Sfu) -> tuple[Subscriber, Listener]:
    publisher = await sfu.wait_for_publisher(PUBLISHER, STREAM, 1)
    assert publisher is not None
    subscriber = await sfu.subscribe(publisher)
    listener = Listener()
    await sfu.answer(subscriber, await listener.answer(await subscriber.offer()))
    return subscriber, listener


@pytest.fixture(params=["ecdsa", "rsa"])
def certificate(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "rsa":
        create = RTCCertificate._create_ssl_context

        def with_rsa(self: RTCCertificate, srtp_profiles: Any) -> Any:
            context = create(self, srtp_profiles)
            context.set_cipher_list(b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
            return context

        monkeypatch.setattr(RTCCertificate, "_create_ssl_context", with_rsa)
    return str(request.param)


@pytest.fixture
async def call(certificate: Literal["ecdsa", "rsa"]) -> AsyncIterator[tuple[Sfu, Subscriber, Listener]]:
    async with Sfu(certificate=certificate) as sfu:
        talker = await publish(sfu)
        subscriber, listener = await subscribe(sfu)
        yield sfu, subscriber, listener
        await listener.peer.close()
        await talker.close()


async def test_packets_arrive_in_order_with_their_timestamps_and_levels(call: tuple[Sfu, Subscriber, Listener]) -> None:
    _, _, listener = call
    packets = await listener.next_packets(20)
    steps = [(b.sequence_number - a.sequence_number) & 0xFFFF for a, b in itertools.pairwise(packets)]
    ticks = [(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(packets)]
    assert set(steps) == {1}
    assert set(ticks) == {960}
    assert {packet.ssrc for packet in packets} == {packets[0].ssrc}
    assert packets[0].extensions.audio_level == (False, 127)  # aiortc's silent track


async def test_impairments_lose_and_reorder_and_heal(call: tuple[Sfu, Subscriber, Listener]) -> None:
    _, subscriber, listener = call
    await listener.next_packets(1)
    subscriber.impair(Impairment(loss=0.3, reorder=0.3, seed=3))
    packets = await listener.next_packets(20)
    numbers = [packet.sequence_number for packet in packets]
    assert subscriber.path.lost > 0
    assert subscriber.path.reordered > 0
    assert numbers != list(range(numbers[0], numbers[0] + len(numbers)))
    subscriber.impair(Impairment())
    await asyncio.sleep(0.1)
    while not listener.packets.empty():
        listener.packets.get_nowait()
    numbers = [packet.sequence_number for packet in await listener.next_packets(10)]
    assert numbers == [(numbers[0] + n) & 0xFFFF for n in range(10)]


async def test_renegotiation_keeps_the_transport(call: tuple[Sfu, Subscriber, Listener]) -> None:
    sfu, subscriber, listener = call
    before = (await listener.next_packets(1))[0]
    sid = subscriber.sid
    await sfu.answer(subscriber, await listener.answer(await subscriber.offer()))
    after = (await listener.next_packets(5))[-1]
    assert subscriber.sid == sid
    assert after.ssrc == before.ssrc


async def test_close_tells_the_other_end_and_a_silent_close_does_not() -> None:
    async with Sfu() as sfu:
        talker = await publish(sfu)
        told, told_listener = await subscribe(sfu)
        untold, untold_listener = await subscribe(sfu)
        await told_listener.next_packets(1)
        await untold_listener.next_packets(1)
        closed = asyncio.Event()
        told_listener.peer.on("connectionstatechange", closed.set)
        await sfu.unsubscribe(untold, silently=True)
        await sfu.unsubscribe(told)
        async with asyncio.timeout(5):
            await closed.wait()
        assert told_listener.peer.connectionState == "closed"
        assert untold_listener.peer.connectionState == "connected"
        assert not sfu.subscribers
        for peer in (told_listener.peer, untold_listener.peer, talker):
            await peer.close()


async def test_trickled_candidates_connect_a_peer_that_got_none_in_the_offer() -> None:
    async with Sfu(candidates="trickle") as sfu:
        talker = await publish(sfu)
        publisher = await sfu.wait_for_publisher(PUBLISHER, STREAM, 1)
        assert publisher is not None
        subscriber = await sfu.subscribe(publisher)
        offer = await subscriber.offer()
        assert "a=candidate" not in offer
        listener = Listener()
        await sfu.answer(subscriber, await listener.answer(offer))
        from aiortc.sdp import candidate_from_sdp

        for trickled in subscriber.trickled_candidates():
            candidate = candidate_from_sdp(str(trickled["candidate"]).removeprefix("candidate:"))
            candidate.sdpMid = str(trickled["sdpMid"])
            await listener.peer.addIceCandidate(candidate)
        await listener.next_packets(3)
        await listener.peer.close()
        await talker.close()


async def test_an_offer_with_video_is_audible_to_an_audio_only_answer() -> None:
    async with Sfu(offer_video=True) as sfu:
        talker = await publish(sfu)
        subscriber, listener = await subscribe(sfu)
        assert "m=video" in await subscriber.offer()
        await listener.next_packets(3)
        await listener.peer.close()
        await talker.close()


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "v=0",
        "v=0\r\nm=audio what\r\n",
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n",
    ],
)
async def test_offers_that_nobody_can_take_are_refused(offer: str) -> None:
    async with Sfu() as sfu:
        with pytest.raises(SfuError):
            await sfu.publish(PUBLISHER, STREAM, "1", offer)
        assert not sfu.publishers
        assert await sfu.wait_for_publisher(PUBLISHER, STREAM, 0) is None


async def test_a_second_offer_under_the_same_sid_keeps_the_publisher_and_another_sid_replaces_it() -> None:
    async with Sfu() as sfu:
        talker = await publish(sfu, "1")
        first: Publisher = sfu.publishers[PUBLISHER, STREAM]
        await sfu.publish(PUBLISHER, STREAM, "1", talker.localDescription.sdp)
        assert sfu.publishers[PUBLISHER, STREAM] is first
        again = await publish(sfu, "2")
        assert sfu.publishers[PUBLISHER, STREAM] is not first
        assert first.state == "closed"
        await talker.close()
        await again.close()


def test_rtp_is_rebuilt_with_another_extension_id() -> None:
    packet = RtpPacket(111, True, 7, 960, 0x80 | 30, b"opus")
    datagram = build_rtp(packet, payload_type=96, sequence_number=9, ssrc=1, audio_level_id=5)
    again = parse_rtp(datagram, 5)
    assert again == RtpPacket(96, True, 9, 960, 0x80 | 30, b"opus")
    assert parse_rtp(datagram, 6) == RtpPacket(96, True, 9, 960, None, b"opus")


@pytest.mark.parametrize(
    "datagram", [b"", b"\x80", b"\x90" + bytes(11), b"\x90" + bytes(11) + b"\xbe\xde\x00\x09", b"\xa0" + bytes(11) + b"\xff"]
)
def test_malformed_rtp_is_no_packet(datagram: bytes) -> None:
    assert parse_rtp(datagram, 1) is None
