# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""When the filter is attached, how dropped packets are counted, and a muted publisher end to end."""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import groupby, pairwise

import av
import numpy as np
import pytest
from aiortc.mediastreams import AudioStreamTrack
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.types import DIGITAL_SILENCE, AudioGap, AudioPacket
from live_transcription.webrtc import silence_filter
from live_transcription.webrtc.jitter_buffer import JitterBuffer
from live_transcription.webrtc.rtcp import ReceptionReporter
from live_transcription.webrtc.rtp import parse_rtp
from live_transcription.webrtc.silence_filter import AFTER_S, SilenceFilter
from sandbox.caller.opus_encoder import OpusEncoder

from .publisher import Publisher
from .silence import LEVEL_ID, LOUD, PAYLOAD_TYPE, SSRC, Path, rtp

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux filters sockets in this way")


class Muted:
    """A source whose packets go through a real socket and are processed as in `AudioTransport`."""

    def __init__(self, *, start: int = 65_400, packet_s: float = 0.02) -> None:
        self.path = Path()
        self.filter = SilenceFilter(lambda: self.path.receiver)
        self.filter.configure(LEVEL_ID)
        self.jitter = JitterBuffer()
        self.reporter = ReceptionReporter()
        self.items: list[AudioPacket | AudioGap] = []
        self.came: list[int] = []
        self.now = 100.0
        self.number = start
        self.packet_s = packet_s

    def send(self, seconds: float = 0.0, *, lost: bool = False, **changes: object) -> int:
        """Send packets for `seconds`, one by default. Return how many arrive."""
        before = len(self.came)
        for _ in range(max(1, round(seconds / self.packet_s))):
            datagram = rtp(self.number, **changes)  # type: ignore[arg-type]
            if not lost and self.path.send(datagram):
                self.take(datagram)
            self.number += 1
            self.now += self.packet_s
            self.items += self.jitter.poll(self.now)
        return len(self.came) - before

    def take(self, datagram: bytes) -> None:
        parsed = parse_rtp(datagram, frozenset({PAYLOAD_TYPE, PAYLOAD_TYPE + 1}), LEVEL_ID)
        assert parsed is not None
        ssrc, packet = parsed
        self.came.append(packet.sequence_number)
        skipped = 0
        if packet.audio_level == DIGITAL_SILENCE or self.filter.watching:
            skipped = self.filter.observe(ssrc, packet, datagram, len(datagram), self.now)
        self.reporter.received(ssrc, packet.sequence_number, packet.timestamp, self.now, skipped)
        self.items += self.jitter.push(packet, ssrc, self.now, skipped)

    def ticks(self) -> int:
        """Return the length of the timeline, of packets and gaps."""
        return sum(item.duration if isinstance(item, AudioGap) else 960 for item in self.items)

    def report(self) -> tuple[int, int, int]:
        """Return the lost packets, highest sequence number and jitter of a receiver report."""
        report = self.reporter.report(self.now)
        return int.from_bytes(report[13:16], signed=True), int.from_bytes(report[16:20]), int.from_bytes(report[20:24])


@pytest.fixture
def muted() -> Iterator[Muted]:
    source = Muted()
    yield source
    source.path.close()


SOUND = {"elements": LOUD, "payload": b"\xf8" + bytes(79)}


@pytest.mark.parametrize("after", range(16))
def test_a_muted_publisher_is_filtered_until_it_speaks(muted: Muted, after: int) -> None:
    muted.send(1.0, **SOUND)
    assert muted.send(AFTER_S) == 100, "so long everything comes"
    assert muted.send(60) < 60 * 50 / 16 + 3
    muted.send(after * 0.02 or 0.32)
    sent = muted.number
    assert muted.send(1.0, **SOUND) == 50, "from the first packet on"
    assert not muted.filter.attached
    assert muted.came[-50:] == [number & 0xFFFF for number in range(sent, sent + 50)]
    assert muted.ticks() == (muted.number - 65_400) * 960, "a timeline without a hole"
    assert not [item for item in muted.items if isinstance(item, AudioGap) and item.lost]
    statistics = muted.jitter.statistics
    assert (statistics.lost, statistics.late, statistics.resyncs) == (0, 0, 0)
    assert statistics.skipped + statistics.received == muted.number - 65_400
    assert muted.report() == (0, muted.number - 1, 0)
    assert muted.send(3) > 100, "and muted again, the two seconds start again"
    assert muted.filter.attached


def test_packets_of_60_ms_are_filtered() -> None:
    muted = Muted(packet_s=0.06)
    muted.send(6)
    assert muted.filter.attached
    assert muted.send(60) == pytest.approx(1000 / 16, abs=1)
    muted.path.close()


def test_many_muted_publishers_wake_the_loop_together() -> None:
    """Their packets arrive together, so one wake-up serves them all."""
    for start, at in ((7, 100.0), (30_000, 100.13), (65_530, 101.01)):
        muted = Muted(start=start)
        muted.now = at
        muted.send(8)
        assert muted.filter.attached
        while not muted.send():
            pass
        assert (muted.now + 0.16) % 0.32 - 0.16 == pytest.approx(0.02, abs=0.02)
        muted.path.close()


