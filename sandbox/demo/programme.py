# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The turns of the demo: which speaker plays which recording, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.recording import Recording, load

#: Names of calls and of those who read captions in them, by language.
CALLS = {"en": ("A call in English", "Dana"), "fr": ("Un appel en français", "Émile")}
_NAMES = ("Alice", "Ben", "Chloé", "Farid", "Grace", "Hugo")


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker plays a recording from `start_s` to `end_s` (None: its end), in the call of its language."""

    speaker: str
    recording: Recording
    start_s: float = 0.0
    end_s: float | None = None

    @property
    def language(self) -> str:
        return self.recording.language

    @property
    def whole(self) -> bool:
        return self.start_s == 0.0 and self.end_s is None


@dataclass(frozen=True, slots=True)
class Programme:
    """Lanes run at the same time; the turns of a lane follow each other."""

    lanes: tuple[tuple[Turn, ...], ...]

    @property
    def turns(self) -> list[Turn]:
        return [turn for lane in self.lanes for turn in lane]

    @property
    def languages(self) -> list[str]:
        """One call each, in the order of their first turns."""
        return list(dict.fromkeys(turn.language for turn in self.turns))

    def speakers(self, language: str) -> list[str]:
        return list(dict.fromkeys(turn.speaker for turn in self.turns if turn.language == language))

    def only(self, language: str) -> Programme:
        """The turns in one language."""
        lanes = (tuple(turn for turn in lane if turn.language == language) for lane in self.lanes)
        return Programme(tuple(lane for lane in lanes if lane))

    def credits(self) -> list[str]:
        recordings = (turn.recording for turn in self.turns)
        return sorted({f"{one.source}: {one.credits} ({one.licence})" for one in recordings})


def programme(names: Sequence[str] = ()) -> Programme:
    """The turns of these recordings, all at the same time; without names, the usual ones.

    At most two of the usual turns run at a time, so that two cores keep up: in the English call Alice and Ben talk across
    each other, and when Ben has finished, Chloé talks in the French call. Raises FileNotFoundError for a recording that does
    not exist.
    """
    if names:
        return Programme(tuple((Turn(_NAMES[number % len(_NAMES)], load(name)),) for number, name in enumerate(names)))
    return Programme(
        (
            (Turn("Alice", load("en-conference")),),
            (Turn("Ben", load("en-novel")), Turn("Chloé", load("fr-conference"))),
        )
    )
