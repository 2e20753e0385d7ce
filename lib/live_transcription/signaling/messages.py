# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Parses frames of the HPB (standalone-signaling-api-v1) into plain values. Pure.

The parsers never raise: unknown frames become `IgnoredFrame`, broken ones `InvalidFrame`. Offers and candidates are parsed in
`media_messages`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from live_transcription.signaling import events, frames
from live_transcription.signaling.events import InCall, Participant, RoomEvent
from live_transcription.signaling.frames import BrokenFrame, Frame, IgnoredFrame, id_of, object_of, objects_of, text_of
from live_transcription.signaling.media_messages import parse_message

#: Features in a `join` entry that only internal sessions have.
_INTERNAL_FEATURES = frozenset({"internal-incall", "start-dialout"})
#: Participants' messages may have 64 KiB, which take 1.6 ms to parse. An SFU's offer is never longer than this.
_MAX_MESSAGE_CHARACTERS = 32_768
_MESSAGE_PREFIX = '{"type":"message",'
_MAX_FLAGS = 2**31
#: Every combination of the known in-call flags. IntFlag would cache each unknown combination forever.
_FLAGS = tuple(InCall(flags) for flags in range(16))
#: Participants per slice of a large frame: about 1 ms to parse, and 1 to 3 ms for the call to apply.
SLICE_ENTRIES = 500


def parse_frame(text: str, room_token: str) -> Frame:
    """Parse one text frame. Events of other rooms than `room_token` are ignored."""
    frame = _decode(text)
    return _parse(frame, text, room_token) if isinstance(frame, dict) else frame


def parse_slices(text: str, room_token: str) -> Iterator[tuple[Frame, float]]:
    """Parse one large text frame in slices of `SLICE_ENTRIES` participants. Yields each slice with its share of the frame.

    A slice takes about a millisecond. The first one also decodes the JSON: 17 ms for a room of 10,000 (7 MB).
    """
    frame = _decode(text)
    listed = None
    if isinstance(frame, dict) and frame.get("type") == "event":
        with suppress(BrokenFrame):
            listed = _listed(object_of(frame, "event"), room_token)
    if listed is None or not listed.entries:
        yield _parse(frame, text, room_token) if isinstance(frame, dict) else frame, 1.0
        return
    for start in range(0, len(listed.entries), SLICE_ENTRIES):
        entries = listed.entries[start : start + SLICE_ENTRIES]
        yield listed.event(entries) or IgnoredFrame("event without participants"), len(entries) / len(listed.entries)


def _decode(text: str) -> dict[str, Any] | frames.InvalidFrame | IgnoredFrame:
    if len(text) > _MAX_MESSAGE_CHARACTERS and text.startswith(_MESSAGE_PREFIX):
        return IgnoredFrame("long message")
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        return frames.InvalidFrame("not JSON")
    return frame if isinstance(frame, dict) else frames.InvalidFrame("not an object")


def _parse(frame: dict[str, Any], text: str, room_token: str) -> Frame:
    kind = frame.get("type")
    if not isinstance(kind, str):
        return frames.InvalidFrame("no type")
    try:
        match kind:
            case "welcome":
                body = object_of(frame, kind)
                return frames.Welcome(text_of(body, "version") or "", _features(body.get("features")))
            case "hello":
                return _hello(text_of(frame, "id"), object_of(frame, kind))
            case "error":
                return frames.ErrorFrame(text_of(frame, "id"), frames.safe_name(object_of(frame, kind).get("code")))
            case "bye":
                reason = bye.get("reason") if isinstance(bye := frame.get(kind), dict) else None
                return frames.Bye(frames.safe_name(reason) if reason else "none")
            case "room":
                return frames.Room(
                    text_of(frame, "id"), frames.required_text(object_of(frame, kind), "roomid", allow_empty=True)
                )
            case "event":
                body = object_of(frame, kind)
                event = _event(body, room_token)
                return event or IgnoredFrame(
                    f"event {frames.safe_name(body.get('target'))}/{frames.safe_name(body.get('type'))}"
                )
            case "message":
                return parse_message(object_of(frame, kind), text)
    except BrokenFrame as broken:
        return frames.InvalidFrame(f"{kind}: {broken}")
    return IgnoredFrame(frames.safe_name(kind))


def _hello(request_id: str | None, body: dict[str, Any]) -> frames.Hello:
    server = body.get("server")
    if not isinstance(server, dict):
        server = None
    return frames.Hello(
        id=request_id,
        session_id=text_of(body, "sessionid") or "",
        resume_id=text_of(body, "resumeid"),
        version=None if server is None else text_of(server, "version"),
        features=None if server is None else _features(server.get("features")),
    )