def test_a_source_with_few_packets_is_not_filtered() -> None:
    """With DTX a packet comes every 400 ms. One in 16 of them would look like a broken path."""
    muted = Muted(packet_s=0.4)
    assert muted.send(60) == 150
    muted.path.close()


def test_a_source_that_begins_to_send_few_packets_is_not_filtered_any_longer(muted: Muted) -> None:
    muted.send(5)
    muted.packet_s = 0.4
    muted.send(7)
    assert not muted.filter.attached
    assert muted.send(40) == 100


def test_loss_is_noticed_by_missing_passed_packets(muted: Muted) -> None:
    """A passed packet that is lost stands for 16, so the share is right on average."""
    muted.send(5)
    while (muted.number - muted.came[-1]) % 16:
        muted.send()
    muted.send(lost=True)
    muted.send(0.5)
    muted.send(1.0, **SOUND)
    assert muted.jitter.statistics.lost == 16
    assert muted.report()[0] == 16
    assert muted.ticks() == (muted.number - 65_400) * 960
    assert not muted.filter.attached


def test_an_outage_removes_the_filter(muted: Muted) -> None:
    muted.send(5)
    muted.send(3, lost=True)
    muted.send(0.4)
    assert not muted.filter.attached
    muted.send(5)
    assert muted.filter.attached


@pytest.mark.parametrize(
    "change", [{"ssrc": SSRC + 1}, {"second": PAYLOAD_TYPE + 1}, {"first": 0x91, "elements": bytes(4)}, {"payload": bytes(60)}]
)
def test_a_change_of_the_packets_removes_the_filter(muted: Muted, change: dict[str, object]) -> None:
    muted.send(5)
    assert muted.filter.attached
    assert muted.send(**change) == 1
    assert not muted.filter.attached
    assert muted.send(1.0) == 50


def test_a_restart_of_the_sender_removes_the_filter(muted: Muted) -> None:
    muted.send(5)
    muted.number += 30_000 - muted.number % 16
    muted.send(1.0)
    assert not muted.filter.attached
    played = len(muted.items)
    muted.send(1.0)
    assert len(muted.items) - played == 50


def test_renegotiation_removes_the_filter(muted: Muted) -> None:
    muted.send(5)
    muted.filter.configure(LEVEL_ID)
    assert muted.send(1.0) == 50
    muted.filter.configure(None)
    assert muted.send(10) == 500, "without an audio level nothing is known of the packets"


def test_late_and_duplicate_packets_are_not_taken_for_a_jump(muted: Muted) -> None:
    muted.send(5)
    late = rtp(muted.number - 40)
    muted.take(late)
    muted.send(5)
    muted.take(rtp(muted.came[-1]))
    muted.send(5)
    assert muted.filter.attached
    assert muted.jitter.statistics.lost == muted.jitter.statistics.resyncs == 0
    assert muted.jitter.statistics.skipped > 100


@pytest.mark.parametrize("sounds", [1, 2, 3])
def test_silence_dropped_before_a_sound_is_read_is_not_loss(muted: Muted, sounds: int) -> None:
    """A click amid silence waits in the socket until the event loop reads it, and the filter stays until then."""
    muted.send(5)
    while (muted.number - muted.came[-1]) % 16 != 3:
        muted.send()
    click = [rtp(muted.number + n, **SOUND) for n in range(sounds)]  # type: ignore[arg-type]
    assert all(muted.path.send(datagram) for datagram in click)
    assert not any(muted.path.send(rtp(muted.number + sounds + n)) for n in (0, 1))
    for datagram in click:
        muted.take(datagram)
    muted.number += sounds + 2
    muted.now += (sounds + 2) * 0.02
    assert muted.send(1.0) == 50
    assert muted.jitter.statistics.lost == muted.report()[0] == 0
    assert not [item for item in muted.items if isinstance(item, AudioGap) and item.lost]
    assert muted.ticks() == (muted.number - 65_400) * 960


def test_a_packet_lost_right_after_the_first_sound_counts_as_lost(muted: Muted) -> None:
    muted.send(5)
    muted.send(**SOUND)
    muted.send(lost=True)
    muted.send(1.0, **SOUND)
    assert muted.jitter.statistics.lost == 1


def test_sound_with_a_wrong_level_is_not_filtered(muted: Muted) -> None:
    """Some senders always send level 127. Then packets vary in length, unlike those of silence."""
    time = np.arange(48_000 * 6) / 48_000
    voice = (0.3 * np.sin(2 * np.pi * 200 * time) * (1 + np.sin(2 * np.pi * 2 * time)) / 2).astype(np.float32)
    encoder = OpusEncoder(bitrate=32_000)
    for start in range(0, len(voice), 960):
        muted.send(payload=encoder.encode(voice[start : start + 960]))
    assert len(muted.came) == 300


