# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Check that the locked packages have wheels for every supported Python and machine: `make check-lock`.

pip resolves the lock for each of them without installing anything. Needs the package index; takes about 4 s per combination.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile

from sbom import requirements

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
#: Tags of wheels that Debian 12 and newer accept.
MACHINES = {
    "amd64": [
        "manylinux_2_28_x86_64",
        "manylinux_2_27_x86_64",
        "manylinux2014_x86_64",
        "manylinux_2_17_x86_64",
        "manylinux1_x86_64",
    ],
    "arm64": ["manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64", "manylinux_2_17_aarch64"],
}


def refusal(python: str, machine: str, lock: pathlib.Path) -> str:
    """pip's last line if the lock cannot be installed there; "" if it can."""
    with tempfile.TemporaryDirectory() as target:
        # pip evaluates markers for the Python that runs it, so the requirements for the other one are selected here.
        selected = pathlib.Path(target) / "lock.txt"
        selected.write_text(
            "".join(
                f"{requirement.name}{requirement.specifier} {' '.join(f'--hash=sha256:{sum_}' for sum_ in sums)}\n"
                for requirement, sums in requirements(lock.read_text(encoding="utf-8"), machine, python)
            ),
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--disable-pip-version-check", "--only-binary=:all:", "--python-version", python, "--implementation=cp"]
        command += [part for tag in MACHINES[machine] for part in ("--platform", tag)]
        command += ["--target", target, "-r", str(selected)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return "" if done.returncode == 0 else (lines[-1] if lines else f"pip ended with {done.returncode}")


def main() -> int:
    failed = False
    for python in PYTHONS:
        for machine in MACHINES:
            refused = refusal(python, machine, ROOT / "requirements" / "runtime.txt")
            failed = failed or bool(refused)
            print(f"Python {python} on {machine}: {refused or 'installable'}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
