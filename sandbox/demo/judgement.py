# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""How good captions were: word errors, and how long each utterance's first words and last words took. Pure.

Captions are matched to utterances by their words, since an app may close a caption in the middle of an utterance or
carry one over a short pause; times alone cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from statistics import median

from sandbox.caller import ReceivedCaption
from sandbox.recording import Recording
from sandbox.score import WordErrors, normalise, word_errors
from sandbox.stt_servers.words import words_of_utterance


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one utterance, in seconds: first words after its onset, their final after its last sound. None: never came.

    `first_word_s`: first words after the first word had been spoken, as far as the recording tells when that was.
    """

    first_partial_s: float | None
    final_s: float | None
    first_word_s: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of one playing of one recording. `text` is what the finals said."""

    language: str
    errors: WordErrors
    timings: tuple[Timing, ...]
    text: str = field(repr=False)

    @property
    def missing(self) -> int:
        """Utterances of which no final holds a word."""
        return sum(timing.final_s is None for timing in self.timings)


def judge(recording: Recording, captions: Sequence[ReceivedCaption], left_at: Callable[[float], float]) -> Judgement:
    """`left_at`: Unix time at which a position of the recording was sent; `captions`: one speaker's, in order of arrival."""
    finals = [caption for caption in captions if caption.final]
    text = " ".join(caption.text for caption in finals)
    language = recording.language
    blocks = _blocks(captions)
    spoken = [(number, word) for number, block in enumerate(blocks) for word in normalise(block[-1].text, language)]
    reference = [
        (number, word) for number, utterance in enumerate(recording.utterances) for word in normalise(utterance.text, language)
    ]
    matcher = SequenceMatcher(None, [word for _, word in reference], [word for _, word in spoken], autojunk=False)
    heard: dict[int, list[int]] = {}
    for match in matcher.get_matching_blocks():
        for offset in range(match.size):
            heard.setdefault(reference[match.a + offset][0], []).append(match.b + offset)
    first_word_ends = [words_of_utterance(utterance)[0].end_s for utterance in recording.utterances]
    timings = []
    for number, utterance in enumerate(recording.utterances):
        positions = heard.get(number)
        if not positions:
            timings.append(Timing(None, None))
            continue
        first_block, last_block = spoken[positions[0]][0], spoken[positions[-1]][0]
        before = positions[0] - next(index for index, (block, _) in enumerate(spoken) if block == first_block)
        first = next(
            c for c in blocks[first_block] if len(normalise(c.text, language)) > before or c is blocks[first_block][-1]
        )
        final = blocks[last_block][-1]
        timings.append(
            Timing(
                first.at - left_at(utterance.start_s),
                final.at - left_at(utterance.end_s) if final.final else None,
                first.at - left_at(first_word_ends[number]),
            )
        )
    return Judgement(language, word_errors(recording.text, text, language), tuple(timings), text)


def _blocks(captions: Sequence[ReceivedCaption]) -> list[list[ReceivedCaption]]:
    """Partials with the final that closes them; the last one may still be open."""
    blocks: list[list[ReceivedCaption]] = []
    open_block = False
    for caption in captions:
        if open_block:
            blocks[-1].append(caption)
        else:
            blocks.append([caption])
        open_block = not caption.final
    return blocks


def median_of(values: Sequence[float | None]) -> float | None:
    """The median of those that there are, to the millisecond."""
    known = [value for value in values if value is not None]
    return round(median(known), 3) if known else None
