# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The stock receive path against the SFU stand-in: the pitfalls of aiortc's own receiver, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiortc import RTCIceGatherer

from live_transcription.audio.opus import OpusEncoder
from live_transcription.errors import NegotiationFailed, TransportLost
from live_transcription.types import DecodedAudio, IceServer, Secret
from live_transcription.webrtc import stock_peer
from live_transcription.webrtc.sdp import parse_offer
from live_transcription.webrtc.stock_description import audio_only, stock_servers
from live_transcription.webrtc.subscriber import Subscriber
from sandbox import loopback_ice
from sandbox.sfu import Publisher, Sfu
from sandbox.sfu import Subscriber as SfuPeer
from sandbox.sfu.rtp import RtpPacket

from .publisher import always, media_lines
from .test_subscriber import sockets
from .turn_server import PASSWORD, USER, turn_server

TONE_HZ = 440
STEP = 960


@pytest.fixture(autouse=True)
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", loopback_ice._loopback_addresses)


class Call:
    """A speaker at the SFU whose packets the test makes, and our subscriber on the stock path."""

    def __init__(self, sfu: Sfu, *servers: IceServer, **options: float | None) -> None:
        self.sfu = sfu
        self.speaker = Publisher(sfu.certificate, "1")
        self.speaker.has_video = True
        self.peer: SfuPeer | None = None
        self.heard: list[DecodedAudio] = []
        self.answers: list[str] = []
        #: Seconds by which the clock runs ahead, since the test speaks faster than anybody and makes pauses of no time.
        self._ahead_s = 0.0
        self.subscriber = Subscriber(self, always(*servers), self._hear, clock=self._now, receive_path="stock", **options)  # type: ignore[arg-type]
        self._answering: set[asyncio.Task[None]] = set()
        self._encoder = OpusEncoder()
        self._sequence = 0
        self._time = 0

    def request_offer(self) -> None:
        """The test calls `subscribe`."""

    def send_answer(self, sid: str, sdp: str) -> None:
        assert self.peer is not None
        self.answers.append(sdp)
        self._answering.add(asyncio.create_task(self.sfu.answer(self.peer, sdp)))

    def send_candidate(self, sid: str, candidate: str, sdp_mid: str | None, sdp_m_line_index: int | None) -> None:
        raise AssertionError("aiortc gathers before it answers")

    async def subscribe(self) -> str:
        """Returns the offer."""
        self.peer = await self.sfu.subscribe(self.speaker)
        offer = await self.peer.offer()
        self.subscriber.offer(self.peer.sid, offer)
        return offer

    async def connected(self) -> None:
        await self.subscribe()
        await eventually(lambda: self.subscriber.connected and self.peer is not None and self.peer.state == "connected")

    def send(self, payload: bytes, *, ticks: int = STEP) -> None:
        packet = RtpPacket(111, False, self._sequence & 0xFFFF, self._time & 0xFFFF_FFFF, None, payload)
        self._sequence += 1
        self._time += ticks
        for listener in tuple(self.speaker.listeners):
            listener(packet)

    def lose(self) -> None:
        self._encode()
        self._sequence += 1
        self._time += STEP

    def pause(self, ticks: int) -> None:
        self._time += ticks
        self._ahead_s += ticks / 48_000

    async def say(self, packets: int) -> None:
        for _ in range(packets):
            self.send(self._encode())
            await asyncio.sleep(0.002)
            self._ahead_s += 0.018

    def _now(self) -> float:
        return asyncio.get_running_loop().time() + self._ahead_s

    def samples(self) -> int:
        return sum(len(audio.samples) for audio in self.heard)

    def _encode(self) -> bytes:
        times = (self._time + np.arange(STEP)) / 48_000
        return self._encoder.encode((0.3 * np.sin(2 * np.pi * TONE_HZ * times)).astype(np.float32))

    def _hear(self, item: object) -> None:
        assert isinstance(item, DecodedAudio)
        self.heard.append(item)


