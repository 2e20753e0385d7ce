# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A subscriber against aiortc on this host: negotiation, renegotiation, certificates, ends of every kind."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aioice import ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.mediastreams import AudioStreamTrack

from live_transcription.errors import NegotiationFailed, NoAudio, PublisherUnavailable, TransportLost
from live_transcription.runtime import pacing
from live_transcription.types import AudioPacket
from live_transcription.webrtc import audio_transport, consent, datagrams, ice_connection
from live_transcription.webrtc.audio_transport import AudioTransport
from live_transcription.webrtc.jitter_buffer import JitterBuffer
from live_transcription.webrtc.offer_requests import OfferRequests
from live_transcription.webrtc.peer import Peer
from sandbox import virtual_clock
from sandbox.ports import has_ipv6

from .publisher import Publisher, RsaCertificate, media_lines


@asynccontextmanager
async def subscribed(publisher: Publisher) -> AsyncIterator[asyncio.Task[None]]:
    running = asyncio.create_task(publisher.subscriber.run())
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()
        await publisher.peer.close()


async def connected(publisher: Publisher) -> None:
    async with asyncio.timeout(5):
        while not publisher.subscriber.connected:  # noqa: ASYNC110  nobody is told
            await asyncio.sleep(0.01)


def hurry_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consent (RFC 7675) expires in a quarter of a second instead of half a minute."""
    monkeypatch.setattr(ice_connection, "INTERVAL_S", (0.02, 0.03))
    monkeypatch.setattr(consent, "EXPIRES_S", 0.25)
    monkeypatch.setattr(pacing, "SLOT_S", 0.01)


def tasks() -> set[asyncio.Task[object]]:
    """All but those that aiortc's own peer, here the publisher, leaves behind."""
    return {task for task in asyncio.all_tasks() if "RTCPeerConnection" not in str(task.get_coro())}


def sockets() -> int:
    return sum(
        os.readlink(f"/proc/self/fd/{fd}").startswith("socket")
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    )


async def test_audio_arrives_in_order_and_nothing_else_is_taken() -> None:
    publisher = Publisher()
    publisher.peer.addTrack(VideoStreamTrack())
    publisher.peer.createDataChannel("chat")
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.heard(20)
        assert list(media_lines(publisher.answers[0])) == [("audio", 9), ("video", 0), ("application", 0)]
        assert publisher.subscriber.connected
        assert publisher.requests == 1
        packets = [item for item in publisher.items if isinstance(item, AudioPacket)]
        assert len(packets) == len(publisher.items)
        assert [packet.sequence_number for packet in packets] == [
            (packets[0].sequence_number + n) & 0xFFFF for n in range(len(packets))
        ]
        assert packets[-1].audio_level is not None
        statistics = publisher.subscriber.statistics
        assert (statistics.packets, statistics.discarded, statistics.peers) == (len(packets), 0, 1)
        first, last = publisher.subscriber.first_packet_at, publisher.subscriber.last_packet_at
        assert first is not None
        assert last is not None
        assert first < last


async def test_levels_that_are_ignored_stay_so_with_another_peer_and_a_renegotiation() -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.heard(5)
        publisher.subscriber.ignore_audio_levels()
        for _ in range(2):
            publisher.items.clear()
            await publisher.heard(5)
            assert {item.audio_level for item in publisher.items if isinstance(item, AudioPacket)} == {None}
            publisher.peer.addTrack(VideoStreamTrack())
            await publisher.negotiate()
        before, publisher.peer = publisher.peer, publisher.new_peer()
        await publisher.negotiate("2")
        await before.close()
        publisher.items.clear()
        await publisher.heard(5)
        assert {item.audio_level for item in publisher.items if isinstance(item, AudioPacket)} == {None}


async def test_the_same_sid_renegotiates_and_media_goes_on() -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.heard(5)
        publisher.peer.addTrack(VideoStreamTrack())
        await publisher.negotiate()
        await publisher.heard(5)
        assert list(media_lines(publisher.answers[1])) == [("audio", 9), ("video", 0)]
        assert publisher.subscriber.statistics.peers == 1
        assert publisher.subscriber.statistics.jitter.resyncs == 0
        origins = [answer.splitlines()[1].split() for answer in publisher.answers]
        assert origins[0][1] == origins[1][1]
        assert [origin[2] for origin in origins] == ["1", "2"]


