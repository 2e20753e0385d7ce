# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Frames from the HPB (standalone-signaling-api-v1), parsed into plain values.

The parsers never raise: unknown frames become `Ignored`, broken ones `Invalid`. Both contain only constants of this file or of
the protocol, so they are safe to log.

The HPB relays messages of participants (`message.data`) verbatim, to a session as well as to a room. Offers and candidates are
accepted only in the form in which the HPB itself writes them; see `_written_by_the_hpb`. All others are `Forged`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from live_transcription.signaling.events import CandidateReceived, InCall, OfferReceived, Participant

#: Features in a `join` entry that only internal sessions have.
_INTERNAL_FEATURES = frozenset({"internal-incall", "start-dialout"})
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_MEDIA_MESSAGES = ("offer", "candidate", "endOfCandidates")
#: The keys that the HPB writes into `message.data` of an offer or candidate (since 2020). All values except `payload` are text.
#: Other keys show that a participant wrote the message.
_MEDIA_KEYS = frozenset(("to", "from", "type", "roomType", "payload", "sid"))
#: Participants' messages may have 64 KiB, which take 1.6 ms to parse. An SFU's offer is never longer than this.
_MAX_MESSAGE_CHARACTERS = 32_768
_MESSAGE_PREFIX = '{"type":"message",'
#: Limit of nested levels in a payload. A real one has two: the payload and its candidate.
_PAYLOAD_LEVELS = 4
_MAX_FLAGS = 2**31
#: Every combination of the known in-call flags. IntFlag would cache each unknown combination forever.
_FLAGS = tuple(InCall(flags) for flags in range(16))
#: Longest accepted id of a session or user; a participant with a longer session id is ignored. Talk stores 512 characters.
MAX_ID_CHARS = 512
#: Participants per slice of a large frame: about 1 ms to parse, and 1 to 3 ms for the call to apply.
SLICE_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class Welcome:
    version: str
    features: frozenset[str]


@dataclass(frozen=True, slots=True)
class Hello:
    """`resume_id` is as good as a password for this session. `features=None`: the frame did not say.

    `session_id` is empty where the frame holds none, which breaks the protocol.
    """

    id: str | None
    session_id: str
    resume_id: str | None = field(repr=False)
    version: str | None
    features: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """`code` is safe to log: what does not look like a code reads `unknown`."""

    id: str | None
    code: str


@dataclass(frozen=True, slots=True)
class Bye:
    reason: str


@dataclass(frozen=True, slots=True)
class Room:
    id: str | None
    room_id: str


