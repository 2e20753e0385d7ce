# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

from live_transcription.observability.log_limit import LogLimit


def test_one_line_per_key_and_interval_with_the_number_of_those_left_out() -> None:
    now = 100.0
    limit = LogLimit(60.0, lambda: now)
    assert [limit.permit("a"), limit.permit("a"), limit.permit("b"), limit.permit("a")] == [0, None, 0, None]
    now = 159.9
    assert limit.permit("a") is None
    now = 160.0
    assert [limit.permit("a"), limit.permit("a")] == [3, None]
    now = 500.0
    assert [limit.permit("b"), limit.permit("a")] == [0, 1]
