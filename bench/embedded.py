# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The embedded engine on real speech in real time: `python -m bench.embedded [--speakers N] [--slots N]`.

Each speaker plays one recording, in 80 ms frames in real time, through the silence gate and its own stream. It measures what a
reader of captions sees, without network and WebRTC:

- first word: from the onset of an utterance to its first committed word; last word: from its last sound to its last word;
- the same on the screen, if all speakers share one call (`--call`) and take turns there;
- word error rate of the committed words, and of the engine's final text of each utterance;
- writing errors: the same with case and punctuation, minus the word errors;
- real-time factor (seconds of decoding per second of audio), CPU and memory.

With `--virtual` decodes take a fixed time of a virtual clock, whatever else the machine does; CPU figures are void then.

Prints a summary and writes `build/bench/embedded.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.common.recognition import whisper
from bench.common.results import write
from live_transcription.call.delivery import CaptionDelivery
from live_transcription.call.roster import Roster
from live_transcription.call.targets import Targets
from live_transcription.config import EmbeddedConfig
from live_transcription.observability import metrics
from live_transcription.signaling.events import InCall, Participant, ParticipantsJoined
from live_transcription.signaling.requests import Recipient
from live_transcription.stt.base import SttBackend
from live_transcription.stt.embedded.backend import EmbeddedBackend
from live_transcription.stt.embedded.pool import Priority
from live_transcription.types import SAMPLE_RATE, Caption
from live_transcription.vad.detector import preload
from sandbox import process_stats, recording, virtual_clock
from sandbox.caller import ReceivedCaption
from sandbox.demo.evaluation import RENDERERS, Judgement, judge, median_of, p95_of
from sandbox.monologue import Monologue
from sandbox.recording import Recording
from sandbox.virtual_pool import VirtualPool
from sandbox.word_error_rate import WordErrors, word_errors, writing_errors

#: Longest run in virtual time, in seconds.
VIRTUAL_LIMIT_S = 3600.0

#: Seconds that a decode takes in virtual time, by its priority; as measured on an idle core.
DECODE_S = {Priority.FINAL: 0.22, Priority.FIRST_WORDS: 0.14, Priority.HYPOTHESIS: 0.14}


class Reader:
    """The only reader of a call, which receives its messages."""

    in_room = True

    def __init__(self) -> None:
        self.messages: list[ReceivedCaption] = []
        targets = Targets(Roster())
        targets.reset(0.0)
        joined = Participant("reader", nextcloud_session_id="reader", in_call=InCall.IN_CALL)
        targets.apply(ParticipantsJoined((joined,)), 0.0)
        targets.add("reader", None, 0.0)
        self.delivery = CaptionDelivery(self, targets, on_sent=lambda _: None)

    def send_caption(self, recipient: Recipient, caption: Caption) -> bool:
        del recipient
        at = asyncio.get_running_loop().time()
        self.messages.append(ReceivedCaption(at, caption.speaker, caption.text, caption.language, final=True))
        return True


@dataclass
class Track:
    """One speaker's speech and its captions. `began`: when the first sample was played."""

    recording: Recording
    began: float
    committed: list[ReceivedCaption]
    messages: list[ReceivedCaption] = field(default_factory=list)
    utterances: list[str] = field(default_factory=list)

    def left_at(self, position_s: float) -> float:
        return self.began + position_s


async def play(backend: SttBackend, speaker: str, played: Recording, delay_s: float, reader: Reader) -> tuple[Track, float]:
    """The track, and the seconds of audio that passed the gate."""
    await asyncio.sleep(delay_s)
    call = reader.delivery
    monologue = Monologue(backend, played.language, name=speaker, on_caption=call.add, on_utterance=call.end_utterance)
    async with monologue:
        began = await monologue.say(played.pcm(SAMPLE_RATE))
        await monologue.hush(3.0)
    await asyncio.sleep(6.0)
    messages = [message for message in reader.messages if message.speaker == speaker]
    utterances = [utterance.text for utterance in monologue.utterances]
    logging.debug("%s\ncommitted: %s\nfinal:     %s", speaker, monologue.text, " ".join(utterances))
    return Track(played, began, monologue.captions, messages, utterances), monologue.gate.passed_s


async def measure(
    recordings: Sequence[Recording],
    config: EmbeddedConfig,
    *,
    call: bool,
    virtual: bool = False,
    apart_s: float = 0.37,
) -> dict[str, Any]:
    """Play recordings at the same time, each by a speaker of its own; `call`: all of them in one call.

    `virtual`: within `sandbox.virtual_clock.run`.
    """
    engine = whisper()
    backend = EmbeddedBackend(engine, config)
    preload()
    began = time.monotonic()
    if virtual:
        engine.load(config.slots, config.threads)
        backend._pool = VirtualPool(config.slots, config.hypothesis_interval_s, DECODE_S.__getitem__)
    await backend.warm()
    load_s = time.monotonic() - began
    one = Reader()
    cpu, began = time.process_time(), time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        playing = [
            tasks.create_task(play(backend, f"speaker-{n}", played, apart_s * n, one if call else Reader()))
            for n, played in enumerate(recordings)
        ]
    wall_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
    tracks = [task.result()[0] for task in playing]
    memory = int(process_stats.memory(os.getpid()).rss_mb)
    await backend.aclose()
    return summarise(tracks, one.messages if call else None) | {
        "engine": backend.name,
        "speakers": len(recordings),
        "slots": config.slots,
        "load_s": round(load_s, 2),
        "load_average": round(os.getloadavg()[0], 2),
        "cores_used": round(cpu_s / wall_s, 2),
        "rtf": round(cpu_s / sum(task.result()[1] for task in playing), 3),
        "rss_mb": memory,
        "rss_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def summarise(tracks: list[Track], call: Sequence[ReceivedCaption] | None) -> dict[str, Any]:
    """`call`: the messages of all speakers in their order, where they share a call."""
    result: dict[str, Any] = {}
    for language in sorted({track.recording.language for track in tracks}):
        mine = [track for track in tracks if track.recording.language == language]
        for name, text_of in (("", _committed), ("final_", _final)):
            errors = [word_errors(track.recording.text, text_of(track), language) for track in mine]
            written = [writing_errors(track.recording.text, text_of(track)) for track in mine]
            result[f"{name}wer_{language}"] = round(sum(errors, WordErrors(0)).rate, 4)
            result[f"{name}writing_{language}"] = round(sum(written, WordErrors(0)).rate, 4)
    committed = [judge(track.recording, track.committed, track.left_at, columns=1000) for track in tracks]
    result |= _times("committed", [timing for one in committed for timing in one.timings])
    judgements: list[Judgement] = []
    for name, (style, columns) in RENDERERS.items():
        shown = [
            judge(track.recording, call or track.messages, track.left_at, style=style, columns=columns, speaker=f"speaker-{n}")
            for n, track in enumerate(tracks)
        ]
        judgements += shown
        result |= _times(name, [timing for one in shown for timing in one.timings])
    result["misplaced_words"] = sum(
        writing_errors(_committed(track), judged.text).errors
        for track, judged in zip(tracks * len(RENDERERS), judgements, strict=True)
    )
    result["messages"] = sum(len(track.messages) for track in tracks)
    for name in ("words_committed_total", "words_disagreed_total", "floor_wait_seconds_count", "floor_wait_seconds_sum"):
        result[name] = round(metrics.registry.get_sample_value(f"live_transcription_{name}") or 0.0, 2)
    return result


def _committed(track: Track) -> str:
    return " ".join(caption.text for caption in track.committed)


def _final(track: Track) -> str:
    return " ".join(track.utterances)


def _times(name: str, timings: Sequence[Any]) -> Mapping[str, float | None]:
    first, last = [timing.first_word_s for timing in timings], [timing.last_word_s for timing in timings]
    return {
        f"{name}_first_word_p50_s": median_of(first),
        f"{name}_first_word_p95_s": p95_of(first),
        f"{name}_last_word_p50_s": median_of(last),
        f"{name}_last_word_p95_s": p95_of(last),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=EmbeddedConfig().slots)
    parser.add_argument("--call", action="store_true", help="all speakers in one call, where they take turns on the screen")
    parser.add_argument("--recordings", default=",".join(recording.LONG), metavar="NAME,…", help="played in turn")
    parser.add_argument("--virtual", action="store_true", help="in virtual time: independent of the machine's load")
    parser.add_argument("--verbose", action="store_true", help="print what was committed, and the final texts")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.INFO, format="%(message)s")
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    names = arguments.recordings.split(",")
    recordings = [recording.load(names[n % len(names)]) for n in range(arguments.speakers)]
    config = EmbeddedConfig(slots=arguments.slots)
    virtual: bool = arguments.virtual
    work = measure(recordings, config, call=arguments.call, virtual=virtual)
    result = virtual_clock.run(work, limit_s=VIRTUAL_LIMIT_S) if virtual else asyncio.run(work)
    path = write("embedded", result)
    for key, value in result.items():
        print(f"{key:>28} {value}")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
