# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A subscriber against aiortc on this host: negotiation, renegotiation, certificates, and every kind of end."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aioice import Candidate, ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.mediastreams import AudioStreamTrack

from live_transcription.errors import NegotiationFailed, NoAudio, PublisherUnavailable, TransportLost
from live_transcription.runtime import timer
from live_transcription.types import AudioGap, AudioPacket, IceServer
from live_transcription.webrtc import audio_transport, consent, datagrams, ice_connection
from live_transcription.webrtc.audio_transport import RtpSink
from live_transcription.webrtc.ice_connection import IceConnection
from live_transcription.webrtc.offer_requests import OfferRequests
from live_transcription.webrtc.subscriber import Subscriber
from sandbox import virtual_clock
from sandbox.ports import has_ipv6

from .publisher import Publisher, RsaCertificate, addresses, always, media_lines, open_sockets, stranger


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
        while not publisher.subscriber.connected:  # noqa: ASYNC110  no event announces it
            await asyncio.sleep(0.01)


def hurry_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let consent (RFC 7675) expire in a quarter of a second instead of half a minute."""
    monkeypatch.setattr(ice_connection, "INTERVAL_S", (0.02, 0.03))
    monkeypatch.setattr(consent, "EXPIRES_S", 0.25)
    monkeypatch.setattr(timer, "SLOT_S", 0.01)


def tasks() -> set[asyncio.Task[object]]:
    """Return all tasks but those that the publisher, aiortc's own peer, leaves behind."""
    left_behind = ("RTCPeerConnection", "<coroutine object Connection.query_consent")  # ours is IceConnection's
    return {task for task in asyncio.all_tasks() if not any(name in str(task.get_coro()) for name in left_behind)}


def sockets() -> int:
    return sum(
        os.readlink(f"/proc/self/fd/{fd}").startswith("socket")
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    )


async def test_audio_arrives_in_order_and_other_media_is_rejected() -> None:
    publisher = Publisher()
    publisher.peer.addTrack(VideoStreamTrack())
    publisher.peer.createDataChannel("chat")
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.receive(20)
        assert list(media_lines(publisher.answers[0])) == [("audio", 9), ("video", 0), ("application", 0)]
        assert publisher.subscriber.connected
        assert publisher.requests == 1
        packets = [item for item in publisher.items if isinstance(item, AudioPacket)]
        assert len(packets) == len(publisher.items)
        assert [packet.sequence_number for packet in packets] == [
            (packets[0].sequence_number + n) & 0xFFFF for n in range(len(packets))
        ]
        assert packets[-1].audio_level is not None
        assert publisher.subscriber.jitter.received == len(packets)
        assert publisher.peers[-1].transport.discarded == 0
        assert len(publisher.peers) == 1
        assert publisher.subscriber.first_packet_at is not None


async def test_ignored_levels_stay_ignored_after_renegotiation_and_with_another_peer() -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.receive(5)
        publisher.subscriber.ignore_audio_levels()
        for _ in range(2):
            publisher.items.clear()
            await publisher.receive(5)
            assert {item.audio_level for item in publisher.items if isinstance(item, AudioPacket)} == {None}
            publisher.peer.addTrack(VideoStreamTrack())
            await publisher.negotiate()
        before, publisher.peer = publisher.peer, publisher.new_peer()
        await publisher.negotiate("2")
        await before.close()
        publisher.items.clear()
        await publisher.receive(5)
        assert {item.audio_level for item in publisher.items if isinstance(item, AudioPacket)} == {None}


async def test_the_same_sid_renegotiates_and_media_continues() -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.receive(5)
        publisher.peer.addTrack(VideoStreamTrack())
        await publisher.negotiate()
        await publisher.receive(5)
        assert list(media_lines(publisher.answers[1])) == [("audio", 9), ("video", 0)]
        assert len(publisher.peers) == 1
        assert publisher.subscriber.jitter.resyncs == 0
        origins = [answer.splitlines()[1].split() for answer in publisher.answers]
        assert origins[0][1] == origins[1][1]
        assert [origin[2] for origin in origins] == ["1", "2"]


async def test_a_repeated_offer_is_not_answered_again() -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        publisher.subscriber.offer("1", publisher.peer.localDescription.sdp)
        await publisher.receive(3)
        assert len(publisher.answers) == 1


async def test_another_sid_is_a_new_peer_and_the_old_one_is_closed() -> None:
    publisher = Publisher()
    old = publisher.peer
    async with subscribed(publisher):
        await publisher.negotiate("1")
        await publisher.receive(5)
        publisher.peer = publisher.new_peer()
        await publisher.negotiate("2")
        await publisher.receive(5)
        assert len(publisher.peers) == 2
        assert old.connectionState == "closed"
        await old.close()


