# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Metrics in Prometheus' text format."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from live_transcription.observability import metrics


def value(name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def test_captions_are_counted_by_kind() -> None:
    before = value("live_transcription_captions_sent_total", kind="final")
    metrics.caption_sent(final=True)
    metrics.caption_sent(final=False)
    assert value("live_transcription_captions_sent_total", kind="final") == before + 1


def test_the_text_format_is_well_formed_and_holds_only_ours() -> None:
    metrics.final_seconds.observe(0.7)
    families = list(text_string_to_metric_families(metrics.render().decode()))
    assert families
    assert all(family.name.startswith("live_transcription_") for family in families)
