# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What Python 3.11.2, the one in the image, does wrong, and later ones do right."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]
MODULES = sorted(path for room in ("lib", "ex_app", "deploy") for path in (ROOT / room).rglob("*.py"))


def leaves_by_exception(node: ast.AST) -> bool:
    """Whether it may end by an exception that has to go on: a new one, or a cancellation."""
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "end_if_cancelled"
    return called or isinstance(node, ast.Raise | ast.Await | ast.AsyncWith | ast.AsyncFor)


def test_nothing_is_raised_or_awaited_within_except_star() -> None:
    """Python 3.11.2 puts a group around what is raised there, also around a CancelledError: nobody would recognise it."""
    found = [
        f"{module.relative_to(ROOT)}:{node.lineno}"
        for module in MODULES
        for block in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(block, ast.TryStar)
        for handler in block.handlers
        for node in ast.walk(handler)
        if leaves_by_exception(node) and isinstance(node, ast.expr | ast.stmt)
    ]
    assert MODULES
    assert found == []
