# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Tests with a real HPB and Janus; skipped, with the reason, where these are not installed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox.rig import RigUnavailable, hpb_build, janus_program
from tests.rig.setting import Setting, setting

_HERE = Path(__file__).parent


def _missing() -> str | None:
    try:
        janus_program()
        hpb_build()
    except RigUnavailable as error:
        return str(error)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.path.is_relative_to(_HERE)]
    reason = _missing() if ours else None
    for item in ours:
        item.add_marker(pytest.mark.rig)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def series(request: pytest.FixtureRequest) -> str:
    """Of the HPB, by indirect parameter; skips where that build is not installed."""
    try:
        return hpb_build(request.param).series
    except RigUnavailable as error:
        pytest.skip(str(error))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def talk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setting]:
    """One Talk and one process of the app for all tests that do not need another; each makes its own room."""
    async with setting(tmp_path_factory.mktemp("talk")) as made:
        yield made
        assert made.app.process.running, made.app.process.last_lines()


@pytest_asyncio.fixture(loop_scope="session")
async def room(talk: Setting) -> AsyncIterator[str]:
    """Token of a fresh room, which the app leaves at the end of the test."""
    token = talk.room()
    yield token
    await talk.nextcloud.talk.leave(token)
