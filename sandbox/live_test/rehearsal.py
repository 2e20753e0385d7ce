# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`python -m sandbox.live_test.rehearsal`: the live test on this machine, with the sandbox's Nextcloud, HPB and the app.

The test runs in its own process and gets only what it would get for a real Nextcloud: an address, a conversation, a user.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
from pathlib import Path

from sandbox import loopback_ice
from sandbox.demo.processes import ProcessFailed, bare_environment
from sandbox.demo.setup import SpeechToText, set_up
from sandbox.rig import RigUnavailable, ServerFailed

_LOGS = Path("build") / "live_test"
_USER = "reader-1"


async def rehearse(arguments: list[str], *, guests: bool, talk: str = "sandbox", stt: str = "embedded") -> int:
    """The live test's exit code; 2 where the sandbox did not start."""
    logs = _LOGS / ("guests" if guests else "user")  # the app's storage, too: two rehearsals may run at once
    try:
        async with set_up(talk, SpeechToText(stt), logs.resolve(), lambda line: print(line, flush=True)) as stage:
            nextcloud = stage.nextcloud
            room = nextcloud.talk.rooms.create()
            environment = {"NEXTCLOUD_URL": nextcloud.url, "TALK_ROOM_TOKEN": room.token}
            if not guests:
                password = nextcloud.accounts.passwords[_USER] = secrets.token_hex(16)
                room.moderators = frozenset({_USER})
                environment |= {"NEXTCLOUD_USER": _USER, "NEXTCLOUD_APP_PASSWORD": password}
            print("==> make live-test, with the sandbox's Nextcloud for a real one", flush=True)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "sandbox.live_test",
                *arguments,
                env=loopback_ice.child_environment({**bare_environment(), **environment}),
            )
            try:
                return await process.wait()
            finally:
                if process.returncode is None:
                    process.terminate()
                    await process.wait()
    except (ProcessFailed, RigUnavailable, ServerFailed) as error:
        print(error, file=sys.stderr)
        return 2


async def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.live_test.rehearsal", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="as of the live test")
    parser.add_argument("--guests", action="store_true", help="no user: two guests")
    parser.add_argument("--talk", choices=("sandbox", "real"), default="sandbox", help="stand-ins, or a real HPB and Janus")
    parser.add_argument(
        "--stt", choices=("embedded", "modal", "moshi"), default="embedded", help="the engine; stand-ins for the latter two"
    )
    chosen = parser.parse_args()
    arguments = ["--quick"] if chosen.quick else []
    work = asyncio.create_task(rehearse(arguments, guests=chosen.guests, talk=chosen.talk, stt=chosen.stt))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        return 130


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
