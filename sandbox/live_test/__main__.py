# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`python -m sandbox.live_test [--quick]`. Exit code: 0 if all checks passed, 1 if one failed, 2 if a variable is missing."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys

from sandbox.live_test.options import ENVIRONMENT, BadOptions, Options, read_options
from sandbox.live_test.session import run


async def _main(options: Options) -> int:
    work = asyncio.create_task(run(options, lambda line: print(line, flush=True)))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        return 1 if await work else 0
    except asyncio.CancelledError:
        print("\nStopped; the call was left.")
        return 130


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.live_test",
        description="A captioned test call on a real Nextcloud.",
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="one sentence instead of 80 s of speech; word errors count for little"
    )
    try:
        chosen = read_options(os.environ, quick=parser.parse_args().quick)
    except BadOptions as error:
        print(f"{error}\n\n{ENVIRONMENT}", file=sys.stderr)
        sys.exit(2)
    sys.exit(asyncio.run(_main(chosen)))
