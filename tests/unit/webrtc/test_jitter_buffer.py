# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.opus.packet import packet_ticks
from live_transcription.types import AudioGap, AudioPacket
from live_transcription.webrtc.jitter_buffer import MAX_GAP_TICKS, Item, JitterBuffer

SSRC = 0x1234
#: One frame of 20 ms, SILK wideband (RFC 6716, table 2: configuration 9).
TOC_20_MS = 9 << 3


def packet(
    number: int, *, start: int = 100, start_timestamp: int = 48_000, shift: int = 0, toc: int = TOC_20_MS
) -> AudioPacket:
    """Return packet `number` of a stream. Its payload contains the number."""
    payload = bytes((toc,)) + number.to_bytes(4)
    return AudioPacket(payload, (start + number) & 0xFFFF, (start_timestamp + number * 960 + shift) & 0xFFFF_FFFF)


def numbers(items: list[Item]) -> list[int | str]:
    """Describe packets by number, and gaps as `lost` or `silent` with their milliseconds."""
    return [
        int.from_bytes(item.payload[1:])
        if isinstance(item, AudioPacket)
        else f"{'lost' if item.lost else 'silent'} {item.duration / 48:g}"
        for item in items
    ]


def feed(buffer: JitterBuffer, *arrivals: int, at: float = 0.0, ssrc: int = SSRC) -> list[int | str]:
    items: list[Item] = []
    for number in arrivals:
        items += buffer.push(packet(number), ssrc, at)
    return numbers(items)


def test_packets_in_order_pass_at_once() -> None:
    buffer = JitterBuffer()
    for number in range(100):
        assert feed(buffer, number, at=number * 0.02) == [number]
        assert buffer.deadline is None
    assert buffer.statistics.longest_wait_s == 0.0


def test_one_lost_packet_delays_by_at_most_60_ms_and_the_delay_shrinks_back() -> None:
    buffer = JitterBuffer()
    arrivals = [(number * 0.02, number) for number in range(100) if number != 50]
    played: dict[int | str, float] = {}
    now = 0.0
    for now, number in arrivals:
        while buffer.deadline is not None and buffer.deadline <= now:
            due = buffer.deadline
            played.update((item, due) for item in numbers(buffer.poll(due)))
        played.update((item, now) for item in feed(buffer, number, at=now))
    delays = {number: played[number] - number * 0.02 for number in range(100) if number != 50}
    assert "lost 20" in played
    assert 0 < max(delays.values()) <= 0.06
    assert all(delays[number] == 0 for number in range(100) if number < 50 or number > 54)
    assert buffer.statistics.lost == 1


def test_the_packet_after_a_lost_one_is_passed_on_for_its_fec() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0)
    feed(buffer, 3, at=0.06)
    assert buffer.deadline is not None
    gaps = [item for item in buffer.poll(buffer.deadline) if isinstance(item, AudioGap)]
    assert [(gap.duration, gap.lost, gap.fec_payload) for gap in gaps] == [(960, True, None), (960, True, packet(3).payload)]


def test_a_reordered_packet_is_played_in_its_place() -> None:
    buffer = JitterBuffer()
    assert feed(buffer, 0, 2, 3) == [0]
    assert feed(buffer, 1, at=0.005) == [1, 2, 3]
    assert buffer.deadline is None
    assert (buffer.statistics.reordered, buffer.statistics.lost) == (1, 0)


def test_each_of_two_holes_has_its_own_waiting_time() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0)
    feed(buffer, 2, at=0.04)
    feed(buffer, 4, at=0.06)
    first = buffer.deadline
    assert first is not None
    assert numbers(buffer.poll(first)) == ["lost 20", 2]
    second = buffer.deadline
    assert second is not None
    assert first < second <= 0.06 + 0.06
    assert numbers(buffer.poll(second)) == ["lost 20", 4]


def test_the_wait_grows_with_reordering_to_60_ms_and_shrinks_with_losses() -> None:
    buffer = JitterBuffer()
    usual = buffer.wait_s
    feed(buffer, 0, 2)
    feed(buffer, 1, at=0.03)
    assert usual < buffer.wait_s <= 0.06
    now = 1.0
    for number in range(4, 80, 2):
        feed(buffer, number, at=now)
        assert buffer.deadline is not None
        now = buffer.deadline
        buffer.poll(now)
    assert buffer.wait_s == pytest.approx(0.02)


