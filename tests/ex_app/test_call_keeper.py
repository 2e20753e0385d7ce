# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Calls that ran when the container stopped are taken up again."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ex_app.application import create_app
from ex_app.call_keeper import FILE_NAME, STALE_S, CallKeeper
from tests.ex_app.fakes import ENVIRONMENT, FakeEngine, FakeNextcloud

NOW = 1_750_000_000.0


async def run_briefly(keeper: CallKeeper) -> None:
    task = asyncio.create_task(keeper.run())
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()


def keeper_of(engine: FakeEngine, storage: Path | None, now: float = NOW) -> CallKeeper:
    return CallKeeper(engine, storage, lambda: now, sleep=lambda _: asyncio.sleep(0))


async def test_a_stop_writes_down_what_runs_and_the_next_start_takes_it_up(tmp_path: Path) -> None:
    engine = FakeEngine(rooms={"abc": {"nc1": "user-1", "nc2": None}})
    keeper = keeper_of(engine, tmp_path)
    await run_briefly(keeper)
    engine.rooms["def"] = {"nc3": "user-2"}
    await keeper.leave_all()
    assert engine.rooms == {}
    path = tmp_path / FILE_NAME
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == [FILE_NAME]
    again = FakeEngine()
    keeper_of(again, tmp_path).restore()
    assert again.rooms == {"abc": {"nc1": "user-1", "nc2": None}, "def": {"nc3": "user-2"}}


async def test_calls_that_are_over_are_forgotten(tmp_path: Path) -> None:
    engine = FakeEngine(rooms={"abc": {"nc1": None}})
    keeper = keeper_of(engine, tmp_path)
    task = asyncio.create_task(keeper.run())
    await asyncio.sleep(0.01)
    engine.rooms.clear()
    await asyncio.sleep(0.01)
    task.cancel()
    assert json.loads((tmp_path / FILE_NAME).read_text())["calls"] == []


async def test_a_container_that_was_away_for_long_takes_nothing_up(tmp_path: Path) -> None:
    await run_briefly(keeper_of(FakeEngine(rooms={"abc": {"nc1": None}}), tmp_path))
    again = FakeEngine()
    keeper_of(again, tmp_path, NOW + STALE_S + 1).restore()
    assert again.rooms == {}


FILES = st.binary(max_size=200) | st.recursive(st.none() | st.text(max_size=5), st.lists, max_leaves=4).map(
    lambda calls: json.dumps({"at": NOW, "calls": calls}).encode()
)


@given(FILES)
def test_whatever_is_in_the_file_the_app_starts(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    storage = tmp_path_factory.mktemp("storage")
    (storage / FILE_NAME).write_bytes(content)
    engine = FakeEngine()
    keeper_of(engine, storage).restore()
    assert engine.rooms == {}


async def test_a_storage_that_cannot_be_written_is_told_and_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    engine = FakeEngine(rooms={"abc": {"nc1": None}})
    await run_briefly(keeper_of(engine, tmp_path / "file" / "below"))
    assert "cannot be written down" in caplog.text
    assert engine.rooms
    await run_briefly(keeper_of(engine, None))


async def test_the_app_takes_calls_up_once_it_knows_its_settings_and_that_it_is_enabled(tmp_path: Path) -> None:
    first = FakeEngine(rooms={"abc": {"nc1": "user-1"}})
    await run_briefly(keeper_of(first, tmp_path))
    engine, nextcloud = FakeEngine(), FakeNextcloud(values={"lt_hpb_url": "https://saved.example.com"})
    app = create_app(ENVIRONMENT, engine, nextcloud, calls=keeper_of(engine, tmp_path))
    async with app.router.lifespan_context(app):
        async with asyncio.timeout(5):
            while not engine.rooms:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert engine.applied, "the saved settings are in force before the calls are joined"
        assert engine.rooms == {"abc": {"nc1": "user-1"}}
    written = json.loads((tmp_path / FILE_NAME).read_text())
    assert [call["room"] for call in written["calls"]] == ["abc"], "a stop forgets nothing"
