# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Make `sandbox/recordings/` again from Debian packages: `python scripts/make_recordings.py` (Debian, apt, dpkg-deb).

Every recording is a few utterances of one speaker with pauses between them, as Ogg Opus at 48 kHz mono, beside a JSON
file with its language, licence, source, credits, and its words with their times. `recordings.toml` says what goes in.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soxr

Samples = npt.NDArray[np.float32]

RATE = 48_000
BIT_RATE = 24_000
PLAN = Path(__file__).with_name("recordings.toml")
PACKAGES = ("asterisk-core-sounds-en-g722", "asterisk-core-sounds-fr-g722", "pocketsphinx-testdata")
TARGET = Path(__file__).resolve().parent.parent / "sandbox" / "recordings"


@dataclass(frozen=True)
class Speaker:
    language: str
    directory: str
    suffix: str
    licence: str
    source: str
    credits: str


#: Seconds of quiet after each utterance, in turn; within what people leave between sentences in a conversation.
PAUSES = (1.0, 0.8, 1.3, 0.7, 1.5, 0.9, 1.2)
LEAD_S = 0.7
TAIL_S = 1.5
EDGE_S = 0.05


def unpack(directory: Path) -> None:
    subprocess.run(["apt-get", "download", *PACKAGES], cwd=directory, check=True)
    for package in sorted(directory.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(directory)], check=True)


def decode(path: Path) -> Samples:
    """Mono float32 at 48 kHz."""
    chunks: list[Samples] = []
    with av.open(str(path), "r", format="g722" if path.suffix == ".g722" else None) as container:
        rate = container.streams.audio[0].rate
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().reshape(-1)
            chunks.append(samples.astype(np.float32) / 32768.0 if samples.dtype == np.int16 else samples.astype(np.float32))
    resampled: Samples = soxr.resample(np.concatenate(chunks), rate, RATE).astype(np.float32)
    return resampled


def speech(samples: Samples, gap_s: float = 0.3) -> list[tuple[float, float]]:
    """Stretches of sound in seconds, apart by at least `gap_s`: within 38 dB of the loudest 20 ms."""
    hop = RATE // 100
    power = np.square(samples[: len(samples) // hop * hop]).reshape(-1, hop).mean(axis=1)
    power = np.convolve(power, np.ones(2) / 2, mode="same")
    loud = np.flatnonzero(power > power.max() * 10 ** (-38 / 10))
    breaks = np.flatnonzero(np.diff(loud) * 0.01 >= gap_s)
    starts = [int(loud[0]), *(int(loud[i + 1]) for i in breaks)]
    ends = [*(int(loud[i]) + 1 for i in breaks), int(loud[-1]) + 1]
    return [(start * 0.01, end * 0.01) for start, end in zip(starts, ends, strict=True)]


def build(root: Path, speaker: Speaker, plan: list[dict[str, str]]) -> tuple[Samples, list[dict[str, Any]]]:
    timeline = [np.zeros(round(LEAD_S * RATE), np.float32)]
    at = LEAD_S
    utterances: list[dict[str, Any]] = []
    for index, utterance in enumerate(plan):
        clip, text = utterance["clip"], utterance["text"]
        samples = decode(root / speaker.directory / f"{clip}{speaker.suffix}")
        found = speech(samples)
        first = max(0.0, found[0][0] - EDGE_S)
        last = min(len(samples) / RATE, found[-1][1] + EDGE_S)
        stretches = [(round(at + start - first, 2), round(at + end - first, 2)) for start, end in found]
        utterances.append({"start_s": stretches[0][0], "end_s": stretches[-1][1], "text": text, "speech": stretches})
        pause = TAIL_S if index == len(plan) - 1 else PAUSES[index % len(PAUSES)] - 2 * EDGE_S
        piece = samples[round(first * RATE) : round(last * RATE)]
        timeline += [piece, np.zeros(round(pause * RATE), np.float32)]
        at += len(piece) / RATE + round(pause * RATE) / RATE
    whole = np.concatenate(timeline)
    whole = whole / np.abs(whole).max() * 0.5
    # A microphone is never digitally silent: about -72 dBFS of noise.
    noise = np.random.default_rng(20).normal(0.0, 10 ** (-72 / 20), len(whole))
    return (whole + noise).astype(np.float32), utterances


def encode(path: Path, samples: Samples) -> None:
    with av.open(str(path), "w", format="ogg", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=RATE, layout="mono", options={"application": "audio"})
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
        frame.rate = RATE
        fifo = av.AudioFifo()
        fifo.write(frame)
        for piece in fifo.read_many(RATE // 50, partial=True):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unpacked", type=Path, help="directory that the packages are already unpacked in")
    arguments = parser.parse_args()
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.unpacked or Path(scratch)
        if arguments.unpacked is None:
            unpack(root)
        plan = tomllib.loads(PLAN.read_text(encoding="utf-8"))
        speakers = {name: Speaker(**fields) for name, fields in plan["speakers"].items()}
        for name, recording in plan["recordings"].items():
            speaker = speakers[recording["speaker"]]
            samples, utterances = build(root, speaker, recording["utterances"])
            encode(TARGET / f"{name}.ogg", samples)
            text = json.dumps(
                {
                    "language": speaker.language,
                    "licence": speaker.licence,
                    "source": speaker.source,
                    "credits": speaker.credits,
                    "changes": "utterances joined with pauses, level adjusted, encoded as Opus",
                    "duration_s": round(len(samples) / RATE, 2),
                    "utterances": utterances,
                },
                ensure_ascii=False,
                indent=1,
            )
            (TARGET / f"{name}.json").write_text(text + "\n", encoding="utf-8")
            size = (TARGET / f"{name}.ogg").stat().st_size
            print(f"{name}: {len(samples) / RATE:.1f} s, {len(utterances)} utterances, {size // 1024} KiB")


if __name__ == "__main__":
    main()
