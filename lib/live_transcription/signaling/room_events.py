# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What a frame that arrives while we are in the room means to the call."""

from __future__ import annotations

from live_transcription.signaling import messages
from live_transcription.signaling.events import (
    CallEndedForAll,
    CandidateReceived,
    InCall,
    OfferReceived,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
    RemovedFromRoom,
    SignalingEvent,
)


def room_event(frame: messages.Frame, room_token: str) -> SignalingEvent | None:
    """The event of one frame; None if it is not about this room or tells nothing."""
    match frame:
        case messages.Joined(participants=participants) if participants:
            return ParticipantsJoined(participants)
        case messages.Left(session_ids=session_ids) if session_ids:
            return ParticipantsLeft(session_ids)
        case messages.Changed(participants=participants) if participants:
            return ParticipantsUpdated(participants)
        case messages.Updated(room_id=room_id, participants=participants) if participants and room_id in (None, room_token):
            return ParticipantsUpdated(participants)
        case messages.UpdatedAll(in_call=InCall.DISCONNECTED) if frame.room_id in (None, room_token):
            return CallEndedForAll()
        case messages.SwitchTo(room_id=room_id):
            return None if room_id is None else RemovedFromRoom(switch_to=room_id)
        case messages.RoomDeleted():
            return RemovedFromRoom()
        case messages.Disinvited(room_id=room_id) if room_id == room_token:
            return RemovedFromRoom()
        case OfferReceived() | CandidateReceived():
            return frame
    return None