def test_late_and_duplicate_packets_are_dropped_and_counted() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0, 2)
    assert buffer.deadline is not None
    buffer.poll(buffer.deadline)
    waited = buffer.wait_s
    assert feed(buffer, 1, at=0.07) == []
    assert feed(buffer, 1, 2, 0, at=0.07) == []
    assert feed(buffer, 4, 4, at=0.08) == []
    assert buffer.statistics.late == 1
    assert buffer.wait_s > waited


def test_sequence_number_and_timestamp_wrap() -> None:
    buffer = JitterBuffer()
    items: list[Item] = []
    for number in [*range(10), 11, 10, *range(12, 20)]:
        items += buffer.push(packet(number, start=65_530, start_timestamp=2**32 - 5 * 960), SSRC, 0.0)
    assert numbers(items) == list(range(20))


@pytest.mark.parametrize(
    ("pause_ms", "filled"), [(20, "silent 20"), (400, "silent 400"), (1_000, "silent 1000"), (600_000, "silent 1000")]
)
def test_a_timestamp_that_jumps_alone_is_silence_of_at_most_a_second(pause_ms: int, filled: str) -> None:
    buffer = JitterBuffer()
    feed(buffer, 0, 1)
    items = buffer.push(packet(2, shift=pause_ms * 48), SSRC, 9.0)
    assert numbers(items) == [filled, 2]
    assert numbers(buffer.push(packet(3, shift=pause_ms * 48), SSRC, 9.02)) == [3]


def test_loss_at_the_start_of_a_silence_is_distinguished_from_the_silence() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0)
    buffer.push(packet(2, shift=48 * 500), SSRC, 1.0)
    assert numbers(buffer.flush()) == ["lost 20", "silent 500", 2]


def test_an_outage_costs_at_most_a_second_of_concealment() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0)
    buffer.push(packet(500), SSRC, 10.0)
    assert numbers(buffer.poll(10.06)) == ["lost 980", "lost 20", 500]
    assert buffer.statistics.lost == 499


def test_another_ssrc_restarts_without_a_gap() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0, 1, 3)
    fresh = packet(7, start=40_000, start_timestamp=5)
    assert numbers(buffer.push(fresh, SSRC + 1, 0.1)) == ["lost 20", 3, 7]
    assert numbers(buffer.push(packet(8, start=40_000, start_timestamp=5), SSRC + 1, 0.12)) == [8]
    assert buffer.statistics.resyncs == 1
    assert buffer.deadline is None


def test_a_restart_needs_two_packets_and_loses_none() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0, 1)
    restarted = [packet(number, start=30_000, start_timestamp=77) for number in range(3)]
    assert buffer.push(restarted[0], SSRC, 0.1) == []
    assert buffer.push(restarted[1], SSRC, 0.12) == restarted[:2]
    assert buffer.push(restarted[2], SSRC, 0.14) == restarted[2:]


def test_a_single_stray_packet_changes_nothing() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0)
    assert buffer.push(packet(0, start=30_000), SSRC, 0.01) == []
    assert feed(buffer, 1, 2) == [1, 2]


def test_a_timestamp_that_goes_back_is_a_resync_not_a_gap() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0, 1)
    assert numbers(buffer.push(packet(2, shift=-48_000), SSRC, 0.1)) == [2]
    assert numbers(buffer.push(packet(3, shift=-48_000), SSRC, 0.1)) == [3]


def test_a_packet_of_padding_is_neither_audio_nor_loss() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0)
    assert buffer.push(AudioPacket(b"", 101, 48_000), SSRC, 0.0) == []
    following = AudioPacket(packet(1).payload, 102, 48_960)
    assert buffer.push(following, SSRC, 0.02) == [following]
    assert buffer.statistics.lost == 0


def test_packets_of_60_ms_do_not_count_as_silence() -> None:
    buffer = JitterBuffer()
    for number in range(5):
        one = AudioPacket(bytes((11 << 3,)) + b"x", number, number * 2880)
        assert buffer.push(one, SSRC, number * 0.06) == [one]
    lost = AudioPacket(bytes((11 << 3,)) + b"x", 6, 6 * 2880)
    buffer.push(lost, SSRC, 0.36)
    assert numbers(buffer.flush())[:1] == ["lost 60"]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.builds(AudioPacket, st.binary(max_size=3), st.integers(0, 65_535) | st.integers(0, 90), st.integers(0, 2**32 - 1)),
        max_size=200,
    )
)
def test_any_stream_stays_bounded_and_ends(packets: list[AudioPacket]) -> None:
    buffer = JitterBuffer()
    out = 0
    for index, one in enumerate(packets):
        out += sum(isinstance(item, AudioPacket) for item in buffer.push(one, SSRC, index / 1_000))
        assert len(buffer) <= 65
    items = buffer.flush()
    assert buffer.deadline is None
    assert out + sum(isinstance(item, AudioPacket) for item in items) <= len(packets)
    assert all(0 < item.duration <= MAX_GAP_TICKS for item in items if isinstance(item, AudioGap))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 30), st.integers(0, 65_535))