async def test_a_repeated_offer_is_not_answered_again() -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        publisher.subscriber.offer("1", publisher.peer.localDescription.sdp)
        await publisher.heard(3)
        assert len(publisher.answers) == 1


async def test_another_sid_is_a_new_peer_and_the_old_one_is_closed() -> None:
    publisher = Publisher()
    old = publisher.peer
    async with subscribed(publisher):
        await publisher.negotiate("1")
        await publisher.heard(5)
        publisher.peer = publisher.new_peer()
        await publisher.negotiate("2")
        await publisher.heard(5)
        assert publisher.subscriber.statistics.peers == 2
        assert old.connectionState == "closed"
        await old.close()


async def test_an_sfu_with_an_rsa_certificate() -> None:
    publisher = Publisher(certificate=RsaCertificate.generate())
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.heard(3)


async def test_an_sfu_that_wants_to_be_the_dtls_client() -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        offer = (await publisher.offer()).replace("setup:actpass", "setup:active")
        await publisher.negotiate(sdp=offer)
        await publisher.heard(3)
        assert "a=setup:passive" in publisher.answers[0]


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
async def test_an_sfu_that_is_reached_by_ipv6_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["::1"])
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.heard(3)
        assert " ::1 " in publisher.answers[0]


async def test_candidates_may_come_before_the_offer() -> None:
    publisher = Publisher()
    offer = await publisher.offer()
    candidates = [line[2:] for line in offer.splitlines() if line.startswith("a=candidate:")]
    bare = "".join(f"{line}\r\n" for line in offer.splitlines() if not line.startswith(("a=candidate:", "a=end-of")))
    async with subscribed(publisher):
        for candidate in ["candidate:1 1 udp 1 host.local 9 typ host", "nonsense", *candidates, None]:
            publisher.subscriber.candidate("1", candidate, "0", 0)
        await publisher.negotiate(sdp=bare)
        await publisher.heard(3)


async def test_candidates_may_come_after_the_answer() -> None:
    publisher = Publisher()
    offer = await publisher.offer()
    candidates = [line[2:] for line in offer.splitlines() if line.startswith("a=candidate:")]
    bare = "".join(f"{line}\r\n" for line in offer.splitlines() if not line.startswith(("a=candidate:", "a=end-of")))
    async with subscribed(publisher):
        await publisher.negotiate(sdp=bare)
        for candidate in candidates:
            publisher.subscriber.candidate("1", candidate, None, None)
        await publisher.heard(3)


async def test_cancelling_leaves_no_task_no_socket_and_no_thread() -> None:
    publisher = Publisher()
    offer = await publisher.offer()
    before, descriptors, threads = tasks(), sockets(), set(threading.enumerate())
    running = asyncio.create_task(publisher.subscriber.run())
    await publisher.negotiate(sdp=offer)
    await publisher.heard(3)
    assert not [thread.name for thread in set(threading.enumerate()) - threads if "asyncio" not in thread.name]
    ours = {task.get_name() for task in tasks() - before}
    assert "peer" in ours
    running.cancel()
    async with asyncio.timeout(2):
        await asyncio.wait([running])
    assert running.cancelled()
    assert not publisher.subscriber.connected
    await publisher.peer.close()
    await asyncio.sleep(0)
    assert tasks() <= before
    assert sockets() <= descriptors
    heard = len(publisher.items)
    await asyncio.sleep(0.05)
    assert len(publisher.items) == heard


@pytest.mark.parametrize("when", [0.0, 0.005, 0.02, 0.04, 0.06])
async def test_cancelling_while_it_connects_leaves_nothing(when: float) -> None:
    publisher = Publisher()
    offer = await publisher.offer()
    before, descriptors = tasks(), sockets()
    running = asyncio.create_task(publisher.subscriber.run())
    await publisher.negotiate(sdp=offer)
    await asyncio.sleep(when)
    running.cancel()
    async with asyncio.timeout(2):
        await asyncio.wait([running])
    await publisher.peer.close()
    assert tasks() <= before
    assert sockets() <= descriptors


async def test_what_is_held_back_comes_out_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = Publisher()
    publisher.subscriber._receive(AudioPacket(b"\x48first", 1, 0), 7, 0.0)
    publisher.subscriber._receive(AudioPacket(b"\x48third", 3, 1920), 7, 0.0)
    assert len(publisher.items) == 1
    async with subscribed(publisher):
        await asyncio.sleep(0)
    assert [getattr(item, "payload", None) for item in publisher.items] == [b"\x48first", None, b"\x48third"]


