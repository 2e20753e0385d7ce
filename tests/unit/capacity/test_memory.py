# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Memory and its limits, read from made-up files of the system."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.capacity.memory import MemoryBound, MemoryMeter, MemorySource, release_free_memory

MB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")


def write(root: Path, **files: str | bytes) -> None:
    """`/` is `__` in the names."""
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def group(root: Path, folder: str, **files: str) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / folder / name.replace("__", ".")).write_text(content)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, proc__self__statm=f"{900 * MB // PAGE} {100 * MB // PAGE} 1 1 0 1 0\n")
    return tmp_path


def containers(root: Path) -> list[tuple[int, int]]:
    return [(b.used // MB, b.limit // MB) for b in MemoryMeter(root).read().bounds if b.source is MemorySource.CONTAINER]


def test_without_the_files_no_limit_is_known(tmp_path: Path) -> None:
    reading = MemoryMeter(tmp_path).read()
    assert (reading.resident, reading.bounds) == (0, ())


def test_the_reading_of_this_process_matches_the_system() -> None:
    reading = MemoryMeter.of_this_process().read()
    assert 1 * MB < reading.resident < 100_000 * MB
    assert MemoryMeter().read().resident > 1 * MB


def test_freed_memory_returns_to_the_system() -> None:
    blocks = [bytes(3000) for _ in range(30_000)]
    held = blocks[::100]
    del blocks
    before = MemoryMeter().read().resident
    release_free_memory()
    assert held
    assert MemoryMeter().read().resident <= before


def test_a_container_sees_its_own_limit_at_the_root_and_files_in_memory_do_not_count(root: Path) -> None:
    write(root, proc__self__cgroup="0::/\n")
    group(root, "sys/fs/cgroup", memory__max=f"{512 * MB}\n", memory__high="max\n", memory__current=f"{400 * MB}\n",
          memory__stat=f"anon 1\ninactive_file {150 * MB}\nactive_file 7\n")  # fmt: skip
    assert containers(root) == [(250, 512)]


def test_limits_of_parent_groups_count_with_their_own_usage(root: Path) -> None:
    write(root, proc__self__cgroup="0::/app.slice/live.service\n")
    group(root, "sys/fs/cgroup/app.slice/live.service", memory__max="max\n", memory__current="1\n")
    group(root, "sys/fs/cgroup/app.slice", memory__max=f"{2048 * MB}\n", memory__high=f"{1024 * MB}\n",
          memory__current=f"{700 * MB}\n")  # fmt: skip
    assert containers(root) == [(700, 1024)]


def test_version_1_works_where_the_container_sees_the_path_of_the_machine(root: Path) -> None:
    write(root, proc__self__cgroup="12:cpu,cpuacct:/docker/0a\n4:memory:/docker/0a\n0::/docker/0a\n")
    group(root, "sys/fs/cgroup/memory", memory__limit_in_bytes=f"{300 * MB}\n", memory__usage_in_bytes=f"{200 * MB}\n",
          memory__stat=f"inactive_file 1\ntotal_inactive_file {50 * MB}\n")  # fmt: skip
    assert containers(root) == [(150, 300)]
    group(root, "sys/fs/cgroup/memory", memory__limit_in_bytes="9223372036854771712\n")
    assert containers(root) == []


def test_the_limit_of_the_machine_is_what_other_processes_leave(root: Path) -> None:
    write(root, proc__meminfo=f"MemTotal: {4096 * 1024} kB\nMemFree: 1 kB\nMemAvailable: {20 * 1024} kB\n")
    assert MemoryMeter(root).read().bounds == (MemoryBound(MemorySource.MACHINE, 100 * MB, 120 * MB),)


def test_the_address_space_is_counted_as_mapped(root: Path) -> None:
    (bound,) = MemoryMeter(root, address_space=1000 * MB).read().bounds
    assert (bound.source, bound.used, bound.share) == (MemorySource.PROCESS, 900 * MB, 0.9)


NUMBERS = [b"", b"max\n", b"-1\n", b"0\n", b"1e9\n", b"nan\n", b"9" * 5000, b"18446744073709551615", "٣٣".encode(), b"512\n"]
PARTS = [b"0::", b"4:memory:", b"/", b"..", b"a", b"\0", b"\n", b"inactive_file ", b"MemTotal: ", b"7"]
GARBAGE = st.one_of(st.binary(max_size=40), st.sampled_from(NUMBERS), st.lists(st.sampled_from(PARTS)).map(b"".join))


@settings(deadline=None, max_examples=200)
@given(st.lists(GARBAGE, min_size=8, max_size=8))
def test_no_file_content_makes_the_reading_fail(contents: list[bytes]) -> None:
    names = ["proc/self/statm", "proc/self/cgroup", "proc/meminfo"]
    names += [f"sys/fs/cgroup/{name}" for name in ("memory.max", "memory.high", "memory.current", "memory.stat")]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, content in zip([*names, "sys/fs/cgroup/memory/memory.limit_in_bytes"], contents, strict=True):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        reading = MemoryMeter(root).read()
    assert reading.resident >= 0
    for bound in reading.bounds:
        assert bound.limit > 0
        assert bound.used >= 0
        assert bound.share >= 0
