# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The cost of a speaker between the frame queue and the WebSocket, and from the server's words to captions.

Voice activity detection and Opus are left out: which frames are speech is known beforehand. What it costs to play the frames
is measured alone and taken off. `python -m bench.wire.cost` prints milliseconds of CPU per speaker and second.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import numpy as np

from bench.common.child_process import Child
from bench.wire.client import only
from bench.wire.marks import mark
from live_transcription.audio.frame_queue import FrameQueue
from live_transcription.errors import SttError
from live_transcription.speaker.captioner import Captioner
from live_transcription.speaker.transcriber import Transcriber
from live_transcription.stt.engines import SttRegistry
from live_transcription.types import SAMPLE_RATE, Caption, Frame
from live_transcription.vad.gate import SilenceGate
from sandbox import recording
from sandbox.monologue import FRAME, FRAME_S

#: Frames of speech, and of the silence after them that ends an utterance.
_SPEECH_FRAMES, _PAUSE_FRAMES = 60, 10
#: Not measured: handshakes and the first use of code, in seconds.
_WARM_UP_S = 2.0


class _Known:
    """A detector that counts frames instead of listening; `offset` keeps speakers apart."""

    def __init__(self, offset: int, *, talks: bool) -> None:
        self._frame = offset
        self._talks = talks

    def probability(self, frame: Frame) -> float:
        del frame
        self._frame += 1
        return float(self._talks and self._frame % (_SPEECH_FRAMES + _PAUSE_FRAMES) < _SPEECH_FRAMES)

    def reset(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of this process's CPU per speaker and second; `captions` that came of it in all."""

    talking_ms: float
    silent_ms: float
    captions: int


def _audio(speaker: int, frames: int) -> list[Frame]:
    pcm = recording.load("en-conference").pcm(SAMPLE_RATE)
    starts = [(speaker * 37 + number) * FRAME % (len(pcm) - FRAME) for number in range(frames)]
    return [mark(pcm[start : start + FRAME], speaker, number) for number, start in enumerate(starts)]


async def _play(puts: list[Callable[[Frame], None]], seconds: float) -> float:
    """Each speaker's frames at their own moments; seconds of CPU from the end of the warm-up on."""
    audio = [_audio(speaker, round(seconds / FRAME_S) + 1) for speaker in range(len(puts))]
    loop = asyncio.get_running_loop()
    began = loop.time()
    step_s = FRAME_S / len(puts)
    cpu: float | None = None
    for number in range(round(seconds / FRAME_S)):
        if cpu is None and number * FRAME_S >= _WARM_UP_S:
            cpu = time.process_time()
        for speaker, put in enumerate(puts):
            await asyncio.sleep(began + number * FRAME_S + speaker * step_s - loop.time())
            put(audio[speaker][number])
    assert cpu is not None
    return time.process_time() - cpu


async def cost(dialect: str, speakers: int, seconds: float) -> Cost:
    """In real time, three times `seconds`: frames that nobody takes, silence, speech."""
    captions: list[Caption] = []
    errors: list[SttError] = []
    per_ms = 1000 / speakers / (seconds - _WARM_UP_S)
    nobody = await _play([FrameQueue(1.0).put for _ in range(speakers)], seconds)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Child("bench.wire.server", dialect))
        registry = SttRegistry(only(dialect, server.greeting["url"]))
        stack.push_async_callback(registry.aclose)

        async def measure(talks: bool) -> float:
            queues = [FrameQueue(10.0) for _ in range(speakers)]
            async with asyncio.TaskGroup() as tasks:
                transcribers = []
                for number, queue in enumerate(queues):
                    captioner = Captioner(f"speaker-{number}", "en", captions.append)
                    gate = SilenceGate(_Known(number, talks=talks))
                    transcribers.append(Transcriber(queue, gate, registry.backend(), captioner, "en", on_error=errors.append))
                    tasks.create_task(transcribers[-1].run())
                took = await _play([queue.put for queue in queues], seconds)
                for transcriber in transcribers:
                    transcriber.close()
            return took

        silent, talking = await measure(talks=False), await measure(talks=True)
    return Cost(round((talking - nobody) * per_ms, 3), round((silent - nobody) * per_ms, 3), len(captions))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dialect", nargs="?", default="modal", choices=("modal", "moshi"))
    parser.add_argument("--speakers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    np.seterr(all="ignore")
    print(asyncio.run(cost(arguments.dialect, arguments.speakers, arguments.seconds)))


if __name__ == "__main__":
    main()
