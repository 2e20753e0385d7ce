# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Break the code in one place at a time, and see that the tests notice: `make mutants`, weekly in CI.

Each mutation of `mutants.toml` is applied in a copy of the tree, and the tests that it names are run there. The run fails if a
mutation survives, or if its old text is not exactly once in its file.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("mutants.toml")
#: What the tests read, beside the sources.
COPIED = ("appinfo", "bench", "deploy", "docs", "ex_app", "lib", "requirements", "sandbox", "scripts", "templates", "tests")
#: Seconds for the tests of one mutation; a test that hangs has noticed the mutation.
TIMEOUT_S = 90.0


@dataclass(frozen=True, slots=True)
class Mutant:
    """`new` replaces `old` in `file`; then one of `tests` must fail, since `promise` is broken."""

    promise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def problem(self, root: Path = ROOT) -> str:
        """Why the mutation cannot be applied; "" if it can."""
        path = root / self.file
        count = path.read_text(encoding="utf-8").count(self.old) if path.is_file() else 0
        if count != 1:
            return f"{self.file}: this text occurs {count} times instead of once: {self.old}"
        missing = [test for test in self.tests if not (root / test.partition("::")[0]).exists()]
        return f"There is no {missing[0]}." if missing else ""


def load() -> list[Mutant]:
    entries = tomllib.loads(TABLE.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**(entry | {"tests": tuple(entry["tests"])})) for entry in entries]


def copy_of_the_tree(folder: Path) -> Path:
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith(".git"):
            shutil.copy2(path, folder / path.name)
    return folder


def passes(root: Path, tests: Sequence[str], timeout_s: float = TIMEOUT_S) -> bool | None:
    """Whether the tests pass in this copy; None if pytest could not run them."""
    environment = os.environ | {"PYTHONPATH": f"{root / 'lib'}{os.pathsep}{root}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests]
    try:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return False
    return {0: True, 1: False, 2: False}.get(done.returncode)  # 2: a module could not be imported


@cache
def passes_unchanged(root: Path, tests: tuple[str, ...]) -> bool:
    return passes(root, tests, timeout_s=5 * TIMEOUT_S) is True


def judge(mutant: Mutant, root: Path) -> str:
    """Apply the mutation, run its tests, and take it back. Returns "" if they noticed."""
    if problem := mutant.problem(root):
        return f"does not apply: {problem}"
    if not passes_unchanged(root, mutant.tests):
        return f"the tests fail without any mutation: {' '.join(mutant.tests)}"
    path = root / mutant.file
    original = path.read_text(encoding="utf-8")
    path.write_text(original.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        outcome = passes(root, mutant.tests)
    finally:
        path.write_text(original, encoding="utf-8")
    if outcome is None:
        return f"pytest could not run {' '.join(mutant.tests)}"
    return "SURVIVED" if outcome else ""


def main() -> int:
    arguments = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    arguments.add_argument("--only", default="", help="only mutations whose promise or file contains this text")
    arguments.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = arguments.parse_args()
    if options.jobs < 1:
        arguments.error("--jobs must be at least 1")
    mutants = [mutant for mutant in load() if options.only.lower() in f"{mutant.promise} {mutant.file}".lower()]
    if not mutants:
        print(f"No promise or file contains {options.only!r}. Those that there are stand in {TABLE.relative_to(ROOT)}.")
        return 2
    began_at = time.monotonic()
    problems = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(options.jobs) as workers:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(options.jobs):
            copies.put(copy_of_the_tree(Path(folder) / str(number)))

        def run(mutant: Mutant) -> str:
            root = copies.get()
            try:
                return judge(mutant, root)
            finally:
                copies.put(root)

        for mutant, problem in zip(mutants, workers.map(run, mutants), strict=True):
            problems += bool(problem)
            print(f"{'FAILED' if problem else 'killed':7} {mutant.promise}", flush=True)
            if problem:
                print(f"        {problem}\n        {mutant.file}: {mutant.old}", flush=True)
    print(f"{len(mutants) - problems} of {len(mutants)} mutations were noticed, in {time.monotonic() - began_at:.0f} s.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
