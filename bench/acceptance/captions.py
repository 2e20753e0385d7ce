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
import sys
from typing import Any

from bench.acceptance import scenario
from bench.common import held_out
from bench.common.results import Target
from bench.embedded import VIRTUAL_LIMIT_S, measure
from live_transcription.config import EmbeddedConfig
from sandbox import virtual_clock
from sandbox.recording import Recording

_SECONDS = 90.0
#: Minimum characters of a prompt, to get sentences and no single words.
_LEAST_CHARS = 60


def _prepare(language: str) -> list[Recording]:
    """Two speakers with `_SECONDS` each, of different prompts in turn."""
    found = held_out.prompts(language, _LEAST_CHARS)
    return [held_out.recording(f"{language}-{n}", found, found.clips[n::2], _SECONDS) for n in range(2)]


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
        parser.add_argument("--language", choices=("en", "es"), default="es")

    return scenario.main("captions", run, description=__doc__ or "", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
