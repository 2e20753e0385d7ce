# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A receiving process with one optimisation switched off: `python -m bench.media.ablated VARIANT --stt URL`.

The switches patch the product in this process only, so that the product has no setting that nobody could judge.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Callable
from types import SimpleNamespace

from bench.media.ours import Ours
from bench.media.receiver import serve
from live_transcription.runtime.threads import new_event_loop
from live_transcription.stt.kyutai import websocket_stream
from live_transcription.webrtc import datagrams
from sandbox import loopback_ice


def no_recvmmsg() -> None:
    """Read each datagram with a call of its own, when its socket wakes the event loop."""
    datagrams.batch = lambda family: None  # noqa: ARG005


def no_direct_write() -> None:
    """Write each message with `ClientConnection.send`, under a time limit."""
    websocket_stream.State = SimpleNamespace(OPEN=None)  # type: ignore[misc,assignment]


#: What each variant switches off. The two controls are identical: their difference is the noise of the measurement.
SWITCHES: dict[str, Callable[[], None]] = {
    "control1": lambda: None,
    "control2": lambda: None,
    "norecvmmsg": no_recvmmsg,
    "nodirectwrite": no_direct_write,
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", choices=SWITCHES)
    parser.add_argument("--stt", required=True, help="URL of the speech-to-text server")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    loopback_ice.install()
    SWITCHES[options.variant]()
    dialect = "moshi" if options.stt.endswith("/moshi") else "modal"
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(lambda: Ours(options.stt, dialect=dialect)))
