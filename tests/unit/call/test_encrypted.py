# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Encrypted speakers as a condition of the service."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from live_transcription.call.problems import ENCRYPTED_S, Problems
from live_transcription.observability.health import Outcomes


def call(encrypted: int) -> Any:
    return SimpleNamespace(
        encrypted_count=encrypted,
        last_error=None,
        joined=SimpleNamespace(is_set=lambda: True),
        in_room_since=0.0,
        has_media_path=True,
        path_failures=dict,
        turn_answers=dict,
    )


class Watched:
    """The problems of calls that the test describes, checked once a second."""

    def __init__(self) -> None:
        self.problems, self.now = Problems(Outcomes()), 0.0
        self.begun = self.ended = 0

    def watch(self, seconds: float, *encrypted: int) -> None:
        calls = [call(count) for count in encrypted]
        for _ in range(round(seconds)):
            for change in self.problems.observe(calls, (), None, self.now, accepted_at=0.0, at=self.now):
                assert change.condition.code == "encrypted"
                self.begun += change.lasted_s is None
                self.ended += change.lasted_s is not None
            self.now += 1.0

    @property
    def messages(self) -> list[str]:
        return [condition.message for condition in self.problems.current()]


def test_the_encrypted_speakers_of_all_calls_are_one_condition() -> None:
    ours = Watched()
    ours.watch(5, 0, 0)
    assert ours.messages == []
    ours.watch(2, 1, 0, 2)
    (message,) = ours.messages
    assert "Speakers without captions: 3." in message
    ours.watch(60, 1, 0, 0)
    (message,) = ours.messages
    assert "Speakers without captions: 1." in message
    assert (ours.begun, ours.ended) == (1, 0)
    ours.watch(ENCRYPTED_S + 1, 0)
    assert ours.messages == []
    assert (ours.begun, ours.ended) == (1, 1)


def test_a_speaker_who_switches_encryption_on_and_off_causes_one_line() -> None:
    ours = Watched()
    for _ in range(50):
        ours.watch(2, 1)
        ours.watch(ENCRYPTED_S - 1, 0)
    assert (ours.begun, ours.ended) == (1, 0)