def test_the_timeline_is_complete_and_in_order_on_any_network(seed: int, loss_percent: int, start: int) -> None:
    chance = random.Random(seed)
    arrivals = sorted(
        (number * 0.02 + chance.uniform(0, 0.1) * (chance.random() < 0.2), number)
        for number in range(200)
        if number in (0, 199) or chance.random() * 100 >= loss_percent
    )
    buffer = JitterBuffer()
    items: list[Item] = []
    for at, number in arrivals:
        while buffer.deadline is not None and buffer.deadline <= at:
            items += buffer.poll(buffer.deadline)
        items += buffer.push(packet(number, start=start), SSRC, at)
    items += buffer.flush()
    played = [item for item in numbers(items) if isinstance(item, int)]
    assert played == sorted(played)
    ticks = sum(item.duration if isinstance(item, AudioGap) else 960 for item in items)
    assert ticks == (199 - played[0] + 1) * 960
    assert buffer.statistics.longest_wait_s <= 0.06 + 1e-9


#: 2.5 ms, CELT (configuration 16), 20 ms, and 120 ms: two frames of 60 ms (configuration 11, code 1).
TOCS = {16 << 3: 120, TOC_20_MS: 960, 11 << 3 | 1: 5_760}


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from(list(TOCS)),
    st.sampled_from([1, 2, 3, 50, 90, 1_000, 3_000, 5_000, 65_535]),
    st.sampled_from([0, 1, 120, 960, 48_000, 2**31 - 1, 2**31, 2**32 - 960]),
    st.sampled_from([0.0, 0.001, 0.0025, 0.02, 0.5]),
    st.booleans(),
)
def test_a_publisher_cannot_produce_more_silence_than_time_has_passed(
    seed: int, toc: int, step: int, jump: int, interval_s: float, other_ssrcs: bool
) -> None:
    """Jumps of sequence numbers and timestamps, duplicates, other SSRCs, and packets of all lengths at all rates."""
    chance, buffer = random.Random(seed), JitterBuffer()
    number = timestamp = 0
    filled, now = 0, 100.0
    for index in range(400):
        number += chance.choice((1, step, step, 0, -1))
        timestamp += chance.choice((TOCS[toc], jump, jump + TOCS[toc]))
        ssrc = SSRC + (index // 40 if other_ssrcs else 0)
        one = AudioPacket(bytes((toc, 1, 2, 3)), number & 0xFFFF, timestamp & 0xFFFF_FFFF)
        items = buffer.push(one, ssrc, now)
        now += interval_s
        items += buffer.poll(now)
        filled += sum(item.duration for item in items if isinstance(item, AudioGap))
        assert filled <= (now - 100.0) * 48_000 + 4_801
    filled += sum(item.duration for item in buffer.flush() if isinstance(item, AudioGap))
    assert filled <= (now - 100.0) * 48_000 + 4_801


def test_jumping_sequence_numbers_produce_no_more_audio_than_arrived() -> None:
    """Each packet claims that 49 before it were lost. They arrive 20 ms apart, as usual."""
    buffer, filled, played = JitterBuffer(), 0, 0
    for index in range(500):
        items = buffer.push(packet(index * 50), SSRC, index * 0.02) + buffer.poll(index * 0.02 + 0.019)
        filled += sum(item.duration for item in items if isinstance(item, AudioGap))
        played += sum(isinstance(item, AudioPacket) for item in items)
    assert played >= 490
    assert filled <= (0.25 * 10 + 0.2) * 48_000, "10 s have passed, and 10 s of packets came"


def test_packets_much_faster_than_real_time_are_dropped() -> None:
    buffer = JitterBuffer()
    played = sum(len(feed(buffer, number, at=number * 0.0002)) for number in range(20_000))
    assert played * 0.02 <= 4 * 1.25 + 10.1, "of 400 s of audio in 4 s"
    assert buffer.statistics.lost == 0


def test_packets_delayed_by_an_outage_are_all_played() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0)
    burst: list[int | str] = [*range(1, 251)]
    assert feed(buffer, *burst, at=5.0) == burst
    for number in range(251, 600):
        assert feed(buffer, number, at=number * 0.02) == [number]
    feed(buffer, 601, at=601 * 0.02)
    assert numbers(buffer.poll(601 * 0.02 + 0.06)) == ["lost 20", 601]


