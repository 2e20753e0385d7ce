# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Client frames, checked as strictly as the HPB checks them, and the server frames that have a shape of their own."""

from __future__ import annotations

import json
import math
from typing import Any, TypeAlias

from sandbox.hpb.errors import Refusal
from sandbox.hpb.versions import HpbVersion

Frame: TypeAlias = dict[str, Any]

#: Larger inbound frames close the connection with 1009.
MAX_FRAME = 64 * 1024

_STREAM_TYPES = ("audio", "video", "screen")


def parse(text: str | bytes) -> Frame:
    """One client frame. Raises Refusal("invalid_format") where it is binary or no JSON object with fitting types at its top."""
    if isinstance(text, bytes):
        raise Refusal("invalid_format")
    try:
        frame = json.loads(text)
    except ValueError as error:
        raise Refusal("invalid_format") from error
    if not isinstance(frame, dict) or not isinstance(frame.get("id", ""), str) or not isinstance(frame.get("type", ""), str):
        raise Refusal("invalid_format")
    return frame


def check(frame: Frame, hpb_version: HpbVersion) -> None:
    """Raises Refusal for what the HPB finds invalid before it looks at the session."""
    kind = frame.get("type")
    if not kind:
        raise Refusal("invalid_format")
    if kind in ("hello", "room", "message", "control", "internal") and not isinstance(frame.get(kind), dict):
        raise Refusal("invalid_format")
    if kind == "hello":
        _check_hello(frame["hello"])
    elif kind == "room":
        _text(frame["room"], "roomid")
    elif kind in ("message", "control"):
        _check_recipient(frame[kind], hpb_version)
    elif kind == "internal":
        _check_internal(frame["internal"])


def _text(part: Frame, key: str, *, needed: bool = False) -> str:
    value = part.get(key, "")
    if not isinstance(value, str) or (needed and not value):
        raise Refusal("invalid_format")
    return value


def _check_hello(hello: Frame) -> None:
    if hello.get("version") not in ("1.0", "2.0"):
        raise Refusal("invalid_hello_version")
    if _text(hello, "resumeid"):
        return
    auth = hello.get("auth")
    if not isinstance(auth, dict) or not isinstance(auth.get("params"), dict):
        raise Refusal("invalid_format")
    kind = auth.get("type") or "client"
    if kind == "internal":
        _text(auth["params"], "backend", needed=True)
        _text(auth["params"], "random")
        _text(auth["params"], "token")
    elif kind in ("client", "federation"):
        _text(auth, "url", needed=True)
        if hello["version"] == "2.0":
            _text(auth["params"], "token", needed=True)
    else:
        raise Refusal("invalid_format")


def _check_recipient(message: Frame, hpb_version: HpbVersion) -> None:
    recipient = message.get("recipient")
    if not isinstance(recipient, dict) or "data" not in message:
        raise Refusal("invalid_format")
    kind = recipient.get("type")
    if kind == "session":
        _text(recipient, "sessionid", needed=True)
    elif kind == "user":
        _text(recipient, "userid", needed=True)
    elif kind != "room" and (kind != "call" or "recipient-call" not in hpb_version.features):
        raise Refusal("invalid_format")


def _check_internal(internal: Frame) -> None:
    kind = internal.get("type")
    if not kind or (
        kind in ("addsession", "updatesession", "removesession", "incall") and not isinstance(internal.get(kind), dict)
    ):
        raise Refusal("invalid_format")
    if kind in ("addsession", "updatesession", "removesession"):
        _text(internal[kind], "sessionid", needed=True)
        _text(internal[kind], "roomid", needed=True)
    elif kind == "incall" and not isinstance(internal["incall"].get("incall"), int):
        raise Refusal("invalid_format")


#: The fields that the HPB parses in a message to the SFU, with their types. It relays messages that do not fit.
_MEDIA_SHAPES: dict[str, type] = {
    "type": str,
    "sid": str,
    "roomType": str,
    "payload": dict,
    "bitrate": int,
}
#: Additional fields of version 2.
_CODEC_SHAPES: dict[str, type] = {"audiocodec": str, "videocodec": str, "vp9profile": str, "h264profile": str}


def media_data(data: Any, hpb_version: HpbVersion) -> Frame | None:
    """Check `message.data` for the SFU. Returns None if it has another form and is relayed. Raises Refusal."""
    if not isinstance(data, dict):
        return None
    shapes = _MEDIA_SHAPES | _CODEC_SHAPES if hpb_version.checks_descriptions else _MEDIA_SHAPES
    for key, shape in shapes.items():
        value = data.get(key)
        if value is not None and (not isinstance(value, shape) or (isinstance(value, bool) and shape is int)):
            return None
    if not _fits_float64(data.get("payload")):
        return None
    room_type = data.get("roomType") or ""
    if room_type not in _STREAM_TYPES and (room_type or hpb_version.strict_room_type):
        raise Refusal("invalid_format")
    payload = data.get("payload") or {}
    if data.get("type") in ("offer", "answer") and hpb_version.checks_descriptions:
        description = payload.get("sdp")
        if not isinstance(description, str):
            raise Refusal("invalid_sdp")
        if not description.startswith("v=0"):
            raise Refusal("invalid_sdp", "Error parsing SDP from payload.")
    elif data.get("type") == "candidate" and hpb_version.checks_candidates:
        if "candidate" not in payload:
            raise Refusal("no_candidate")
        candidate = payload["candidate"]
        if not isinstance(candidate, dict) or not isinstance(candidate.get("candidate"), str):
            raise Refusal("invalid_candidate")
    return data


def _fits_float64(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_fits_float64(inner) for inner in value.values())
    if isinstance(value, list):
        return all(_fits_float64(inner) for inner in value)
    if isinstance(value, int):
        return abs(value) < 10**308
    return not isinstance(value, float) or math.isfinite(value)


def event(target: str, kind: str, **fields: Any) -> Frame:
    return {"type": "event", "event": {"target": target, "type": kind, **fields}}


def bye(reason: str) -> Frame:
    return {"type": "bye", "bye": {"reason": reason}}


def farewell(message_id: str | None, hpb_version: HpbVersion) -> Frame:
    """The answer to a client's bye."""
    frame: Frame = {**({"id": message_id} if message_id else {}), "type": "bye"}
    return {**frame, "bye": {"reason": ""}} if hpb_version.empty_bye else frame


def from_sfu(sender: str, receiver: str, kind: str, room_type: str, sid: str, payload: Frame) -> Frame:
    """An offer, answer or candidate that the SFU made, dressed as a message of session `sender`."""
    data = {"to": receiver, "from": sender, "type": kind, "roomType": room_type, "payload": payload, "sid": sid}
    return {"type": "message", "message": {"sender": {"type": "session", "sessionid": sender}, "data": data}}


def relayed(kind: str, recipient_type: str, sender: str, user: str, data: Any, recipient: Frame | None = None) -> Frame:
    """A message or control frame passed on; `recipient` only where the receiver could not know it otherwise."""
    origin = {"type": recipient_type, "sessionid": sender, **({"userid": user} if user else {})}
    return {"type": kind, kind: {"sender": origin, **({"recipient": recipient} if recipient else {}), "data": data}}
