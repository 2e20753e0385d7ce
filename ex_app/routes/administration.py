# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Routes for AppAPI's setup checks (Nextcloud 35) and for the command `occ live_transcription:selftest`.

AppAPI alone calls them; `info.xml` does not list them, so they are not reachable from a browser.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict

from ex_app.administration import EXIT_CODE_OPTION, SELFTEST_ROUTE, page_link, setup_checks
from ex_app.errors import NotReady
from ex_app.health import AppHealth
from ex_app.responses import Answer
from ex_app.schemas import read_body
from ex_app.selftest.checks import CHECKS, Checks
from ex_app.selftest.report import passed, report
from ex_app.selftest.run import CHECK_S, Run, Runs
from ex_app.settings.store import SavedSettings

#: Longest time in seconds for the command's answer: that of all checks, and some more.
SELFTEST_S = len(CHECKS) * CHECK_S + 30.0
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class _Command(BaseModel):
    """AppAPI sends null instead of an empty list of options."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)
    options: dict[str, Any] | None = None


class _RunCommand(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)
    occ: _Command = _Command()


def administration_routes(saved: SavedSettings, checks: Checks, runs: Runs, health: AppHealth) -> APIRouter:
    router = APIRouter()

    @router.get("/setup_checks")
    async def setup() -> Answer:
        """AppAPI waits five seconds, so nothing is checked here. `Answer` declares the length, which AppAPI requires."""
        public_url = saved.current.engine.hpb.backend_url or saved.current.app.nextcloud_url
        return Answer(setup_checks(health.describe(), page_link(public_url)))

    @router.post(SELFTEST_ROUTE)
    async def selftest(request: Request) -> Response:
        """AppAPI prints the answer while it arrives, and its exit code is 0 exactly if the status is 200.

        With the option, the status reports the outcome, so the answer has to wait for the end.
        """
        body = await read_body(request, _RunCommand)
        wants_exit_code = bool((body.occ.options or {}).get(EXIT_CODE_OPTION))
        try:
            run = runs.launch("selftest", CHECKS, checks.run)
        except NotReady as error:
            return PlainTextResponse(f"{error}\n", 503 if wants_exit_code else 200, _HEADERS)
        if not wants_exit_code:
            return StreamingResponse(_encoded(run), media_type="text/plain; charset=utf-8", headers=_HEADERS)
        text = "".join([line + "\n" async for line in report(run)])
        return PlainTextResponse(text, 200 if passed(run) else 503, _HEADERS)

    return router


async def _encoded(run: Run) -> AsyncIterator[str]:
    async for line in report(run):
        yield line + "\n"
