# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Build moshi-server from the Rust registry for the CPU, and write handmade weights for the tests with it (`make moshi`).

Both go to XDG_CACHE_HOME/live-transcription (~/.cache by default), one directory per version. Existing files are left
alone, and an interrupted build continues where it stopped. As root on Debian it installs the packages that the build needs.
Where the build cannot be had, it says why in one sentence and exits with 77.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sandbox.moshi_server.installed import VERSION, cargo, server_directory, weights_directory

#: The newest Rust that a crate of the lock file asks for.
_RUST = (1, 81)
#: Crates that are compiled, about, to show how far the build is.
_CRATES = 345
_REPORT_S = 30.0
#: Debian's package for each file or program that the build looks for.
_NEEDS = {"cmake": "cmake", "g++": "g++", "pkg-config": "pkg-config"}
_LIBRARIES = {"opus": "libopus-dev", "openssl": "libssl-dev"}
_PYTHON = "/usr/bin/python3"


class CannotBuild(Exception):
    """`str()` is one plain sentence for the user of the script."""


def main() -> None:
    directory = server_directory()
    try:
        if (directory / "bin" / "moshi-server").exists():
            say(f"version {VERSION} is there ({directory})")
        else:
            build(directory)
        say(f"weights are in {weights_directory()}")
    except CannotBuild as reason:
        say(f"not built: {reason}")
        sys.exit(77)


def say(text: str) -> None:
    print(f"moshi: {text}", flush=True)


def build(directory: Path) -> None:
    """Compile into a directory beside the final one and rename it at the end. Raises CannotBuild."""
    program = cargo()
    if program is None:
        raise CannotBuild("cargo, which compiles Rust, is not installed here (https://rustup.rs).")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)\.(\d+)", version)
    if found is None or tuple(map(int, found.groups())) < _RUST:
        raise CannotBuild(f"Rust {_RUST[0]}.{_RUST[1]} or newer is needed, and this is {version.strip() or 'none'}.")
    install_missing(missing_packages())

    building = directory.with_name(f"{directory.name}.building")
    building.mkdir(parents=True, exist_ok=True)
    log = building / "cargo.log"
    command = [
        "nice",
        "-n",
        "15",
        program,
        "install",
        "--locked",
        "--version",
        VERSION,
        "--root",
        str(building / "root"),
        "moshi-server",
    ]
    environment = {
        **os.environ,
        "CARGO_TARGET_DIR": str(building / "target"),
        "CARGO_TERM_COLOR": "never",
        "PYO3_PYTHON": _PYTHON,
    }
    say(f"compiling version {VERSION}, about 20 minutes on two cores ({log})")
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        compiling = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment, stdin=subprocess.DEVNULL)
    ended = threading.Event()
    reporter = threading.Thread(target=report, args=(log, began, ended))
    reporter.start()
    try:
        code = compiling.wait()
    finally:
        ended.set()
        reporter.join()
        if compiling.poll() is None:
            compiling.terminate()
            compiling.wait()
    if code != 0:
        print("\n".join(lines(log)[-15:]))
        raise CannotBuild(f"cargo failed (all it said: {log}).")
    (building / "root").rename(directory)
    shutil.rmtree(building)
    say(f"compiled in {(time.monotonic() - began) / 60:.1f} min ({directory})")


def missing_packages() -> list[str]:
    """Debian's names."""
    missing = [package for program, package in _NEEDS.items() if shutil.which(program) is None]
    for library, package in _LIBRARIES.items():
        if shutil.which("pkg-config") is None or subprocess.run(["pkg-config", "--exists", library], check=False).returncode:
            missing.append(package)
    # The server links Python for modules that speech-to-text does not use.
    where = "import sysconfig, pathlib; raise SystemExit(not pathlib.Path(sysconfig.get_path('include'), 'Python.h').exists())"
    if not Path(_PYTHON).exists() or subprocess.run([_PYTHON, "-c", where], check=False).returncode:
        missing.append("python3-dev")
    return missing


def install_missing(packages: list[str]) -> None:
    """Raises CannotBuild."""
    if not packages:
        return
    names = " ".join(packages)
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise CannotBuild(f"it needs what Debian calls {names}, and only root on Debian gets that installed here.")
    say(f"installing {names}")
    quiet = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    }
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    if subprocess.run(install, check=False, **quiet).returncode:
        subprocess.run(["apt-get", "update", "-q"], check=False, **quiet)
        if subprocess.run(install, check=False, **quiet).returncode:
            raise CannotBuild(f"apt-get could not install {names}.")


def report(log: Path, began: float, ended: threading.Event) -> None:
    """Print the progress of the build every half minute."""
    while not ended.wait(_REPORT_S):
        compiled = [line.split()[1] for line in lines(log) if line.lstrip().startswith("Compiling ")]
        last = f", now {compiled[-1]}" if compiled else ""
        say(f"{(time.monotonic() - began) / 60:.1f} min, {len(compiled)} of about {_CRATES} crates{last}")


def lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()


if __name__ == "__main__":
    main()
