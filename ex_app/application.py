# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The ASGI application, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI

from ex_app.auth import AppApiAuth
from ex_app.engine import Engine
from ex_app.errors import add_error_answers
from ex_app.lifecycle import InitStep, Lifecycle, lifecycle_routes
from ex_app.nextcloud import NextcloudGateway
from ex_app.routes.status import status_routes
from ex_app.routes.talk import talk_routes
from ex_app.settings import Settings


def create_app(
    settings: Settings, engine: Engine, nextcloud: NextcloudGateway, *, init_steps: Sequence[InitStep] = ()
) -> FastAPI:
    """Its lifespan owns the engine, the gateway and all background work."""
    lifecycle = Lifecycle(engine, nextcloud, init_steps)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            async with engine, asyncio.TaskGroup() as tasks:
                lifecycle.start(tasks)
                yield
                lifecycle.stop()
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
    app.include_router(talk_routes(engine, lifecycle, settings.app.version))
    app.include_router(status_routes(engine, lifecycle, settings.app.version))
    app.add_middleware(AppApiAuth, identity=settings.app)
    return app
