# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`python -m bench.acceptance NAME|all [ARGUMENT…]`, or `make acceptance`: run long scenarios, one after the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.common.programs import UnknownProgram, chosen, names


def main() -> int:
    folder, name, arguments = Path(__file__).parent, "".join(sys.argv[1:2]) or "all", sys.argv[2:]
    try:
        scenarios = names(folder) if name == "all" else [chosen(name, folder, "make acceptance")]
    except UnknownProgram as error:
        print(error, file=sys.stderr)
        return 2
    failed = []
    for scenario in scenarios:
        print(f"==> {scenario}", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.acceptance.{scenario}", *arguments], check=False).returncode:
            failed.append(scenario)
    if failed:
        print(f"Missed or failed: {' '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