async def test_a_missing_packet_is_given_up_without_another_to_push_it() -> None:
    publisher = Publisher()
    publisher.subscriber._clock = asyncio.get_running_loop().time
    now = publisher.subscriber._clock()
    publisher.subscriber._receive(AudioPacket(b"\x48first", 1, 0), 7, now)
    publisher.subscriber._receive(AudioPacket(b"\x48third", 3, 1920), 7, now)
    await asyncio.sleep(0.1)
    assert len(publisher.items) == 3
    await publisher.peer.close()


async def test_what_waits_in_the_socket_is_not_missing() -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.heard(3)
        peer = publisher.subscriber._peer
        assert isinstance(peer, Peer)
        (protocol, *_) = {pair.protocol for pair in peer._transport._connection._nominated.values()}
        family = protocol.transport.get_extra_info("socket").family
        with socket.socket(family, socket.SOCK_DGRAM) as stranger:
            discarded = peer.statistics.discarded
            stranger.sendto(b"\x80 not RTP", protocol.transport.get_extra_info("sockname"))
            peer.read_now()
            assert peer.statistics.discarded == discarded + 1
        publisher.subscriber._jitter_buffer = JitterBuffer()
        publisher.items.clear()
        publisher.subscriber._receive(AudioPacket(b"\x48first", 1, 0), 7, 0.0)
        publisher.subscriber._receive(AudioPacket(b"\x48third", 3, 1920), 7, 0.0)
        peer.read_now = lambda: publisher.subscriber._receive(AudioPacket(b"\x48next", 2, 960), 7, 0.1)  # type: ignore[method-assign]
        publisher.subscriber._poll()
        assert [item.payload[1:] for item in publisher.items if isinstance(item, AudioPacket)] == [
            b"first",
            b"next",
            b"third",
        ]
        assert publisher.subscriber.statistics.jitter.lost == 0


async def test_a_system_without_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "batch", lambda family: None)
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.heard(3)
        peer = publisher.subscriber._peer
        assert isinstance(peer, Peer)
        peer.read_now()


async def test_the_sfu_closes() -> None:
    publisher = Publisher()
    async with subscribed(publisher) as running:
        await publisher.negotiate()
        await publisher.heard(3)
        await publisher.peer.close()
        with pytest.raises(TransportLost, match="closed"):
            async with asyncio.timeout(2):
                await running


