# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""For those who run the app: is it well (`/healthz`), and what has it done (`/metrics`).

Anybody may ask whether it is well; numbers are told to AppAPI and to local processes on the loopback only. Requests through
the unix socket do not count as local: HaRP's tunnel ends there.
"""

from __future__ import annotations

import ipaddress

from fastapi import APIRouter, Request, Response

from ex_app.answers import Answer, error_answer
from ex_app.engine import Engine
from ex_app.lifecycle import Lifecycle
from ex_app.saved_settings import SavedSettings
from live_transcription.observability import metrics
from live_transcription.observability.memory import resident_memory


def status_routes(engine: Engine, lifecycle: Lifecycle, saved: SavedSettings, version: str) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def healthz(request: Request) -> Answer:
        """`status`: `ok`, `starting`, `disabled`, or `degraded` with `reasons`. No rooms, sessions or people.

        Reasons: `configuration`, `speech-to-text` (no engine works), `nextcloud` (it does not tell the saved settings).
        """
        status = engine.status()
        reasons = ["configuration"] if status.problem else []
        engines = engine.speech_status().engines
        if not engines or all(each.state in ("down", "refused") for each in engines):
            reasons.append("speech-to-text")
        # Before it has enabled the app Nextcloud tells it nothing, and need not.
        if saved.trouble is not None and lifecycle.enabled:
            reasons.append("nextcloud")
        if lifecycle.initialising:
            state = "starting"
        elif lifecycle.enabled is False:
            state = "disabled"
        else:
            state = "degraded" if reasons else "ok"
        if not _may_see_numbers(request):
            return Answer({"status": state, "reasons": reasons})
        return Answer(
            {
                "status": state,
                "reasons": reasons,
                "problem": status.problem or "",
                "version": version,
                "enabled": lifecycle.enabled,
                "calls": status.calls,
                "speakers": status.speakers,
                "targets": status.targets,
                "captions_sent": status.captions_sent,
                "engines": list(status.engines),
                "engine_states": {each.name: each.state for each in engines},
                "memory_bytes": resident_memory(),
                "last_errors": [{"at": e.at, "code": e.code, "message": e.message} for e in status.last_errors],
            }
        )

    @router.get("/metrics")
    async def prometheus(request: Request) -> Response:
        if not _may_see_numbers(request):
            return error_answer(401, "Metrics are for AppAPI and the loopback only.")
        status = engine.status()
        metrics.calls.set(status.calls)
        metrics.speakers.set(status.speakers)
        metrics.targets.set(status.targets)
        metrics.resident_memory.set(resident_memory())
        metrics.stt_socket_seconds.set(engine.speech_status().socket_s)
        return Response(metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE, "Cache-Control": "no-store"})

    return router


def _may_see_numbers(request: Request) -> bool:
    if request.state.authenticated:
        return True
    if request.client is None:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