@pytest.mark.parametrize(
    ("payload", "ticks"),
    [
        (bytes((0 << 3,)), 480),
        (bytes((1 << 3,)), 960),
        (bytes((2 << 3,)), 1_920),
        (bytes((3 << 3,)), 2_880),
        (bytes((12 << 3,)), 480),
        (bytes((15 << 3,)), 960),
        (bytes((16 << 3,)), 120),
        (bytes((31 << 3,)), 960),
        (bytes((31 << 3 | 1,)), 1_920),
        (bytes((31 << 3 | 2,)), 1_920),
        (bytes((31 << 3 | 3, 3)), 2_880),
        (bytes((31 << 3 | 3, 0xC6)), 5_760),
        (bytes((31 << 3 | 3, 7)), None),
        (bytes((31 << 3 | 3, 0)), None),
        (bytes((31 << 3 | 3,)), None),
        (b"", None),
    ],
)
def test_durations_are_read_from_the_first_octets(payload: bytes, ticks: int | None) -> None:
    assert packet_ticks(payload) == ticks


def push_run(buffer: JitterBuffer, number: int, skipped: int, at: float, *, shift: int = 0) -> list[int | str]:
    """Push a packet right before which the socket's filter has dropped `skipped` ones."""
    return numbers(buffer.push(packet(number, shift=shift), SSRC, at, skipped))


def test_skipped_packets_are_silence_in_order_and_are_neither_waited_for_nor_lost() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0)
    for number in range(16, 65_536 * 2, 16):
        assert push_run(buffer, number, 15, number * 0.02) == ["silent 300", number]
        assert buffer.deadline is None
    assert push_run(buffer, 65_536 * 2 + 3 - 16, 2, 9_999.0) == ["silent 40", 65_536 * 2 + 3 - 16]
    assert feed(buffer, 65_536 * 2 + 4 - 16, at=9_999.02) == [65_536 * 2 + 4 - 16]
    statistics = buffer.statistics
    assert (statistics.lost, statistics.late, statistics.resyncs) == (0, 0, 0)
    assert statistics.skipped + statistics.received == 65_536 * 2 + 5 - 16


def test_a_hole_before_skipped_packets_is_waited_for() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0)
    assert push_run(buffer, 5, 3, 0.1) == []
    assert feed(buffer, 1, at=0.11) == [1, "silent 60", 5]
    assert push_run(buffer, 10, 3, 0.2) == []
    assert buffer.deadline is not None
    items = buffer.poll(buffer.deadline)
    assert numbers(items) == ["lost 20", "silent 60", 10]
    assert isinstance(items[0], AudioGap)
    assert items[0].fec_payload is None, "the next packet does not directly follow on the lost one"
    assert buffer.statistics.lost == 1


def test_a_pause_of_the_sender_beyond_skipped_packets_is_silence() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0)
    assert push_run(buffer, 5, 4, 1.0, shift=400 * 48) == ["silent 80", "silent 400", 5]


def test_a_packet_that_arrives_although_it_counts_as_skipped_is_counted_once() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0, 1, 4)
    assert push_run(buffer, 6, 15, 0.05) == ["silent 80", 6]
    assert feed(buffer, 4, 7, at=0.06) == [7]
    assert buffer.statistics.skipped == 4
    assert buffer.deadline is None


def test_skipped_packets_do_not_fill_more_time_than_has_passed() -> None:
    buffer = JitterBuffer()
    feed(buffer, 0)
    for number in range(16, 16 * 11, 16):
        push_run(buffer, number, 15, 0.0)
    assert push_run(buffer, 16 * 11, 15, 0.02) == [16 * 11]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 90) | st.integers(0, 65_535), st.integers(0, 2**32 - 1), st.integers(0, 15)), max_size=150
    )
)
def test_any_stream_with_skipped_packets_stays_bounded_and_ends(stream: list[tuple[int, int, int]]) -> None:
    buffer = JitterBuffer()
    for index, (number, timestamp, skipped) in enumerate(stream):
        buffer.push(AudioPacket(b"\x48", number, timestamp, 127), SSRC, index / 1_000, skipped)
        assert len(buffer) <= 65
    buffer.flush()
    assert buffer.deadline is None
    assert buffer.statistics.lost <= 3_100 * len(stream)
