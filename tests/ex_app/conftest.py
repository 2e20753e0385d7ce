# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app with a fake engine and a fake Nextcloud, called as AppAPI calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from ex_app.application import create_app
from tests.ex_app.fakes import ENVIRONMENT, FakeEngine, FakeNextcloud, credentials


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def nextcloud() -> FakeNextcloud:
    return FakeNextcloud()


@pytest.fixture
async def anybody(engine: FakeEngine, nextcloud: FakeNextcloud) -> AsyncIterator[httpx.AsyncClient]:
    """A client without credentials, from another machine."""
    app = create_app(ENVIRONMENT, engine, nextcloud)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("192.0.2.7", 4711))
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        yield client


@pytest.fixture
async def talk(anybody: httpx.AsyncClient) -> httpx.AsyncClient:
    """AppAPI, on behalf of user-1."""
    anybody.headers.update(credentials())
    return anybody
