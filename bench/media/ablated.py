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
from typing import Any

from bench.media.ours import Ours
from bench.media.receiver import serve
from live_transcription.runtime.event_loop import new_event_loop
from live_transcription.speaker import transcriber
from live_transcription.stt.kyutai.websocket_stream import WebsocketStream
from live_transcription.stt.resilient.stream import ResilientStream
from sandbox import loopback_ice


def _never(*arguments: Any) -> bool:
    del arguments
    return False


def no_send_now() -> None:
    """Wake the transcriber's task for each frame, and from there the task that feeds the connection."""
    transcriber._sent_now = _never  # noqa: SLF001
    ResilientStream._sent_now = _never  # type: ignore[method-assign,assignment]  # noqa: SLF001


def library_send() -> None:
    """As `no_send_now`, and write each message with `ClientConnection.send` under a timeout."""
    no_send_now()
    WebsocketStream._free = property(_never)  # type: ignore[method-assign,assignment]  # noqa: SLF001


#: What each variant switches off. The two controls are identical: their difference is the noise of the measurement.
SWITCHES: dict[str, Callable[[], None]] = {
    "control1": lambda: None,
    "control2": lambda: None,
    "noselector": lambda: None,
    "nosendnow": no_send_now,
    "librarysend": library_send,
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
    with asyncio.Runner(loop_factory=None if options.variant == "noselector" else new_event_loop) as runner:
        runner.run(serve(lambda: Ours(options.stt, dialect=dialect)))
