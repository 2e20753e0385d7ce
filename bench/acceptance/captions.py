# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Committed captions on held-out speech, alone and in cross-talk: `python -m bench.acceptance.captions [--language es|en]`.

The recordings are prompts of Asterisk's Debian packages that the sandbox does not use: all Spanish ones, and the English ones
that are in no recording of the sandbox. Two speakers play 90 s each, first alone, then at the same time in one call. The audio
passes through voice activity detection, the embedded engine and the delivery of a call, in real time.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.acceptance import scenario
from bench.common.results import Target
from bench.embedded import VIRTUAL_LIMIT_S, measure
from live_transcription.config import EmbeddedConfig
from sandbox import virtual_clock
from sandbox.recording import Recording, Utterance
from scripts import make_recordings

_DIRECTORY = Path("build/held-out")
#: Languages, and the codes in the names of their packages.
_SOUNDS = {"es": "es", "en": "en"}
_SECONDS = 90.0
#: Minimum characters of a prompt, to get sentences and no single words.
_LEAST_CHARS = 60
_LINE = re.compile(r"^(?P<clip>[\w/-]+): *(?P<text>[^\[\];]+)$")


@dataclass(frozen=True, slots=True)
class HeldOut(Recording):
    """A recording outside the sandbox."""

    file: Path = Path()

    @property
    def path(self) -> Path:
        return self.file


def _unpack(code: str) -> None:
    packages = (f"asterisk-core-sounds-{code}", f"asterisk-core-sounds-{code}-g722")
    subprocess.run(["apt-get", "download", *packages], cwd=_DIRECTORY, check=True, stdout=subprocess.DEVNULL)
    for package in packages:
        for path in _DIRECTORY.glob(f"{package}_*.deb"):
            subprocess.run(["dpkg-deb", "-x", path.name, "."], cwd=_DIRECTORY, check=True)


def _prompts(language: str) -> tuple[Path, list[dict[str, str]]]:
    """The directory of the clips, and the clips that are long enough and not in the sandbox."""
    code = _SOUNDS[language]
    sounds = next(path for path in (_DIRECTORY / "usr/share/asterisk/sounds").iterdir() if path.name.lower().startswith(code))
    used = set(re.findall(r'clip = "([^"]+)"', make_recordings.PLAN.read_text(encoding="utf-8"))) if language == "en" else set()
    text = gzip.decompress((_DIRECTORY / f"usr/share/doc/asterisk-core-sounds-{code}/core-sounds-{code}.txt.gz").read_bytes())
    found = []
    for line in text.decode("utf-8", errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None or len(match["text"]) < _LEAST_CHARS or match["clip"] in used or match["text"].startswith("."):
            continue
        if (sounds / f"{match['clip']}.g722").exists():
            found.append({"clip": match["clip"], "text": match["text"].strip()})
    return sounds, found


def _recordings(language: str) -> list[Recording]:
    """Two speakers with `_SECONDS` each, of different prompts in turn."""
    sounds, prompts = _prompts(language)
    speaker = make_recordings.Speaker(language, str(sounds.relative_to(_DIRECTORY)), ".g722", "CC-BY-SA-3.0", "Asterisk", "")
    made: list[Recording] = []
    for number in range(2):
        plan = prompts[number::2]
        samples, utterances = make_recordings.build(_DIRECTORY, speaker, plan)
        kept = [each for each in utterances if each["end_s"] <= _SECONDS]
        end_s = kept[-1]["end_s"] + 1.0
        file = _DIRECTORY / f"{language}-{number}.ogg"
        make_recordings.encode(file, samples[: round(end_s * make_recordings.RATE)])
        said = tuple(Utterance(each["start_s"], each["end_s"], each["text"], tuple(each["speech"])) for each in kept)
        made.append(HeldOut(f"held-out-{language}-{number}", language, "CC-BY-SA-3.0", "Asterisk", "", end_s, said, file))
    return made


def _prepare(language: str) -> list[Recording]:
    _DIRECTORY.mkdir(parents=True, exist_ok=True)
    _unpack(_SOUNDS[language])
    return _recordings(language)


async def _measure(recordings: list[Recording], *, call: bool, virtual: bool) -> dict[str, Any]:
    work = measure(recordings, EmbeddedConfig(), call=call, virtual=virtual)
    # A virtual clock belongs to a loop of its own.
    return await asyncio.to_thread(virtual_clock.run, work, limit_s=VIRTUAL_LIMIT_S) if virtual else await work


async def run(options: argparse.Namespace) -> scenario.Outcome:
    language: str = options.language
    recordings = await asyncio.to_thread(_prepare, language)
    alone = [await _measure([played], call=False, virtual=options.virtual) for played in recordings]
    together = await _measure(recordings, call=True, virtual=options.virtual)
    return scenario.Outcome(_targets(language, alone, together), {"alone": alone, "together": together})


def _targets(language: str, alone: list[dict[str, Any]], together: dict[str, Any]) -> tuple[Target, ...]:
    def mean(key: str) -> float:
        values: list[float] = [each[key] for each in alone]
        return round(sum(values) / len(values), 4)

    def points(rate: float) -> float:
        return round(100 * rate, 2)

    wer, writing = f"wer_{language}", f"writing_{language}"
    alone_writing = mean(writing) - mean(wer)
    final_writing = mean(f"final_{writing}") - mean(f"final_{wer}")
    return (
        Target("WER in cross-talk, above alone", points(together[wer] - mean(wer)), 1.0, "points"),
        Target("committed WER, above the engine's final text", points(mean(wer) - mean(f"final_{wer}")), 1.0, "points"),
        Target("the same in case and punctuation", points(alone_writing - final_writing), 2.0, "points"),
        Target("alone: first word, p50", mean("committed_first_word_p50_s"), 1.2, "s"),
        Target("alone: first word, p95", mean("committed_first_word_p95_s"), 2.0, "s"),
        Target("alone: last word, p50", mean("committed_last_word_p50_s"), 0.9, "s"),
        Target("alone: last word, p95", mean("committed_last_word_p95_s"), 1.5, "s"),
        Target("two: first word, p50", together["committed_first_word_p50_s"], 1.6, "s"),
        Target("two: first word, p95", together["committed_first_word_p95_s"], 2.4, "s"),
        Target("two: last word, p50", together["committed_last_word_p50_s"], 0.9, "s"),
        Target("two: last word, p95", together["committed_last_word_p95_s"], 1.5, "s"),
        Target("words repeated or out of order on the screen", together["misplaced_words"], 0, ""),
    )


def main() -> int:
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--virtual", action="store_true", help="as `python -m bench.embedded --virtual`")
        parser.add_argument("--language", choices=sorted(_SOUNDS), default="es")

    return scenario.main("captions", run, description=__doc__ or "", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