async def test_an_sfu_with_an_rsa_certificate() -> None:
    publisher = Publisher(certificate=RsaCertificate.generate())
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.receive(3)


async def test_an_sfu_that_wants_to_be_the_dtls_client() -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        offer = (await publisher.offer()).replace("setup:actpass", "setup:active")
        await publisher.negotiate(sdp=offer)
        await publisher.receive(3)
        assert "a=setup:passive" in publisher.answers[0]


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
async def test_an_sfu_that_is_reached_by_ipv6_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["::1"])
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.receive(3)
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
        await publisher.receive(3)


async def test_candidates_may_come_after_the_answer() -> None:
    publisher = Publisher()
    offer = await publisher.offer()
    candidates = [line[2:] for line in offer.splitlines() if line.startswith("a=candidate:")]
    bare = "".join(f"{line}\r\n" for line in offer.splitlines() if not line.startswith(("a=candidate:", "a=end-of")))
    async with subscribed(publisher):
        await publisher.negotiate(sdp=bare)
        for candidate in candidates:
            publisher.subscriber.candidate("1", candidate, None, None)
        await publisher.receive(3)


async def test_cancelling_leaves_no_task_no_socket_and_no_thread() -> None:
    publisher = Publisher()
    offer = await publisher.offer()
    before, descriptors, threads = tasks(), sockets(), set(threading.enumerate())
    running = asyncio.create_task(publisher.subscriber.run())
    await publisher.negotiate(sdp=offer)
    await publisher.receive(3)
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
    received = len(publisher.items)
    await asyncio.sleep(0.05)
    assert len(publisher.items) == received


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


class ScriptedPeer:
    """A peer without a network. `in_socket` is what `read_now` finds in the socket."""

    connected = True

    def __init__(self, sid: str, offer: Any, channel: Any, servers: Any, sink: RtpSink, **_: Any) -> None:
        self.sid = sid
        self.transport = self
        self.sink = sink
        self.in_socket: list[AudioPacket] = []

    def receive(self, *packets: AudioPacket) -> None:
        for packet in packets:
            self.sink(packet, 7, 0, asyncio.get_running_loop().time())

    def read_now(self) -> None:
        self.receive(*self.in_socket)

    def add_remote_candidate(self, candidate: Any) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()


FIRST, SECOND, THIRD = (AudioPacket(b"\x48" + name, number, 960 * number) for number, name in enumerate((b"1", b"2", b"3")))


@asynccontextmanager
async def scripted() -> AsyncIterator[tuple[ScriptedPeer, list[AudioPacket | AudioGap]]]:
    items: list[AudioPacket | AudioGap] = []
    peers: list[ScriptedPeer] = []

    def make_peer(*arguments: Any, **options: Any) -> Any:
        peers.append(ScriptedPeer(*arguments, **options))
        return peers[-1]

    publisher = Publisher()
    subscriber = Subscriber(publisher, always(), items.append, make_peer=make_peer)
    running = asyncio.create_task(subscriber.run())
    subscriber.offer("1", await publisher.offer())
    async with asyncio.timeout(5):
        while not peers:  # noqa: ASYNC110  the peer is made by another task
            await asyncio.sleep(0)
    yield peers[0], items
    running.cancel()
    await asyncio.wait([running])
    await publisher.peer.close()


async def test_an_offer_that_a_newer_one_overtakes_is_not_answered() -> None:
    """The HPB replaces its peer while the app fetches the TURN servers. It would refuse an answer to the first offer."""
    sids: list[str] = []
    fetched = asyncio.Event()

    async def servers() -> list[IceServer]:
        await fetched.wait()
        return []

    def make_peer(sid: str, *arguments: Any, **options: Any) -> Any:
        sids.append(sid)
        return ScriptedPeer(sid, *arguments, **options)

    publisher = Publisher()
    subscriber = Subscriber(publisher, servers, lambda _: None, make_peer=make_peer)
    running = asyncio.create_task(subscriber.run())
    offer = await publisher.offer()
    subscriber.offer("1", offer)
    await asyncio.sleep(0.01)
    subscriber.offer("2", offer)
    fetched.set()
    await asyncio.sleep(0.01)
    assert sids == ["2"]
    running.cancel()
    await asyncio.wait([running])
    await publisher.peer.close()


async def test_buffered_packets_are_released_at_the_end() -> None:
    async with scripted() as (peer, items):
        peer.receive(FIRST, THIRD)
        assert items == [FIRST]
    assert [type(item) for item in items] == [AudioPacket, AudioGap, AudioPacket]
    assert items[-1] is THIRD


