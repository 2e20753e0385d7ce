# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The words that a transcript adds to the utterances. The defaults are English. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from live_transcription.transcript import GapReason, SpeakerKind
from live_transcription.transcripts.model import Missing, Spoken


@dataclass(frozen=True, slots=True)
class Labels:
    """Constant words in the language of the readers, without markup. `{duration}` is a length of time such as 0:01:20."""

    heading: str = "Transcript: {title}"
    untitled: str = "Conversation"
    begins: str = "Beginning: {time} ({zone})"
    time: str = "Time"
    offset: str = "Offset"
    speaker: str = "Speaker"
    said: str = "Said"
    translation: str = "Translation ({language})"
    #: What a speaker without a name is called.
    unnamed: Mapping[SpeakerKind, str] = field(
        default_factory=lambda: {
            SpeakerKind.USER: "Unknown",
            SpeakerKind.GUEST: "Guest",
            SpeakerKind.PHONE: "Phone",
            SpeakerKind.FEDERATED: "Guest of another server",
        }
    )
    #: Added to the name of speakers of this kind.
    kinds: Mapping[SpeakerKind, str] = field(
        default_factory=lambda: {
            SpeakerKind.USER: "",
            SpeakerKind.GUEST: "guest",
            SpeakerKind.PHONE: "phone",
            SpeakerKind.FEDERATED: "other server",
        }
    )
    gaps: Mapping[GapReason, str] = field(
        default_factory=lambda: {
            GapReason.OUTAGE: "Not transcribed for {duration}: the app was not in the call.",
            GapReason.NO_ENGINE: "Not transcribed for {duration}: speech-to-text was not available.",
            GapReason.NOT_ADMITTED: "Not transcribed for {duration}: too many people spoke at the same time.",
            GapReason.RESTART: "Not transcribed for {duration}: the app was restarted.",
            GapReason.DAMAGED: "The stored transcript was damaged. A part is missing here.",
            GapReason.FULL: "The transcript has reached its maximum size. The following {duration} are missing.",
        }
    )

    def name(self, spoken: Spoken) -> str:
        """The speaker's name as it is shown."""
        kind = self.kinds[spoken.kind]
        if not spoken.name:
            return self.unnamed[spoken.kind]
        return f"{spoken.name} ({kind})" if kind else spoken.name

    def gap(self, missing: Missing) -> str:
        return self.gaps[missing.reason].replace("{duration}", offset(missing.seconds))


def offset(seconds: float) -> str:
    """A length of time as h:mm:ss."""
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def words(spoken: Spoken) -> str:
    """The words of an utterance, with an ellipsis if the speaker's last words may be missing."""
    return spoken.text if spoken.final else f"{spoken.text} …"
