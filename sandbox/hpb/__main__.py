# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`python -m sandbox.hpb`: signaling and SFU in a process of their own, until SIGTERM, SIGINT, or the end of standard input.

Configuration comes as one line of JSON on standard input, so that secrets stand in no argument list:
`nextcloud_url`, `backend_secret`, `internal_secret`; optional `port`, `version`, `certificate`, `candidates`, `offer_video`.
When it listens it prints one line of JSON: `{"url": …, "websocket_url": …}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from sandbox import loopback_ice
from sandbox.hpb import HPB_VERSIONS, HpbStandIn, Nextcloud
from sandbox.sfu import Sfu


async def _end_of_input() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def _run(options: dict[str, Any]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sfu_options = {key: options[key] for key in ("certificate", "candidates", "offer_video") if key in options}
    hpb_version = HPB_VERSIONS[options.get("version", "2.1.1")]
    nextcloud = Nextcloud(options["nextcloud_url"], options["backend_secret"])
    secret, port = options["internal_secret"], options.get("port", 0)
    async with (
        Sfu(**sfu_options) as sfu,
        HpbStandIn(nextcloud, sfu, internal_secret=secret, hpb_version=hpb_version, port=port) as hpb,
    ):
        print(json.dumps({"url": hpb.url, "websocket_url": hpb.websocket_url}), flush=True)
        parent = asyncio.create_task(_end_of_input())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({parent, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (parent, stopping):
            task.cancel()
    await nextcloud.aclose()


if __name__ == "__main__":
    loopback_ice.install()
    asyncio.run(_run(json.loads(os.read(0, 65536))))
