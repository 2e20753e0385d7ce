# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Participants of a Talk call, with real websockets, real WebRTC, and recordings as voices."""

from sandbox.caller.caller import Caller
from sandbox.caller.captions import CaptionLog, ReceivedCaption
from sandbox.caller.connection import SignalingError
from sandbox.caller.frame_encryption import FrameEncryption
from sandbox.caller.microphone import Mute, Playback
from sandbox.caller.participant import CallFailed
from sandbox.caller.phone import PhoneCaller, RecordingServer
from sandbox.caller.remote import RemoteCaller
from sandbox.caller.speech import OpusPacket, Speech, from_recording, from_samples, room_noise, tone

__all__ = [
    "CallFailed",
    "Caller",
    "CaptionLog",
    "FrameEncryption",
    "Mute",
    "OpusPacket",
    "PhoneCaller",
    "Playback",
    "ReceivedCaption",
    "RecordingServer",
    "RemoteCaller",
    "SignalingError",
    "Speech",
    "from_recording",
    "from_samples",
    "room_noise",
    "tone",
]
