# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What the HTTP side counts, in a registry of its own: the engine tells its own metrics, wherever it runs."""

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
