# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A cheap speech-to-text server: `python -m bench.media.stt_sink`. 24 kHz float32 in; a word for each 0.4 s of it.

Speaks as Kyutai's proxy on Modal does, or as a moshi-server where the path ends in `/moshi`: a `Step` for each message of
80 ms. Counts the audio by the first part of the path, so that several receivers can share it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import msgpack
from websockets.asyncio.server import ServerConnection

from bench.common.json_lines import obey
from bench.common.websocket_server import websocket_server

_BYTES_PER_S = 24_000 * 4
_WORD_BYTES = _BYTES_PER_S * 2 // 5
_WORD = '{"type":"token","text":"word"}'
_STEP_S = 0.08
_STEPS_PER_WORD = 5


class SttSink:
    def __init__(self) -> None:
        self._heard: Counter[str] = Counter()
        self._listening: Counter[str] = Counter()

    async def listen(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        path, _, dialect = connection.request.path.removeprefix("/").partition("/")
        path = f"/{path}"
        if dialect == "moshi":
            await self._listen_as_moshi(connection, path)
            return
        self._listening[path] += 1
        heard, said = self._heard, 0
        received = 0
        try:
            async for message in connection:
                heard[path] += len(message)
                received += len(message)
                if received - said >= _WORD_BYTES:
                    said += _WORD_BYTES
                    await connection.send(_WORD)
        finally:
            self._listening[path] -= 1

    async def _listen_as_moshi(self, connection: ServerConnection, path: str) -> None:
        step = _packed({"type": "Step", "step_idx": 0, "prs": [0.0, 0.0, 0.0, 0.0], "buffered_pcm": 0})
        await connection.send(_packed({"type": "Ready"}))
        self._listening[path] += 1
        try:
            steps = 0
            async for _ in connection:
                steps += 1
                self._heard[path] += int(_BYTES_PER_S * _STEP_S)
                await connection.send(step)
                if steps % _STEPS_PER_WORD == 0:
                    await connection.send(_packed({"type": "Word", "text": "word", "start_time": steps * _STEP_S}))
        finally:
            self._listening[path] -= 1

    async def report(self) -> dict[str, object]:
        return {
            "cpu_s": time.process_time(),
            "heard_s": {path: total / _BYTES_PER_S for path, total in self._heard.items()},
            "listening": dict(self._listening),
        }


def _packed(message: dict[str, object]) -> bytes:
    packed: bytes = msgpack.packb(message, use_single_float=True)
    return packed


async def main() -> None:
    sink = SttSink()
    async with websocket_server(sink.listen) as url:
        await obey({"report": sink.report}, url=url)


if __name__ == "__main__":
    asyncio.run(main())
