# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`python -m sandbox.nextcloud`: a Nextcloud with Talk and AppAPI that runs until it is told to stop.

Prints one line of JSON with its addresses and secrets once it runs. With `--ex-app-url` it installs the app that listens
there (start it with the printed `app_environment`), as AppAPI does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from urllib.parse import urlsplit

from sandbox.nextcloud.app_api import ExAppUnreachable
from sandbox.nextcloud.server import Nextcloud


async def run(options: argparse.Namespace) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Nextcloud(port=options.port, signaling_secret=options.signaling_secret, hpb_url=options.hpb_url) as nextcloud:
        room = nextcloud.talk.rooms.create()
        app = nextcloud.app_api.register(secret=options.ex_app_secret)
        port = urlsplit(options.ex_app_url or "").port or 8080
        facts = {
            "url": nextcloud.url,
            "signaling_secret": nextcloud.signaling_secret,
            "room": room.token,
            "app_environment": nextcloud.app_api.environment(app, port=port),
        }
        print(json.dumps(facts), flush=True)
        if options.ex_app_url:
            app.url = options.ex_app_url.rstrip("/")
            try:
                await nextcloud.app_api.install(app)
            except (ExAppUnreachable, TimeoutError) as error:
                print(f"The app was not installed: {error}", file=sys.stderr)
                return 1
            print(json.dumps({"app": "enabled"}), flush=True)
        await stop.wait()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.nextcloud", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--hpb-url", help="http base URL of the HPB that is told about calls")
    parser.add_argument("--signaling-secret", help="shared with the HPB; made up if not given")
    parser.add_argument("--ex-app-url", help="where the app listens")
    parser.add_argument("--ex-app-secret", help="the app's APP_SECRET; made up if not given")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
