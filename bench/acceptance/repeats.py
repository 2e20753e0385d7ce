# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""No words shown twice on a busy machine: `python -m bench.acceptance.repeats [--languages it,ru]`.

Asterisk's Italian and Russian prompts, which the sandbox does not use, one language after the other, are played by four
speakers at the same time, through voice activity detection, the embedded engine and a call each, in real time. Another process
keeps one core busy meanwhile.
Counts the sequences of three words that were said once and are shown twice, and among them those of which one copy was added to
the reference. The others were misheard: a word of another sentence was recognised in its place.

With `--virtual` decodes take four times as long as on an idle core, in the time of a virtual clock, and no process is needed
to keep a core busy.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.acceptance import scenario
from bench.common import held_out
from bench.common.repetition import doubled, repeated
from bench.common.results import Target
from bench.embedded import VIRTUAL_LIMIT_S, Track, take
from live_transcription.config import EmbeddedConfig
from sandbox import virtual_clock
from sandbox.die_with_parent import tethered
from sandbox.recording import Recording
from sandbox.word_error_rate import normalise, word_errors

_LANGUAGES = "it,ru"
#: Speakers of a language; all talk at the same time.
_SPEAKERS = 4
#: Duration of a decode with `--virtual`, as a multiple of that on an idle core.
_SLOWNESS = 4.0
#: Minimum characters of a prompt, to get sentences and no single words.
_LEAST_CHARS = 30


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy."""
    process = subprocess.Popen(tethered([sys.executable, "-c", "while True: pass"]))
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _prepare(language: str, minutes: float) -> list[Recording]:
    found, seconds = held_out.prompts(language, _LEAST_CHARS), 60.0 * minutes / _SPEAKERS
    return [held_out.recording(f"repeats-{language}-{n}", found, found.clips[n::_SPEAKERS], seconds) for n in range(_SPEAKERS)]


def _judge(track: Track) -> dict[str, Any]:
    text, code = " ".join(caption.text for caption in track.committed), track.recording.language
    said, shown = normalise(track.recording.text, code), normalise(text, code)
    twice = doubled(said, shown)
    misheard = [" ".join(words) for words in repeated(said, shown) if words not in twice]
    result = {
        "language": code,
        "seconds": round(track.recording.duration_s, 1),
        "wer": round(word_errors(track.recording.text, text, code).rate, 4),
        "doubled": [" ".join(words) for words in twice],
        "misheard": misheard,
        "said": track.recording.text,
        "shown": text,
    }
    print(f"{track.recording.name}: {len(twice)} doubled, {len(misheard)} misheard, WER {result['wer']:.1%}", flush=True)
    return result


async def run(options: argparse.Namespace) -> scenario.Outcome:
    languages: list[str] = options.languages.split(",")
    judged: list[dict[str, Any]] = []
    figures: dict[str, Any] = {}
    for language in languages:
        recordings = await asyncio.to_thread(_prepare, language, options.minutes / len(languages))
        if options.virtual:
            work = take(recordings, EmbeddedConfig(slots=2), virtual=True, slowness=_SLOWNESS)
            # A virtual clock belongs to a loop of its own.
            played = await asyncio.to_thread(virtual_clock.run, work, limit_s=VIRTUAL_LIMIT_S)
        else:
            with busy_core():
                played = await take(recordings, EmbeddedConfig())
        judged += [_judge(track) for track in played.tracks]
        figures[language] = played.figures
    minutes = round(sum(each["seconds"] for each in judged) / 60, 1)
    return scenario.Outcome(
        (Target(f"sequences shown twice, in {minutes} min", sum(len(each["doubled"]) for each in judged), 0),),
        {"minutes": minutes, "captions": judged, "figures": figures},
    )


def main() -> int:
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--languages", default=_LANGUAGES, metavar="CODE,…")
        parser.add_argument("--virtual", action="store_true", help="in virtual time, on a modelled busy machine")
        parser.add_argument("--minutes", type=float, default=20.5, help="minutes of speech in all")

    return scenario.main("repeats", run, description=__doc__ or "", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
