# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

from live_transcription.stt.statistics import SttStatistics


def test_open_sockets_are_paid_for_by_time() -> None:
    statistics = SttStatistics()
    first = statistics.socket_opened(10.0)
    second = statistics.socket_opened(20.0)
    assert statistics.open_sockets == 2
    assert statistics.socket_s(25.0) == 20.0
    statistics.socket_closed(first, 30.0)
    assert statistics.socket_s(30.0) == 30.0
    assert statistics.socket_s(40.0) == 40.0
    statistics.socket_closed(second, 40.0)
    assert statistics.open_sockets == 0
    assert statistics.socket_s(1000.0) == 40.0


def test_latencies_are_bounded() -> None:
    statistics = SttStatistics()
    statistics.first_token_s.extend(float(number) for number in range(10_000))
    assert len(statistics.first_token_s) < 1000
    assert statistics.first_token_s[-1] == 9999.0
