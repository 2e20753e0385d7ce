# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The receiving process: `python -m bench.media.receiver ours|stock --stt URL`.

`ours` is the product, `stock` what other programs for this job commonly do.

Commands (`bench.common`): `add {peers}`, `offer {peer, sid, sdp}`, `report`. Offers are asked for and answered by news (`offer`
and `answer`), which the parent hands to the generator.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from bench.common.json_lines import obey
from live_transcription.runtime.threads import new_event_loop
from sandbox import loopback_ice

#: The event loop is asked this often how late it is: rarely enough to cost nothing.
_SAMPLE_S = 0.2


class Variant(Protocol):
    async def run(self, peer: str) -> None:
        """Ask for an offer and receive, until cancelled."""

    async def offer(self, peer: str, sid: str, sdp: str) -> None:
        """The generator's offer."""

    def report(self) -> dict[str, Any]: ...


class Lag:
    """The lateness of timers in seconds, since the last call."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lags: list[float] = []
        self._due = self._loop.time()
        self._sample()

    def _sample(self) -> None:
        now = self._loop.time()
        self._lags.append(now - self._due)
        self._due = now + _SAMPLE_S
        self._loop.call_at(self._due, self._sample)

    def take(self) -> list[float]:
        lags, self._lags = self._lags, []
        return [round(lag, 5) for lag in lags]


class Exceptions:
    """Those that nobody handled: the first is shown, all are counted."""

    def __init__(self) -> None:
        self.count = 0
        asyncio.get_running_loop().set_exception_handler(self._handle)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.count += 1
        if self.count == 1:
            loop.default_exception_handler(context)


def make(variant: str, stt_url: str) -> Variant:
    # Imported here: each variant's memory holds its own modules only.
    if variant == "ours":
        from bench.media.ours import Ours  # noqa: PLC0415

        return Ours(stt_url)
    from bench.media.stock import Stock  # noqa: PLC0415

    return Stock(stt_url)


async def serve(make_receiver: Callable[[], Variant]) -> None:
    """Obey the parent until it closes our standard input. `make_receiver` is called within the event loop."""
    receiver, lag, exceptions = make_receiver(), Lag(), Exceptions()
    async with asyncio.TaskGroup() as tasks:
        running: list[asyncio.Task[None]] = []

        async def add(peers: list[str]) -> None:
            running.extend(tasks.create_task(receiver.run(peer)) for peer in peers)

        async def report() -> dict[str, Any]:
            used = {"at": time.monotonic(), "cpu_s": time.process_time(), "lags_s": lag.take()}
            return {"exceptions": exceptions.count, **used, **receiver.report()}

        await obey({"add": add, "offer": receiver.offer, "report": report})
        for task in running:
            task.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", choices=["ours", "stock"])
    parser.add_argument("--stt", required=True, help="URL of the speech-to-text server")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    loopback_ice.install()
    # The app's own loop serves the app's own path; the common way has the common loop.
    with asyncio.Runner(loop_factory=None if options.variant == "stock" else new_event_loop) as runner:
        runner.run(serve(lambda: make(options.variant, options.stt)))
