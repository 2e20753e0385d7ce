# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What the demo found: printed, written to `build/demo.json`, and judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.demo.judgement import Judgement, median_of
from sandbox.score import WordErrors

#: Highest word error rate that counts as right, by language.
MAX_WER = {"en": 0.08, "fr": 0.20}
#: Medians that the product aims at on two cores; missing them is shown, but is no failure on an unknown machine.
AIMS_S = {"first_partial_p50_s": 1.2, "first_word_p50_s": 0.8, "final_p50_s": 1.5, "join_to_audio_s": 1.0}
#: Share of the words of the captions that a server has to have said if it is said to be the one that transcribes.
_ITS_OWN = 0.8


@dataclass(frozen=True, slots=True)
class Report:
    """`figures` is what goes into the file; `faults` says what is wrong with the captions, one line each."""

    figures: dict[str, Any]
    faults: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"{name:<22} {value}" for name, value in self._rows()]
        return lines + [f"WRONG: {fault}" for fault in self.faults]

    def _rows(self) -> list[tuple[str, str]]:
        rows = []
        for name, value in self.figures.items():
            if name.startswith("wer_") and value is not None:
                rows.append((name, f"{value:.1%}  (at most {MAX_WER.get(name[4:], 1.0):.0%})"))
            elif name in AIMS_S:
                shown = "not measured" if value is None else f"{value:.2f} s"
                late = " - missed" if value is not None and value > AIMS_S[name] else ""
                rows.append((name, f"{shown}  (aim: {AIMS_S[name]:.1f} s{late})"))
        return rows

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**self.figures, "faults": list(self.faults)}, indent=2) + "\n", encoding="utf-8")


def report(
    judgements: Sequence[Judgement],
    joins: Sequence[float | None],
    *,
    leaked: bool = False,
    engine: str = "embedded",
    words_served: int | None = None,
) -> Report:
    """`joins`: from the request to the first audio, per room. `leaked`: the app's log holds what somebody said.

    `words_served`: how many words the server of `engine` has said; None where the app transcribes by itself.
    """
    figures: dict[str, Any] = {"engine": engine}
    faults = []
    for language in sorted({judgement.language for judgement in judgements}):
        mine = [judgement for judgement in judgements if judgement.language == language]
        rate = sum((judgement.errors for judgement in mine), WordErrors(0)).rate
        figures[f"wer_{language}"] = round(rate, 4)
        if rate > MAX_WER.get(language, 1.0):
            faults.append(f"{language}: word error rate {rate:.1%}, at most {MAX_WER[language]:.0%} is right")
        missing = sum(judgement.missing for judgement in mine)
        if missing:
            faults.append(f"{language}: {missing} of {sum(len(j.timings) for j in mine)} utterances got no final")
    timings = [timing for judgement in judgements for timing in judgement.timings]
    figures["first_partial_p50_s"] = median_of([timing.first_partial_s for timing in timings])
    if words_served is not None:
        figures["first_word_p50_s"] = median_of([timing.first_word_s for timing in timings])
    figures["final_p50_s"] = median_of([timing.final_s for timing in timings])
    figures["join_to_audio_s"] = median_of(joins)
    figures["utterances"] = len(timings)
    figures["languages"] = {
        judgement.language: {
            "words": judgement.errors.words,
            "substitutions": judgement.errors.substitutions,
            "deletions": judgement.errors.deletions,
            "insertions": judgement.errors.insertions,
            "first_partial_s": [t.first_partial_s and round(t.first_partial_s, 3) for t in judgement.timings],
            "final_s": [t.final_s and round(t.final_s, 3) for t in judgement.timings],
        }
        for judgement in judgements
    }
    if words_served is not None:
        figures["words_served"] = words_served
        shown = sum(len(judgement.text.split()) for judgement in judgements)
        if words_served < _ITS_OWN * shown:
            faults.append(f"the server for {engine} said {words_served} words, of {shown} shown: another engine had to help")
    if not judgements:
        faults.append("nobody was captioned")
    if leaked:
        faults.append("the app's log holds caption text")
    return Report(figures, tuple(faults))
