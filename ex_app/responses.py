# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Responses in the form that Talk and AppAPI expect, and the metrics of the HTTP side.

The metrics have a registry of their own, since the engine may run elsewhere and report its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

registry = CollectorRegistry()
requests_refused = Counter(
    "live_transcription_requests_refused", "Requests answered with an error, by status", ["status"], registry=registry
)
connections_cut = Counter(
    "live_transcription_http_connections_cut", "HTTP connections closed early, by reason", ["reason"], registry=registry
)
bot_events = Counter(
    "live_transcription_bot_events",
    "Events of Talk's conversations that the bot received, by outcome",
    ["outcome"],
    registry=registry,
)
health_status = Gauge("live_transcription_health", "1 for the current status of the app", ["status"], registry=registry)
dependency_state = Gauge(
    "live_transcription_dependency_state",
    "Last outcome of what captions depend on: 0 unknown, 1 ok, 2 warning, 3 failed",
    ["dependency", "code"],
    registry=registry,
)


class Answer(JSONResponse):
    """JSON that is never cached. Without Cache-Control, AppAPI's proxy would let browsers cache it for an hour."""

    def __init__(
        self, content: Any = None, status_code: int = 200, headers: Mapping[str, str] | None = None, **rest: Any
    ) -> None:
        headers = {"Cache-Control": "no-store", **(headers or {})}
        super().__init__({} if content is None else content, status_code, headers, **rest)


def error_answer(status: int, text: str, headers: Mapping[str, str] | None = None, *, code: str = "") -> Answer:
    """`{"error": text}`. `code`: of `live_transcription.errors`, if the same status has several possible reasons."""
    return Answer({"error": text, "code": code} if code else {"error": text}, status, headers)


def render_metrics() -> bytes:
    """Prometheus' text format."""
    return generate_latest(registry)
