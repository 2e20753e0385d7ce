# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The embedded engine on real speech in real time: `python -m bench.embedded [--rows alone,quiet]`.

Each speaker plays one recording, in 80 ms frames in real time, through the silence gate and its own stream. It measures what a
reader of captions sees, without network and WebRTC:

- first word: from the onset of an utterance to its first committed word; last word: from its last sound to its last word;
- the same on the screen, if all speakers share one call (`--call`) and take turns there;
- word error rate of the committed words, and of the engine's final text of each utterance;
- writing errors: the same with case and punctuation, minus the word errors;
- real-time factor (seconds of decoding per second of audio), CPU and memory.

Each row of the table plays the recordings under another condition, and the last one sounds that are no speech, of which no
caption may come. With `--speakers N` one run is measured in more detail instead: N speakers at the same time.

With `--virtual` decodes take a fixed time of a virtual clock, whatever else the machine does; CPU figures are void then.

Prints a summary and writes `build/bench/embedded.json`. Exit code 1 if a sound that is no speech has a caption.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soxr

from bench.common import held_out
from bench.common.machine import service_facts
from bench.common.recognition import whisper
from bench.common.results import table, write
from bench.loss import Take
from bench.loss import play as transmit
from live_transcription.call.delivery import CaptionDelivery
from live_transcription.call.roster import Roster
from live_transcription.call.targets import Targets
from live_transcription.config import EmbeddedConfig
from live_transcription.observability import metrics
from live_transcription.signaling.events import InCall, Participant, ParticipantsJoined
from live_transcription.signaling.requests import Recipient
from live_transcription.stt.base import SttBackend
from live_transcription.stt.embedded.backend import EmbeddedBackend
from live_transcription.stt.embedded.pool import DecodePacing, Priority
from live_transcription.types import SAMPLE_RATE, Caption, Frame
from live_transcription.vad.detector import preload
from sandbox import loopback_ice, process_stats, recording, virtual_clock
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


async def play(
    backend: SttBackend, speaker: str, played: Recording, pcm: Frame, delay_s: float, reader: Reader
) -> tuple[Track, float]:
    """Play `pcm`, which is what arrives of a recording. Returns the track, and the seconds of audio that passed the gate."""
    await asyncio.sleep(delay_s)
    call = reader.delivery
    monologue = Monologue(backend, played.language, name=speaker, on_caption=call.add, on_utterance=call.end_utterance)
    async with monologue:
        began = await monologue.say(pcm)
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
    sounds: Mapping[str, Frame] | None = None,
) -> dict[str, Any]:
    """Play recordings at the same time, each by a speaker of its own; `call`: all of them in one call.

    `virtual`: within `sandbox.virtual_clock.run`. `sounds`: what arrives of recordings, by name, if it is not all of them.
    """
    run = await take(recordings, config, call=call, virtual=virtual, apart_s=apart_s, sounds=sounds)
    return summarise(run.tracks, run.messages if call else None) | run.figures


@dataclass(frozen=True)
class Run:
    """`messages`: those of all speakers in their order, if they share a call. `figures`: CPU and memory."""

    tracks: list[Track]
    messages: list[ReceivedCaption]
    figures: dict[str, Any]


