# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Assembles and runs the app."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Mapping

from ex_app.application import create_app
from ex_app.call_store import CallStore
from ex_app.gpu_store import GpuStore
from ex_app.instance_lock import StorageInUse, instance_lock
from ex_app.nextcloud.files import UserFiles
from ex_app.nextcloud.gateway import AppApiGateway
from ex_app.nextcloud.log import NextcloudLog
from ex_app.nextcloud.translator import NextcloudTranslator
from ex_app.server import server_of
from ex_app.settings.read import MISSING, Settings, read_settings
from ex_app.settings.table import BY_KEY, key_of
from ex_app.transcripts import FOLDER, Transcripts
from live_transcription.capacity.descriptors import http_connections, raise_limit
from live_transcription.observability.log_limit import RepeatFilter
from live_transcription.observability.logging import Redactor, configure_logging
from live_transcription.service import TranscriptionService
from live_transcription.transcripts.storage import JournalFolder

logger = logging.getLogger(__name__)

#: Exit codes. 0: stopped by SIGTERM or SIGINT.
COULD_NOT_START = 1
STORAGE_IN_USE = 4


def run(environment: Mapping[str, str]) -> int:
    """Run the app until SIGTERM or SIGINT; returns the exit code."""
    settings = read_settings(environment)
    redactor = configure_logging(settings.log_level, settings.secrets)
    for problem in settings.problems:
        # Before the first visit to the settings page, it is normal that its settings are missing.
        missing = problem.template == MISSING and key_of(problem.setting) in BY_KEY
        logger.log(logging.INFO if missing else logging.ERROR, "%s", problem, extra={"setting": problem.setting})
    for notice in settings.notices:
        logger.warning("%s", notice)
    try:
        with instance_lock(settings.storage):
            return _serve(environment, settings, redactor)
    except StorageInUse as error:
        logger.error("%s", error)
        return STORAGE_IN_USE


def _serve(environment: Mapping[str, str], settings: Settings, redactor: Redactor) -> int:
    descriptors = raise_limit()
    nextcloud = AppApiGateway(settings.app)
    translator = NextcloudTranslator(nextcloud)
    transcripts: Transcripts | None = None
    if settings.storage is not None:
        journals = JournalFolder(settings.storage / FOLDER, settings.app.secret.reveal().encode())
        transcripts = Transcripts(journals, UserFiles(settings.app, nextcloud.is_enabled))
    engine = TranscriptionService(
        settings.engine_config(),
        nextcloud.ice_servers,
        translator=translator,
        transcripts=transcripts,
        stt=settings.engine.stt,
        wall_clock=time.time,
    )
    calls = CallStore(engine, settings.storage, time.time)
    gpu = GpuStore(engine, settings.storage)
    gpu.restore()
    log = NextcloudLog(nextcloud, redactor)
    log.addFilter(RepeatFilter(log, time.monotonic, count=False))
    logging.getLogger().addHandler(log)
    app = create_app(
        environment,
        engine,
        nextcloud,
        init_steps=[engine.prepare],
        calls=calls,
        gpu=gpu,
        log=log,
        translator=translator,
        transcripts=transcripts,
        redactor=redactor,
    )
    server = server_of(app, settings.listen, calls, max_connections=http_connections(descriptors))
    where = settings.listen.unix_socket or f"{settings.listen.host}:{settings.listen.port}"
    logger.info("Starting Live Transcription %s on %s", settings.app.version, where, extra={"descriptors": descriptors})
    gc.freeze()  # imported modules stay, so the garbage collector need not traverse them
    try:
        server.run()
    except OSError as error:
        if server.started:
            raise
        logger.error("The app cannot listen on %s: %s. Check that no other process uses it.", where, error.strerror or error)
        return COULD_NOT_START
    return 0 if server.started else COULD_NOT_START
