# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The tree of errors, and how the error of a TaskGroup is chosen."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from live_transcription import errors
from live_transcription.errors import (
    LiveTranscriptionError,
    NoAudio,
    SttRefused,
    SttUnavailable,
    leaves_of,
    main_error,
)

ENGINE = Path(errors.__file__).parent
CLASSES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, LiveTranscriptionError)]


def test_the_module_draws_every_error() -> None:
    drawn = set(re.findall(r"\w+", errors.__doc__ or ""))
    assert {each.__name__ for each in CLASSES} <= drawn


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [each.code for each in CLASSES]
    assert len(set(codes)) == len(codes)


def test_no_other_module_of_the_engine_defines_an_error() -> None:
    names = {each.__name__ for each in CLASSES}
    found = [
        f"{path.relative_to(ENGINE)}:{node.lineno}"
        for path in ENGINE.rglob("*.py")
        if path.name != "errors.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and any(isinstance(base, ast.Name) and base.id in names for base in node.bases)
    ]
    assert found == []


def test_no_other_module_unwraps_groups() -> None:
    modules = [*ENGINE.rglob("*.py"), *(ENGINE.parents[1] / "ex_app").rglob("*.py")]
    unwrapping = re.compile(r"(in|=) \w+\.exceptions\b|\.exceptions\[")
    assert [path.name for path in modules if unwrapping.search(path.read_text(encoding="utf-8"))] == ["errors.py"]


DOWN, REFUSED, SILENT, FAULT = SttUnavailable("down"), SttRefused("HTTP 401"), NoAudio("no audio"), ValueError("fault")


def grouped(*failures: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("", failures)


def test_leaves_are_in_order_however_deep() -> None:
    assert leaves_of(grouped(grouped(DOWN, grouped(REFUSED)), FAULT)) == [DOWN, REFUSED, FAULT]


@pytest.mark.parametrize(
    ("group", "decisive"),
    [
        (grouped(DOWN, SILENT), DOWN),
        (grouped(DOWN, REFUSED), REFUSED),
        (grouped(FAULT, DOWN), DOWN),
        (grouped(FAULT, grouped(DOWN, grouped(REFUSED))), REFUSED),
        (grouped(FAULT), FAULT),
    ],
)
def test_an_error_for_good_decides_before_a_passing_one_and_that_before_a_fault(
    group: ExceptionGroup[Exception], decisive: Exception
) -> None:
    assert main_error(group) is decisive
