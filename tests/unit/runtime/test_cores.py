# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from live_transcription.config import EmbeddedConfig
from live_transcription.runtime.cores import available_cores


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 16 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def test_without_a_quota_all_cores_of_the_affinity_count(root: Path) -> None:
    assert available_cores(root) == 16
    write(root, "proc/self/cgroup", "0::/\n")
    write(root, "sys/fs/cgroup/cpu.max", "max 100000\n")
    assert available_cores(root) == 16


@pytest.mark.parametrize(("quota", "cores"), [("400000 100000", 4), ("150000 100000", 2), ("5000 100000", 1)])
def test_a_container_has_the_cores_of_its_quota(root: Path, quota: str, cores: int) -> None:
    write(root, "proc/self/cgroup", "0::/\n")
    write(root, "sys/fs/cgroup/cpu.max", quota)
    assert available_cores(root) == cores


def test_the_quota_of_a_group_above_counts(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/system.slice/app.service\n")
    write(root, "sys/fs/cgroup/system.slice/cpu.max", "300000 100000")
    write(root, "sys/fs/cgroup/system.slice/app.service/cpu.max", "max 100000")
    assert available_cores(root) == 3


def test_version_1(root: Path) -> None:
    write(root, "proc/self/cgroup", "4:cpu,cpuacct:/docker/1\n3:memory:/docker/1\n")
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000")
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    assert available_cores(root) == 2
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1")
    assert available_cores(root) == 16


@pytest.mark.parametrize("text", ["", "max", "0 100000", "100000 0", "x y", "1 2 3", "²00000 100000"])
def test_malformed_files_are_no_quota(root: Path, text: str) -> None:
    write(root, "proc/self/cgroup", "0::/../outside\n")
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/cpu.max").write_text(text, encoding="utf-8")
    assert available_cores(root) == 16


@pytest.mark.parametrize(("cores", "slots"), [(1, 2), (2, 2), (4, 4), (64, 8)])
def test_the_embedded_engine_decodes_on_all_cores_up_to_eight(monkeypatch: pytest.MonkeyPatch, cores: int, slots: int) -> None:
    monkeypatch.setattr("live_transcription.config.available_cores", lambda: cores)
    assert EmbeddedConfig().slots == slots
