# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which packets of a silent publisher are decoded, with right, wrong and no audio levels."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.audio.pipeline import PipelineStatistics
from live_transcription.types import AudioGap, AudioPacket, Frame
from live_transcription.vad.detector import speech_sample
from live_transcription.vad.speech_watch import (
    BUFFER_S,
    CHECK_EVERY_S,
    LEVEL_RELEASE_S,
    MAX_ITEMS,
    MAX_OCTETS,
    SAMPLE_EVERY_S,
    Item,
    SpeechWatch,
)
from sandbox import recording
from sandbox.caller.opus_encoder import OpusEncoder
from sandbox.caller.speech import CLOCK_RATE, FRAME_S, FRAME_TICKS, SILENCE, OpusPacket, from_recording, level_of

SHORT = from_recording(recording.load("en-short"))
#: Where the first utterance begins, as a packet.
ONSET = round(recording.load("en-short").utterances[0].speech[0][0] / FRAME_S)


def noise(seconds: float, level: float = 0.001) -> list[OpusPacket]:
    encoder, random = OpusEncoder(), np.random.default_rng(1)
    packets = []
    for _ in range(round(seconds / FRAME_S)):
        samples = random.normal(0.0, level, FRAME_TICKS).astype(np.float32)
        packets.append(OpusPacket(encoder.encode(samples), level_of(samples)))
    return packets


NOISE = noise(10.0)
SPEECH = SHORT.packets[ONSET:]


@dataclass
class Watched:
    """A publisher. `level`: None sends no audio levels, a number always the same one, "right" the right ones."""

    level: int | str | None = "right"
    wrong_levels: list[int] = field(default_factory=list)
    sent: int = 0

    def __post_init__(self) -> None:
        self.statistics = PipelineStatistics()
        self.watch = SpeechWatch(self.statistics, speech_sample(), lambda: self.wrong_levels.append(self.sent))

    def send(self, packets: Iterable[OpusPacket]) -> tuple[int, Sequence[Item]]:
        """Send packets up to a suspicion. Return their number and the items to decode, or (0, ()) if there is none."""
        for count, packet in enumerate(packets, start=1):
            level = packet.level if isinstance(self.level, str) else self.level
            suspicious = self.watch.push(AudioPacket(packet.payload, self.sent & 0xFFFF, self.sent * FRAME_TICKS, level))
            self.sent += 1
            if suspicious:
                return count, suspicious
        return 0, ()

    def calm_down(self) -> None:
        """Send noise until it is known. Its levels may raise one suspicion before."""
        count, _ = self.send(NOISE)
        if count:
            self.watch.begin(spoke=False)
            assert self.send(NOISE) == (0, ())


def seconds_of(items: Sequence[Item]) -> float:
    return len(items) * FRAME_S


def test_levels_raise_a_suspicion_at_once_and_the_onset_is_released() -> None:
    watched = Watched()
    watched.calm_down()
    count, items = watched.send(SPEECH)
    assert 2 <= count <= 5
    assert LEVEL_RELEASE_S - 0.04 <= seconds_of(items) <= LEVEL_RELEASE_S
    numbers = [item.sequence_number for item in items if isinstance(item, AudioPacket)]
    assert numbers == [*range(numbers[0], watched.sent)], "in order, without a hole, up to now"


@pytest.mark.parametrize("level", [None, 0, 50], ids=["no levels", "always loud", "always the same"])
def test_without_useful_levels_samples_find_speech_and_none_is_lost(level: int | None) -> None:
    watched = Watched(level)
    watched.calm_down()
    count, items = watched.send(SPEECH)
    assert 0 < count * FRAME_S <= 2 * SAMPLE_EVERY_S + 0.1
    assert seconds_of(items) >= count * FRAME_S + 0.5, "and something from before"


def test_steady_noise_is_not_suspicious_for_long() -> None:
    watched = Watched()
    watched.calm_down()
    assert watched.send(noise(30.0)) == (0, ())
    assert watched.statistics.decoded_samples == 0


