# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Metrics of the HTTP side, in a separate registry, since the engine may run elsewhere and report its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

registry = CollectorRegistry()

requests_refused = Counter(
    "live_transcription_requests_refused", "Requests answered with an error, by status", ["status"], registry=registry
)
connections_cut = Counter(
    "live_transcription_http_connections_cut",
    "HTTP connections closed early, by reason",
    ["reason"],
    registry=registry,
)


def render() -> bytes:
    """Prometheus' text format."""
    return generate_latest(registry)
