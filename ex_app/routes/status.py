# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Routes for monitoring: the app's health (`/healthz`) and its metrics (`/metrics`).

Everyone may read the health; numbers are for AppAPI, for local processes on the loopback, and for requests with the token for
the metrics. Requests through the unix socket do
not count as local, since HaRP's tunnel ends there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from ex_app.engine import Engine
from ex_app.lifecycle import Lifecycle
from ex_app.responses import Answer, error_answer, render_metrics
from ex_app.settings.store import SavedSettings
from live_transcription.observability import metrics
from live_transcription.status import EngineState, ServiceStatus


def status_routes(engine: Engine, lifecycle: Lifecycle, saved: SavedSettings, version: str) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def healthz(request: Request) -> Answer:
        """`status`: `ok`, `starting`, `disabled`, or `degraded` with `reasons`. No rooms, sessions or people.

        Reasons: `configuration`, `speech-to-text` (no engine works), `nextcloud` (the saved settings cannot be read),
        and the codes of `live_transcription.observability.conditions`: `hpb-unreachable`, `hpb-refused`, `media-path`
        (no audio arrives from the media server), `turn-refused`, `descriptors` (open files), `memory`, `speakers` (some
        people who speak are not transcribed), `subscriptions` (more microphones than the app listens to at once),
        `load`. `explanations`: each reason in plain words.

        The HTTP status is always 200: a degraded app still serves its calls, and a restart would end them.
        """
        status = engine.status()
        engines = engine.speech_status().engines
        # Nextcloud does not answer the app until it has enabled it.
        settings_error = str(saved.last_error or "") if lifecycle.enabled else ""
        explanations = _explanations(status, engines, settings_error)
        if lifecycle.initialising:
            state = "starting"
        elif lifecycle.enabled is False:
            state = "disabled"
        else:
            state = "degraded" if explanations else "ok"
        if not _may_see_numbers(request):
            return Answer({"status": state, "reasons": list(explanations)})
        return Answer(
            {
                "status": state,
                "reasons": list(explanations),
                "explanations": explanations,
                "problem": status.problem or "",
                "version": version,
                "enabled": lifecycle.enabled,
                "calls": status.calls,
                "speakers": status.speakers,
                "speakers_waiting": status.speakers_waiting,
                "slots": status.slots,
                "targets": status.targets,
                "captions_sent": status.captions_sent,
                "engines": list(status.engines),
                "engine_states": {each.name: each.state for each in engines},
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
            refusal = "Metrics are available to AppAPI, on the loopback interface, and with the token for the metrics."
            return error_answer(401, refusal, {"WWW-Authenticate": "Bearer"})
        text = engine.metrics() + render_metrics()
        return Response(text, headers={"Content-Type": metrics.CONTENT_TYPE, "Cache-Control": "no-store"})

    return router


def _explanations(status: ServiceStatus, engines: Sequence[EngineState], settings_error: str) -> dict[str, str]:
    """Why the app is degraded: a text for each reason."""
    found: dict[str, str] = {}
    if status.problem:
        found["configuration"] = status.problem
    if not engines:
        found["speech-to-text"] = "No speech-to-text engine is configured or installed. Configure one in the settings."
    elif all(each.state in ("down", "refused") for each in engines):
        problems = " ".join(each.problem for each in engines if each.problem)
        found["speech-to-text"] = f"No speech-to-text engine works, so there are no captions. {problems}".strip()
    if settings_error:
        found["nextcloud"] = f"Could not read the saved settings from Nextcloud. The last known ones apply. {settings_error}"
    return found | {condition.code: f"{condition.message} {condition.fix}" for condition in status.conditions}


def _may_see_numbers(request: Request) -> bool:
    if request.state.authenticated or request.state.reads_numbers or request.client is None:
        return bool(request.state.authenticated or request.state.reads_numbers)
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
