# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The embedded engine on real speech in real time: `python -m bench.embedded [--speakers N] [--slots N] [--engine whisper]`.

Each speaker plays one recording, in 80 ms frames at the pace of the clock, through voice activity detection, the silence gate
and a stream of its own. What is measured is what a reader of captions meets, network and WebRTC excluded:

- first partial: from the onset of an utterance to its first text;
- final: from the end of its last sound to its final text;
- word error rate of the finals, real-time factor (seconds of decoding per second of audio), CPU and memory.

Prints a summary and writes `build/bench/embedded.json` (`embedded-pocketsphinx.json`).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.common.figures import percentile
from bench.common.recognition import send, whisper
from bench.common.results import write
from live_transcription.audio.vad import preload, voice_activity_detector
from live_transcription.config import EmbeddedConfig
from live_transcription.stt.base import Flushed, Hypothesis, SttBackend, SttStream
from live_transcription.stt.embedded.backend import EmbeddedBackend
from live_transcription.stt.embedded.recogniser import Engine
from live_transcription.stt.embedded.sphinx import SphinxEngine
from live_transcription.stt.gate import SilenceGate
from live_transcription.types import SAMPLE_RATE
from sandbox import proc, recording
from sandbox.monologue import FRAME
from sandbox.recording import Recording
from sandbox.score import WordErrors, word_errors

#: Seconds after the last frame in which the last final has to come.
PATIENCE_S = 10.0


ENGINES: dict[str, Callable[[], Engine]] = {"whisper": whisper, "pocketsphinx": SphinxEngine}


@dataclass
class Track:
    """What one speaker's stream did."""

    recording: Recording
    finals: list[str] = field(default_factory=list)
    first_partial_s: list[float] = field(default_factory=list)
    final_s: list[float] = field(default_factory=list)
    partials: int = 0
    rewritten: int = 0
    passed_s: float = 0.0

    @property
    def errors(self) -> WordErrors:
        return word_errors(self.recording.text, " ".join(self.finals), self.recording.language)


async def play(backend: SttBackend, name: str, delay_s: float) -> Track:
    track = Track(recording.load(name))
    pcm = track.recording.pcm(SAMPLE_RATE)
    gate = SilenceGate(voice_activity_detector())
    loop = asyncio.get_running_loop()
    await asyncio.sleep(delay_s)
    async with backend.open_stream(track.recording.language) as stream:
        start = loop.time()
        flushed_at: list[float] = []
        reader = asyncio.create_task(read(track, stream, start, flushed_at))
        for at in range(0, len(pcm) - FRAME + 1, FRAME):
            end_s = (at + FRAME) / SAMPLE_RATE
            await asyncio.sleep(start + end_s - loop.time())
            await send(pcm[at : at + FRAME], gate, stream, on_flush=partial(flushed_at.append, end_s))
        await stream.end()
        await asyncio.wait_for(reader, PATIENCE_S)
    track.passed_s = gate.passed_s
    return track


async def read(track: Track, stream: SttStream, start: float, flushed_at: Sequence[float]) -> None:
    """Take events and set them against the utterances: a flush answers for the last one that had ended by then."""
    loop = asyncio.get_running_loop()
    utterances = track.recording.utterances
    answered = begun = 0
    shown, last_final = "", 0.0
    async for event in stream.events():
        now = loop.time() - start
        match event:
            case Hypothesis(text=text, final=final):
                current = sum(utterance.start_s <= now for utterance in utterances)
                if text and answered == len(flushed_at) and begun < current:
                    begun = current
                    track.first_partial_s.append(now - utterances[current - 1].start_s)
                if final:
                    last_final = now
                    track.finals.append(text)
                    logging.debug("%6.2f %s", now, text)
                    shown = ""
                else:
                    track.partials += 1
                    track.rewritten += not text.lower().startswith(shown.lower())
                    shown = text
            case Flushed():
                ended = [utterance.end_s for utterance in utterances if utterance.end_s <= flushed_at[answered]]
                answered += 1
                if ended and last_final > ended[-1]:
                    track.final_s.append(last_final - ended[-1])


async def measure(speakers: int, config: EmbeddedConfig, engine: str) -> dict[str, Any]:
    backend = EmbeddedBackend(ENGINES[engine](), config)
    preload()
    began = time.monotonic()
    await backend.warm()
    load_s = time.monotonic() - began
    names = [name for name in recording.LONG if recording.load(name).language in backend.languages]
    cpu, began = time.process_time(), time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        playing = [tasks.create_task(play(backend, names[n % len(names)], 0.37 * n)) for n in range(speakers)]
    wall_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
    tracks = [task.result() for task in playing]
    memory = int(proc.memory(os.getpid()).rss_mb)
    await backend.aclose()
    return summarise(tracks) | {
        "engine": backend.name,
        "speakers": speakers,
        "slots": config.slots,
        "load_s": round(load_s, 2),
        "cores_used": round(cpu_s / wall_s, 2),
        "rtf": round(cpu_s / sum(track.passed_s for track in tracks), 3),
        "rss_mb": memory,
        "rss_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def summarise(tracks: Sequence[Track]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for language in sorted({track.recording.language for track in tracks}):
        errors = sum((track.errors for track in tracks if track.recording.language == language), WordErrors(0))
        result[f"wer_{language}"] = round(errors.rate, 4)
    for key in ("first_partial_s", "final_s"):
        values = [value for track in tracks for value in getattr(track, key)]
        name = key.removesuffix("_s")
        result[f"{name}_p50_s"] = round(statistics.median(values), 3)
        result[f"{name}_p95_s"] = round(percentile(values, 0.95) or 0.0, 3)
        result[f"{name}_count"] = len(values)
    result["partials_per_s"] = round(sum(track.partials for track in tracks) / sum(track.passed_s for track in tracks), 2)
    result["rewritten_share"] = round(sum(track.rewritten for track in tracks) / max(1, sum(t.partials for t in tracks)), 3)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=EmbeddedConfig().slots)
    parser.add_argument("--engine", choices=sorted(ENGINES), default="whisper")
    parser.add_argument("--verbose", action="store_true", help="print the finals")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.INFO, format="%(message)s")
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    result = asyncio.run(measure(arguments.speakers, EmbeddedConfig(slots=arguments.slots), arguments.engine))
    path = write("embedded" if arguments.engine == "whisper" else f"embedded-{arguments.engine}", result)
    for key, value in result.items():
        print(f"{key:>20} {value}")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