@pytest.mark.parametrize("fec", [True, False])
def test_silence_after_speech_is_recognised_as_libopus_encodes_it(muted: Muted, fec: bool) -> None:
    time = np.arange(48_000) / 48_000
    voice = (0.3 * np.sin(2 * np.pi * 200 * time)).astype(np.float32)
    encoder = OpusEncoder(bitrate=32_000, fec=fec, expected_loss_percent=10 if fec else 0)
    for start in range(0, len(voice), 960):
        muted.send(elements=LOUD, payload=encoder.encode(voice[start : start + 960]))
    for _ in range(150):
        muted.send(payload=encoder.encode(np.zeros(960, dtype=np.float32)))
    assert muted.filter.attached


class Refusing:
    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None:
        raise OSError(92, "Protocol not available")


@pytest.mark.parametrize("refusing", [Refusing(), None])
def test_everything_is_received_if_sockets_cannot_be_filtered(
    muted: Muted, refusing: Refusing | None, caplog: pytest.LogCaptureFixture
) -> None:
    muted.filter = SilenceFilter(lambda: refusing)
    muted.filter.configure(LEVEL_ID)
    with caplog.at_level(logging.DEBUG):
        assert muted.send(20) == 1_000
    assert len(caplog.records) == (0 if refusing is None else 1)
    assert not muted.filter.attached
    assert muted.jitter.statistics.skipped == 0


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["silence", "sound", "lost", "other"]), st.integers(1, 180)), min_size=1, max_size=6),
    st.integers(0, 65_535),
)
def test_the_timeline_is_complete_for_any_sequence_of_sound_silence_and_loss(parts: list[tuple[str, int]], start: int) -> None:
    muted = Muted(start=start)
    muted.send(**SOUND)
    for kind, packets in parts:
        for _ in range(packets):
            if kind == "other":
                muted.send(elements=b"\x50\x7e\x00\x00")
            else:
                muted.send(lost=kind == "lost", **(SOUND if kind == "sound" else {}))
    muted.filter.configure(LEVEL_ID)
    muted.send(0.1, **SOUND)
    muted.items += muted.jitter.flush()
    muted.path.close()
    outages = [sum(packets for _, packets in group) for lost, group in groupby(parts, lambda part: part[0] == "lost") if lost]
    cut = sum(max(0, packets + 32 - 50) for packets in outages)  # beyond a second
    sent = muted.number - start
    assert (sent - cut) * 960 <= muted.ticks() <= sent * 960
    numbers = [item.sequence_number for item in muted.items if isinstance(item, AudioPacket)]
    assert all(0 < (b - a) & 0xFFFF < 3_000 for a, b in pairwise(numbers))


class Tone(AudioStreamTrack):
    """Plays digital silence until `sounds` is true."""

    sounds = False

    async def recv(self) -> av.AudioFrame:
        frame = await super().recv()
        if not self.sounds:
            return frame
        assert frame.pts is not None
        samples = (8_000 * np.sin(2 * math.pi * 300 * (frame.pts + np.arange(frame.samples)) / frame.sample_rate)).astype(
            np.int16
        )
        tone = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        tone.sample_rate, tone.pts, tone.time_base = frame.sample_rate, frame.pts, Fraction(1, frame.sample_rate)
        return tone


async def test_a_muted_publisher_of_a_real_peer_is_filtered_until_it_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """ICE, DTLS and SRTP are real. Only the time before the filter is attached is shorter."""
    monkeypatch.setattr(silence_filter, "AFTER_S", 0.3)
    monkeypatch.setattr(silence_filter, "MIN_PACKETS", 8)
    publisher = Publisher()
    track = Tone()
    publisher.peer.getSenders()[0].replaceTrack(track)
    running = asyncio.create_task(publisher.subscriber.run())
    await publisher.negotiate()
    await publisher.receive(16)
    async with asyncio.timeout(5):
        while not publisher.subscriber.jitter.skipped:
            await publisher.receive(1)
    packets, skipped = publisher.subscriber.jitter.received, publisher.subscriber.jitter.skipped
    async with asyncio.timeout(5):
        while publisher.subscriber.jitter.received < packets + 4:
            await publisher.receive(1)
    jitter = publisher.subscriber.jitter
    assert jitter.skipped - skipped == 15 * (jitter.received - packets)
    assert not running.done()
    track.sounds = True
    async with asyncio.timeout(5):
        while getattr(publisher.items[-1], "audio_level", None) in (None, DIGITAL_SILENCE):
            await publisher.receive(1)
    skipped = publisher.subscriber.jitter.skipped
    await publisher.receive(20)
    assert publisher.subscriber.jitter.skipped == skipped, "nothing is dropped any more"
    assert (jitter.lost, jitter.resyncs, publisher.peers[-1].transport.discarded) == (0, 0, 0)
    assert not [item for item in publisher.items if isinstance(item, AudioGap) and item.lost]
    running.cancel()
    await asyncio.wait([running])
    await publisher.peer.close()
