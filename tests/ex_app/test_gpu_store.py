# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""GPU minutes on Modal survive a restart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from ex_app.gpu_store import FILE_NAME, GpuStore, parse, serialise
from live_transcription.status import GpuUsage
from tests.ex_app.fakes import FakeEngine

USAGE = GpuUsage(20_785, 1234.5)


def test_a_restart_continues_with_the_minutes_of_today(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.usage = USAGE
    GpuStore(engine, tmp_path).save()
    assert json.loads((tmp_path / FILE_NAME).read_text()) == {"version": 1, "day": "2026-11-28", "gpu_seconds": 1234.5}
    other = FakeEngine()
    GpuStore(other, tmp_path).restore()
    assert other.usage == USAGE


async def test_the_file_is_written_while_the_app_runs_and_only_when_something_changed(tmp_path: Path) -> None:
    engine = FakeEngine()
    ticks: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(_seconds: float) -> None:
        await ticks.get()
        ticks.task_done()

    store = GpuStore(engine, tmp_path, sleep=sleep)
    task = asyncio.create_task(store.run())

    async def tick() -> None:
        ticks.put_nowait(None)
        await ticks.join()
        await asyncio.sleep(0)

    await tick()
    path = tmp_path / FILE_NAME
    assert not path.exists(), "nothing was used yet"
    engine.usage = USAGE
    await tick()
    assert parse(path.read_bytes()) == USAGE
    path.unlink()
    await tick()
    assert not path.exists()
    task.cancel()


def test_without_storage_nothing_is_stored() -> None:
    store = GpuStore(FakeEngine(), None)
    store.restore()
    store.save()


def test_storage_that_cannot_be_written_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine()
    (tmp_path / FILE_NAME).mkdir()
    store = GpuStore(engine, tmp_path)
    for seconds in (1.0, 2.0):
        engine.usage = GpuUsage(1, seconds)
        store.save()
    assert caplog.text.count("cannot be stored") == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"day":"2026-11-28"}', b'{"day":7,"gpu_seconds":1}', b'{"day":"2026-11-28","gpu_seconds":NaN}',
     b'{"day":"2026-11-28","gpu_seconds":-1}', b'{"day":"soon","gpu_seconds":1}', b"[" * 9000, b"\xff"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_counts_as_none(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    engine = FakeEngine()
    GpuStore(engine, tmp_path).restore()
    assert engine.usage == GpuUsage(0, 0.0)
    assert "daily limit counts from zero" in caplog.text


def test_fields_of_a_later_version_are_ignored() -> None:
    assert parse(serialise(USAGE)[:-1] + b', "regions": ["eu"]}') == USAGE
