# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Frames from the HPB as plain values, and typed access to their JSON. Pure.

Values that are documented as safe to log contain only constants of this project and names that look like protocol codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from live_transcription.signaling.events import RoomEvent

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
#: Longest accepted id of a session or user in characters, which is what Talk stores. Longer ones count as missing.
MAX_ID_CHARS = 512
#: Longest display name in characters; longer ones are cut.
MAX_NAME_CHARS = 255


@dataclass(frozen=True, slots=True)
class Welcome:
    """The first frame of a websocket, before any session."""

    version: str
    features: frozenset[str]


@dataclass(frozen=True, slots=True)
class Hello:
    """The answer to a hello or resume.

    `resume_id` is as confidential as a password. `session_id` is empty if the frame holds none, which breaks the protocol;
    `features` is None if the frame does not mention them.
    """

    id: str | None
    session_id: str
    resume_id: str | None = field(repr=False)
    version: str | None
    features: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """An error. `code` is safe to log."""

    id: str | None
    code: str


@dataclass(frozen=True, slots=True)
class Bye:
    """The HPB ends the session. `reason` is safe to log."""

    reason: str


@dataclass(frozen=True, slots=True)
class Room:
    """The room that the app is in now; empty if it was removed."""

    id: str | None
    room_id: str


@dataclass(frozen=True, slots=True)
class IgnoredFrame:
    """A well-formed frame that has no meaning for the app. `kind` is safe to log."""

    kind: str


@dataclass(frozen=True, slots=True)
class InvalidFrame:
    """A frame that breaks the protocol. `reason` is safe to log."""

    reason: str


@dataclass(frozen=True, slots=True)
class ForgedFrame:
    """An offer or candidate that was written by a participant, not by the HPB. `kind` is the type of the message."""

    kind: str


Frame: TypeAlias = Welcome | Hello | ErrorFrame | Bye | Room | RoomEvent | ForgedFrame | IgnoredFrame | InvalidFrame


class BrokenFrame(Exception):
    """Carries the reason of an `InvalidFrame` out of the parsers."""


def safe_name(value: object) -> str:
    """A code or type of the server for the log. Anything that does not look like one becomes "unknown"."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else "unknown"


def object_of(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """The object under this key. Raises BrokenFrame if there is none."""
    value = parent.get(key)
    if not isinstance(value, dict):
        raise BrokenFrame(f"no object {key}")
    return value


def required_text(parent: dict[str, Any], key: str, *, allow_empty: bool = False) -> str:
    """The text under this key. Raises BrokenFrame if there is none."""
    value = parent.get(key)
    if not isinstance(value, str) or not (value or allow_empty):
        raise BrokenFrame(f"no {key}")
    return value


def text_of(parent: dict[str, Any], key: str) -> str | None:
    """The text under this key; None if it is missing, empty, or not text."""
    value = parent.get(key)
    return value if isinstance(value, str) and value else None


def id_of(parent: dict[str, Any], key: str) -> str | None:
    """Like `text_of`, but None also for text that is too long for an id."""
    value = text_of(parent, key)
    return value if value is not None and len(value) <= MAX_ID_CHARS else None


def objects_of(value: object) -> Iterator[dict[str, Any]]:
    """The objects in a list; other elements are skipped, and anything that is not a list counts as empty."""
    if isinstance(value, list):
        yield from (entry for entry in value if isinstance(entry, dict))
