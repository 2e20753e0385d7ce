# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The message for a Python that is too old; the oldest supported version is the same everywhere."""

from __future__ import annotations

import runpy
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = str(ROOT / "scripts/require_python.py")


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ((3, 6, 15), "it lacks asyncio.TaskGroup and asyncio.timeout"),
        ((3, 10, 13), "it lacks asyncio.TaskGroup and asyncio.timeout"),
        ((3, 11, 3), "its asyncio time limits fail in cancelled tasks"),
    ],
)
def test_an_old_python_is_named_with_the_reason_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], why: str
) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, "final", 0))
    with pytest.raises(SystemExit) as refusal:
        runpy.run_path(SCRIPT)
    number = ".".join(str(part) for part in version)
    assert str(refusal.value) == (
        f"Python {number} ({sys.executable}) is too old: {why}. "
        "Python 3.11.4 or newer is needed. Name one, as in: make demo PYTHON=python3.13"
    )


@pytest.mark.parametrize("version", [(3, 11, 4), (3, 13, 0), (3, 14, 0)])
def test_a_supported_python_is_let_pass(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, "final", 0))
    runpy.run_path(SCRIPT)


def test_the_package_requires_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest: tuple[int, ...] = runpy.run_path(SCRIPT)["OLDEST"]
    assert project["requires-python"] == ">=" + ".".join(str(part) for part in oldest)
