# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app as a process: `python -m ex_app.main`."""

from __future__ import annotations

import gc
import logging
import os
import sys
import time

from ex_app.application import create_app
from ex_app.call_keeper import CallKeeper
from ex_app.nextcloud import AppApiGateway
from ex_app.nextcloud_log import NextcloudLog
from ex_app.server import server_of
from ex_app.settings import read_settings
from live_transcription.observability.logging import configure_logging
from live_transcription.service import TranscriptionService

logger = logging.getLogger("ex_app.main")


def main() -> int:
    """Runs until SIGTERM or SIGINT. 1: it could not start, for example because the port is taken."""
    settings = read_settings(os.environ)
    redactor = configure_logging(settings.log_level, settings.secrets())
    for problem in settings.problems:
        logger.error("%s", problem, extra={"setting": problem.setting})
    for notice in settings.notices:
        logger.warning("%s", notice)
    nextcloud = AppApiGateway(settings.app)
    engine = TranscriptionService(settings.engine_config(), nextcloud.ice_servers, wall_clock=time.time)
    calls = CallKeeper(engine, settings.storage, time.time)
    log = NextcloudLog(nextcloud, redactor)
    logging.getLogger().addHandler(log)
    app = create_app(os.environ, engine, nextcloud, init_steps=[engine.prepare], calls=calls, log=log, redactor=redactor)
    server = server_of(app, settings.listen, calls)
    where = settings.listen.unix_socket or f"{settings.listen.host}:{settings.listen.port}"
    logger.info("Live Transcription %s starts on %s", settings.app.version, where)
    gc.freeze()  # what was imported stays for good: the collector need not walk through it again and again
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
