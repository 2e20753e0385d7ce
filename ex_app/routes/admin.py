# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What the settings page asks, by way of AppAPI's proxy. For administrators only; secrets go in and never come out.

Three walls: AppAPI lets only administrators through (access level of the route), this app refuses those whom Nextcloud does not
count among its administrators, and what changes anything needs a header and a content type that another site's page cannot
send without being asked by the browser first (AppAPI's proxy itself checks no request token).
"""

from __future__ import annotations

import logging
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict

from ex_app.admins import Admins
from ex_app.answers import Answer
from ex_app.errors import BodyError, NotAllowed
from ex_app.history import Monitor
from ex_app.lifecycle import Lifecycle
from ex_app.page import documentation, language_of, render
from ex_app.schemas import read_body
from ex_app.selftest.checks import HOPS, Hops
from ex_app.selftest.run import Trials
from ex_app.settings.store import SavedSettings

logger = logging.getLogger(__name__)

#: Needed for all that changes anything; a form or an image of another site cannot send it.
OWN_HEADER = "X-Live-Transcription"


class SaveSettings(BaseModel):
    """Settings by key; null takes the saved value away. Secrets that are not named stay as they are."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    settings: dict[str, str | None]


class StartTest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    engine: str = ""


def admin_routes(
    saved: SavedSettings, hops: Hops, trials: Trials, monitor: Monitor, lifecycle: Lifecycle, admins: Admins, version: str
) -> APIRouter:
    async def for_admins(request: Request) -> None:
        await admins.require(request.state.user_id)

    def not_forged(request: Request) -> None:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.headers.get(OWN_HEADER, "") != "1":
            raise NotAllowed(f"The header {OWN_HEADER} is missing.")
        if content_type != "application/json":
            raise BodyError(415, "The content type has to be application/json.")

    router = APIRouter(prefix="/admin", dependencies=[Depends(for_admins)])
    changes = [Depends(not_forged)]

    def settings() -> dict[str, Any]:
        return {
            "settings": saved.describe(),
            "trouble": str(saved.trouble) if saved.trouble else "",
            "known": saved.known.is_set(),
            "problems": [str(problem) for problem in saved.current.problems],
        }

    @router.get("/page")
    async def page(request: Request, lang: str = "") -> HTMLResponse:
        language = language_of(lang or request.headers.get("accept-language", ""))
        text = render(language, saved.describe(), version)
        return HTMLResponse(text, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})

    @router.get("/docs")
    async def docs() -> Response:
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return PlainTextResponse(documentation(), headers=headers)

    @router.get("/settings")
    async def get_settings() -> Answer:
        return Answer(settings())

    @router.put("/settings", dependencies=changes)
    async def put_settings(request: Request) -> Answer:
        body = await read_body(request, SaveSettings)
        await saved.save(body.settings)
        logger.info("Settings were saved: %s", ", ".join(sorted(body.settings)) or "none")
        return Answer(settings())

    @router.get("/status")
    async def status() -> Answer:
        return Answer(
            {
                **monitor.describe(),
                "version": version,
                "enabled": lifecycle.enabled,
                "initialising": lifecycle.initialising,
                "settings_trouble": str(saved.trouble) if saved.trouble else "",
            }
        )

    @router.post("/test/{hop}", dependencies=changes)
    async def start_test(request: Request, hop: str) -> Answer:
        if hop not in HOPS:
            raise BodyError(404, "There is no such test.")
        body = await read_body(request, StartTest)
        if body.engine not in ("", "modal", "moshi", "embedded"):
            raise BodyError(422, "engine: there is no such engine")
        trial = trials.launch(
            f"{hop}:{body.engine}" if body.engine else hop, (hop,), lambda name, t: hops.run(name, t, body.engine)
        )
        return Answer(trial.describe(), 202)

    @router.post("/selftest", dependencies=changes)
    async def start_selftest(request: Request) -> Answer:
        await read_body(request, StartTest)
        return Answer(trials.launch("selftest", HOPS, hops.run).describe(), 202)

    @router.get("/test/{trial_id}")
    async def follow_test(trial_id: str) -> Answer:
        trial = trials.get(trial_id)
        if trial is None:
            raise BodyError(404, "This test is not known any more.")
        return Answer(trial.describe())

    return router
