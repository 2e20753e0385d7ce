# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The evaluation of the receive benchmarks."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest

from bench.media.alignment import shifts_ms
from bench.media.programs import encode, has_fec, program, without_pauses
from bench.media.results import Collected, Level, growth, summary, tables
from bench.media.rig import Usage
from bench.media.sender import tails
from live_transcription.types import SAMPLE_RATE
from sandbox import process_stats, recording
from sandbox.caller.speech import CLOCK_RATE, FRAME_S, OpusPacket
from sandbox.sfu import ImpairedPath, Impairment
from sandbox.sfu.rtp import parse_rtp


@pytest.mark.parametrize("burst", [1, 3])
def test_losses_come_in_bursts_and_keep_their_share(burst: int) -> None:
    path = ImpairedPath(Impairment(loss=0.1, burst=burst, seed=4))
    fates = [path.next_delay() is None for _ in range(50_000)]
    runs = [len(list(run)) for lost, run in itertools.groupby(fates) if lost]
    assert sum(fates) / len(fates) == pytest.approx(0.1, abs=0.01)
    assert path.lost == sum(fates)
    assert all(length % burst == 0 for length in runs[:-1])


def test_speech_goes_out_with_its_levels_and_fec_and_without_its_pauses() -> None:
    recorded = recording.load("en-short")
    spoken = without_pauses(recorded)
    assert 0.5 * recorded.duration_s < len(spoken) / CLOCK_RATE <= recorded.duration_s
    packets = [step for step in encode(spoken, expected_loss_percent=10) if step is not None]
    assert len(packets) == len(spoken) // 960
    assert np.median([packet.level for packet in packets]) < 40
    assert sum(has_fec(packet.payload) for packet in packets) > len(packets) / 2
    assert not any(has_fec(packet.payload) for packet in encode(spoken) if packet is not None)


def test_discontinuous_transmission_leaves_most_of_a_silence_out() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, CLOCK_RATE).astype(np.float32)
    steps = encode(np.concatenate([noise, np.zeros(3 * CLOCK_RATE, np.float32)]), dtx=True)
    assert all(step is not None for step in steps[:50])
    silent = steps[75:]
    assert sum(step is not None for step in silent) < len(silent) / 4
    assert all(step is not None and step.level == 127 for step in program("silence"))


def test_packets_bear_the_audio_level_where_it_was_negotiated() -> None:
    header = struct.pack("!BBHLL", 0x90, 96, 7, 960, 1)
    loud, nothing = tails([OpusPacket(b"opus", 30), None], 5)
    assert nothing is None
    assert loud is not None
    packet = parse_rtp(header + loud, 5)
    assert packet is not None
    assert (packet.payload, packet.audio_level) == (b"opus", 0x80 | 30)
    assert tails([OpusPacket(b"opus", 30)], None) == [b"opus"]


def test_a_hole_in_the_timeline_shows_as_a_shift() -> None:
    speech = recording.load("en-conference").pcm(SAMPLE_RATE)[: 20 * SAMPLE_RATE]
    hole = round(FRAME_S * SAMPLE_RATE)
    shorter = np.concatenate([speech[: 10 * SAMPLE_RATE], speech[10 * SAMPLE_RATE + hole :]])
    assert set(shifts_ms(speech, speech)) == {0.0}
    found = shifts_ms(speech, shorter)
    assert found[0] == 0.0
    assert found[-1] == pytest.approx(-20.0, abs=0.1)


def test_memory_and_drops_are_read_from_proc() -> None:
    smaps = "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:  10240 kB\nPss:   5120 kB\n"
    smaps += "Private_Clean: 1024 kB\nPrivate_Dirty: 1024 kB\n"
    assert process_stats.parse_smaps(smaps) == process_stats.Memory(10.0, 5.0, 2.0)
    udp = (
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
        " 1407: 0100007F:A1B2 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4242 2 00000000 17\n"
    )
    assert process_stats.parse_udp_drops(udp) == {4242: 17}


def measured(ours_ms: float, stock_ms: float, *, drops: int = 0) -> Collected:
    collected = Collected()
    for speakers in (10, 50):
        for variant, milliseconds in (("ours", ours_ms), ("stock", stock_ms)):
            for _ in range(2):  # two windows of 10 s
                used = Usage(10.0, milliseconds * speakers / 100, 0.1, [0.001] * 50, 0, 10.0 * speakers, 500 * speakers)
                used.drops = drops if (variant, speakers) == ("stock", 50) else 0
                collected.add(variant, "talk", speakers, used)
                collected.add(variant, "idle", speakers, Usage(10.0, 0.002 * speakers))
        collected.levels.append(
            Level("ours", speakers, speakers - len(collected.levels), 0.4, 100 + speakers, 101, 100 + 2 * speakers)
        )
    return collected


def test_figures_are_those_at_the_most_speakers_that_both_kept_up_with() -> None:
    found = summary(measured(2.5, 15.0), (10, 50))
    assert found["speakers"] == 50
    assert found["ours_ms_per_speaker_s"] == pytest.approx(2.5)
    assert found["ratio"] == pytest.approx(1 / 6, abs=0.001)
    behind = measured(2.5, 15.0, drops=400)
    assert summary(behind, (10, 50))["speakers"] == 10
    assert tables(behind).count("BEHIND") == 1


def test_being_asked_anew_while_muted_counts_as_idle_cost() -> None:
    found = summary(measured(2.5, 15.0), (10, 50))
    assert found["idle_ms_per_speaker_s"] == pytest.approx(0.2 + found["setup_ms_per_speaker"] / 120, abs=0.001)


def test_memory_counts_from_where_loading_no_longer_outweighs_the_speakers() -> None:
    levels = [
        Level("ours", 1, 1, 0.1, 60, 61, 100),
        Level("ours", 10, 9, 0.1, 100, 101, 109),
        Level("ours", 50, 40, 0.1, 110, 118, 150),
    ]
    assert growth(levels, "ours") == (1.0, 0.2)