def test_a_missing_packet_is_given_up_without_another_packet() -> None:
    async def run() -> None:
        async with scripted() as (peer, items):
            peer.receive(FIRST, THIRD)
            await asyncio.sleep(0.1)
            assert [type(item) for item in items] == [AudioPacket, AudioGap, AudioPacket]

    virtual_clock.run(run())


def test_a_packet_that_waits_in_the_socket_is_not_missing() -> None:
    async def run() -> None:
        async with scripted() as (peer, items):
            peer.receive(FIRST, THIRD)
            peer.in_socket = [SECOND]
            await asyncio.sleep(0.1)
            assert items == [FIRST, SECOND, THIRD]

    virtual_clock.run(run())


async def test_reading_now_reads_the_socket_of_the_chosen_path() -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.receive(3)
        discarded = publisher.peers[-1].transport.discarded
        with stranger(addresses(publisher.answers[0])) as sockets:
            for sending, target in sockets:
                sending.sendto(b"\x80 not RTP", target)
            publisher.peers[-1].transport.read_now()
            assert publisher.peers[-1].transport.discarded > discarded


async def test_reading_now_does_nothing_on_a_system_without_recvmmsg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "batch", lambda family: None)
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.receive(3)
        publisher.peers[-1].transport.read_now()


async def test_the_sfu_closes() -> None:
    publisher = Publisher()
    async with subscribed(publisher) as running:
        await publisher.negotiate()
        await publisher.receive(3)
        await publisher.peer.close()
        with pytest.raises(TransportLost, match="closed"):
            async with asyncio.timeout(2):
                await running


