# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The speech-to-text server: `python -m bench.wire.server modal|moshi`. Its only command, `notes`, returns arrival times."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
from websockets.asyncio.server import ServerConnection

from bench.common.json_lines import obey
from bench.common.websocket_server import websocket_server
from bench.wire.marks import read_mark
from live_transcription.types import Frame

#: Seconds between two words of a speaker, so that no caption has to wait for the speaker's cadence.
_WORD_S = 0.4


@dataclass
class Notes:
    """Seconds of the monotonic clock, by speaker, then by frame or word."""

    arrived: dict[int, dict[int, float]] = field(default_factory=dict)
    sent: dict[int, dict[int, float]] = field(default_factory=dict)

    async def modal(self, connection: ServerConnection) -> None:
        async for message in connection:
            now = time.monotonic()
            assert isinstance(message, bytes)
            mark = read_mark(np.frombuffer(message[:8], "<f4"))
            if mark is None:
                continue
            self.arrived.setdefault(mark.speaker, {}).setdefault(mark.frame, now)
            if (word := self._word_due(mark.speaker, now)) is not None:
                await connection.send(json.dumps({"type": "token", "text": f"w{word}"}))

    async def moshi(self, connection: ServerConnection) -> None:
        await connection.send(_pack({"type": "Ready"}))
        steps = 0
        async for message in connection:
            now = time.monotonic()
            assert isinstance(message, bytes)
            if (mark := read_mark(_first_samples(message))) is None and b"Audio" not in message[:32]:
                continue
            steps += 1
            step = {"type": "Step", "step_idx": steps, "prs": [0.0, 0.0, 0.0, 0.0], "buffered_pcm": 0}
            await connection.send(_pack(step))
            if mark is None:
                continue
            self.arrived.setdefault(mark.speaker, {}).setdefault(mark.frame, now)
            if (word := self._word_due(mark.speaker, now)) is not None:
                await connection.send(_pack({"type": "Word", "text": f"w{word}", "start_time": steps * 0.08}))

    def _word_due(self, speaker: int, now: float) -> int | None:
        sent = self.sent.setdefault(speaker, {})
        word = len(sent)
        if sent and now - sent[word - 1] < _WORD_S:
            return None
        sent[word] = now
        return word


def _first_samples(message: bytes) -> Frame:
    """The first two samples of an Audio message. Unpacking them all would make this server the one that is late."""
    at = message.find(b"\xa3pcm", 0, 64)
    if at < 0:
        return np.zeros(2, np.float32)
    floats = message[at + 7 : at + 17]
    return np.array([struct.unpack(">f", floats[1:5])[0], struct.unpack(">f", floats[6:10])[0]], np.float32)


def _pack(message: dict[str, object]) -> bytes:
    packed: bytes = msgpack.packb(message, use_single_float=True)
    return packed


async def main(dialect: str) -> None:
    notes = Notes()

    async def noted() -> dict[str, Any]:
        return {"arrived": notes.arrived, "sent": notes.sent}

    async with websocket_server(notes.modal if dialect == "modal" else notes.moshi) as url:
        await obey({"notes": noted}, url=url)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
