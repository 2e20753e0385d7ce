# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Routes for monitoring: the app's health (`/healthz`) and its metrics (`/metrics`).

Everyone may read the health; numbers are for AppAPI, for local processes on the loopback, and for requests with the token for
the metrics. Requests through the unix socket do not count as local, since HaRP's tunnel ends there.
"""

from __future__ import annotations

import ipaddress

from fastapi import APIRouter, Request, Response

from ex_app.engine import Engine
from ex_app.health import AppHealth
from ex_app.lifecycle import Lifecycle
from ex_app.responses import Answer, error_answer, render_metrics
from live_transcription.observability import metrics


def status_routes(engine: Engine, lifecycle: Lifecycle, health: AppHealth, version: str) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def healthz(request: Request) -> Answer:
        """`status`: one of `ex_app.health.STATUSES`. No rooms, sessions or people.

        `ok`, `untested` (nothing is known to be wrong, but the HPB or every engine is untried), `degraded` (captions work, but
        something is wrong), `failed` (no call gets captions), `starting` or `disabled`. `reasons` and `explanations`: see
        `live_transcription.observability.health.Health.explanations`. `dependencies`: the last outcome of each.

        The HTTP status is always 200: a degraded app still serves its calls, and a restart would end them.
        """
        status = engine.status()
        described = health.describe()
        if not _may_see_numbers(request):
            return Answer({"status": described["status"], "reasons": described["reasons"]})
        return Answer(
            {
                **described,
                "problem": status.problem or "",
                "version": version,
                "enabled": lifecycle.enabled,
                "calls": status.calls,
                "speakers": status.speakers,
                "speakers_waiting": status.speakers_waiting,
                "speakers_encrypted": status.speakers_encrypted,
                "slots": status.slots,
                "targets": status.targets,
                "captions_sent": status.captions_sent,
                "engines": list(status.engines),
                "engine_states": {each.name: each.state for each in engine.speech_status().engines},
                "memory_bytes": status.memory.resident,
                "memory_used_bytes": status.memory.used,
                "memory_limit_bytes": status.memory.limit,
                "memory_limit_of": status.memory.source or "no limit known",
                "loop_lag_s": round(status.load.lag_s, 4),
                "interval_stretch": round(status.load.interval_stretch, 2),
                "last_errors": [{"at": e.at, "code": e.code, "message": e.message} for e in status.last_errors],
            }
        )

    @router.get("/metrics")
    async def prometheus(request: Request) -> Response:
        if not _may_see_numbers(request):
            refusal = "Send the token for the metrics. Only AppAPI, and local processes at the app's own port, need none."
            return error_answer(401, refusal, {"WWW-Authenticate": "Bearer"})
        health.measure()
        text = engine.metrics() + render_metrics()
        return Response(text, headers={"Content-Type": metrics.CONTENT_TYPE, "Cache-Control": "no-store"})

    return router


def _may_see_numbers(request: Request) -> bool:
    if request.state.authenticated or request.state.reads_numbers or request.client is None:
        return bool(request.state.authenticated or request.state.reads_numbers)
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
