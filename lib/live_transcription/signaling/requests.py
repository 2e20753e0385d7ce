# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Frames that an internal client sends to the HPB (standalone-signaling-api-v1), as JSON text. Non-ASCII text is escaped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from live_transcription.types import Caption

#: Without it the HPB presets inCall=3 for us, and clients ask for a stream that we do not have.
FEATURE_INTERNAL_INCALL = "internal-incall"
#: HPB versions before 2.0 refuse a message whose data holds no known room type, whatever its own type.
_CAPTION_ROOM_TYPE = "video"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One session, or everybody in the call (`session_id=None`), which needs the server feature `recipient-call`."""

    session_id: str | None

    @classmethod
    def session(cls, session_id: str) -> Recipient:
        return cls(session_id)

    @classmethod
    def call(cls) -> Recipient:
        return cls(None)


def _frame(kind: str, body: dict[str, Any], request_id: str | None = None) -> str:
    frame: dict[str, Any] = {"type": kind, kind: body}
    if request_id is not None:
        frame["id"] = request_id
    return json.dumps(frame, separators=(",", ":"))


def _message(recipient: Recipient, body: dict[str, Any], request_id: str | None = None) -> str:
    return _frame("message", {"recipient": _address(recipient), "data": body}, request_id)


def _address(recipient: Recipient) -> dict[str, str]:
    return {"type": "call"} if recipient.session_id is None else {"type": "session", "sessionid": recipient.session_id}


def hello(request_id: str, *, random: str, token: str, backend_url: str) -> str:
    """A new session. `token` is the HMAC of `random`, see `auth.hello_token`."""
    params = {"random": random, "token": token, "backend": backend_url}
    auth = {"type": "internal", "params": params}
    return _frame("hello", {"version": "2.0", "features": [FEATURE_INTERNAL_INCALL], "auth": auth}, request_id)


def hello_resume(request_id: str, resume_id: str) -> str:
    return _frame("hello", {"version": "2.0", "resumeid": resume_id}, request_id)


def join_room(request_id: str, room_token: str) -> str:
    """Without `sessionid`: with one, the HPB would report us to Nextcloud as that participant."""
    return _frame("room", {"roomid": room_token}, request_id)


def bye(request_id: str) -> str:
    return _frame("bye", {}, request_id)


def request_offer(request_id: str, publisher: str, room_type: str) -> str:
    return _message(Recipient(publisher), {"type": "requestoffer", "roomType": room_type}, request_id)


def answer(request_id: str, publisher: str, room_type: str, sid: str, sdp: str) -> str:
    body = {
        "type": "answer",
        "roomType": room_type,
        "sid": sid,
        "to": publisher,
        "payload": {"type": "answer", "sdp": sdp},
    }
    return _message(Recipient(publisher), body, request_id)


def candidate(
    request_id: str, publisher: str, room_type: str, sid: str, line: str, sdp_mid: str | None, sdp_m_line_index: int | None
) -> str:
    """`line` as in an SDP `a=candidate:` line without `a=`; empty: end of candidates."""
    ice = {"candidate": line, "sdpMid": sdp_mid, "sdpMLineIndex": sdp_m_line_index}
    body = {"type": "candidate", "roomType": room_type, "sid": sid, "to": publisher, "payload": {"candidate": ice}}
    return _message(Recipient(publisher), body, request_id)


def transcript_data(caption: Caption) -> str:
    """The part of `transcript` that is the same for every recipient."""
    return json.dumps(
        {
            "type": "transcript",
            "roomType": _CAPTION_ROOM_TYPE,
            "message": caption.text,
            "langId": caption.language,
            "speakerSessionId": caption.speaker,
            "final": True,
        },
        separators=(",", ":"),
    )


def transcript(recipient: Recipient, data: str) -> str:
    """`data`: the result of `transcript_data`, made once for all recipients."""
    to = json.dumps(_address(recipient), separators=(",", ":"))
    return f'{{"type":"message","message":{{"recipient":{to},"data":{data}}}}}'
