# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The table of mutations fits the code. `make mutants` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.__main__ import Mutant, judge, load

MUTANTS = load()


def test_there_are_forty_promises() -> None:
    assert len({mutant.promise for mutant in MUTANTS}) == len(MUTANTS) >= 40


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.promise)
def test_the_mutation_applies(mutant: Mutant) -> None:
    assert mutant.problem() == ""
    assert mutant.old != mutant.new


@pytest.mark.parametrize(
    ("asserted", "old", "judgement"),
    [
        ("assert limit() == 5", "return 5", ""),
        ("assert limit() > 0", "return 5", "SURVIVED"),
        (
            "assert limit() == 5",
            "return 7",
            "does not apply: speed_limit.py: this text occurs 0 times instead of once: return 7",
        ),
    ],
    ids=["killed", "survived", "moved"],
)
def test_a_mutation_is_judged_by_its_tests_and_taken_back(tmp_path: Path, asserted: str, old: str, judgement: str) -> None:
    code = tmp_path / "speed_limit.py"
    code.write_text("def limit():\n    return 5\n")
    (tmp_path / "test_speed_limit.py").write_text(f"from speed_limit import limit\n\ndef test_limit():\n    {asserted}\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    mutant = Mutant("The limit is 5.", "speed_limit.py", old, "return 6", ("test_speed_limit.py",))
    assert judge(mutant, tmp_path) == judgement
    assert "return 5" in code.read_text()
