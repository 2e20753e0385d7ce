# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`python -m sandbox.rig`: a Nextcloud stand-in with a real HPB and Janus, until it is stopped.

Prints one line of JSON with the addresses and secrets once all is ready.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys

from sandbox.nextcloud import Nextcloud
from sandbox.ports import port_argument
from sandbox.rig.installed import HPB_SERIES, RigUnavailable
from sandbox.rig.process import ServerFailed
from sandbox.rig.rig import Rig


async def run(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Nextcloud(port=options.port) as nextcloud:
        rig = Rig(
            nextcloud.url,
            nextcloud.signaling_secret,
            hpb_series=options.hpb,
            certificate=options.certificate,
            turn_only=options.turn_only,
        )
        async with rig:
            nextcloud.hpb_url = rig.hpb_url
            nextcloud.talk.turn_servers = rig.turn_servers
            facts = {
                "nextcloud": nextcloud.url,
                "hpb": rig.hpb_url,
                "signaling": rig.signaling_url,
                "internal_secret": rig.internal_secret,
                "signaling_secret": nextcloud.signaling_secret,
                "room": nextcloud.talk.rooms.create().token,
                "logs": str(rig.directory),
            }
            print(json.dumps(facts), flush=True)
            await stop.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.rig", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=port_argument, default=0, help="of the Nextcloud; 0: a free one")
    parser.add_argument("--hpb", choices=HPB_SERIES, default="2.0")
    parser.add_argument("--certificate", choices=("ecdsa", "rsa"), default="ecdsa")
    parser.add_argument("--turn-only", action="store_true", help="media can only go through a TURN server")
    try:
        asyncio.run(run(parser.parse_args()))
    except RigUnavailable as error:
        print(error, file=sys.stderr)
        return 77
    except ServerFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
