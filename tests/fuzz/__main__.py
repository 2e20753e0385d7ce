# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`python -m tests.fuzz --cases 100000`: all harnesses, each in this process, one after the other. `make fuzz` calls it."""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.fuzz.driver import HEAD, Found, run
from tests.fuzz.harnesses import HARNESSES


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz every surface that outsiders reach.")
    parser.add_argument("--cases", type=int, default=10_000, help="cases for each harness")
    parser.add_argument("--only", default="", help="names of harnesses, with commas between them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    options = parser.parse_args()
    wanted = [name for name in options.only.split(",") if name] or list(HARNESSES)
    if unknown := [name for name in wanted if name not in HARNESSES]:
        parser.error(f"there is no {', '.join(unknown)}; choose from {', '.join(HARNESSES)}")
    if options.cases < 1 or options.start < 0:
        parser.error("--cases must be at least 1, and --start not negative")
    failed = False
    print(HEAD, flush=True)
    for name in wanted:
        try:
            print(asyncio.run(run(HARNESSES[name](), options.cases, options.seed, options.start)).row(), flush=True)
        except Found as found:
            failed = True
            print(f"{name}: {found}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
