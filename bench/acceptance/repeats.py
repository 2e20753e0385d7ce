# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""No words shown twice on a busy machine: `python -m bench.acceptance.repeats [--minutes 20]`.

Asterisk's Italian and Russian prompts, which the sandbox does not use, are played by four speakers at the same time, through
voice activity detection, the embedded engine and a call each, in real time. Another process keeps one core busy meanwhile.
Counts the sequences of three words that were said once and are shown twice, and among them those of which one copy was added to
what was said. The others were misheard: a word of another sentence was recognised in its place.
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
from bench.embedded import take
from live_transcription.config import EmbeddedConfig
from sandbox.die_with_parent import tethered
from sandbox.recording import Recording
from sandbox.word_error_rate import WordErrors, normalise, word_errors

_LANGUAGES = ("it", "ru")
#: Speakers of each language; all talk at the same time.
_SPEAKERS = 2
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


def _prepare(minutes: float) -> list[Recording]:
    seconds = 60.0 * minutes / (_SPEAKERS * len(_LANGUAGES))
    made = []
    for language in _LANGUAGES:
        found = held_out.prompts(language, _LEAST_CHARS)
        made += [
            held_out.recording(f"repeats-{language}-{n}", found, found.clips[n::_SPEAKERS], seconds) for n in range(_SPEAKERS)
        ]
    return made


async def run(options: argparse.Namespace) -> scenario.Outcome:
    recordings = await asyncio.to_thread(_prepare, options.minutes)
    with busy_core():
        played = await take(recordings, EmbeddedConfig())
    found: list[tuple[str, ...]] = []
    details: list[dict[str, Any]] = []
    for track in played.tracks:
        text = " ".join(caption.text for caption in track.committed)
        code = track.recording.language
        said, shown = normalise(track.recording.text, code), normalise(text, code)
        twice = doubled(said, shown)
        found += twice
        errors: WordErrors = word_errors(track.recording.text, text, code)
        details.append(
            {
                "language": code,
                "seconds": round(track.recording.duration_s, 1),
                "wer": round(errors.rate, 4),
                "doubled": [" ".join(words) for words in twice],
                "misheard": [" ".join(words) for words in repeated(said, shown) if words not in twice],
                "said": track.recording.text,
                "shown": text,
            }
        )
        misheard = len(details[-1]["misheard"])
        print(f"{track.recording.name}: {len(twice)} doubled, {misheard} misheard, WER {errors.rate:.1%}", flush=True)
    minutes = round(sum(recorded.duration_s for recorded in recordings) / 60, 1)
    return scenario.Outcome(
        (Target(f"sequences shown twice, in {minutes} min", len(found), 0),),
        {"minutes": minutes, "captions": details, **played.figures},
    )


def main() -> int:
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--minutes", type=float, default=20.5, help="minutes of speech, all speakers together")

    return scenario.main("repeats", run, description=__doc__ or "", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