async def test_a_mute_without_packets_does_not_end_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Talk mutes by `replaceTrack(null)`: no RTP at all. Here this lasts many times longer than consent."""
    hurry_consent(monkeypatch)
    publisher = Publisher()
    async with subscribed(publisher) as running:
        await publisher.negotiate()
        await publisher.receive(3)
        sender = publisher.peer.getSenders()[0]
        track = sender.track
        sender.replaceTrack(None)
        await asyncio.sleep(1.0)
        assert not running.done()
        assert publisher.subscriber.connected
        sender.replaceTrack(track)
        await publisher.receive(3)
        assert publisher.requests == 1
        assert len(publisher.peers) == 1


def test_a_mute_longer_than_the_consent_timeout_does_not_end_the_peer() -> None:
    async def run() -> None:
        publisher = Publisher()
        async with subscribed(publisher) as running:
            await publisher.negotiate()
            await publisher.receive(3)
            sender = publisher.peer.getSenders()[0]
            track = sender.track
            sender.replaceTrack(None)
            await asyncio.sleep(2 * consent.EXPIRES_S - 20)
            assert not running.done()
            received = len(publisher.items)
            sender.replaceTrack(track)
            await publisher.receive(1)
            assert len(publisher.items) > received
            assert publisher.requests == 1
            assert len(publisher.peers) == 1

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


async def test_a_certificate_that_does_not_match_the_offer_is_refused() -> None:
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


async def test_a_refused_request_is_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        with caplog.at_level(logging.INFO):
            async with asyncio.timeout(5):
                while publisher.requests < 3:
                    publisher.subscriber.refused("processing_failed")
                    await asyncio.sleep(0.05)
        await publisher.negotiate()
        await publisher.receive(3)
    assert len([record for record in caplog.records if "processing_failed" in record.message]) == 1, "one log line"


async def test_a_refused_answer_ends_the_peer() -> None:
    """The HPB has dropped the peer in the meantime and answers `client_not_found`."""
    publisher = Publisher()
    async with subscribed(publisher) as running:
        publisher.subscriber.offer("1", await publisher.offer())
        async with asyncio.timeout(5):
            await publisher.answered.wait()
        publisher.subscriber.refused("client_not_found")
        with pytest.raises(PublisherUnavailable, match="client_not_found"):
            await running


async def test_a_refusal_does_not_affect_a_connected_peer() -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.receive(3)
        publisher.subscriber.refused("processing_failed")
        await publisher.receive(3)


def test_a_late_offer_is_answered() -> None:
    """Two requests wait on the HPB for the publisher. Each is answered in the end."""

    async def run() -> None:
        publisher = Publisher()
        async with subscribed(publisher):
            await asyncio.sleep(3.6)
            assert publisher.requests == 2
            await publisher.negotiate("1")
            await publisher.receive(3)
            assert len(publisher.peers) == 1

    virtual_clock.run(run())


def test_no_request_follows_the_end_of_a_peer_within_a_second() -> None:
    """The HPB still handles the end of the old peer, so the request would be lost."""

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
                await publisher.receive(3)
                await publisher.peer.close()
                with pytest.raises(TransportLost):
                    await running
                times.append(asyncio.get_running_loop().time())
        assert all(1.0 <= asked - lost <= 1.4 for lost, asked in zip(times[1::2], times[2::2], strict=False))

    virtual_clock.run(run())


async def test_a_broken_offer_raises() -> None:
    publisher = Publisher()
    async with subscribed(publisher) as running:
        publisher.subscriber.offer("1", "nonsense")
        with pytest.raises(NegotiationFailed):
            await running


async def test_a_broken_offer_does_not_affect_a_connected_peer(caplog: pytest.LogCaptureFixture) -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.receive(3)
        with caplog.at_level(logging.WARNING):
            publisher.subscriber.offer("1", "nonsense")
            await publisher.receive(3)
        assert len(publisher.answers) == 1
        assert "was ignored" in caplog.text


async def test_only_the_configured_servers_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    async def ask(self: IceConnection, server: object) -> list[Candidate]:
        asked.append(server)
        return []

    monkeypatch.setattr(IceConnection, "reflexive", ask)
    monkeypatch.setattr(IceConnection, "relayed", ask)
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.receive(1)
    assert asked == []


async def test_unused_sockets_are_closed_and_reports_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_transport, "REPORT_S", (0.1, 0.1))
    monkeypatch.setattr(audio_transport, "RELEASE_AFTER_S", 0.1)
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.receive(30)
        async with asyncio.timeout(5):
            while open_sockets(publisher.answers[0]) > 1:
                await publisher.receive(1)
        await publisher.receive(3)
        remote = await publisher.peer.getSenders()[0].getStats()
        reports = [report for report in remote.values() if report.type == "remote-inbound-rtp"]
        assert reports
        assert reports[0].packetsLost == 0


async def test_garbage_on_the_socket_is_counted_and_dropped() -> None:
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.receive(3)
        with stranger(addresses(publisher.answers[0])) as sockets:
            for sending, target in sockets:
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
                    sending.sendto(data, target)
            async with asyncio.timeout(5):
                while publisher.peers[-1].transport.discarded < 4 * len(sockets):
                    await publisher.receive(1)
        await publisher.receive(3)
        assert publisher.peers[-1].transport.discarded == 4 * len(sockets)


async def test_an_inactive_publisher_that_becomes_active_is_renegotiated() -> None:
    publisher = Publisher()
    async with subscribed(publisher) as running:
        offer = (await publisher.offer()).replace("a=sendrecv", "a=inactive")
        publisher.subscriber.offer("1", offer)
        async with asyncio.timeout(5):
            await publisher.answered.wait()
        await publisher.peer.setRemoteDescription(
            RTCSessionDescription(publisher.answers[0].replace("inactive", "recvonly"), "answer")
        )
        await connected(publisher)
        await publisher.negotiate("1")
        await publisher.receive(3)
        assert not running.done()
        assert len(publisher.peers) == 1


async def test_reports_refer_to_the_last_sender_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SFU computes the round-trip time from it (RFC 3550, section 6.4.1), which is next to nothing on this host."""
    monkeypatch.setattr(audio_transport, "REPORT_S", (0.3, 0.3))
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()

        async def round_trip() -> float | None:
            remote = await publisher.peer.getSenders()[0].getStats()
            return next((report.roundTripTime for report in remote.values() if report.type == "remote-inbound-rtp"), None)

        async with asyncio.timeout(6):
            while (seconds := await round_trip()) is None:
                await publisher.receive(10)
        assert 0 <= seconds < 0.25


async def test_expired_consent_ends_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consent (RFC 7675) is the only supervision of a silent peer. Here it expires in fractions of a second."""
    hurry_consent(monkeypatch)
    publisher = Publisher()
    async with subscribed(publisher) as running:
        await publisher.negotiate()
        await publisher.receive(50)
        assert not running.done(), "kept over many times the time in which it expires"
        monkeypatch.setattr(datagrams.MediaSocket, "sendto", lambda *_: None)
        with pytest.raises(TransportLost):
            async with asyncio.timeout(3):
                await running


async def test_an_added_microphone_is_received_on_the_same_peer() -> None:
    """Janus 0.x sends another offer with the same `sid`."""
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
        await publisher.receive(3)
        assert publisher.requests == 1
        assert len(publisher.peers) == 1


async def test_a_peer_without_audio_is_replaced() -> None:
    """Janus 1.x sends no other offer. Only another subscriber receives the microphone."""
    publisher = Publisher(without_audio_s=0.2)
    publisher.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    publisher.peer.addTrack(VideoStreamTrack())
    async with subscribed(publisher) as running:
        await publisher.negotiate()
        with pytest.raises(NoAudio):
            async with asyncio.timeout(5):
                await running
