# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The seam between calls and those who keep transcripts."""

from __future__ import annotations

from abc import ABC, abstractmethod

from live_transcription.transcript import Gap, GapReason, SpeakerKind, Utterance

__all__ = ["Gap", "GapReason", "NoTranscripts", "SpeakerKind", "TranscriptSink", "Utterance"]


class TranscriptSink(ABC):
    """Receives the utterances of the rooms whose transcript it keeps.

    Calls use it on the event loop. All methods return at once and raise nothing. `display_name` is what the participant is
    called at that time. It is chosen by the participant, so it may be anything, and it is "" if it is not known.
    """

    @abstractmethod
    def keeps(self, room_token: str) -> bool:
        """Whether a transcript of this room is being kept now.

        When the answer changes, the sink's owner calls `TranscriptionService.keep_transcribing` or `stop_keeping`.
        """

    @abstractmethod
    def on_utterance(self, room_token: str, utterance: Utterance, display_name: str) -> None:
        """An utterance has ended, in a room whose transcript is kept. Utterances arrive in the order in which they end."""

    def on_gap(self, room_token: str, gap: Gap, display_name: str) -> None:  # noqa: B027
        """Speech was not transcribed, in a room whose transcript is kept. `display_name`: "" if it concerns everybody."""

    def on_call_over(self, room_token: str) -> None:  # noqa: B027
        """The call is over: a moderator ended it, nobody is left in it, or the app was removed from the room.

        All utterances came before. It is not called when the app stops or leaves by itself.
        """


class NoTranscripts(TranscriptSink):
    """Keeps nothing."""

    def keeps(self, room_token: str) -> bool:  # noqa: ARG002
        return False

    def on_utterance(self, room_token: str, utterance: Utterance, display_name: str) -> None:
        pass
