# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The commands of the Makefile: a wrong argument gets a sentence and an exit code, never a traceback."""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import audit
import pytest

from bench.common.programs import UnknownProgram, chosen, names
from sandbox.ports import port_argument

MANUAL = ("--manual", "http://app.test:23000", "--nextcloud", "https://cloud.test")


def command(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=root, capture_output=True, text=True, check=False)


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make without what the make that runs these tests passes on."""
    passed_on = {"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "PYTHON", "VENV", "PORT"}
    environment = {name: value for name, value in os.environ.items() if name not in passed_on}
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "wording"),
    [
        (("-m", "sandbox.nextcloud", "--port", "80000"), "'80000' is no port"),
        (("-m", "sandbox.demo", "--port", "web"), "'web' is no port"),
        (("-m", "bench", "nosuch"), "make bench NAME=ablation|embedded"),
        (("-m", "bench", "common"), "There is no 'common'"),
        (("-m", "bench", "../bench"), "There is no '../bench'"),
        (("-m", "bench", ""), "NAME is missing"),
        (("-m", "bench.acceptance", "nosuch"), "make acceptance NAME=captions|claimants"),
        (("-m", "bench.acceptance", "scenario"), "There is no 'scenario'"),
        (("-m", "tests.fuzz", "--only", "rtp,nosuch"), "there is no nosuch; choose from"),
        (("-m", "tests.mutants", "--only", "no such promise"), "No promise or file contains 'no such promise'"),
        (("-m", "tests.mutants", "--jobs", "0"), "--jobs must be at least 1"),
        (("scripts/register.py", "harp", "--occ", "nosuchocc"), "nosuchocc cannot be started"),
        (("scripts/register.py", "harp", "--occ", "pyproject.toml"), "pyproject.toml cannot be started"),
        (("scripts/register.py", "harp", "--occ", "php 'occ"), "no complete command"),
        (("scripts/register.py", "harp", "--occ", " "), "--occ is empty"),
        (("scripts/register.py", "--manual", "http://app.test:99999", *MANUAL[2:]), "a port of 1 to 65535"),
        (("scripts/register.py", "--manual", "http://app.test:web", *MANUAL[2:]), "a port of 1 to 65535"),
        (("scripts/register.py", *MANUAL[:2], "--nextcloud", "cloud.test"), "Write Nextcloud's address"),
        (("scripts/register.py",), "name a daemon"),
    ],
)
def test_a_wrong_argument_gets_a_sentence(root: Path, arguments: tuple[str, ...], wording: str) -> None:
    done = command(root, *arguments)
    assert done.returncode == 2
    assert wording in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["-1", "65536", "80000", "1e4", "", "٣", "0x50", "100000000"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no port"):
        port_argument(text)


def test_every_command_with_a_port_checks_it(root: Path) -> None:
    assert (port_argument("0"), port_argument("65535")) == (0, 65535)
    texts = [path.read_text(encoding="utf-8") for path in (root / "sandbox").rglob("*.py")]
    types = [found for text in texts for found in re.findall(r'"--port",\s*type=(\w+)', text)]
    assert types == ["port_argument"] * 4


def test_every_benchmark_and_scenario_can_be_named(root: Path) -> None:
    found = names(root / "bench")
    assert {"receive", "service", "load", "embedded"} <= set(found)
    assert not {"acceptance", "common", "__init__"} & set(found)
    assert set(names(root / "bench" / "acceptance")) == {
        path.stem
        for path in (root / "bench" / "acceptance").glob("*.py")
        if path.stem not in ("__init__", "__main__", "scenario")
    }
    assert chosen("receive", root / "bench", "make bench") == "receive"
    with pytest.raises(UnknownProgram):
        chosen("Receive", root / "bench", "make bench")


def test_registering_needs_nothing_but_an_old_python(root: Path) -> None:
    source = (root / "scripts" / "register.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 9))
    imported = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names
    assert "tomllib" not in imported
    done = command(root, "-S", "-I", "scripts/register.py", "harp", "--local-image")
    assert done.returncode == 0, done.stderr
    assert "occ app_api:app:register live_transcription harp" in done.stdout
    planned = make(root, "--dry-run", "register", "VENV=/nowhere")
    assert "register.py" in planned.stdout
    assert "pip" not in planned.stdout
    assert "venv" not in planned.stdout


def test_help_lists_every_target_in_one_column(root: Path) -> None:
    printed = make(root, "help").stdout
    lines = printed.splitlines()
    assert {re.match(r"[a-z-]+ +", line).end() for line in lines} == {17}  # type: ignore[union-attr]
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):.*##", makefile, re.MULTILINE))
    assert {line.split()[0] for line in lines} == targets
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert targets <= set(phony[1].replace("\\", " ").split())


def test_the_demos_port_can_be_chosen(root: Path) -> None:
    def planned(*arguments: str) -> str:
        return make(root, "--dry-run", "--old-file=.venv/runtime-installed", *arguments).stdout

    assert "sandbox.demo" in planned("demo")
    assert "--port" not in planned("demo")
    assert "--port 9000" in planned("demo", "PORT=9000")
    assert "--port 9000" in planned("sandbox", "PORT=9000")


@pytest.fixture
def makefile(root: Path, tmp_path: Path) -> Path:
    """The Makefile beside an environment that this Python has made."""
    shutil.copy(root / "Makefile", tmp_path)
    shutil.copytree(root / "scripts", tmp_path / "scripts")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / ".venv")], check=True)
    (tmp_path / ".venv" / "python-is-fine").touch()
    return tmp_path


def checked(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return make(folder, ".venv/python-is-fine", *arguments)


def test_the_python_that_made_the_environment_may_be_named(makefile: Path) -> None:
    assert checked(makefile).returncode == 0
    assert checked(makefile, f"PYTHON={sys.executable}").returncode == 0
    assert checked(makefile, "PYTHON=.venv/bin/python").returncode == 0


@pytest.mark.parametrize(
    ("old", "new"), [(r"version = .*", "version = 3.11.5"), (r"executable = .*", "executable = /elsewhere/python3")]
)
def test_another_python_than_that_of_the_environment_is_refused(makefile: Path, old: str, new: str) -> None:
    settings = makefile / ".venv" / "pyvenv.cfg"
    settings.write_text(re.sub(old, new, settings.read_text(encoding="utf-8"), count=1), encoding="utf-8")
    assert checked(makefile).returncode == 0, "nobody has asked for a Python"
    refused = checked(makefile, f"PYTHON={sys.executable}")
    assert refused.returncode == 2
    assert ".venv was made with" in refused.stderr
    assert "Remove that directory" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_newer_check_of_the_python_keeps_a_good_environment(makefile: Path) -> None:
    kept = makefile / ".venv" / "kept"
    kept.touch()
    os.utime(makefile / ".venv" / "python-is-fine", (1, 1))
    done = checked(makefile, "PYTHON=" + sys.executable)
    assert done.returncode == 0, done.stderr
    assert kept.exists()
    assert "Making" not in done.stdout


PACKAGES = [{"name": "fine", "version": "1.0", "vulns": []}]
SKIPPED = {"name": "strange", "skip_reason": "Dependency not found on PyPI and could not be audited: strange (1.0)"}
VULNERABLE = {"name": "old", "version": "0.1", "vulns": [{"id": "CVE-1", "fix_versions": ["0.2"]}]}


@pytest.mark.parametrize(
    ("packages", "code", "wording"),
    [
        (PACKAGES, 0, "No known vulnerabilities in 1 packages."),
        ([*PACKAGES, SKIPPED], 1, "NOT AUDITED strange"),
        ([*PACKAGES, SKIPPED], 1, "1 of 2 packages could not be audited"),
        ([*PACKAGES, VULNERABLE], 1, "VULNERABLE old 0.1: CVE-1 (fixed in: 0.2)"),
        ([], 1, "Nothing was audited"),
    ],
)
def test_an_audit_that_skipped_packages_fails(packages: list[dict[str, object]], code: int, wording: str) -> None:
    found, lines = audit.verdict({"dependencies": packages})
    assert found == code
    assert wording in "\n".join(lines)
