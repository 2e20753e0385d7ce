# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The format of `calls.json`, which earlier and later versions read and write, too. Pure, except for `replace_file`.

    {"version": 2,
     "at": seconds since the epoch,
     "boot": {"id": the machine's boot, "at": seconds since then},
     "rooms": [{"room": token, "language": code, "targets": [{"session": Talk's session id, "user": user id}]}],
     "calls": [{"room": token, "language": code, "targets": [[session id, user id or null]]}]}

Unknown fields are ignored, all fields except `at`, `room` and `session` are optional, and a malformed entry is skipped. So a
later version may add fields, and this one still reads its file after a downgrade.

`calls` repeats `rooms` in the format of version 1, which had no version number. Code of that version reads `at` and `calls` and
ignores the rest, so a downgrade to it loses no call, either. Remove `calls` when that version is no longer in use.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeGuard

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from ex_app.schemas import LangId, NcSessionId, RoomToken
from live_transcription.status import CallSnapshot

VERSION = 2


class UnreadableCalls(Exception):
    """The file cannot be read at all. The message never repeats its content."""


@dataclass(frozen=True, slots=True)
class StoredCalls:
    """`at`: when these calls ran, in seconds since the epoch. `boot`: id of the machine's boot and seconds since, if known."""

    calls: tuple[CallSnapshot, ...]
    at: float
    boot: tuple[str, float] | None = None


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)


class _Target(_Entry):
    session: NcSessionId
    user: Annotated[str, StringConstraints(max_length=255)] | None = None


class _Room(_Entry):
    room: RoomToken
    language: LangId = ""
    targets: list[Any]


def serialise(stored: StoredCalls) -> bytes:
    content: dict[str, Any] = {"version": VERSION, "at": stored.at}
    if stored.boot is not None:
        content["boot"] = {"id": stored.boot[0], "at": stored.boot[1]}
    content["rooms"] = [
        {
            "room": call.room_token,
            "language": call.language,
            "targets": [{"session": session, "user": user} for session, user in call.targets],
        }
        for call in stored.calls
    ]
    content["calls"] = [{"room": call.room_token, "language": call.language, "targets": call.targets} for call in stored.calls]
    return json.dumps(content, separators=(",", ":")).encode()


def parse(content: bytes) -> StoredCalls:
    """Raises UnreadableCalls."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise UnreadableCalls("not JSON") from None
    at = found.get("at") if isinstance(found, dict) else None
    if not _is_number(at):
        raise UnreadableCalls("unknown format")
    entries = found["rooms"] if isinstance(found.get("rooms"), list) else found.get("calls")
    if not isinstance(entries, list):
        raise UnreadableCalls("no calls")
    return StoredCalls(tuple(_calls(entries)), float(at), _boot(found.get("boot")))


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file atomically, even if the machine stops meanwhile. Raises OSError; then the old file stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    # The new name is on disk only after its directory is synchronised. Some file systems neither support nor need that.
    with contextlib.suppress(OSError):
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _calls(entries: Sequence[Any]) -> Iterator[CallSnapshot]:
    for entry in entries:
        with contextlib.suppress(ValidationError):
            room = _Room.model_validate(entry)
            if targets := tuple(_targets(room.targets)):
                yield CallSnapshot(room.room, room.language, targets)


def _targets(entries: Sequence[Any]) -> Iterator[tuple[str, str | None]]:
    for entry in entries:
        with contextlib.suppress(ValidationError):
            pair = isinstance(entry, list) and len(entry) >= 2  # version 1
            target = _Target.model_validate({"session": entry[0], "user": entry[1]} if pair else entry)
            yield target.session, target.user


def _boot(entry: Any) -> tuple[str, float] | None:
    if not isinstance(entry, dict):
        return None
    boot, at = entry.get("id"), entry.get("at")
    return (boot, float(at)) if isinstance(boot, str) and boot and _is_number(at) else None


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18 and math.isfinite(value)
