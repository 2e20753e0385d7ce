# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`python -m sandbox.demo [--once] [--talk sandbox|real] [--stt embedded|modal|moshi] [--port N]`. Exit codes: see `_EXITS`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from sandbox.demo.run import DemoFailed, Options, run
from sandbox.ports import port_argument

_BUILD = Path("build")
_EXITS = (
    "Exit code: 0 all well, 1 captions wrong, 2 something did not start or ended by itself, 130 interrupted before the end."
)


def _options(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.demo", description="Two captioned calls on this machine.", epilog=_EXITS
    )
    parser.add_argument("--once", action="store_true", help="end when the recordings are done, judge, write build/demo.json")
    parser.add_argument("--talk", choices=("sandbox", "real"), default="sandbox", help="stand-ins, or a real HPB and Janus")
    parser.add_argument(
        "--stt",
        choices=("embedded", "modal", "moshi"),
        default="embedded",
        help="which engine transcribes: the app itself, or Kyutai, for whose GPU a stand-in on this machine serves",
    )
    parser.add_argument(
        "--words",
        choices=("located", "transcribed"),
        default="located",
        help="where that stand-in has its words from: it finds the recordings again in the audio, or listens with Whisper "
        "(one language only)",
    )
    parser.add_argument(
        "--port", type=port_argument, default=8765, help="of the page; another one is taken where it is not free"
    )
    parser.add_argument(
        "--recordings",
        default="",
        metavar="NAME,…",
        help="play these of sandbox/recordings instead, all at once, one call per language",
    )
    chosen = parser.parse_args(arguments)
    recordings = tuple(name for name in chosen.recordings.split(",") if name)
    return Options(
        once=chosen.once,
        talk=chosen.talk,
        port=chosen.port,
        recordings=recordings,
        build=_BUILD,
        stt=chosen.stt,
        words=chosen.words,
    )


async def _main(options: Options) -> int:
    work = asyncio.create_task(run(options))
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if not stopping:  # a second Ctrl-C must not keep us from stopping the children
            stopping = True
            work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        return await work
    except asyncio.CancelledError:
        print("\nStopped.")
        return 130 if options.once else 0
    except DemoFailed as error:
        print(f"\n{error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(_options(sys.argv[1:]))))
