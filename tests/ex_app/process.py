# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app in its own process, with an engine in memory: `python -m tests.ex_app.process`."""

from __future__ import annotations

import asyncio
import os
import time

from ex_app.application import create_app
from ex_app.nextcloud.gateway import AppApiGateway
from ex_app.server import server_of
from ex_app.settings.read import read_settings
from live_transcription.capacity.descriptors import http_connections, raise_limit
from live_transcription.observability.logging import configure_logging
from tests.ex_app.fakes import FakeEngine


class SlowEngine(FakeEngine):
    """An engine with slow rooms.

    `enable` of room `hang` never ends; the last words of room `endless` do not; room `thread` keeps a thread busy for a minute.
    """

    async def enable(
        self, room_token: str, nc_session_id: str, *, language: str | None = None, user_id: str | None = None
    ) -> None:
        if room_token == "hang":
            await asyncio.sleep(3600)
        if room_token == "thread":
            asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)
        await super().enable(room_token, nc_session_id, language=language, user_id=user_id)

    async def leave_all(self, grace_s: float | None = None) -> None:
        if self.rooms and grace_s is None:
            await asyncio.sleep(3600 if "endless" in self.rooms else 0.5)
        self.rooms.clear()


if __name__ == "__main__":
    settings = read_settings(os.environ)
    configure_logging(settings.log_level, settings.secrets)
    engine = SlowEngine()
    app = create_app(os.environ, engine, AppApiGateway(settings.app))
    server_of(app, settings.listen, engine, max_connections=http_connections(raise_limit())).run()
