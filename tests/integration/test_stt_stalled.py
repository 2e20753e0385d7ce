# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A server that stalls during speech: memory is bounded, and every word arrives once the server is back."""

from __future__ import annotations

import asyncio
import gc

import pytest
from websockets.asyncio.client import ClientConnection

from live_transcription.audio_store.budget import PROCESS_BUDGET
from live_transcription.audio_store.ring import AudioRing
from sandbox.monologue import Monologue
from sandbox.stt_servers.faults import Fault, FaultKind
from tests.fakes.stt_counts import SttCounts
from tests.integration.stt_setting import DIALECTS, SPEECH, TEXT, play, setting, words

#: Maximum memory in bytes of one speaker's audio, from the frame queue to the system's socket.
LIMIT_BYTES = 850_000
#: Number of times that the two utterances are spoken. The server is away for the first 34 s.
TIMES = 3


def buffered_bytes(speaker: Monologue) -> int:
    rings = [ring.memory_bytes for ring in gc.get_objects() if type(ring) is AudioRing]
    buffers = [
        connection.transport.get_write_buffer_size() for connection in gc.get_objects() if type(connection) is ClientConnection
    ]
    return sum(rings) + sum(buffers) + round(speaker.frames.buffered_s * 96_000)


@pytest.mark.parametrize("kind", [FaultKind.HANG, FaultKind.SLOW_READER, FaultKind.STALL])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stalled_server_costs_bounded_memory_and_no_word(dialect: str, kind: FaultKind) -> None:
    counts = SttCounts()

    async def scenario() -> None:
        async with setting(dialect) as place:
            place.server.faults.add(Fault(kind, times=None, duration_s=600.0))
            most = 0
            async with place.speaker() as speaker:
                for number in range(TIMES):
                    saying = asyncio.create_task(speaker.say(SPEECH))
                    while not saying.done():
                        await asyncio.wait([saying], timeout=5.0)
                        most = max(most, buffered_bytes(speaker))
                    await speaker.hush(1.0)
                    if number == TIMES - 2:
                        place.server.faults.clear()
                await place.listen_until_quiet(speaker, patience_s=240.0)
            assert most <= LIMIT_BYTES
            assert words(speaker.text) == words(TEXT) * TIMES
            assert counts.dropped_s == 0
            assert speaker.errors == []
        assert PROCESS_BUDGET.used_bytes == 0

    play(scenario())
