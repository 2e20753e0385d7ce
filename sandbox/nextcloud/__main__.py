# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`python -m sandbox.nextcloud`, or `make sandbox`: a Nextcloud with Talk and AppAPI to log in to, an HPB and a STUN server.

It runs until it is stopped, and keeps nothing. It prints what to do with it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from sandbox import loopback_ice
from sandbox.hpb import HpbStandIn
from sandbox.hpb import Nextcloud as NextcloudBehindHpb
from sandbox.nextcloud.containers import Containers
from sandbox.nextcloud.occ import Occ, occ_routes
from sandbox.nextcloud.occ_shell import WHERE
from sandbox.nextcloud.server import Nextcloud
from sandbox.ports import free_port, port_argument
from sandbox.sfu import Sfu
from sandbox.stun import stun_server

ADMIN, PASSWORD = "admin", "admin"
ROOM = "sandbox"
#: The app's port; another one if this one is taken.
APP_PORT = 23000

_TEXT = """
Nextcloud (a stand-in) runs at  {url}   Log in as  {admin}  with the password  {password}

1. In another terminal, register the app; the command waits for it:

     make register ARGS="--manual http://127.0.0.1:{app_port} --nextcloud {url} --occ sandbox/occ"

2. In a third terminal, start the app:

     set -a; . build/manual/app.env; set +a; make run

3. Log in, choose "Live transcription", and enter on the settings page:

     Address of the high-performance backend   {hpb}
     Internal secret                           {secret}

   Save, and run the self-test.

4. To run a captioned test call:

     NEXTCLOUD_URL={url} TALK_ROOM_TOKEN={room} make live-test QUICK=1

Ctrl-C stops it and discards everything that you entered."""


async def run(options: argparse.Namespace) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    loopback_ice.install()
    async with AsyncExitStack() as stack:
        nextcloud = Nextcloud(port=options.port)
        try:
            await stack.enter_async_context(nextcloud)
        except OSError:
            print(f"Port {options.port} is taken. Choose another one: make sandbox PORT=8090", file=sys.stderr)
            return 1
        side = NextcloudBehindHpb(nextcloud.url + "/", nextcloud.signaling_secret)
        stack.push_async_callback(side.aclose)
        sfu = await stack.enter_async_context(Sfu())
        secret = secrets.token_hex(16)
        hpb = await stack.enter_async_context(HpbStandIn(side, sfu, internal_secret=secret))
        nextcloud.hpb_url = hpb.url
        nextcloud.talk.stun_servers = [{"urls": [await stack.enter_async_context(stun_server())]}]
        nextcloud.talk.rooms.create(ROOM)
        nextcloud.accounts.passwords[ADMIN] = PASSWORD
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sandbox-containers-")))
        containers = Containers(place)
        stack.push_async_callback(containers.aclose)
        occ = Occ(nextcloud.app_api, containers)
        nextcloud.app.include_router(occ_routes(occ))
        stack.callback(WHERE.unlink, missing_ok=True)
        _write_private(WHERE, json.dumps({"url": nextcloud.url, "token": occ.token}))
        facts = {"url": nextcloud.url, "hpb": hpb.url, "secret": secret, "room": ROOM, "admin": ADMIN, "password": PASSWORD}
        print(_TEXT.format(**facts, app_port=_port_for_the_app()), flush=True)
        await stop.wait()
    return 0


def _port_for_the_app() -> int:
    with socket.socket() as probe:
        try:
            probe.bind(("0.0.0.0", APP_PORT))
        except OSError:
            return free_port()
    return APP_PORT


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.nextcloud", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=port_argument, default=8080, help="Nextcloud's; 0: a free one")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
