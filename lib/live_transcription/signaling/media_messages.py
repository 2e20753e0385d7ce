# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Parses the SFU's offers and candidates, and recognises those that a participant has forged. Pure.

The HPB relays messages of participants (`message.data`) verbatim, to a session as well as to a room. So an offer or candidate
is accepted only in the form in which the HPB itself writes it.
"""

from __future__ import annotations

import json
import math
from typing import Any

from live_transcription.signaling.events import CandidateReceived, OfferReceived
from live_transcription.signaling.frames import (
    BrokenFrame,
    ForgedFrame,
    IgnoredFrame,
    object_of,
    required_text,
    safe_name,
    text_of,
)

_MEDIA_MESSAGES = ("offer", "candidate", "endOfCandidates")
#: The keys that the HPB (since 2020) writes into `message.data` of an offer or candidate. All values except `payload` are text.
_MEDIA_KEYS = frozenset(("to", "from", "type", "roomType", "payload", "sid"))
#: Limit of nested levels in a payload. A real one has two: the payload and its candidate.
_PAYLOAD_LEVELS = 4
_MAX_NUMBER = 2**31


def parse_message(body: dict[str, Any], text: str) -> OfferReceived | CandidateReceived | ForgedFrame | IgnoredFrame:
    """Parse the `message` of a frame. `text` is the whole frame, in which repeated keys can be seen. Raises BrokenFrame."""
    # Most messages are the participants' own, such as their captions or raised hands.
    data = body.get("data")
    kind = data.get("type") if isinstance(data, dict) else None
    if not isinstance(data, dict) or kind not in _MEDIA_MESSAGES:
        return IgnoredFrame(f"message {safe_name(kind)}")

    # Only the HPB can write `sender`, so the publisher is never taken from `data`.
    sender = body.get("sender")
    publisher = text_of(sender, "sessionid") if isinstance(sender, dict) and sender.get("type") == "session" else None
    if publisher is None or data.get("from", publisher) != publisher or not _is_from_hpb(data, text):
        return ForgedFrame(kind)

    room_type = text_of(data, "roomType") or "video"
    sid = text_of(data, "sid") or ""
    if kind == "endOfCandidates":
        return CandidateReceived(publisher, room_type, sid, None, None, None)
    payload = object_of(data, "payload")
    if kind == "offer":
        return OfferReceived(publisher, room_type, sid, required_text(payload, "sdp"))

    ice = payload.get("candidate")
    if not isinstance(ice, dict):
        raise BrokenFrame("candidate is no object")
    line, mid, index = text_of(ice, "candidate"), ice.get("sdpMid"), ice.get("sdpMLineIndex")
    if line is None and ice.get("candidate") not in (None, ""):
        raise BrokenFrame("candidate is no text")
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        index = None
    return CandidateReceived(publisher, room_type, sid, line, mid if isinstance(mid, str) else None, index)


def _is_from_hpb(data: dict[str, Any], text: str) -> bool:
    """Whether `message.data` of a frame with `sender.type` "session" can only come from the HPB itself.

    The HPB does not relay an offer or candidate that a participant addresses to a session, since it is for the SFU. But it
    relays a message that it cannot parse as such like any other: one with `"bitrate": "x"` or `"sid": 7`, with a number that
    does not fit a float64, or with a repeated key. A message without these flaws comes from the HPB.
    """
    if not data.keys() <= _MEDIA_KEYS:
        return False
    if any(not isinstance(value, str) for key, value in data.items() if key != "payload"):
        return False
    payload = data.get("payload", {})
    return isinstance(payload, dict) and _is_plain(payload, _PAYLOAD_LEVELS) and not _repeats_a_key(text)


def _is_plain(value: object, levels: int) -> bool:
    """Whether this is text, a boolean, null, a number that fits a float64, or an object or array of these."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return levels > 0 and all(_is_plain(each, levels - 1) for each in inner)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < _MAX_NUMBER
    return value is None or isinstance(value, str)


def _repeats_a_key(text: str) -> bool:
    """Whether an object of this frame has a key twice. `json` alone keeps only the last value."""
    repeated = False

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        found = dict(pairs)
        repeated = repeated or len(found) < len(pairs)
        return found

    try:
        json.loads(text, object_pairs_hook=check)
    except RecursionError:  # the hook takes an additional level of the stack
        return True
    return repeated
