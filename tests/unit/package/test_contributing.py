# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The table "Where is it decided?" of CONTRIBUTING.md names files and names that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.unit.package.conftest import ROOT

ROW = re.compile(r"^\| (?P<question>[^|]+\?) \| `(?P<file>[^`]+)` \| `(?P<name>[^`]+)` \|$", re.MULTILINE)
ROWS = ROW.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def names(body: list[ast.stmt], prefix: str = "") -> set[str]:
    """Dotted names of the classes, functions, methods, attributes and constants of a module."""
    found: set[str] = set()
    for node in body:
        match node:
            case ast.ClassDef(name=name, body=members):
                found |= {prefix + name} | names(members, f"{prefix}{name}.")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(prefix + name)
            case ast.Assign(targets=[*targets]):
                found |= {prefix + target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(prefix + name)
    return found


def test_there_are_twenty_questions() -> None:
    assert len(ROWS) >= 20


@pytest.mark.parametrize(("question", "file", "name"), ROWS)
def test_the_place_exists(question: str, file: str, name: str) -> None:
    assert (ROOT / file).is_file(), f"{question} {file} has moved"
    assert name in names(ast.parse((ROOT / file).read_text(encoding="utf-8")).body), f"{question} {file} has no {name}"
