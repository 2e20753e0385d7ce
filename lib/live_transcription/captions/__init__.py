# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What was said, as captions: utterances of a speaker, their cadence, and the order between speakers. Pure."""

from live_transcription.captions.assembler import CaptionAssembler
from live_transcription.captions.floor import CaptionFloor
from live_transcription.captions.policy import CaptionPolicy, UtteranceText
from live_transcription.captions.throttle import CaptionThrottle

__all__ = ["CaptionAssembler", "CaptionFloor", "CaptionPolicy", "CaptionThrottle", "UtteranceText"]
