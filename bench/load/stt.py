# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`python -m bench.load.stt`: a stand-in for Kyutai's proxy on Modal that finds the received audio on the tape.

Options are the first line (see `bench.common`): `port`, `note`. It says a word every 0.4 s of each connection that brings
speech: `w0`, `w1`, …, numbered in the order of all. To hang or to die it is stopped and killed by who started it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from array import array
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from bench.common.json_lines import Commands, obey, options_line
from bench.common.websocket_server import websocket_server
from bench.load.audio_locator import FRAME_PACKETS, FRAME_SAMPLES, Locator
from bench.load.tape import decode, load_tape

_WORD_S = 0.4


@dataclass
class Ear:
    """One value per recognised frame: its connection, its first packet on the tape, when it came, and how many frames before
    it followed on each other since the last silence that was left out. `sent_at`: when each word was said.

    `skipped`: packets that are missing between frames without a flush that explains it. `unknown`: frames not recognised.
    """

    connection: array[int] = field(default_factory=lambda: array("L"))
    position: array[int] = field(default_factory=lambda: array("L"))
    run: array[int] = field(default_factory=lambda: array("L"))
    at: array[float] = field(default_factory=lambda: array("d"))
    sent_at: array[float] = field(default_factory=lambda: array("d"))
    connections: int = 0
    open: int = 0
    frames: int = 0
    unknown: int = 0
    repeated: int = 0
    skipped: int = 0


class Stt:
    """`locator` None: nothing is looked for, nothing noted."""

    def __init__(self, locator: Locator | None) -> None:
        self.ear = Ear()
        self._locator = locator
        self._words = 0
        self.commands: Commands = {"counts": self.counts, "notes": self.notes}

    @property
    def words(self) -> int:
        """How many it has said so far; the next one is `w` and this number."""
        return self._words

    async def hear(self, connection: ServerConnection) -> None:
        ear, number = self.ear, self.ear.connections
        ear.connections += 1
        ear.open += 1
        said_at, expected, run = 0.0, None, 0
        try:
            async for message in connection:
                now = time.monotonic()
                samples = np.frombuffer(message, "<f4") if isinstance(message, bytes) else np.zeros(0, np.float32)
                if not samples.any():  # a flush: pauses follow that are not sent
                    expected, run = None, 0
                    continue
                ear.frames += 1
                expected, run = self._place(number, samples, now, expected, run)
                if now - said_at >= _WORD_S:
                    said_at = now
                    word, self._words = self._words, self._words + 1
                    if self._locator is not None:
                        ear.sent_at.append(now)
                    await connection.send(json.dumps({"type": "token", "text": f"w{word}"}))
        finally:
            ear.open -= 1

    def _place(
        self, number: int, samples: np.ndarray[Any, np.dtype[np.float32]], now: float, expected: int | None, run: int
    ) -> tuple[int | None, int]:
        """The position that the next frame should have, and the frames in a row."""
        if self._locator is None:
            return None, 0
        ear = self.ear
        position = self._locator.locate(samples, expected) if len(samples) == FRAME_SAMPLES else None
        if position is None:
            ear.unknown += 1
            return None if expected is None else expected + FRAME_PACKETS, run
        if run and expected is not None and position != expected % self._locator.packets:
            missing = (position - expected) % self._locator.packets
            if missing < self._locator.packets // 2:
                ear.skipped += missing
            else:
                ear.repeated += 1
            run = 0
        ear.connection.append(number)
        ear.position.append(position)
        ear.run.append(run)
        ear.at.append(now)
        return position + FRAME_PACKETS, run + 1

    async def counts(self) -> dict[str, int]:
        ear = self.ear
        return {name: getattr(ear, name) for name in ("connections", "open", "frames", "unknown", "repeated", "skipped")}

    async def notes(self, path: str) -> None:
        ear = self.ear
        np.savez(
            path,
            connection=np.array(ear.connection, dtype=np.int64),
            position=np.array(ear.position, dtype=np.int64),
            run=np.array(ear.run, dtype=np.int64),
            at=np.array(ear.at),
            sent_at=np.array(ear.sent_at),
        )


def health(connection: ServerConnection, request: Request) -> Response | None:
    return connection.respond(HTTPStatus.OK, "ok\n") if request.path == "/health" else None


async def run(options: dict[str, Any]) -> None:
    stt = Stt(Locator(decode(load_tape())) if options.get("note") else None)
    async with websocket_server(stt.hear, port=options.get("port", 0), on_request=health) as url:
        gc.collect()
        gc.freeze()
        await obey(stt.commands, url=url)


if __name__ == "__main__":
    asyncio.run(run(options_line()))
