# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Voice activity detection and the silence gate: their cost, and how well they match a network that runs on all audio.

`python -m bench.vad [--seconds N]`

For each kind of audio the CPU of this process per second of audio, ours and that of the same gate above Silero VAD called for
every frame, in turns; and the segments that both find: how many, those that one has and the other has not, and by how many
80 ms frames starts and ends differ. Prints a table and writes `build/bench/vad.json`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from live_transcription.types import SAMPLE_RATE
from live_transcription.vad.gate import Detector
from live_transcription.vad.lazy_silero import SileroDetector
from live_transcription.vad.silero import Session, open_session
from sandbox import recording
from sandbox.speech_segments import EveryFrame, Samples, Segment, music, segments, typing

RESULT = Path("build/bench/vad.json")
ROUNDS = 3


def _noise(count: int, level: float, *, pink: bool = False) -> Samples:
    found = np.random.default_rng(1).normal(size=count)
    if pink:
        spectrum = np.fft.rfft(found)
        spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
        spectrum[0] = 0.0
        found = np.fft.irfft(spectrum, count)
    return np.asarray(found * level / np.sqrt(np.mean(np.square(found))), np.float32)


def _gaps(name: str) -> Samples:
    """Each utterance cut to its sound, with 0.7 s of digital silence between: speech sets in at once."""
    clip = recording.load(name)
    pcm = clip.pcm(SAMPLE_RATE)
    pause = np.zeros(round(0.7 * SAMPLE_RATE), np.float32)
    cut = [pcm[round(said.start_s * SAMPLE_RATE) : round(said.end_s * SAMPLE_RATE)] for said in clip.utterances]
    return np.concatenate([piece for said in cut for piece in (said, pause)])


def _in_turns(first: Samples, other: Samples, seconds: float = 5.0) -> Samples:
    """One for so many seconds, then the other, and so on."""
    is_other = np.arange(len(first)) // round(seconds * SAMPLE_RATE) % 2
    return np.where(is_other, other, first)


def _speech_level(name: str) -> float:
    clip = recording.load(name)
    pcm = clip.pcm(SAMPLE_RATE)
    spoken = [pcm[round(a * SAMPLE_RATE) : round(b * SAMPLE_RATE)] for said in clip.utterances for a, b in said.speech]
    return float(np.sqrt(np.mean(np.square(np.concatenate(spoken)))))


def _mixed(mix: Callable[[Samples, float], Samples]) -> list[Samples]:
    return [np.asarray(mix(recording.load(name).pcm(SAMPLE_RATE), _speech_level(name)), np.float32) for name in recording.LONG]


def audio() -> Iterator[tuple[str, list[Samples]]]:
    """Kinds of audio, each in takes."""
    minute = 60 * SAMPLE_RATE
    yield "talking", _mixed(lambda pcm, _: pcm)
    yield "talking, white noise 20 dB below", _mixed(lambda pcm, level: pcm + _noise(len(pcm), level * 0.1))
    yield "talking, pink noise 20 dB below", _mixed(lambda pcm, level: pcm + _noise(len(pcm), level * 0.1, pink=True))
    yield "talking, white noise 10 dB below", _mixed(lambda pcm, level: pcm + _noise(len(pcm), level * 0.316))
    yield "talking, pink noise 10 dB below", _mixed(lambda pcm, level: pcm + _noise(len(pcm), level * 0.316, pink=True))
    yield "talking and typing", _mixed(lambda pcm, _: pcm + typing(len(pcm)))
    yield "talking, 30 dB quieter", _mixed(lambda pcm, _: pcm * 10**-1.5)
    yield "talking, sharp pauses of 0.7 s", [_gaps(name) for name in recording.LONG]
    yield "talking and music in turns", _mixed(lambda pcm, _: _in_turns(pcm, music(len(pcm))))
    yield "talking and typing in turns", _mixed(lambda pcm, _: _in_turns(pcm, typing(len(pcm))))
    yield "digital silence", [np.zeros(minute, np.float32)]
    yield "near silence (-85 dBFS)", [_noise(minute, 5.6e-5)]
    yield "faint noise (-60 dBFS)", [_noise(minute, 1e-3)]
    yield "white noise (-35 dBFS)", [_noise(minute, 0.018)]
    yield "pink noise (-35 dBFS)", [_noise(minute, 0.018, pink=True)]
    yield "typing", [typing(minute)]
    yield "music", [music(minute)]


