# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The contracts of import-linter in `pyproject.toml` cover every module that they should cover."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.unit.package.conftest import ROOT

CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
PURE = re.compile(r"\bPure\b|, sans-I/?O\b")  # as a sentence of its own, or said of the module's subject
MODULES = sorted((ROOT / "lib/live_transcription").rglob("*.py"))


def contract(name: str) -> dict[str, Any]:
    (found,) = [each for each in CONTRACTS if each["name"] == name]
    return found


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT / "lib").with_suffix("").parts).removesuffix(".__init__")


def purity(path: Path) -> bool:
    """Whether the module's docstring promises it, for all of the module."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return PURE.search(docstring) is not None


def test_every_module_that_calls_itself_pure_is_in_the_purity_contract() -> None:
    covered = contract("Protocols and pure decisions do no I/O")["source_modules"]
    missing = [
        dotted(path)
        for path in MODULES
        if purity(path) and not any(f"{dotted(path)}.".startswith(f"{source}.") for source in covered)
    ]
    assert missing == []


def test_the_purity_contract_names_only_modules_that_exist() -> None:
    present = {dotted(path) for path in MODULES}
    assert set(contract("Protocols and pure decisions do no I/O")["source_modules"]) <= present


@pytest.mark.parametrize("package", ["live_transcription", "ex_app", "sandbox", "bench", "deploy"])
def test_no_package_may_have_an_import_cycle(package: str) -> None:
    assert package in contract("No import cycles")["ancestors"]
