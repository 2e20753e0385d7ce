# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The ASGI application, put together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from ex_app.admins import Admins
from ex_app.auth import AppApiAuth
from ex_app.call_store import CallKeeper
from ex_app.engine import Engine
from ex_app.errors import add_error_answers
from ex_app.history import Monitor
from ex_app.lifecycle import InitStep, Lifecycle, lifecycle_routes
from ex_app.nextcloud.gateway import NextcloudGateway
from ex_app.nextcloud.log import NextcloudLog
from ex_app.page import menu_page
from ex_app.routes.admin import admin_routes
from ex_app.routes.status import status_routes
from ex_app.routes.talk import talk_routes
from ex_app.selftest.checks import Hops
from ex_app.selftest.run import Trials
from ex_app.settings.read import Settings
from ex_app.settings.store import SavedSettings
from live_transcription.observability.logging import Redactor

logger = logging.getLogger(__name__)

#: Seconds that stored calls wait for the saved settings once the app is enabled.
SETTINGS_S = 60.0
#: Seconds before background work that failed unexpectedly starts again.
RESTART_S = 2.0
_HERE = Path(__file__).parent


def create_app(
    environment: Mapping[str, str],
    engine: Engine,
    nextcloud: NextcloudGateway,
    *,
    init_steps: Sequence[InitStep] = (),
    calls: CallKeeper | None = None,
    log: NextcloudLog | None = None,
    redactor: Redactor | None = None,
) -> FastAPI:
    """Its lifespan owns the engine, the gateway and all background work. `redactor` learns the secrets that are saved."""

    def apply(settings: Settings) -> None:
        for secret in settings.secrets():
            if redactor is not None:
                redactor.add(secret)
        engine.apply(settings.engine_config())

    saved = SavedSettings(environment, nextcloud, apply)
    identity = saved.current.app
    lifecycle = Lifecycle(
        engine,
        nextcloud,
        init_steps,
        page=menu_page(identity.version),
        on_enabled=saved.look_soon,
        on_disabled=None if calls is None else calls.freeze,
    )
    monitor, trials = Monitor(engine, time.monotonic), Trials()

    async def ready_for_calls() -> None:
        while True:
            await lifecycle.serving.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTINGS_S):
                    await saved.known.wait()
            if lifecycle.serving.is_set():  # it may have been disabled meanwhile
                return

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            async with engine, asyncio.TaskGroup() as tasks:
                work: dict[str, Callable[[], Awaitable[None]]] = {"read settings": saved.run, "monitor": monitor.run}
                if calls is not None:
                    work["keep calls"] = partial(calls.run, ready_for_calls)
                if log is not None:
                    work["Nextcloud's log"] = log.run
                background = [tasks.create_task(_keep_going(name, each), name=name) for name, each in work.items()]
                trials.start(tasks)
                lifecycle.start(tasks)
                yield
                if calls is not None:
                    calls.freeze()
                lifecycle.stop()
                trials.stop()
                for task in background:
                    task.cancel()
        finally:
            await nextcloud.aclose()

    app = FastAPI(
        title="Live Transcription",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # Requests name rooms and people: FastAPI's OpenTelemetry must not carry them off, whatever the environment says.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False},
    )
    add_error_answers(app)
    app.include_router(lifecycle_routes(lifecycle))
    app.include_router(talk_routes(engine, lifecycle, identity.version))
    app.include_router(status_routes(engine, lifecycle, saved, identity.version))
    hops = Hops(engine, nextcloud, saved)
    app.include_router(admin_routes(saved, hops, trials, monitor, lifecycle, Admins(nextcloud), identity.version))
    for folder in ("js", "css", "img"):
        app.mount(f"/{folder}", _Files(directory=_HERE / folder))
    app.add_middleware(AppApiAuth, identity=identity)
    return app


async def _keep_going(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Restart `work` after an unexpected failure, such as lack of memory, so that calls do not end because of it."""
    while True:
        try:
            await work()
        except Exception:
            logger.exception("Background work failed; it starts again in %.0f s: %s", RESTART_S, name)
        else:
            return
        await asyncio.sleep(RESTART_S)


class _Files(StaticFiles):
    """The front end. AppAPI's proxy would let browsers keep for an hour what does not say otherwise."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_uncached(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Cache-Control"] = "no-cache"
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        await super().__call__(scope, receive, send_uncached)
