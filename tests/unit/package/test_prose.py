# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`scripts/check_prose.py` finds retired phrases in prose, and only there."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.package.conftest import ROOT


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_prose", ROOT / "scripts/check_prose.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("page.md", "fine\nAll is well.\n", [2]),
        ("page.md", "`told` is a name\n", []),
        ("module.py", '"""It rouses\n\nwhoever waits."""\n', [1, 3]),
        ("module.py", "value = 1  # told later\ntold = 2\n", [1]),
        ("module.py", 'key = "told"\nmessage = f"They are told {key}."\n', [2]),
        ("script.sh", "told=1  # in force\n", [1]),
        ("page.js", "const told = 1;\nshow(t('All is well.')); // anew\n", [2, 2]),
    ],
    ids=["Markdown", "code in Markdown", "docstring", "comment", "message", "shell", "JavaScript"],
)
def test_phrases_are_found_with_their_lines(check: ModuleType, tmp_path: Path, name: str, text: str, lines: list[int]) -> None:
    (tmp_path / name).write_text(text)
    assert [int(problem.split(":")[1]) for problem in check.problems(["."])] == lines


def test_everything_that_is_checked_exists(check: ModuleType) -> None:
    assert [name for name in check.SETTINGS["checked"] if not (ROOT / name).exists()] == []