@dataclass(frozen=True, slots=True)
class Joined:
    participants: tuple[Participant, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    participants: tuple[Participant, ...]


@dataclass(frozen=True, slots=True)
class Left:
    session_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """`participants/update`; `room_id=None` where the frame does not say."""

    room_id: str | None
    participants: tuple[Participant, ...]


@dataclass(frozen=True, slots=True)
class UpdatedAll:
    """One in-call state for everybody; 0 ends the call for all."""

    room_id: str | None
    in_call: InCall


@dataclass(frozen=True, slots=True)
class SwitchTo:
    room_id: str | None


@dataclass(frozen=True, slots=True)
class Disinvited:
    room_id: str | None


@dataclass(frozen=True, slots=True)
class RoomDeleted:
    pass


@dataclass(frozen=True, slots=True)
class Ignored:
    """Well-formed, but nothing for us. `kind` is safe to log."""

    kind: str


@dataclass(frozen=True, slots=True)
class Invalid:
    """`reason` says what is broken and never holds a part of the frame."""

    reason: str


@dataclass(frozen=True, slots=True)
class Forged:
    """An offer or candidate written by a participant, not by the HPB. `kind` is the type of the message."""

    kind: str


Frame: TypeAlias = (
    Welcome
    | Hello
    | ErrorFrame
    | Bye
    | Room
    | Joined
    | Changed
    | Left
    | Updated
    | UpdatedAll
    | SwitchTo
    | Disinvited
    | RoomDeleted
    | OfferReceived
    | CandidateReceived
    | Forged
    | Ignored
    | Invalid
)


class _BrokenFrame(Exception):
    """Carries the reason of an `Invalid` out of the parsers."""


def parse_frame(text: str) -> Frame:
    """Parse one text frame. Never raises."""
    frame = _decode(text)
    return frame if isinstance(frame, Invalid | Ignored) else _parse(frame, text)


def parse_slices(text: str) -> Iterator[tuple[Frame, float]]:
    """Parse one large text frame into slices of its participants. Yields each slice with its share of the frame.

    A slice takes about a millisecond. The first one also decodes the JSON: 17 ms for a room of 10,000 (7 MB).
    """
    frame = _decode(text)
    if isinstance(frame, Invalid | Ignored):
        yield frame, 1.0
        return
    for piece, share in _pieces(frame):
        yield _parse(piece, text), share


def _decode(text: str) -> dict[str, Any] | Invalid | Ignored:
    if len(text) > _MAX_MESSAGE_CHARACTERS and text.startswith(_MESSAGE_PREFIX):
        return Ignored("long message")
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        return Invalid("not JSON")
    return frame if isinstance(frame, dict) else Invalid("not an object")


def _pieces(frame: dict[str, Any]) -> Iterator[tuple[dict[str, Any], float]]:
    """Split a frame that lists many participants into frames with `SLICE_ENTRIES` each."""
    event = frame.get("event")
    if frame.get("type") == "event" and isinstance(event, dict):
        match event.get("target"), event.get("type"):
            case "room", ("join" | "change" | "leave") as kind if isinstance(entries := event.get(kind), list) and entries:
                for batch in _batches(entries):
                    yield {**frame, "event": {**event, kind: batch}}, len(batch) / len(entries)
                return
            case "participants", "update" if isinstance(update := event.get("update"), dict) and update.get("all") is not True:
                for piece, share in _update_pieces(update):
                    yield {**frame, "event": {**event, "update": piece}}, share
                return
    yield frame, 1.0


def _update_pieces(update: dict[str, Any]) -> Iterator[tuple[dict[str, Any], float]]:
    """Keep a participant's entries in `users` and `changed` together, since the one in `users` may be older."""
    users, changed = (list(_objects(update.get(key))) for key in ("users", "changed"))
    changes: dict[str | None, list[dict[str, Any]]] = {}
    for entry in changed:
        changes.setdefault(_update_session(entry), []).append(entry)
    of_users: set[str | None] = set()
    total = max(1, len(users) + len(changed))
    for piece in _batches(users):
        sessions = dict.fromkeys(map(_update_session, piece))
        newer = [entry for session in sessions for entry in changes.get(session, ())]
        of_users.update(sessions)
        yield {**update, "users": piece, "changed": newer}, (len(piece) + len(newer)) / total
    for piece in _batches([entry for entry in changed if _update_session(entry) not in of_users]):
        yield {**update, "users": [], "changed": piece}, len(piece) / total


def _batches(entries: list[Any]) -> Iterator[list[Any]]:
    return (entries[start : start + SLICE_ENTRIES] for start in range(0, len(entries), SLICE_ENTRIES))


def _parse(frame: dict[str, Any], text: str) -> Frame:
    """`text`: the original frame, needed to detect repeated keys in a message."""
    kind = frame.get("type")
    if not isinstance(kind, str):
        return Invalid("no type")
    try:
        match kind:
            case "welcome":
                return _welcome(_object(frame, kind))
            case "hello":
                return _hello(_text(frame, "id"), _object(frame, kind))
            case "error":
                return ErrorFrame(_text(frame, "id"), safe_name(_object(frame, kind).get("code")))
            case "bye":
                body = frame.get(kind)
                return Bye(safe_name(body.get("reason")) if isinstance(body, dict) and body.get("reason") else "none")
            case "room":
                return Room(_text(frame, "id"), _required(_object(frame, kind), "roomid", allow_empty=True))
            case "event":
                return _event(_object(frame, kind))
            case "message":
                return _message(_object(frame, kind), text)
    except _BrokenFrame as broken:
        return Invalid(f"{kind}: {broken}")
    return Ignored(safe_name(kind))


def safe_name(value: object) -> str:
    """A code or type of the server for the log; anything that does not look like one reads `unknown`."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else "unknown"


def _object(parent: dict[str, Any], key: str) -> dict[str, Any]:
    value = parent.get(key)
    if not isinstance(value, dict):
        raise _BrokenFrame(f"no object {key}")
    return value


def _text(parent: dict[str, Any], key: str) -> str | None:
    """None for absent, empty, or not text."""
    value = parent.get(key)
    return value if isinstance(value, str) and value else None


def _id(parent: dict[str, Any], key: str) -> str | None:
    """Like `_text`; None also for text that is too long for an id."""
    value = _text(parent, key)
    return value if value is not None and len(value) <= MAX_ID_CHARS else None


def _required(parent: dict[str, Any], key: str, *, allow_empty: bool = False) -> str:
    value = parent.get(key)
    if not isinstance(value, str) or not (value or allow_empty):
        raise _BrokenFrame(f"no {key}")
    return value


def _objects(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (entry for entry in value if isinstance(entry, dict))


def _features(value: object) -> frozenset[str]:
    return frozenset(name.strip() for name in value if isinstance(name, str)) if isinstance(value, list) else frozenset()


def _flags(value: object) -> InCall | None:
    """PHP's loose types: a bool, a number, or a number as text."""
    number_as_text = isinstance(value, str) and len(value) <= 10 and value.isascii() and value.isdigit()
    if number_as_text or (isinstance(value, float) and value.is_integer()):
        value = int(value)  # type: ignore[call-overload]
    if isinstance(value, int) and 0 <= value < _MAX_FLAGS:
        return _FLAGS[int(value) % len(_FLAGS)]
    return None


def _welcome(body: dict[str, Any]) -> Welcome:
    return Welcome(_text(body, "version") or "", _features(body.get("features")))


def _hello(request_id: str | None, body: dict[str, Any]) -> Hello:
    server = body.get("server")
    if not isinstance(server, dict):
        server = None
    return Hello(
        id=request_id,
        session_id=_text(body, "sessionid") or "",
        resume_id=_text(body, "resumeid"),
        version=None if server is None else _text(server, "version"),
        features=None if server is None else _features(server.get("features")),
    )


def _event(body: dict[str, Any]) -> Frame:
    target, kind = body.get("target"), body.get("type")
    match target, kind:
        case "room", "join":
            return Joined(tuple(_entered(body.get("join"))))
        case "room", "change":
            return Changed(tuple(_entered(body.get("change"))))
        case "room", "leave":
            left = body.get("leave")
            ids = left if isinstance(left, list) else []
            return Left(tuple(i for i in ids if isinstance(i, str) and 0 < len(i) <= MAX_ID_CHARS))
        case "room", "switchto":
            return SwitchTo(_text(_object(body, "switchto"), "roomid"))
        case "room", "delete":
            return RoomDeleted()
        case "roomlist", "disinvite":
            return Disinvited(_text(_object(body, "disinvite"), "roomid"))
        case "participants", "update":
            return _update(_object(body, "update"))
    return Ignored(f"event {safe_name(target)}/{safe_name(kind)}")


def _entered(entries: object) -> Iterator[Participant]:
    for entry in _objects(entries):
        if session_id := _id(entry, "sessionid"):
            yield Participant(
                session_id=session_id,
                nextcloud_session_id=_id(entry, "roomsessionid"),
                user_id=_id(entry, "userid"),
                internal=not _INTERNAL_FEATURES.isdisjoint(_features(entry.get("features"))),
                federated=entry.get("federated") is True,
            )


def _update(body: dict[str, Any]) -> Frame:
    room_id = _text(body, "roomid")
    if body.get("all") is True:
        in_call = _flags(body.get("incall"))
        if in_call is None:
            raise _BrokenFrame("no incall for all")
        return UpdatedAll(room_id, in_call)
    participants: dict[str, Participant] = {}
    # `changed` holds the newest state; `users` may be older.
    for key in ("users", "changed"):
        for entry in _objects(body.get(key)):
            if session_id := _update_session(entry):
                new, old = _updated(session_id, entry), participants.get(session_id)
                participants[session_id] = new if old is None else old.updated(new)
    return Updated(room_id, tuple(participants.values()))


def _update_session(entry: dict[str, Any]) -> str | None:
    return _id(entry, "sessionId") or _id(entry, "sessionid")


def _updated(session_id: str, entry: dict[str, Any]) -> Participant:
    return Participant(
        session_id=session_id,
        nextcloud_session_id=_id(entry, "nextcloudSessionId"),
        user_id=_id(entry, "userId"),
        in_call=_flags(entry.get("inCall")),
        internal=entry.get("internal") is True,
        virtual=entry.get("virtual") is True,
        federated=entry.get("federated") is True or entry.get("actorType") == "federated_users",
    )


def _message(body: dict[str, Any], text: str) -> Frame:
    data = body.get("data")
    kind = data.get("type") if isinstance(data, dict) else None
    if not isinstance(data, dict) or kind not in _MEDIA_MESSAGES:
        return Ignored(f"message {safe_name(kind)}")
    sender = body.get("sender")
    publisher = _text(sender, "sessionid") if isinstance(sender, dict) and sender.get("type") == "session" else None
    if publisher is None or data.get("from", publisher) != publisher or not _written_by_the_hpb(data, text):
        return Forged(kind)
    room_type = _text(data, "roomType") or "video"
    sid = _text(data, "sid") or ""
    if kind == "endOfCandidates":
        return CandidateReceived(publisher, room_type, sid, None, None, None)
    payload = _object(data, "payload")
    if kind == "offer":
        return OfferReceived(publisher, room_type, sid, _required(payload, "sdp"))
    ice = payload.get("candidate")
    if not isinstance(ice, dict):
        raise _BrokenFrame("candidate is no object")
    line, index = _text(ice, "candidate"), ice.get("sdpMLineIndex")
    if line is None and ice.get("candidate") not in (None, ""):
        raise _BrokenFrame("candidate is no text")
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        index = None
    mid = ice.get("sdpMid")
    return CandidateReceived(publisher, room_type, sid, line, mid if isinstance(mid, str) else None, index)


def _written_by_the_hpb(data: dict[str, Any], text: str) -> bool:
    """Whether `message.data` of a frame with `sender.type` "session" can only come from the HPB itself.

    The HPB does not relay an offer or candidate that a participant addresses to a session, since it is for the SFU. But a
    message that it cannot parse as such is relayed like any other: one with `"bitrate": "x"` or `"sid": 7`, with a number that
    does not fit a float64, or with a repeated key. A message without these flaws comes from the HPB.
    """
    if not data.keys() <= _MEDIA_KEYS:
        return False
    if any(not isinstance(value, str) for key, value in data.items() if key != "payload"):
        return False
    payload = data.get("payload", {})
    return isinstance(payload, dict) and _plain(payload, _PAYLOAD_LEVELS) and not _repeats_a_key(text)


def _plain(value: object, levels: int) -> bool:
    """Whether this is text, a boolean, null, a number that fits a float64, or an object or array of these."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return levels > 0 and all(_plain(each, levels - 1) for each in inner)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < _MAX_FLAGS
    return value is None or isinstance(value, str)


def _repeats_a_key(text: str) -> bool:
    """Whether an object of this frame has a key twice. `json` alone keeps only the last value."""
    repeated = False

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        found = dict(pairs)
        repeated = repeated or len(found) < len(pairs)
        return found

    try:
        json.loads(text, object_pairs_hook=look)
    except RecursionError:  # the hook takes an additional level
        return True
    return repeated