async def eventually(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  aiortc tells no one
            await asyncio.sleep(0.01)


@asynccontextmanager
async def call(**options: float | None) -> AsyncIterator[tuple[Call, asyncio.Task[None]]]:
    async with Sfu() as sfu:
        made = Call(sfu, **options)
        running = asyncio.create_task(made.subscriber.run())
        try:
            yield made, running
        finally:
            running.cancel()
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()


async def test_audio_is_decoded_video_is_not_and_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def default_servers(cls: type[RTCIceGatherer]) -> list[object]:
        raise AssertionError("no default STUN server")

    monkeypatch.setattr(RTCIceGatherer, "getDefaultIceServers", classmethod(default_servers))
    async with call() as (made, _):
        await made.connected()
        await made.say(60)
        await eventually(lambda: len(made.heard) >= 50)
        assert list(media_lines(made.answers[0])) == [("audio", 9), ("video", 0)]
        assert [thread.name for thread in threading.enumerate() if "decoder" in thread.name] == ["audio-decoder"]
        last = made.heard[-1]
        assert (last.samples.shape, last.samples.dtype, last.sample_rate) == ((STEP, 2), np.int16, 48_000)
        assert np.abs(last.samples).max() > 5_000
        assert made.subscriber.first_packet_at is not None
        await eventually(lambda: made.subscriber.statistics.packets >= 50, 6)
        assert made.subscriber.statistics.octets > 50 * 40


async def test_what_is_lost_or_not_sent_is_silence_on_a_whole_timeline() -> None:
    async with call() as (made, _):
        await made.connected()
        await made.say(20)
        made.lose()
        await made.say(20)
        made.pause(48_000)  # a second of discontinuous transmission
        await made.say(40)
        await eventually(lambda: made.samples() >= (20 + 1 + 20 + 50 + 20) * STEP)
        audio = np.concatenate([audio.samples for audio in made.heard])[:, 0]
        silent = [len(list(run)) for quiet, run in itertools.groupby(audio == 0) if quiet]
        assert max(silent) >= 48_000
        whole = len(audio) / STEP
        assert whole == int(whole)


async def test_timestamps_that_jump_make_no_more_silence_than_time_has_passed() -> None:
    async with call() as (made, _):
        await made.connected()
        await made.say(20)
        for _ in range(10):
            made.send(made._encode(), ticks=48_000)
            await asyncio.sleep(0.002)
        await made.say(40)
        await eventually(lambda: len(made.heard) >= 55)
        audio = np.concatenate([audio.samples for audio in made.heard])[:, 0]
        assert np.count_nonzero(audio == 0) < 48_000, "of the 10 s that the timestamps claim"


async def test_a_decoder_that_has_ended_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty payload is the end of the stream to FFmpeg: aiortc decodes nothing any more, and says nothing."""
    monkeypatch.setattr(stock_peer, "_CHECK_S", 0.1)
    async with call() as (made, running):
        await made.connected()
        await made.say(30)
        await eventually(lambda: bool(made.heard))
        for malformed in (b"\xff", b"\xff\xff\xff\xff", b"\x03\x00"):
            made.send(malformed)
        heard = len(made.heard)
        await made.say(30)
        await eventually(lambda: len(made.heard) > heard + 15)
        made.send(b"")
        async with asyncio.timeout(5):
            while not running.done():
                await made.say(20)
        with pytest.raises(TransportLost, match="decoder"):
            await running


async def test_a_track_is_read_whatever_becomes_of_its_frames() -> None:
    """Frames do not pile up in aiortc's queue, which has no bound."""
    async with call() as (made, _):
        await made.connected()
        await made.say(300)
        await eventually(lambda: len(made.heard) >= 290)
        assert made.samples() == len(made.heard) * STEP


async def test_a_mute_without_packets_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.02)
    async with call() as (made, running):
        await made.connected()
        await made.say(20)
        await asyncio.sleep(1.0)
        assert not running.done()
        heard = len(made.heard)
        await made.say(30)
        await eventually(lambda: len(made.heard) > heard + 10)