async def test_a_mute_without_packets_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`replaceTrack(null)`, as Talk mutes: no RTP at all. Here for many times the time in which consent expires."""
    hurry_consent(monkeypatch)
    publisher = Publisher()
    async with subscribed(publisher) as running:
        await publisher.negotiate()
        await publisher.heard(3)
        sender = publisher.peer.getSenders()[0]
        track = sender.track
        sender.replaceTrack(None)
        await asyncio.sleep(1.0)
        assert not running.done()
        assert publisher.subscriber.connected
        sender.replaceTrack(track)
        await publisher.heard(3)
        assert publisher.requests == 1
        assert publisher.subscriber.statistics.peers == 1


def test_a_mute_outlasts_the_time_in_which_consent_expires() -> None:
    async def run() -> None:
        publisher = Publisher()
        async with subscribed(publisher) as running:
            await publisher.negotiate()
            await publisher.heard(3)
            sender = publisher.peer.getSenders()[0]
            track = sender.track
            sender.replaceTrack(None)
            await asyncio.sleep(2 * consent.EXPIRES_S - 20)
            assert not running.done()
            heard = len(publisher.items)
            sender.replaceTrack(track)
            await publisher.heard(1)
            assert len(publisher.items) > heard
            assert publisher.requests == 1
            assert publisher.subscriber.statistics.peers == 1

    virtual_clock.run(run())


async def test_no_path_to_the_sfu() -> None:
    publisher = Publisher(connect_timeout_s=0.3)
    offer = await publisher.offer()
    dead = "".join(
        "a=candidate:1 1 udp 1 192.0.2.200 9 typ host\r\n" if line.startswith("a=candidate:") else f"{line}\r\n"
        for line in offer.splitlines()
    )
    async with subscribed(publisher) as running:
        publisher.subscriber.offer("1", dead)
        with pytest.raises(TransportLost, match="No network path"):
            await running
        assert "UDP" in str(running.exception())


async def test_a_certificate_that_is_not_the_one_of_the_offer() -> None:
    publisher = Publisher()
    offer = await publisher.offer()
    forged = "".join(
        "a=fingerprint:sha-256 " + "00:" * 31 + "00\r\n" if line.startswith("a=fingerprint:sha-256") else f"{line}\r\n"
        for line in offer.splitlines()
        if not line.startswith(("a=fingerprint:sha-384", "a=fingerprint:sha-512"))
    )
    async with subscribed(publisher) as running:
        await publisher.negotiate(sdp=forged)
        with pytest.raises(TransportLost, match="DTLS"):
            async with asyncio.timeout(5):
                await running


async def test_the_hpb_refuses_and_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        with caplog.at_level(logging.INFO):
            async with asyncio.timeout(5):
                while publisher.requests < 3:
                    publisher.subscriber.refused("processing_failed")
                    await asyncio.sleep(0.05)
        await publisher.negotiate()
        await publisher.heard(3)
    assert len([record for record in caplog.records if "processing_failed" in record.message]) == 1, "told once"


async def test_an_answer_that_the_hpb_refuses_ends_the_peer() -> None:
    """The HPB has dropped the peer meanwhile; it says `client_not_found` to our answer."""
    publisher = Publisher()
    async with subscribed(publisher) as running:
        publisher.subscriber.offer("1", await publisher.offer())
        async with asyncio.timeout(5):
            await publisher._arrived.wait()
        publisher.subscriber.refused("client_not_found")
        with pytest.raises(PublisherUnavailable, match="client_not_found"):
            await running


async def test_a_refusal_does_not_harm_a_live_peer() -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.heard(3)
        publisher.subscriber.refused("processing_failed")
        await publisher.heard(3)


def test_an_offer_that_comes_late_is_taken() -> None:
    """The first request waits on the HPB for the publisher, the second one, too; each is answered in the end."""

    async def run() -> None:
        publisher = Publisher()
        async with subscribed(publisher):
            await asyncio.sleep(3.6)
            assert publisher.requests == 2
            await publisher.negotiate("1")
            await publisher.heard(3)
            assert publisher.subscriber.statistics.peers == 1

    virtual_clock.run(run())


def test_no_request_follows_the_end_of_a_peer_within_a_second() -> None:
    """The HPB still handles the hangup of the old peer, and the request would come to nothing."""

    async def run() -> None:
        requests = OfferRequests()
        times: list[float] = []
        for _ in range(3):
            publisher = Publisher(requests=requests)
            async with subscribed(publisher) as running:
                while not publisher.requests:  # noqa: ASYNC110  the clock is virtual
                    await asyncio.sleep(0.01)
                times.append(asyncio.get_running_loop().time())
                await publisher.negotiate()
                await publisher.heard(3)
                await publisher.peer.close()
                with pytest.raises(TransportLost):
                    await running
                times.append(asyncio.get_running_loop().time())
        assert all(1.0 <= asked - lost <= 1.4 for lost, asked in zip(times[1::2], times[2::2], strict=False))

    virtual_clock.run(run())


async def test_an_offer_that_cannot_be_read() -> None:
    publisher = Publisher()
    async with subscribed(publisher) as running:
        publisher.subscriber.offer("1", "nonsense")
        with pytest.raises(NegotiationFailed):
            await running


async def test_a_broken_offer_does_not_harm_a_live_peer(caplog: pytest.LogCaptureFixture) -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.heard(3)
        with caplog.at_level(logging.WARNING):
            publisher.subscriber.offer("1", "nonsense")
            await publisher.heard(3)
        assert len(publisher.answers) == 1
        assert "was ignored" in caplog.text


async def test_nobody_but_the_configured_servers_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    async def ask(self: AudioTransport, server: object, on_candidate: object) -> None:
        asked.append(server)

    monkeypatch.setattr(AudioTransport, "_ask", ask)
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.heard(1)
    assert asked == []


async def test_unused_sockets_are_closed_and_reports_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_transport, "_REPORT_S", (0.1, 0.1))
    monkeypatch.setattr(audio_transport, "_RELEASE_AFTER_S", 0.1)
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.heard(30)
        peer = publisher.subscriber._peer
        assert peer is not None
        assert len(peer._transport._connection._protocols) == 1
        await publisher.heard(3)
        remote = await publisher.peer.getSenders()[0].getStats()
        reports = [report for report in remote.values() if report.type == "remote-inbound-rtp"]
        assert reports
        assert reports[0].packetsLost == 0


async def test_garbage_on_the_socket_is_counted_and_harmless() -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.heard(3)
        peer = publisher.subscriber._peer
        assert peer is not None
        (protocol, *_) = {pair.protocol for pair in peer._transport._connection._nominated.values()}
        for data in (
            b"",
            b"\x00",
            b"\x80",
            b"\x80\x6f" + bytes(30),
            b"\x80\xc9" + bytes(6),
            b"\x90" + bytes(3_000),
            b"\x17\xfe\xff",
            b"\xff" * 50,
        ):
            protocol.datagram_received(data, ("192.0.2.66", 9))
        await publisher.heard(3)
        assert publisher.subscriber.statistics.discarded == 4


async def test_the_answer_is_taken_again_after_a_publisher_adds_audio_late() -> None:
    publisher = Publisher()
    async with subscribed(publisher) as running:
        offer = (await publisher.offer()).replace("a=sendrecv", "a=inactive")
        publisher.subscriber.offer("1", offer)
        async with asyncio.timeout(5):
            await publisher._arrived.wait()
        await publisher.peer.setRemoteDescription(
            RTCSessionDescription(publisher.answers[0].replace("inactive", "recvonly"), "answer")
        )
        await connected(publisher)
        await publisher.negotiate("1")
        await publisher.heard(3)
        assert not running.done()
        assert publisher.subscriber.statistics.peers == 1


async def test_reports_say_how_long_ago_the_last_one_of_the_sfu_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """From it the SFU knows the round-trip time (RFC 3550, section 6.4.1); on this host that is next to nothing."""
    monkeypatch.setattr(audio_transport, "_REPORT_S", (0.3, 0.3))
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()

        async def round_trip() -> float | None:
            remote = await publisher.peer.getSenders()[0].getStats()
            return next((report.roundTripTime for report in remote.values() if report.type == "remote-inbound-rtp"), None)

        async with asyncio.timeout(6):
            while (seconds := await round_trip()) is None:
                await publisher.heard(10)
        assert 0 <= seconds < 0.25


async def test_consent_is_kept_and_its_loss_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7675, in fractions of a second instead of half a minute. It is the only watch over a silent peer."""
    hurry_consent(monkeypatch)
    publisher = Publisher()
    async with subscribed(publisher) as running:
        await publisher.negotiate()
        await publisher.heard(50)
        assert not running.done(), "kept over many times the time in which it expires"
        peer = publisher.subscriber._peer
        assert isinstance(peer, Peer)
        (protocol, *_) = {pair.protocol for pair in peer._transport._connection._nominated.values()}
        monkeypatch.setattr(protocol.transport, "sendto", lambda *_: None)  # type: ignore[attr-defined]
        with pytest.raises(TransportLost):
            async with asyncio.timeout(3):
                await running


async def test_a_microphone_that_is_added_is_heard_on_the_same_peer() -> None:
    """Janus 0.x offers anew in this case, by the same `sid`."""
    publisher = Publisher()
    publisher.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    publisher.peer.addTrack(VideoStreamTrack())
    async with subscribed(publisher):
        await publisher.negotiate()
        assert list(media_lines(publisher.answers[0])) == [("video", 9)]
        assert "a=inactive" in publisher.answers[0]
        await connected(publisher)
        publisher.peer.addTrack(AudioStreamTrack())
        await publisher.negotiate()
        assert list(media_lines(publisher.answers[1])) == [("video", 9), ("audio", 9)]
        await publisher.heard(3)
        assert publisher.requests == 1
        assert publisher.subscriber.statistics.peers == 1


async def test_a_peer_that_stays_without_audio_is_given_up() -> None:
    """Janus 1.x does not offer again: only another subscriber gets the microphone."""
    publisher = Publisher(without_audio_s=0.2)
    publisher.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    publisher.peer.addTrack(VideoStreamTrack())
    async with subscribed(publisher) as running:
        await publisher.negotiate()
        with pytest.raises(NoAudio):
            async with asyncio.timeout(5):
                await running
