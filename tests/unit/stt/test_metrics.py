# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

from live_transcription.stt.metrics import SttStatistics


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


def test_added_statistics_include_the_seconds_of_open_sockets() -> None:
    one, other = SttStatistics(), SttStatistics()
    one.words, other.words = 3, 4
    one.reconnects["rotation"] = other.reconnects["rotation"] = 1
    other.socket_opened(10.0)
    one.add(other, 15.0)
    assert (one.words, one.reconnects["rotation"]) == (7, 2)
    assert one.socket_s(100.0) == 5.0
    assert one.open_sockets == 0
