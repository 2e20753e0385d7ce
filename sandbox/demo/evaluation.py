# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Measures captions: word errors, and the time until words are on the reader's screen. Pure.

A model of Talk's renderer (`sandbox.talk_renderer`) shows the messages, and they are judged as the reader sees them. Words are
matched to utterances by their text, since times alone do not show which utterance a late word belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from statistics import median, quantiles

from sandbox.caller import ReceivedCaption
from sandbox.recording import Recording
from sandbox.stt_servers.words import words_of_utterance
from sandbox.talk_renderer import COLUMNS, Style, TalkRenderer
from sandbox.word_error_rate import WordErrors, normalise, word_errors

#: The renderers that captions are judged under, by name.
RENDERERS = {f"{style.value}-{columns}": (style, columns) for style in Style for columns in COLUMNS}
#: Seconds without news after the last word until no more words are expected.
QUIET_S = 3.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds from an utterance's onset to its first word on the screen, and from its last sound to its last word.

    None: no word of it was shown.
    """

    first_word_s: float | None
    last_word_s: float | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result of playing one recording, with one renderer. `text`: what the reader saw.

    `word_delays_s`: for each shown word, the time from its end in the speech to the screen.
    """

    language: str
    errors: WordErrors
    timings: tuple[Timing, ...]
    text: str = field(repr=False)
    word_delays_s: tuple[float, ...] = ()

    @property
    def missing(self) -> int:
        """Utterances of which no word was shown."""
        return sum(timing.last_word_s is None for timing in self.timings)


def judge(
    recording: Recording,
    captions: Sequence[ReceivedCaption],
    left_at: Callable[[float], float],
    *,
    style: Style = Style.APPEND,
    columns: int = COLUMNS[1],
    speaker: str | None = None,
) -> Judgement:
    """`left_at`: when a position of the recording was sent; `captions`: in order of arrival.

    `speaker`: the speaker to judge if others have captions, too.
    """
    renderer = TalkRenderer(style, columns=columns)
    for caption in captions:
        renderer.receive(caption.speaker, caption.text, caption.language, caption.at, final=caption.final)
    language = recording.language
    shown = [(token, word.at) for word in renderer.words(speaker) for token in normalise(word.text, language)]
    reference = [
        (token, number, word.end_s)
        for number, utterance in enumerate(recording.utterances)
        for word in words_of_utterance(utterance)
        for token in normalise(word.text, language)
    ]
    matcher = SequenceMatcher(None, [token for token, _, _ in reference], [token for token, _ in shown], autojunk=False)
    times: dict[int, list[float]] = {}
    delays = []
    for match in matcher.get_matching_blocks():
        for offset in range(match.size):
            _, number, end_s = reference[match.a + offset]
            at = shown[match.b + offset][1]
            times.setdefault(number, []).append(at)
            delays.append(at - left_at(end_s))
    timings = []
    for number, utterance in enumerate(recording.utterances):
        if seen := times.get(number):
            timings.append(Timing(min(seen) - left_at(utterance.start_s), max(0.0, max(seen) - left_at(utterance.end_s))))
        else:
            timings.append(Timing(None, None))
    text = renderer.text(speaker)
    return Judgement(language, word_errors(recording.text, text, language), tuple(timings), text, tuple(delays))


def complete(recording: Recording, captions: Sequence[ReceivedCaption], left_at: Callable[[float], float], now: float) -> bool:
    """Whether no more captions are expected. On a busy machine, those of earlier utterances may come after the last sound."""
    if not captions or captions[-1].at <= left_at(recording.utterances[-1].end_s) or now - captions[-1].at <= QUIET_S:
        return False
    return judge(recording, captions, left_at).timings[-1].last_word_s is not None


def judge_under_all(
    recording: Recording, captions: Sequence[ReceivedCaption], left_at: Callable[[float], float]
) -> Mapping[str, Judgement]:
    """A judgement for each of `RENDERERS`."""
    return {
        name: judge(recording, captions, left_at, style=style, columns=columns) for name, (style, columns) in RENDERERS.items()
    }


def median_of(values: Sequence[float | None]) -> float | None:
    """The median of those that there are, to the millisecond."""
    known = [value for value in values if value is not None]
    return round(median(known), 3) if known else None


def p95_of(values: Sequence[float | None]) -> float | None:
    """The 95th percentile of the known values, to the millisecond."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return median_of(known)
    return round(quantiles(known, n=20, method="inclusive")[-1], 3)
