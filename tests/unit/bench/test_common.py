# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Shared parts of the benchmarks: controlled child processes, their cost, and results."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from bench.common.child_process import Child, ChildFailed
from bench.common.machine import media_facts, service_facts
from bench.common.repetition import doubled, repeated
from bench.common.results import table, write
from sandbox import process_stats

CHILD = """
import asyncio
import sys

from bench.common.json_lines import obey, options_line, tell

async def double(number):
    tell("doubling", number=number)
    return 2 * number

async def fall():
    raise RuntimeError("on the floor")

asyncio.run(obey({"double": double, "fall": fall}, options=options_line(), arguments=sys.argv[1:]))
"""


class Parent:
    def __init__(self) -> None:
        self.news: list[tuple[str, dict[str, Any]]] = []
        self.child = Child("a_child", "one", options={"key": "k" * 70_000}, on_news=self.hear)

    def hear(self, name: str, arguments: dict[str, Any]) -> None:
        self.news.append((name, arguments))


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parent:
    (tmp_path / "a_child.py").write_text(CHILD, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[3])]))
    return Parent()


async def test_a_child_says_when_it_is_ready_answers_in_order_and_has_news(parent: Parent) -> None:
    async with parent.child as child:
        assert child.greeting == {"options": {"key": "k" * 70_000}, "arguments": ["one"]}
        assert await asyncio.gather(*(child.do("double", number=number) for number in range(5))) == [0, 2, 4, 6, 8]
        assert parent.news == [("doubling", {"number": number}) for number in range(5)]


async def test_what_a_child_cannot_do_is_told_and_does_not_end_it(parent: Parent) -> None:
    async with parent.child as child:
        with pytest.raises(ChildFailed, match="KeyError: 'halve'"):
            await child.do("halve", number=2)
        with pytest.raises(ChildFailed, match="unexpected keyword argument"):
            await child.do("double", digit=2)
        assert await child.do("double", number=2) == 4


async def test_a_child_that_falls_is_noticed(parent: Parent, capfd: pytest.CaptureFixture[str]) -> None:
    async with parent.child as child:
        with pytest.raises(ChildFailed, match="a_child has ended"):
            await child.do("fall")
        with pytest.raises(ChildFailed, match="a_child has ended"):
            await child.do("double", number=2)
    assert "on the floor" in capfd.readouterr().err


async def test_news_that_a_child_cannot_take_end_it(parent: Parent, capfd: pytest.CaptureFixture[str]) -> None:
    async with parent.child as child:
        child.tell("halve", number=2)
        with pytest.raises(ChildFailed, match="a_child has ended"):
            await child.do("double", number=2)
    assert "KeyError: 'halve'" in capfd.readouterr().err


async def test_a_child_is_killed_and_started_again(parent: Parent) -> None:
    async with parent.child as child:
        first = child.pid
        child.signal(signal.SIGSTOP)
        await child.kill()
        with pytest.raises(ChildFailed, match="a_child has ended"):
            await child.do("double", number=1)
        await child.start()
        assert child.pid != first
        assert await child.do("double", number=1) == 2
        last = child.pid
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


async def test_a_child_that_does_not_start_is_no_child(
    parent: Parent, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a_child.py").write_text("raise SystemExit('not today')", encoding="utf-8")
    with pytest.raises(ChildFailed, match="a_child has ended"):
        await parent.child.start()
    assert "not today" in capfd.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
def test_a_process_is_seen_from_outside() -> None:
    before = process_stats.usage(os.getpid())
    sum(number * number for number in range(1_000_000))
    with open(os.devnull, encoding="utf-8"):
        after = process_stats.usage(os.getpid())
    assert after.cpu_s > before.cpu_s
    assert after.descriptors == before.descriptors + 1
    assert 0 < after.pss_mb <= after.rss_mb
    assert after.threads >= 1


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="needs Linux's /proc")
def test_facts_of_the_machine_have_what_figures_are_read_with() -> None:
    media, service = media_facts(), service_facts()
    assert {"date", "cores", "processor", "free_cores", "libraries", "commit", "uncommitted_changes"} <= media.keys()
    assert {"cpu", "cores", "memory_mb", "commit", "descriptor_limit", "udp_buffer_bytes"} <= service.keys()
    assert 0 <= media["free_cores"] <= media["cores"] + 0.1
    assert service["commit"].removesuffix("+") == media["commit"]


def test_a_result_is_a_file_and_a_table_lines_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write("storm", {"speakers": 50})
    assert path == Path("build/bench/storm.json")
    assert json.loads(path.read_text(encoding="utf-8")) == {"speakers": 50}
    assert table(("storm", "p50", ""), [("one call", 0.5, ""), ("five", 12.25, "late")]).splitlines() == [
        "storm       p50",
        "one call    0.5",
        "five      12.25  late",
    ]


def test_words_that_were_said_once_and_are_shown_twice_are_found() -> None:
    repeat, two, one = ["press", "one", "to", "repeat"], ["press", "two", "to", "leave"], ["press", "one", "to", "stay"]
    said = [*repeat, *two, *one]
    assert repeated(said, said) == doubled(said, said) == []
    twice = [*repeat, *two, *two, *one]
    assert repeated(said, twice) == [("press", "two", "to"), ("two", "to", "leave"), ("to", "leave", "press")]
    assert ("two", "to", "leave") in doubled(said, twice)
    assert repeated(said, [*said, *said[:3]]) == []  # it was said twice


def test_words_that_are_misheard_as_others_are_not_doubled() -> None:
    said = ["press", "two", "to", "leave", "or", "breast", "blue", "to", "leave"]
    shown = ["press", "two", "to", "leave", "or", "press", "two", "to", "leave"]
    assert repeated(said, shown) == [("press", "two", "to"), ("two", "to", "leave")]
    assert doubled(said, shown) == []
