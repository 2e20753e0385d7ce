# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The evaluation of the service's benchmarks."""

from __future__ import annotations

import numpy as np
import pytest

from bench.common.figures import Lateness, growth, percentile, summary
from bench.common.results import Target
from bench.load.audio_locator import FRAME_SAMPLES, Locator
from bench.load.churn_script import EVERYDAY, FAULTS, script
from bench.load.latency import PRE_ROLL_FRAMES, Notes, audio_delays, word_delays
from bench.load.schedule import PACKET_S, SLOTS, TapePublisher, deadline
from bench.load.tape import PACKET_SAMPLES, Tape
from sandbox.sfu.rtp import RtpPacket

PACKETS = 500


def a_tape() -> Tape:
    return Tape(tuple(number.to_bytes(2, "big") for number in range(PACKETS)), (30,) * PACKETS)


def test_percentiles_are_values_that_were_seen() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(range(1, 101), 0.95) == 95
    assert percentile([], 0.5) is None
    assert summary([]) == {"count": 0, "p50": None, "p95": None, "max": None}


def test_lateness_is_known_within_a_tenth() -> None:
    lateness = Lateness()
    for milliseconds in range(1, 101):
        lateness.add(milliseconds / 1000)
    assert lateness.percentile(0.5) == pytest.approx(0.05, rel=0.11)
    assert lateness.percentile(0.95) == pytest.approx(0.095, rel=0.11)
    lateness.add(60.0)
    assert lateness.percentile(1.0) == lateness.max == 60.0


def test_a_target_that_was_not_measured_is_missed() -> None:
    assert Target("cost", 3.0, 3.0).met
    assert not Target("cost", 3.1, 3.0).met
    assert not Target("cost", None, 3.0).met
    assert "MISSED" in Target("cost", None, 3.0).row()


def test_growth_compares_medians_so_that_one_peak_is_none() -> None:
    series = [(minute * 60.0, 100.0) for minute in range(10)] + [(600.0, 101.0), (660.0, 500.0), (720.0, 101.0)]
    assert growth(series, (120.0, 300.0), (600.0, 780.0)) == pytest.approx(0.01)
    assert growth(series, (120.0, 300.0), (9000.0, 9180.0)) is None


def test_deadlines_do_not_drift() -> None:
    due, slot = deadline(5.0, SLOTS * 50 * 3600)
    assert due == pytest.approx(5.0 + 3600.0)
    assert slot == 0
    assert deadline(0.0, 1)[0] == pytest.approx(PACKET_S / SLOTS)


def test_a_muted_speakers_clock_goes_on_but_the_tape_does_not() -> None:
    sent: list[RtpPacket] = []
    publisher = TapePublisher(3, a_tape(), 498, note=True)
    publisher.listeners.add(sent.append)
    publisher.send(10, 1.0)
    publisher.send(11, 1.02)
    publisher.send(61, 2.02)
    assert [packet.payload for packet in sent] == [a_tape().payloads[number] for number in (498, 499, 0)]
    assert [packet.sequence_number - sent[0].sequence_number for packet in sent] == [0, 1, 2]
    assert [packet.timestamp - sent[0].timestamp for packet in sent] == [0, 960, 51 * 960]
    assert publisher.sent_at is not None
    assert list(publisher.sent_at) == [1.0, 1.02, 2.02]


def test_a_silent_track_sends_digital_silence_and_keeps_its_place() -> None:
    sent: list[RtpPacket] = []
    publisher = TapePublisher(0, a_tape(), 0, note=False)
    publisher.listeners.add(sent.append)
    publisher.silent = True
    publisher.send(0, 0.0)
    publisher.silent = False
    publisher.send(1, 0.02)
    assert sent[0].audio_level == 127
    assert sent[1].payload == a_tape().payloads[0]


def test_speakers_begin_far_apart() -> None:
    starts = sorted(a_tape().start(number, 5) for number in range(5))
    assert starts == [0, 100, 200, 300, 400]


