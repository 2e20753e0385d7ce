# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Runs of the checks: how many run and how many are remembered."""

from __future__ import annotations

import asyncio

import pytest

from ex_app.background import Background
from ex_app.errors import NotReady
from ex_app.selftest.run import MAX_REMEMBERED, MAX_RUNNING, Run, Runs


async def test_a_run_that_lasts_is_remembered_however_many_others_end_meanwhile() -> None:
    background, end, succeeded = Background(), asyncio.Event(), asyncio.Event()
    runs = Runs(background)

    async def last(check: str, run: Run) -> None:
        await end.wait()

    async def succeed(check: str, run: Run) -> None:
        run.begin(check, check).succeed()
        asyncio.get_running_loop().call_soon(succeeded.set)  # once the run is done

    async with asyncio.TaskGroup() as tasks:
        background.start(tasks)
        lasting = [runs.launch(f"cold start {number}", ("stt",), last) for number in range(MAX_RUNNING - 1)]
        ended = []
        for _ in range(MAX_REMEMBERED + 5):
            succeeded.clear()
            ended.append(runs.launch("hpb", ("hpb",), succeed))
            await succeeded.wait()
            assert ended[-1].done
        assert all(runs.get(run.id) is run for run in lasting), "the page still follows them"
        assert runs.launch("cold start 0", ("stt",), last) is lasting[0], "not started a second time"
        assert sum(runs.get(run.id) is run for run in [*lasting, *ended]) == MAX_REMEMBERED
        assert runs.get(ended[-1].id) is ended[-1], "the newest one is remembered"
        runs.launch("one more", ("stt",), last)
        with pytest.raises(NotReady):
            runs.launch("too many", ("stt",), last)
        end.set()