class _Listed(NamedTuple):
    """An event that lists participants, before its entries are parsed."""

    kind: Callable[[tuple[Any, ...]], RoomEvent]
    entries: list[Any]
    parse: Callable[[Any], Participant | str | None]

    def event(self, entries: list[Any]) -> RoomEvent | None:
        """The event of some of the entries; None if none of them is valid."""
        parsed = tuple(value for entry in entries if (value := self.parse(entry)) is not None)
        return self.kind(parsed) if parsed else None


def _event(body: dict[str, Any], room_token: str) -> RoomEvent | None:
    """The event, or None if it does not concern this room or says nothing."""
    if (listed := _listed(body, room_token)) is not None:
        return listed.event(listed.entries)
    match body.get("target"), body.get("type"):
        case "room", "switchto":
            room_id = text_of(object_of(body, "switchto"), "roomid")
            return events.RemovedFromRoom(switch_to=room_id) if room_id else None
        case "room", "delete":
            return events.RemovedFromRoom()
        case "roomlist", "disinvite":
            return events.RemovedFromRoom() if text_of(object_of(body, "disinvite"), "roomid") == room_token else None
        case "participants", "update" if (update := object_of(body, "update")).get("all") is True:
            in_call = _flags(update.get("incall"))
            if in_call is None:
                raise BrokenFrame("no incall for all")
            ends = in_call == InCall.DISCONNECTED and text_of(update, "roomid") in (None, room_token)
            return events.CallEndedForAll() if ends else None
    return None


def _listed(body: dict[str, Any], room_token: str) -> _Listed | None:
    match body.get("target"), body.get("type"):
        case "room", "join":
            return _Listed(events.ParticipantsJoined, list(objects_of(body.get("join"))), _entered)
        case "room", "change":
            return _Listed(events.ParticipantsUpdated, list(objects_of(body.get("change"))), _entered)
        case "room", "leave":
            left = body.get("leave")
            return _Listed(events.ParticipantsLeft, left if isinstance(left, list) else [], _left)
        case "participants", "update":
            update = object_of(body, "update")
            if update.get("all") is not True and text_of(update, "roomid") in (None, room_token):
                # A participant's entries belong together: `changed` holds the newest state, and `users` may be older.
                by_session: dict[str, list[dict[str, Any]]] = {}
                for key in ("users", "changed"):
                    for entry in objects_of(update.get(key)):
                        if session_id := id_of(entry, "sessionId") or id_of(entry, "sessionid"):
                            by_session.setdefault(session_id, []).append(entry)
                return _Listed(events.ParticipantsUpdated, list(by_session.items()), _updated)
    return None


def _left(session_id: object) -> str | None:
    return session_id if isinstance(session_id, str) and 0 < len(session_id) <= frames.MAX_ID_CHARS else None


def _entered(entry: dict[str, Any]) -> Participant | None:
    """An entry of `room/join` or `room/change`."""
    if (session_id := id_of(entry, "sessionid")) is None:
        return None
    user = entry.get("user")
    return Participant(
        session_id=session_id,
        nextcloud_session_id=id_of(entry, "roomsessionid"),
        user_id=id_of(entry, "userid"),
        internal=not _INTERNAL_FEATURES.isdisjoint(_features(entry.get("features"))),
        federated=entry.get("federated") is True,
        display_name=_name(user.get("displayname")) if isinstance(user, dict) else None,
    )


def _updated(item: tuple[str, list[dict[str, Any]]]) -> Participant:
    """The entries of one session in `participants/update`."""
    session_id, entries = item
    participant: Participant | None = None
    for entry in entries:
        newer = Participant(
            session_id=session_id,
            nextcloud_session_id=id_of(entry, "nextcloudSessionId"),
            user_id=id_of(entry, "userId"),
            in_call=_flags(entry.get("inCall")),
            internal=entry.get("internal") is True,
            virtual=entry.get("virtual") is True,
            federated=entry.get("federated") is True or entry.get("actorType") == "federated_users",
            display_name=_name(entry.get("displayName")),
        )
        participant = newer if participant is None else participant.merged(newer)
    assert participant is not None
    return participant


def _name(value: object) -> str | None:
    return value[: frames.MAX_NAME_CHARS] if isinstance(value, str) and value else None


def _features(value: object) -> frozenset[str]:
    return frozenset(name.strip() for name in value if isinstance(name, str)) if isinstance(value, list) else frozenset()


def _flags(value: object) -> InCall | None:
    """In-call flags in PHP's loose types: a boolean, a number, or a number as text."""
    number_as_text = isinstance(value, str) and len(value) <= 10 and value.isascii() and value.isdigit()
    if number_as_text or (isinstance(value, float) and value.is_integer()):
        value = int(value)  # type: ignore[call-overload]
    if isinstance(value, int) and 0 <= value < _MAX_FLAGS:
        return _FLAGS[int(value) % len(_FLAGS)]
    return None
