# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What was said, as captions: words are committed once, and speakers take turns on the screen. Pure."""

from live_transcription.captions.assembler import CaptionAssembler
from live_transcription.captions.floor import CaptionFloor
from live_transcription.captions.policy import CaptionPolicy, Committed

__all__ = ["CaptionAssembler", "CaptionFloor", "CaptionPolicy", "Committed"]
