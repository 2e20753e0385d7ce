# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Metrics in Prometheus' text format."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from live_transcription.observability import metrics


def test_the_text_format_is_well_formed_and_contains_only_our_metrics() -> None:
    metrics.last_word_seconds.observe(0.7)
    families = list(text_string_to_metric_families(metrics.render().decode()))
    assert families
    assert all(family.name.startswith("live_transcription_") for family in families)
