# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The HPB's error codes with its own texts."""

from __future__ import annotations

from typing import Any

_TEXTS = {
    "already_joined": "Already joined this room.",
    "auth_failed": "The user could not be authenticated.",
    "client_not_found": "No MCU client found to send message to.",
    "hello_expected": "Expected Hello request.",
    "invalid_backend": "The backend URL is not supported.",
    "invalid_candidate": "Payload does not contain a valid candidate.",
    "invalid_client_type": "The client type is not supported.",
    "invalid_format": "Invalid data format.",
    "invalid_hello_version": "The hello version is not supported.",
    "invalid_sdp": "Payload does not contain a valid SDP.",
    "invalid_token": "The passed token is invalid.",
    "no_candidate": "Payload does not contain a candidate.",
    "no_such_room": "The user is not invited to this room.",
    "no_such_session": "The session to resume does not exist.",
    "processing_failed": "Processing of the message failed, please check server logs.",
    "room_join_failed": "Could not join the room.",
    "token_expired": "The token is expired.",
    "token_not_valid_yet": "The token is not valid yet.",
    "too_many_requests": "Too many requests.",
}


class Refusal(Exception):
    """Answered with an `error` frame of this code that carries the request's id."""

    def __init__(self, code: str, text: str = "", details: Any = None) -> None:
        super().__init__(code)
        self.code = code
        self.text = text or _TEXTS.get(code, code)
        self.details = details

    def frame(self, message_id: str | None = None) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.text}
        if self.details is not None:
            error["details"] = self.details
        return {**({"id": message_id} if message_id else {}), "type": "error", "error": error}
