# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Look the locked packages up in the vulnerability database: `audit.py LOCK…`, called by `make audit`.

Exit code: 0 if every package was looked up and none is vulnerable; 1 if one is vulnerable or could not be looked up; 2 if
pip-audit itself failed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def verdict(report: dict[str, Any]) -> tuple[int, list[str]]:
    """The exit code and what to print, from pip-audit's JSON report."""
    packages = report["dependencies"]
    vulnerable = [
        f"{package['name']} {package['version']}: {found['id']} (fixed in: {', '.join(found['fix_versions']) or 'none yet'})"
        for package in packages
        for found in package.get("vulns", ())
    ]
    skipped = sorted({f"{package['name']}: {package['skip_reason']}" for package in packages if "skip_reason" in package})
    lines = [f"VULNERABLE {line}" for line in vulnerable] + [f"NOT AUDITED {line}" for line in skipped]
    audited = len(packages) - len(skipped)
    if not packages:
        return 1, ["Nothing was audited: the lock files name no packages."]
    if vulnerable:
        lines.append(f"{len(vulnerable)} known vulnerabilities. Raise these versions in pyproject.toml and run `make lock`.")
    if skipped:
        lines.append(
            f"{len(skipped)} of {len(packages)} packages could not be audited. The index may lack data on vulnerabilities; "
            "run `make audit` where the public index can be reached."
        )
    if not vulnerable and not skipped:
        lines.append(f"No known vulnerabilities in {audited} packages.")
    return int(bool(vulnerable or skipped)), lines


def main() -> int:
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--disable-pip",
        "--require-hashes",
        "--progress-spinner=off",
        "--format=json",
    ]
    for lock in sys.argv[1:]:
        command += ["-r", lock]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        code, lines = verdict(json.loads(done.stdout))
    except (ValueError, KeyError):
        print("\n".join(done.stderr.splitlines()[-15:]), file=sys.stderr)
        print(
            "pip-audit failed, so nothing was audited. Check that the vulnerability database can be reached.", file=sys.stderr
        )
        return 2
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