async def take(
    recordings: Sequence[Recording],
    config: EmbeddedConfig,
    *,
    call: bool = False,
    virtual: bool = False,
    apart_s: float = 0.37,
    sounds: Mapping[str, Frame] | None = None,
    slowness: float = 1.0,
) -> Run:
    """As `measure`, with all captions. `slowness`: a factor on `DECODE_S`, in virtual time."""
    engine = whisper()
    backend = EmbeddedBackend(engine, config)
    preload()
    began = time.monotonic()
    if virtual:
        engine.load(config.slots, config.threads)
        backend._pool = VirtualPool(config.slots, config.hypothesis_interval_s, lambda kind: slowness * DECODE_S[kind])
    await backend.warm()
    load_s = time.monotonic() - began
    one = Reader()
    cpu, began = time.process_time(), time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        playing = [
            tasks.create_task(
                play(
                    backend,
                    f"speaker-{n}",
                    played,
                    played.pcm(SAMPLE_RATE) if sounds is None else sounds[played.name],
                    apart_s * n,
                    one if call else Reader(),
                )
            )
            for n, played in enumerate(recordings)
        ]
    wall_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
    tracks = [task.result()[0] for task in playing]
    memory = int(process_stats.memory(os.getpid()).rss_mb)
    await backend.aclose()
    figures = {
        "engine": backend.name,
        "speakers": len(recordings),
        "slots": config.slots,
        "load_s": round(load_s, 2),
        "load_average": round(os.getloadavg()[0], 2),
        "cores_used": round(cpu_s / wall_s, 2),
        "rtf": round(cpu_s / max(1.0, sum(task.result()[1] for task in playing)), 3),
        "rss_mb": memory,
        "rss_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    return Run(tracks, one.messages, figures)


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


#: Conditions of the table's rows.
OVERLAPPING, TELEPHONE, QUIET, NO_SPEECH = "two at the same time", "telephone band", "20 dB quieter", "no speech"
LOSSES = {"5 % loss": 0.05, "15 % loss": 0.15}
_QUIET = 10 ** (-20 / 20)
#: Rate and band of a telephone line (G.711), in Hz.
_TELEPHONE_RATE, _TELEPHONE_BAND = 8000, (300.0, 3400.0)
#: Seconds of each sound that is no speech.
_NO_SPEECH_S = 60.0


def rows(speakers: int) -> tuple[str, ...]:
    """The names of the rows. `speakers`: how many talk at the same time in the row that shows the limit."""
    return ("alone", OVERLAPPING, f"{speakers} at the same time", TELEPHONE, *LOSSES, QUIET, NO_SPEECH)


async def measure_row(row: str, config: EmbeddedConfig, *, virtual: bool) -> dict[str, Any]:
    """One row of the table. Recordings are played in turn when alone, otherwise at the same time."""
    played = [recording.load(name) for name in recording.LONG]
    whole = {each.name: each.pcm(SAMPLE_RATE) for each in played}
    match row:
        case "alone":
            runs = [await _take([each], config, virtual=virtual) for each in played]
            joined = [track for run in runs for track in run.tracks]
            return summarise(joined, None) | runs[-1].figures
        case name if name == OVERLAPPING:
            run = await _take(played[:2], config, virtual=virtual, call=True)
        case name if name in LOSSES:
            run = await _take(played, config, virtual=virtual, sounds=await lossy(played, LOSSES[name]))
        case name if name == TELEPHONE:
            sounds = {name: telephone(pcm) for name, pcm in whole.items()}
            run = await _take(played, config, virtual=virtual, sounds=sounds)
        case name if name == QUIET:
            run = await _take(played, config, virtual=virtual, sounds={name: _QUIET * pcm for name, pcm in whole.items()})
        case name if name == NO_SPEECH:
            return await invented(config, virtual=virtual)
        case _:
            count = int(row.split(maxsplit=1)[0])
            run = await _take([played[n % 2] for n in range(count)], config, virtual=virtual, apart_s=1.37)
    return summarise(run.tracks, run.messages or None) | run.figures


async def invented(config: EmbeddedConfig, *, virtual: bool) -> dict[str, Any]:
    """Sounds without speech, and the captions of each."""
    sounds = no_speech(_NO_SPEECH_S)
    silent = [Recording(name, "en", "", "", "", _NO_SPEECH_S, ()) for name in sounds]
    run = await _take(silent, config, virtual=virtual, sounds=sounds)
    texts = {track.recording.name: _committed(track) for track in run.tracks}
    return {"invented": sum(map(bool, texts.values())), "invented_texts": texts} | run.figures


async def _take(recordings: Sequence[Recording], config: EmbeddedConfig, *, virtual: bool, **options: Any) -> Run:
    work = take(recordings, config, virtual=virtual, **options)
    # A virtual clock belongs to a loop of its own.
    return await asyncio.to_thread(virtual_clock.run, work, limit_s=VIRTUAL_LIMIT_S) if virtual else await work


def telephone(pcm: Frame) -> Frame:
    """The audio as a telephone line transmits it: 300 to 3,400 Hz, sampled at 8 kHz, G.711 mu-law."""
    narrow = soxr.resample(pcm, SAMPLE_RATE, _TELEPHONE_RATE)
    spectrum = np.fft.rfft(narrow)
    frequencies = np.fft.rfftfreq(len(narrow), 1 / _TELEPHONE_RATE)
    spectrum[(frequencies < _TELEPHONE_BAND[0]) | (frequencies > _TELEPHONE_BAND[1])] = 0.0
    line = np.clip(np.fft.irfft(spectrum, len(narrow)), -1.0, 1.0)
    coded = np.round(np.log1p(255.0 * np.abs(line)) / np.log(256.0) * 127.0) / 127.0
    decoded = np.sign(line) * np.expm1(coded * np.log(256.0)) / 255.0
    return soxr.resample(decoded, _TELEPHONE_RATE, SAMPLE_RATE).astype(np.float32)  # type: ignore[no-any-return]


async def lossy(recordings: Sequence[Recording], loss: float) -> dict[str, Frame]:
    """What the receive path makes of recordings when packets are lost, sent with in-band FEC over WebRTC on loopback."""
    takes = [Take(f"take-{n}", "", each.name, seed=100 + n) for n, each in enumerate(recordings)]
    await transmit(takes, {"loss": loss})
    return {take.name: take.received.samples for take in takes if take.received is not None}


def no_speech(seconds: float) -> dict[str, Frame]:
    """Sounds that are no speech: silence, noises, hold music, a keyboard."""
    count = round(seconds * SAMPLE_RATE)
    random, time_s = np.random.default_rng(7), np.arange(count) / SAMPLE_RATE
    white = random.normal(0.0, 1.0, count)
    pink = np.fft.irfft(np.fft.rfft(white) / np.sqrt(np.maximum(1.0, np.arange(count // 2 + 1))), count)
    fan = pink / np.abs(pink).max() * (0.3 + 0.1 * np.sin(2 * np.pi * 0.2 * time_s))
    hum = 0.1 * sum(np.sin(2 * np.pi * 50 * n * time_s) / n for n in (1, 2, 3, 5))
    sounds = {
        "silence": np.zeros(count),
        "faint noise": 0.003 * white,
        "loud noise": 0.05 * white,
        "fan": fan,
        "mains hum": hum,
    }
    found = {name: pcm.astype(np.float32) for name, pcm in sounds.items()}
    return found | {"hold music": held_out.hold_music(seconds), "keyboard": held_out.keyboard(seconds)}


def shown(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The table. Times are the median and the 95 % of committed words, in seconds."""

    def cells(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
        times = [
            "-"
            if row.get(f"committed_{key}_p50_s") is None
            else f"{row[f'committed_{key}_p50_s']} / {row[f'committed_{key}_p95_s']}"
            for key in ("first_word", "last_word")
        ]
        errors = [f"{row[f'wer_{code}']:.1%}" if f"wer_{code}" in row else "-" for code in ("en", "fr")]
        captions = str(row.get("invented", "-"))
        return (name, *errors, *times, str(row["cores_used"]), str(row["rtf"]), str(row["rss_mb"]), captions)

    headings = ("condition", "WER en", "WER fr", "first word", "last word", "cores", "RTF", "MB", "invented")
    return table(headings, [cells(name, row) for name, row in found.items()])


async def measure_rows(names: Sequence[str], config: EmbeddedConfig, *, virtual: bool) -> dict[str, dict[str, Any]]:
    found = {}
    for name in names:
        print(f"    {name}", flush=True)
        found[name] = await measure_row(name, config, virtual=virtual)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", metavar="NAME,…", help="conditions to measure (default: all)")
    parser.add_argument("--speakers", type=int, help="measure one run with so many speakers, in more detail")
    parser.add_argument("--slots", type=int, default=EmbeddedConfig().slots)
    parser.add_argument("--call", action="store_true", help="all speakers in one call, where they take turns on the screen")
    parser.add_argument("--recordings", default=",".join(recording.LONG), metavar="NAME,…", help="played in turn")
    parser.add_argument("--virtual", action="store_true", help="in virtual time: independent of the machine's load")
    parser.add_argument("--verbose", action="store_true", help="print what was committed, and the final texts")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.INFO, format="%(message)s")
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    config = EmbeddedConfig(slots=arguments.slots)
    virtual: bool = arguments.virtual
    if arguments.speakers is None:
        logging.getLogger().setLevel(logging.ERROR)
        loopback_ice.install()
        names = arguments.rows.split(",") if arguments.rows else rows(2 * DecodePacing.LEAST * config.slots)
        machine = service_facts()
        found = asyncio.run(measure_rows(names, config, virtual=virtual))
        path = write("embedded", {"rows": found, "virtual": virtual, "machine": machine})
        print(shown(found))
        made_up = {name: text for row in found.values() for name, text in row.get("invented_texts", {}).items() if text}
        for name, text in made_up.items():
            print(f"captions of {name}: {text}")
        print(f"load average {machine['load_average']} before; written to {path}")
        return int(bool(made_up))
    names = arguments.recordings.split(",")
    recordings = [recording.load(names[n % len(names)]) for n in range(arguments.speakers)]
    work = measure(recordings, config, call=arguments.call, virtual=virtual)
    result = virtual_clock.run(work, limit_s=VIRTUAL_LIMIT_S) if virtual else asyncio.run(work)
    path = write("embedded", result)
    for key, value in result.items():
        print(f"{key:>28} {value}")
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
