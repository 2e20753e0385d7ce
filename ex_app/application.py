# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Assembles the ASGI application."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from ex_app.administration import SELFTEST_COMMAND, talk_form
from ex_app.auth import Admins, AppApiAuth
from ex_app.background import Background
from ex_app.call_store import CallStore
from ex_app.engine import Engine
from ex_app.errors import add_error_answers
from ex_app.gpu_store import GpuStore
from ex_app.health import AppHealth, HpbCheck, NextcloudHealth
from ex_app.history import History
from ex_app.lifecycle import InitStep, Lifecycle, lifecycle_routes
from ex_app.monitoring import MonitoringListener
from ex_app.nextcloud.bot import BotMessages
from ex_app.nextcloud.gateway import NextcloudGateway
from ex_app.nextcloud.log import NextcloudLog
from ex_app.nextcloud.translator import NextcloudTranslator
from ex_app.page import menu_page
from ex_app.routes.admin import admin_routes
from ex_app.routes.administration import administration_routes
from ex_app.routes.bot import bot_routes
from ex_app.routes.status import status_routes
from ex_app.routes.talk import talk_routes
from ex_app.routes.translation import translation_routes
from ex_app.selftest.checks import Checks
from ex_app.selftest.run import Runs
from ex_app.settings.read import Settings
from ex_app.settings.store import SavedSettings
from ex_app.transcript_bot import TranscriptBot
from ex_app.transcripts import Transcripts
from live_transcription.observability.logging import Redactor

logger = logging.getLogger(__name__)

#: Seconds that stored calls wait for the saved settings after the app is enabled.
SETTINGS_S = 60.0
_HERE = Path(__file__).parent


def create_app(
    environment: Mapping[str, str],
    engine: Engine,
    nextcloud: NextcloudGateway,
    *,
    init_steps: Sequence[InitStep] = (),
    calls: CallStore | None = None,
    gpu: GpuStore | None = None,
    log: NextcloudLog | None = None,
    translator: NextcloudTranslator | None = None,
    transcripts: Transcripts | None = None,
    redactor: Redactor | None = None,
) -> FastAPI:
    """The application. Its lifespan owns the engine, the gateway and all background work.

    `init_steps` run when AppAPI initialises the app. `transcripts` is the engine's sink; without it, none can be kept.
    `redactor` gets the secrets that administrators save.
    """

    redactor = redactor or Redactor()

    def apply(settings: Settings) -> None:
        for secret in settings.secrets:
            redactor.add(secret)
        engine.apply(settings.engine_config(), settings.engine.stt)
        hpb_check.settings_changed()
        if bot is not None:
            bot.apply(allowed=settings.transcripts)

    def room_language(room: str) -> str:
        """The language in which this conversation's call is captioned, otherwise the default."""
        running = {call.room_token: call.language for call in engine.export()}
        return running.get(room, saved.current.engine.default_language)

    hpb_check = HpbCheck(engine)
    nextcloud_health = NextcloudHealth(time.time)
    saved = SavedSettings(environment, nextcloud, apply, on_read=nextcloud_health.note)
    identity = saved.current.app
    messages = BotMessages(identity)
    bot: TranscriptBot | None = None
    if transcripts is not None:
        bot = TranscriptBot(nextcloud.put_bot, messages, transcripts, room_language, confidential=redactor.add)
        transcripts.attach(bot, engine)
        bot.apply(allowed=saved.current.transcripts)

    def on_enabled() -> None:
        saved.refresh_soon()
        if translator is not None:
            translator.refresh_soon()
        if bot is not None:
            bot.app_enabled()

    def on_disabled() -> None:
        if calls is not None:
            calls.freeze()
        if bot is not None:
            bot.app_disabled()

    background = Background()
    form = talk_form(identity.nextcloud_url, saved.describe())
    lifecycle = Lifecycle(
        engine,
        nextcloud,
        background,
        init_steps,
        page=menu_page(identity.version),
        registrations=(
            ("add the form to Talk's settings", partial(nextcloud.put_form, form)),
            ("add the self-test to occ", partial(nextcloud.put_command, SELFTEST_COMMAND)),
            ("join Nextcloud's setup checks", nextcloud.join_setup_checks),
        ),
        on_enabled=on_enabled,
        on_disabled=on_disabled,
    )
    health = AppHealth(engine, lifecycle, saved, nextcloud_health)
    history, runs = History(engine, time.monotonic), Runs(background)

    async def ready_for_calls() -> None:
        while True:
            await lifecycle.serving.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTINGS_S):
                    await saved.known.wait()
            if lifecycle.serving.is_set():  # it may have been disabled in the meantime
                return

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            async with engine, asyncio.TaskGroup() as tasks:
                background.start(tasks)
                background.run("read settings", saved.run, restart=True)
                background.run("sample the status", history.run, restart=True)
                background.run("check the HPB", partial(hpb_check.run, ready_for_calls), restart=True)
                if calls is not None:
                    background.run("store calls", partial(calls.run, ready_for_calls), restart=True)
                if gpu is not None:
                    background.run("store GPU minutes", gpu.run, restart=True)
                if log is not None:
                    background.run("send the log to Nextcloud", log.run, restart=True)
                if saved.current.metrics_listen is not None:
                    listener = MonitoringListener(app, saved.current.metrics_listen, lambda: saved.current.metrics_token)
                    background.run("serve metrics", listener.run, restart=True)
                if translator is not None:
                    background.run("translate", translator.run, restart=True)
                if bot is not None and transcripts is not None:
                    background.run(
                        "register the bot and send its messages", partial(bot.run, lifecycle.serving.wait), restart=True
                    )
                    background.run("deliver transcripts", partial(transcripts.run, ready_for_calls), restart=True)
                lifecycle.start()
                yield
                if calls is not None:
                    calls.freeze()
                background.stop()
                if gpu is not None:
                    gpu.save()
        finally:
            await messages.aclose()
            await nextcloud.aclose()

    app = FastAPI(
        title="Live Transcription",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # Requests contain rooms and user ids, which FastAPI's OpenTelemetry must not export, whatever the environment says.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False},
    )
    app.state.lifecycle = lifecycle
    add_error_answers(app)
    app.include_router(lifecycle_routes(lifecycle))
    app.include_router(talk_routes(engine, lifecycle, identity.version))
    app.include_router(status_routes(engine, lifecycle, health, identity.version))
    if translator is not None:
        app.include_router(translation_routes(translator))
    if bot is not None:
        app.include_router(bot_routes(bot))
    checks = Checks(engine, nextcloud, saved, health, translator)
    app.include_router(admin_routes(saved, checks, runs, history, lifecycle, health, Admins(nextcloud), identity.version))
    app.include_router(administration_routes(saved, checks, runs, health))
    for folder in ("js", "css", "img"):
        app.mount(f"/{folder}", _Files(directory=_HERE / folder))

    def authenticated() -> None:
        nextcloud.credentials_confirmed()
        lifecycle.credentials_confirmed()

    app.add_middleware(
        AppApiAuth,
        identity=identity,
        metrics_token=lambda: saved.current.metrics_token,
        on_authenticated=authenticated,
    )
    return app


#: Seconds: not asked again for a minute, used for a month.
_KEEP = "private, max-age=60, stale-while-revalidate=2592000"


class _Files(StaticFiles):
    """Scripts, styles and images. Without Cache-Control, AppAPI's proxy would let browsers cache them for an hour.

    Browsers keep them for a month and renew them while they use them, so that the page can say why it is empty while the app
    does not run: its scripts come from the app, too.
    """

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers.update({"Cache-Control": _KEEP, "X-Content-Type-Options": "nosniff"})
        return response
