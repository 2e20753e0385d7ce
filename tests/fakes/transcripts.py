# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A sink that keeps the transcripts of the rooms that a test names."""

from __future__ import annotations

from live_transcription.transcript import Gap, GapReason, SpeakerKind, Utterance
from live_transcription.transcripts.sink import TranscriptSink


class RecordingSink(TranscriptSink):
    def __init__(self, *rooms: str) -> None:
        self.rooms = set(rooms)
        #: Utterances: the name, the kind of speaker and the text.
        self.said: list[tuple[str, SpeakerKind, str]] = []
        self.utterances: list[Utterance] = []
        self.gaps: list[tuple[GapReason, str, float]] = []
        self.over: list[str] = []
        self.failure: Exception | None = None

    def keeps(self, room_token: str) -> bool:
        return room_token in self.rooms

    def on_utterance(self, room_token: str, utterance: Utterance, display_name: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.said.append((display_name, utterance.kind, utterance.text))
        self.utterances.append(utterance)

    def on_gap(self, room_token: str, gap: Gap, display_name: str) -> None:
        self.gaps.append((gap.reason, display_name, round(gap.ended_at - gap.started_at, 1)))

    def on_call_over(self, room_token: str) -> None:
        self.over.append(room_token)