async def test_the_sfu_closes() -> None:
    async with call() as (made, running):
        await made.connected()
        assert made.peer is not None
        await made.sfu.unsubscribe(made.peer)
        with pytest.raises(TransportLost, match="closed"):
            async with asyncio.timeout(5):
                await running


async def test_consent_that_expires_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr("aioice.stun.RETRY_RTO", 0.01)
    monkeypatch.setattr("aioice.stun.RETRY_MAX", 1)
    async with call() as (made, running):
        await made.connected()
        await asyncio.sleep(0.5)
        assert not running.done(), "kept while the SFU answers"
        assert made.peer is not None
        await made.sfu.unsubscribe(made.peer, silently=True)
        with pytest.raises(TransportLost):
            async with asyncio.timeout(5):
                await running


async def test_no_path_to_the_sfu() -> None:
    async with call(connect_timeout_s=0.4) as (made, running):
        made.peer = await made.sfu.subscribe(made.speaker)
        lines = (await made.peer.offer()).splitlines()
        made.subscriber.offer("1", "".join(f"{line}\r\n" for line in lines if not line.startswith("a=candidate:")))
        with pytest.raises(TransportLost, match="No network path"):
            async with asyncio.timeout(5):
                await running


async def test_candidates_may_come_before_the_offer_and_after_the_answer() -> None:
    async with Sfu(candidates="trickle") as sfu:
        made = Call(sfu)
        running = asyncio.create_task(made.subscriber.run())
        made.peer = await sfu.subscribe(made.speaker)
        offer = await made.peer.offer()
        candidates = [str(each["candidate"]) for each in made.peer.trickled_candidates()]
        assert candidates
        made.subscriber.offer(made.peer.sid, offer)
        await eventually(lambda: bool(made.answers))
        for candidate in candidates:
            made.subscriber.candidate(made.peer.sid, candidate, "0", 0)
        await eventually(lambda: made.subscriber.connected)
        running.cancel()
        await asyncio.wait([running])


async def test_the_same_sid_renegotiates_and_media_goes_on() -> None:
    async with call() as (made, _):
        await made.connected()
        await made.say(30)
        assert made.peer is not None
        made.subscriber.offer(made.peer.sid, await made.peer.offer())
        await eventually(lambda: len(made.answers) == 2)
        heard = len(made.heard)
        await made.say(30)
        await eventually(lambda: len(made.heard) > heard + 20)
        assert made.subscriber.statistics.peers == 1
        origins = [answer.splitlines()[1].split()[1:3] for answer in made.answers]
        assert origins[0][0] == origins[1][0]
        assert [origin[1] for origin in origins] == ["1", "2"]


async def test_a_publisher_that_is_inactive_at_first_is_heard_later() -> None:
    async with call() as (made, running):
        made.peer = await made.sfu.subscribe(made.speaker)
        offer = await made.peer.offer()
        made.subscriber.offer(made.peer.sid, offer.replace("a=sendonly", "a=inactive"))
        await eventually(lambda: made.subscriber.connected)
        assert not running.done()
        made.subscriber.offer(made.peer.sid, await made.peer.offer())
        await eventually(lambda: len(made.answers) == 2 and made.peer is not None and made.peer.accepted)
        await made.say(40)
        await eventually(lambda: len(made.heard) >= 20)


async def test_a_microphone_that_is_added_is_heard_on_the_same_peer() -> None:
    async with call() as (made, _):
        made.speaker.has_audio = False
        await made.connected()
        assert list(media_lines(made.answers[0])) == [("video", 9)]
        assert made.peer is not None
        made.peer.add_audio()
        made.subscriber.offer(made.peer.sid, await made.peer.offer())
        await eventually(lambda: len(made.answers) == 2 and made.peer is not None and made.peer.accepted)
        await made.say(40)
        await eventually(lambda: len(made.heard) >= 20)
        assert made.subscriber.statistics.peers == 1