def compare(found: list[Segment], wanted: list[Segment]) -> tuple[int, int, list[int], list[int]]:
    """Segments missed, segments too many, and frames by which starts and ends of the others come later."""
    starts: list[int] = []
    ends: list[int] = []
    met: set[Segment] = set()
    for other in wanted:
        over = [one for one in found if one.start_s < other.end_s and other.start_s < one.end_s]
        if over:
            met.update(over)
            starts.append(round((over[0].start_s - other.start_s) / 0.08))
            ends.append(round((over[-1].end_s - other.end_s) / 0.08))
    return len(wanted) - len(starts), len(found) - len(met), starts, ends


def _timed(make: Callable[[], Detector], takes: list[Samples]) -> tuple[float, list[list[Segment]]]:
    began = time.process_time()
    found = [segments(make(), samples) for samples in takes]
    return time.process_time() - began, found


def measure(kind: str, takes: list[Samples], session: Session, seconds: float) -> dict[str, Any]:
    takes = [samples[: round(seconds * SAMPLE_RATE)] for samples in takes]
    length_s = sum(len(samples) for samples in takes) / SAMPLE_RATE
    ours_s: list[float] = []
    always_s: list[float] = []
    for _ in range(ROUNDS):
        spent, found = _timed(lambda: SileroDetector(session), takes)
        ours_s.append(spent)
        spent, wanted = _timed(lambda: EveryFrame(session), takes)
        always_s.append(spent)
    compared = [compare(*pair) for pair in zip(found, wanted, strict=True)]
    starts = [late for one in compared for late in one[2]]
    ends = [late for one in compared for late in one[3]]
    return {
        "audio": kind,
        "ours_ms_per_s": round(sorted(ours_s)[ROUNDS // 2] / length_s * 1000, 3),
        "always_on_ms_per_s": round(sorted(always_s)[ROUNDS // 2] / length_s * 1000, 3),
        "segments": sum(map(len, wanted)),
        "missed": sum(one[0] for one in compared),
        "extra": sum(one[1] for one in compared),
        "frames_start_later": sorted(starts),
        "frames_end_later": sorted(ends),
    }


def _span(late: list[int], within: int) -> str:
    """Smallest and greatest, and how many are within the limit."""
    return f"{late[0]:+d}…{late[-1]:+d} ({sum(abs(n) <= within for n in late)}/{len(late)})" if late else "-"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=80.0, help="of each take at most")
    arguments = parser.parse_args()
    session = open_session()
    segments(SileroDetector(session), recording.load("en-short").pcm(SAMPLE_RATE))
    print(
        "CPU ms per second of audio; segments of the always-on network, missed and extra ones; starts and ends in 80 ms frames"
    )
    print(f"{'':34s}{'ours':>7s}{'always':>8s}{'segm.':>7s}{'miss':>5s}{'extra':>6s}  {'starts later':18s}ends later")
    rows = []
    for kind, takes in audio():
        row = measure(kind, takes, session, arguments.seconds)
        rows.append(row)
        print(
            f"{kind:34s}{row['ours_ms_per_s']:7.3f}{row['always_on_ms_per_s']:8.2f}{row['segments']:7d}{row['missed']:5d}{row['extra']:6d}"
            f"  {_span(row['frames_start_later'], 1):18s}{_span(row['frames_end_later'], 1)}",
            flush=True,
        )
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
    print(f"written to {RESULT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
