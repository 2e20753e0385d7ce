# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Tests with a real moshi-server on the CPU (`make moshi`), whose handmade weights turn loudness into known words.

Where it is not built they are skipped, with the reason. In CI (CI=true) they fail instead if cargo is there to build it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from sandbox.moshi_server import MoshiServer, MoshiUnavailable, cargo, moshi_program
from tests.moshi.silent_client import Silence, silent_session

_HERE = Path(__file__).parent

#: Makes a server of its own for a test; takes the options of MoshiServer.
Servers: TypeAlias = Callable[..., AbstractAsyncContextManager[MoshiServer]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.moshi)


@pytest.fixture(scope="session")
def built() -> None:
    """Asked for by everything that needs the real server."""
    try:
        moshi_program()
    except MoshiUnavailable as reason:
        if os.environ.get("CI") == "true" and cargo() is not None:
            pytest.fail(str(reason))
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def real(built: None, silence_of_real: Future[Silence], tmp_path_factory: pytest.TempPathFactory) -> Iterator[MoshiServer]:
    """One server with two slots for all tests that leave it as it was."""
    server = MoshiServer(tmp_path_factory.mktemp("moshi"), batch_size=2)
    # In a thread, as the first test that asks for it may be running a loop in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, server.start()).result()
        yield server
        thread.submit(asyncio.run, server.kill()).result()


@pytest.fixture(scope="session")
def silence_of_real(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Silence]]:
    """A session without an answer, which takes 20 s: it begins with the first test and runs beside the others."""
    server = MoshiServer(tmp_path_factory.mktemp("silence"), batch_size=1)

    async def run() -> Silence:
        await server.start()
        try:
            return await silent_session(server.address)
        finally:
            await server.kill()

    with ThreadPoolExecutor(2) as threads:
        yield threads.submit(asyncio.run, run())
        # Other tests alone need not wait for it.
        threads.submit(asyncio.run, server.kill()).result()


@pytest.fixture
def servers(built: None, tmp_path: Path) -> Servers:
    numbers = itertools.count()

    @asynccontextmanager
    async def run(**options: Any) -> AsyncIterator[MoshiServer]:
        server = MoshiServer(tmp_path / str(next(numbers)), **options)
        await server.start()
        try:
            yield server
        finally:
            await server.kill()

    return run
