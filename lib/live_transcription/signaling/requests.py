# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Builds the frames that an internal client sends to the HPB (standalone-signaling-api-v1), as ASCII JSON text. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from live_transcription.types import Caption, Secret

#: With this feature the app is in the room but not in the call. Without it the HPB presets `inCall` to 3 for internal clients,
#: and Talk's clients ask for a stream that the app does not have.
FEATURE_INTERNAL_INCALL = "internal-incall"
#: HPB versions before 2.0 refuse a message whose data holds no known room type, whatever its own type.
_CAPTION_ROOM_TYPE = "video"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One session, or everybody in the call if `session_id` is None, which requires the HPB's feature `recipient-call`."""

    session_id: str | None


def hello_token(internal_secret: Secret, random: str) -> str:
    """The hexadecimal HMAC-SHA256 of `random` (at least 32 characters) with the HPB's internal secret."""
    return hmac.new(internal_secret.reveal().encode(), random.encode(), hashlib.sha256).hexdigest()


def hello(request_id: str, random: str, internal_secret: Secret, backend_url: str) -> str:
    """Request a new session.

    `random` has at least 32 characters. `backend_url` is Nextcloud's base address; see `urls.backend_base_url`.
    """
    params = {"random": random, "token": hello_token(internal_secret, random), "backend": backend_url}
    auth = {"type": "internal", "params": params}
    return _frame("hello", {"version": "2.0", "features": [FEATURE_INTERNAL_INCALL], "auth": auth}, request_id)


def hello_resume(request_id: str, resume_id: str) -> str:
    """Resume a session on a new websocket."""
    return _frame("hello", {"version": "2.0", "resumeid": resume_id}, request_id)


def join_room(request_id: str, room_token: str) -> str:
    """Join a room. There is no `sessionid`, since the HPB would report the app to Nextcloud as that participant."""
    return _frame("room", {"roomid": room_token}, request_id)


def bye(request_id: str) -> str:
    """End the session."""
    return _frame("bye", {}, request_id)


def request_offer(request_id: str, publisher: str, room_type: str) -> str:
    """Request an offer for a publisher's stream."""
    return _message(Recipient(publisher), {"type": "requestoffer", "roomType": room_type}, request_id)


def answer(request_id: str, publisher: str, room_type: str, sid: str, sdp: str) -> str:
    """Answer the offer with this `sid`."""
    payload = {"type": "answer", "sdp": sdp}
    body = {"type": "answer", "roomType": room_type, "sid": sid, "to": publisher, "payload": payload}
    return _message(Recipient(publisher), body, request_id)


def candidate(
    request_id: str, publisher: str, room_type: str, sid: str, line: str, sdp_mid: str | None, sdp_m_line_index: int | None
) -> str:
    """Send an ICE candidate. `line` is an SDP line `a=candidate:…` without `a=`; if empty, there are no more candidates."""
    ice = {"candidate": line, "sdpMid": sdp_mid, "sdpMLineIndex": sdp_m_line_index}
    body = {"type": "candidate", "roomType": room_type, "sid": sid, "to": publisher, "payload": {"candidate": ice}}
    return _message(Recipient(publisher), body, request_id)


def transcript_data(caption: Caption) -> str:
    """The part of a caption's frame that is the same for every recipient."""
    body = {
        "type": "transcript",
        "roomType": _CAPTION_ROOM_TYPE,
        "message": caption.text,
        "langId": caption.language,
        "speakerSessionId": caption.speaker,
        "final": True,
    }
    return json.dumps(body, separators=(",", ":"))


def transcript(recipient: Recipient, data: str) -> str:
    """A caption for one recipient. `data` is the result of `transcript_data`, which is made once for all recipients."""
    to = json.dumps(_address(recipient), separators=(",", ":"))
    return f'{{"type":"message","message":{{"recipient":{to},"data":{data}}}}}'


def _frame(kind: str, body: dict[str, Any], request_id: str) -> str:
    return json.dumps({"type": kind, kind: body, "id": request_id}, separators=(",", ":"))


def _message(recipient: Recipient, body: dict[str, Any], request_id: str) -> str:
    return _frame("message", {"recipient": _address(recipient), "data": body}, request_id)


def _address(recipient: Recipient) -> dict[str, str]:
    return {"type": "call"} if recipient.session_id is None else {"type": "session", "sessionid": recipient.session_id}