class TestLocator:
    reference = np.random.default_rng(1).normal(0, 0.1, PACKETS * PACKET_SAMPLES).astype(np.float32)

    def frame(self, packet: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        tape = np.concatenate([self.reference, self.reference[:FRAME_SAMPLES]])
        return tape[packet * PACKET_SAMPLES : packet * PACKET_SAMPLES + FRAME_SAMPLES] * np.float32(0.97)

    def test_finds_a_frame_anywhere_also_over_the_end_of_the_tape(self) -> None:
        locator = Locator(self.reference)
        assert locator.locate(self.frame(123)) == 123
        assert locator.locate(self.frame(498)) == 498
        assert locator.locate(self.frame(123), expected=77) == 123
        assert locator.locate(self.frame(2), expected=PACKETS + 2) == 2

    def test_what_is_not_on_the_tape_is_not_found(self) -> None:
        noise = np.random.default_rng(2).normal(0, 0.1, FRAME_SAMPLES).astype(np.float32)
        assert Locator(self.reference).locate(noise, expected=5) is None

    def test_a_pause_in_speech_is_where_it_is_expected(self) -> None:
        silence = np.zeros(FRAME_SAMPLES, np.float32)
        assert Locator(self.reference).locate(silence, expected=9) == 9
        assert Locator(self.reference).locate(silence) is None


def heard(position: list[int], at: list[float], *, run: list[int] | None = None) -> Notes:
    return {
        "connection": np.zeros(len(position), np.int64),
        "position": np.array(position, np.int64),
        "run": np.array(run or range(PRE_ROLL_FRAMES, PRE_ROLL_FRAMES + len(position)), np.int64),
        "at": np.array(at),
    }


def test_delay_counts_from_the_last_packet_of_a_frame_and_finds_the_speaker() -> None:
    times = [np.arange(0, 30, PACKET_S), np.arange(0, 30, PACKET_S)]
    starts = [0, 250]
    # The second speaker's second round on the tape: packet 510 of theirs is 260 on the tape.
    frames = [(250 + first) % PACKETS for first in (510, 514, 518)]
    came = [(first + 3) * PACKET_S + 0.015 for first in (510, 514, 518)]
    delays = audio_delays(heard(frames, came), starts, times, PACKETS, 0.0, 100.0)
    assert delays == pytest.approx([0.015] * 3)


def test_pre_roll_and_other_times_do_not_count() -> None:
    times = [np.arange(0, 30, PACKET_S)]
    notes = heard([0, 4, 8], [1.0, 1.001, 1.002], run=[0, 1, PRE_ROLL_FRAMES])
    assert audio_delays(notes, [0], times, PACKETS, 0.0, 100.0) == pytest.approx([1.002 - 11 * PACKET_S])
    assert len(audio_delays(notes, [0], times, PACKETS, 50.0, 100.0)) == 0


def test_words_that_were_never_shown_are_counted_not_averaged() -> None:
    delays, never = word_delays(np.array([1.0, 2.0, 3.0, 9.0]), np.array([1.1, 0.0, 3.2]), 0.0, 5.0)
    assert delays == pytest.approx([0.1, 0.2])
    assert never == 1


def test_every_fault_happens_before_one_happens_again_and_the_seed_tells_all() -> None:
    life = list(script(600.0, 7))
    assert life == list(script(600.0, 7))
    assert life != list(script(600.0, 8))
    faults = [what for _, what in life if what in FAULTS]
    assert len(faults) == 23
    assert set(faults[: len(FAULTS)]) == set(faults[len(FAULTS) : 2 * len(FAULTS)]) == set(FAULTS)
    assert {what for _, what in life} == {*FAULTS, *EVERYDAY}
    times = [at for at, _ in life]
    assert times == sorted(times)
    assert times[-1] < 600.0


def test_a_life_without_faults() -> None:
    assert not {what for _, what in script(600.0, 7, faults=False)} & set(FAULTS)
