# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Files, folders, modules and constants that the documentation names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.package.conftest import ROOT

ENGINE = ROOT / "lib" / "live_transcription"
FOLDERS = ["bench", "deploy", "ex_app", "lib", "sandbox", "scripts", "tests"]
SOURCES = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".sh", ".toml", ".js"}]
PACKAGES = {path.name for path in ENGINE.iterdir() if path.is_dir()}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

CODE = re.compile(r"`([^`\s]+)`")
SOURCE = re.compile(r"[\w/]+\.(py|sh)")
FOLDER = re.compile(r"\w+(/\w+)+/?|\w+/")
MODULE = re.compile(r"[a-z_]+(\.[a-z_]+)+")
CONSTANT = re.compile(r"([a-z_]+)\.([A-Z][A-Z_]+)")


def is_source(name: str) -> bool:
    """Whether a file of that name exists, in any folder if the name has only its last parts."""
    return any(path.as_posix().endswith(f"/{name}") for path in SOURCES)


def is_place(parts: list[str]) -> bool:
    """Whether a folder or module exists. True for names that begin with no folder of the repository or the engine."""
    if parts[0] not in {*FOLDERS, *PACKAGES}:
        return True
    places = [root.joinpath(*parts) for root in (ROOT, ENGINE)]
    return any(place.exists() or place.with_suffix(".py").is_file() for place in places)


def is_constant(module: str, name: str) -> bool:
    files = [
        path for path in SOURCES if path.name == f"{module}.py" and (path.is_relative_to(ENGINE) or "ex_app" in path.parts)
    ]
    return any(re.search(rf"^{name}\b.* = ", path.read_text(encoding="utf-8"), re.MULTILINE) for path in files)


def missing(text: str) -> list[str]:
    """The names in backquotes that do not exist."""
    found = []
    for name in CODE.findall(text):
        if constant := CONSTANT.fullmatch(name):
            exists = is_constant(*constant.groups())
        elif SOURCE.fullmatch(name):
            exists = is_source(name)
        elif FOLDER.fullmatch(name):
            exists = is_place(name.strip("/").split("/"))
        elif MODULE.fullmatch(name):
            exists = is_place(name.split("."))
        else:
            exists = True
        if not exists:
            found.append(name)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page: Path) -> None:
    assert missing(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", ["webrtc/gone", "webrtc.gone", "gone.py", "ex_app/gone.py", "call.GONE_S", "tests/gone/"])
def test_a_name_that_does_not_exist_is_found(name: str) -> None:
    assert missing(f"See `{name}`.") == [name]