def test_wrong_levels_raise_fewer_and_fewer_suspicions() -> None:
    """The levels alternate, so that they are always louder than before, but nobody speaks."""
    watched = Watched()
    suspicions = []
    for _ in range(120):
        for packets in ([OpusPacket(packet.payload, 70) for packet in NOISE[:25]], [OpusPacket(NOISE[0].payload, 0)] * 25):
            if watched.send(packets)[0]:
                suspicions.append(watched.sent * FRAME_S)
                watched.watch.begin(spoke=False)
    assert len(suspicions) <= 10
    assert sum(at > 60 for at in suspicions) <= 2


def test_levels_count_again_after_real_speech() -> None:
    watched = Watched()
    for _ in range(6):
        watched.send([OpusPacket(packet.payload, 70) for packet in NOISE[:25]])
        watched.send([OpusPacket(NOISE[0].payload, 0)] * 10)
        watched.watch.begin(spoke=False)
    watched.send([OpusPacket(packet.payload, 70) for packet in NOISE[:25]])
    assert watched.send([OpusPacket(NOISE[0].payload, 0)] * 10) == (0, ()), "not any more"
    watched.watch.begin(spoke=True)
    watched.send([OpusPacket(packet.payload, 70) for packet in NOISE[:25]])
    assert watched.send(SPEECH)[0] <= 5


def test_digital_silence_is_neither_buffered_nor_suspicious() -> None:
    watched = Watched()
    assert watched.send([SILENCE] * 500) == (0, ())
    assert watched.wrong_levels == []
    count, items = watched.send(SPEECH)
    assert count <= 5
    assert len(items) == count


def test_encoded_silence_does_not_count_as_wrong_levels() -> None:
    encoder = OpusEncoder()
    zeros = np.zeros(FRAME_TICKS, np.float32)
    watched = Watched()
    assert watched.send([OpusPacket(encoder.encode(zeros), 127) for _ in range(500)]) == (0, ())
    assert watched.wrong_levels == []


def test_speech_with_the_level_of_digital_silence_is_detected() -> None:
    watched = Watched(127)
    watched.send(SPEECH[: round(3 * CHECK_EVERY_S / FRAME_S)])
    assert watched.wrong_levels
    assert watched.wrong_levels[0] * FRAME_S <= 2 * CHECK_EVERY_S
    watched.level = None  # what the owner sees to
    assert watched.send(SPEECH)[0] * FRAME_S <= 2 * SAMPLE_EVERY_S


class TrackedPacket(AudioPacket):
    """A packet that supports weak references."""

    __slots__ = ("__weakref__",)
    __hash__ = object.__hash__


@pytest.mark.parametrize(("octets", "limit"), [(3, MAX_ITEMS), (1400, MAX_OCTETS // 1400)])
def test_the_buffer_is_bounded_whatever_is_sent(octets: int, limit: int) -> None:
    watch = Watched(60).watch
    alive: weakref.WeakSet[TrackedPacket] = weakref.WeakSet()
    payload = b"\xe0" + bytes(octets)
    for number in range(2_000):
        packet = TrackedPacket(payload, number, number * 120, 60)
        alive.add(packet)
        if watch.push(packet):
            watch.begin(spoke=False)
        assert len(alive) <= limit + 1, "the limit and the packet that was just sent"
    for number in range(100):
        watch.push(AudioGap(10 * CLOCK_RATE, lost=bool(number % 2)))
    assert watch.buffered_samples <= BUFFER_S * 24_000
    del packet
    assert not alive


levels = st.one_of(st.none(), st.integers(0, 127))
packets = st.builds(AudioPacket, st.binary(max_size=60), st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1), levels)
items = st.one_of(packets, st.builds(AudioGap, st.integers(-10, 10**7), st.booleans()))


class Doubting:
    def may_be_speech(self, frame: Frame) -> bool:
        assert np.isfinite(frame).all()
        return len(frame) % 7 == 0


@settings(max_examples=200, deadline=None)
@given(st.lists(items, max_size=300))
def test_any_packets_pass_once_and_in_order(sent: list[Item]) -> None:
    watch = SpeechWatch(PipelineStatistics(), Doubting(), lambda: None)
    handed_on: list[Item] = []
    for item in sent:
        if suspicious := watch.push(item):
            handed_on += suspicious
            watch.begin(spoke=False)
    places = iter(sent)
    assert all(any(item is place for place in places) for item in handed_on)
