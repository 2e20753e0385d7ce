# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import pytest

from live_transcription.stt.metrics import Latencies, SttStatistics


def test_open_sockets_are_counted_in_seconds() -> None:
    statistics = SttStatistics()
    statistics.socket_opened(10.0)
    statistics.socket_opened(20.0)
    assert statistics.open_sockets == 2
    assert statistics.socket_s(25.0) == 20.0
    statistics.socket_closed(30.0)
    assert statistics.socket_s(30.0) == 30.0
    assert statistics.socket_s(40.0) == 40.0
    statistics.socket_closed(40.0)
    assert statistics.open_sockets == 0
    assert statistics.socket_s(1000.0) == 40.0


def test_latencies_are_counted_by_upper_bound() -> None:
    latencies = Latencies()
    for seconds in (0.1, 0.11, 0.75, 999.0):
        latencies.append(seconds)
    buckets = dict(latencies.buckets())
    assert (buckets[0.1], buckets[0.2], buckets[0.6], buckets[0.8], buckets[120.0]) == (1, 2, 2, 3, 3)
    assert (latencies.count, latencies.sum_s) == (4, pytest.approx(999.96))


def test_added_statistics_include_the_seconds_of_open_sockets() -> None:
    one, other = SttStatistics(), SttStatistics()
    one.words, other.words = 3, 4
    one.reconnects["rotation"] = other.reconnects["rotation"] = 1
    other.first_token_s.append(0.5)
    other.socket_opened(10.0)
    one.add(other, 15.0)
    assert (one.words, one.reconnects["rotation"], one.first_token_s.count) == (7, 2, 1)
    assert one.socket_s(100.0) == 5.0
    assert one.open_sockets == 0