@pytest.mark.parametrize("when", [0.0, 0.005, 0.02, 0.04, 0.05, 0.06, 0.07, 0.1, None])
async def test_cancelling_leaves_no_task_no_socket_and_no_thread(when: float | None) -> None:
    """At any moment; `None`: once audio came."""
    async with Sfu() as sfu:
        made = Call(sfu)
        made.peer = await sfu.subscribe(made.speaker)
        offer = await made.peer.offer()
        before, descriptors, threads = asyncio.all_tasks(), sockets(), set(threading.enumerate())
        running = asyncio.create_task(made.subscriber.run())
        made.subscriber.offer(made.peer.sid, offer)
        if when is None:
            await eventually(lambda: made.subscriber.connected)
            await made.say(30)
            await eventually(lambda: bool(made.heard))
        else:
            await asyncio.sleep(when)
        running.cancel()
        async with asyncio.timeout(3):
            await asyncio.wait([running])
        assert running.cancelled()
        assert set(threading.enumerate()) <= threads
        await sfu.unsubscribe(made.peer)
        await asyncio.sleep(0.05)
        assert asyncio.all_tasks() <= before
        assert sockets() <= descriptors
        heard = len(made.heard)
        await made.say(5)
        assert len(made.heard) == heard


def test_servers_in_the_form_that_aiortc_reads() -> None:
    assert stock_servers(()) == []
    servers = (
        IceServer(("stun:stun.example.com",)),
        IceServer(("turn:turn.example.com:3478?transport=tcp", "turns:[2001:db8::1]:443"), "user", Secret("credential")),
        IceServer(("stuns:stun.example.com", "nonsense")),
    )
    assert [(server.urls, server.username, server.credential) for server in stock_servers(servers)] == [
        ("stun:stun.example.com:3478", None, None),
        ("turn:turn.example.com:3478?transport=tcp", "user", "credential"),
    ]


async def test_a_payload_type_that_aiortc_would_mistake_is_refused() -> None:
    async with Sfu() as sfu:
        peer = await sfu.subscribe(Publisher(sfu.certificate, "1"))
        offer = (await peer.offer()).replace("111", "35")
        with pytest.raises(NegotiationFailed, match="LT_RECEIVE_PATH"):
            audio_only(parse_offer(offer))
        await sfu.unsubscribe(peer)


@pytest.mark.parametrize("dies", [False, True])
async def test_over_turn_alone_and_closed_in_time(monkeypatch: pytest.MonkeyPatch, dies: bool) -> None:
    """Also where the TURN server no longer answers."""
    async with turn_server("udp") as server, Sfu() as sfu:
        host, port = server.address
        made = Call(sfu, IceServer((f"turn:{host}:{port}",), USER, Secret(PASSWORD)))
        made.peer = await sfu.subscribe(made.speaker)
        offer = await made.peer.offer()
        monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["::1"])
        before = asyncio.all_tasks()
        running = asyncio.create_task(made.subscriber.run())
        made.subscriber.offer(made.peer.sid, offer)
        await eventually(lambda: made.subscriber.connected)
        await made.say(40)
        await eventually(lambda: len(made.heard) >= 20)
        assert "typ relay" in made.answers[0]
        server.mute = dies
        running.cancel()
        async with asyncio.timeout(4):
            await asyncio.wait([running])
        await sfu.unsubscribe(made.peer)
        await asyncio.sleep(0.05)
        left = [str(task.get_coro()) for task in asyncio.all_tasks() - before]
        assert all("TurnTransport" in coroutine for coroutine in left), "of a dead server, which cannot confirm the end"
        assert dies or not left
