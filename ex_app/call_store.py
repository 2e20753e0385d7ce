# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Stores the running calls and their targets on disk, so that they resume after a restart.

They are stored in one small JSON file in the app's persistent storage, which is replaced as a whole and readable by the app
only. It contains room tokens, session ids and user ids, and no speech:

    {"version": 2,
     "at": seconds since the epoch,
     "boot": {"id": the machine's boot, "at": seconds since then},
     "rooms": [{"room": token, "language": code, "targets": [{"session": Talk's session id, "user": user id,
                "translation": language of the captions if they are translated}]}],
     "calls": [{"room": token, "language": code, "targets": [[session id, user id or null]]}]}

Earlier and later versions read and write this file, too. Unknown fields are ignored, all fields except `at`, `room` and
`session` are optional, and a malformed entry is skipped. So a later version may add fields, and this version still reads its
file after a downgrade. `calls` repeats `rooms` in the format of version 1, which had no version number: code of that version
reads only `at` and `calls`. Remove `calls` when that version is no longer in use.

Calls are stored while the app is enabled. When it is disabled, updated or stopped, the current calls stay in the file and
resume when it is enabled again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import math
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeGuard

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from ex_app.engine import Engine
from ex_app.schemas import LangId, NcSessionId, RoomToken
from live_transcription.observability.log_limit import LogLimit
from live_transcription.status import CallSnapshot

logger = logging.getLogger(__name__)

FILE_NAME = "calls.json"
VERSION = 2
#: Seconds between two checks of the calls.
LOOK_S = 2.0
#: Seconds after which unchanged calls are written again, so that the file's time says when they last ran.
FRESH_S = 60.0
#: Seconds after which stored calls count as over.
STALE_S = 900.0
_MAX_BYTES = 64 * 1024 * 1024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class UnreadableCalls(Exception):
    """The file cannot be read at all. The message never repeats its content."""


@dataclass(frozen=True, slots=True)
class StoredCalls:
    """Calls and when they ran. `at`: seconds since the epoch. `boot`: id of the machine's boot and seconds since, if known."""

    calls: tuple[CallSnapshot, ...]
    at: float
    boot: tuple[str, float] | None = None


def since_boot() -> tuple[str, float] | None:
    """The id of the machine's boot and the seconds since then, which do not depend on the clock; None if unknown."""
    try:
        return _BOOT_ID.read_text("ascii").strip()[:64], time.clock_gettime(time.CLOCK_BOOTTIME)
    except (OSError, ValueError, AttributeError):
        return None


class CallStore:
    """Writes the file while calls run, and restores them from it.

    With `storage` None, nothing is stored. `wall_clock`: seconds since the epoch. `boot_clock`: see `since_boot`.
    """

    def __init__(
        self,
        engine: Engine,
        storage: Path | None,
        wall_clock: Callable[[], float],
        *,
        boot_clock: Callable[[], tuple[str, float] | None] = since_boot,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._path = None if storage is None else storage / FILE_NAME
        self._wall_clock = wall_clock
        self._boot_clock = boot_clock
        self._sleep = sleep
        self._log_limit = LogLimit(60.0, time.monotonic)
        #: Between `restore` and `freeze`, the file is updated as calls change.
        self._following = False
        self._stopped = False
        self._written: tuple[CallSnapshot, ...] | None = None
        self._written_at = 0.0
        # Writes run in threads, except the last one. The numbers keep an earlier write from replacing a later one.
        self._writing = threading.Lock()
        self._numbers = itertools.count(1)
        self._last_write = 0

    async def run(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Restore calls whenever the app is enabled, and store them while it is. Runs until cancelled or stopped.

        `ready` returns once the app is enabled and its settings are known.
        """
        while not self._stopped:
            await ready()
            self.restore()
            while self._following:
                await self._sleep(LOOK_S)
                await self._update()

    def restore(self) -> None:
        """Restore the stored calls, and update the file from now on."""
        if self._stopped:
            return
        if snapshots := self._read():
            logger.info("Resuming stored calls: %d", len(snapshots))
            self._engine.restore(snapshots)
        self._following = True

    async def leave_all(self, grace_s: float | None = None) -> None:
        """The app stops: store the current calls for the next start, then end them."""
        self._stopped = True
        self.freeze()
        await self._engine.leave_all(grace_s)

    def freeze(self) -> None:
        """Store the current calls, and leave them in the file until `restore`, although they end."""
        if self._following:
            self._following = False
            calls = tuple(self._engine.export())
            if self._path is not None and (calls or self._written):
                self._finish(self._write(self._path, calls, next(self._numbers)), calls)

    async def _update(self) -> None:
        if self._path is None or not self._following:
            return
        calls = tuple(self._engine.export())
        is_fresh = not calls or 0 <= self._wall_clock() - self._written_at < FRESH_S
        if calls == self._written and is_fresh:
            return
        try:
            failure = await asyncio.to_thread(self._write, self._path, calls, next(self._numbers))
        except RuntimeError as error:  # no memory for a thread
            failure = str(error)
        self._finish(failure, calls)

    def _write(self, path: Path, calls: tuple[CallSnapshot, ...], number: int) -> str:
        """Returns the reason of a failure, or ""."""
        content = serialise(StoredCalls(calls, self._wall_clock(), self._boot_clock()))
        with self._writing:
            if number < self._last_write:
                return ""
            self._last_write = number
            try:
                replace_file(path, content)
            except OSError as error:
                return error.strerror or type(error).__name__
        return ""

    def _finish(self, failure: str, calls: tuple[CallSnapshot, ...]) -> None:
        """Record the result of a write. After a failure, the old file stays and the next check tries again."""
        if not failure:
            self._written, self._written_at = calls, self._wall_clock()
        elif self._log_limit.permit() is not None:
            logger.warning(
                "The running calls cannot be stored (%s), so they would not resume after a restart. Check the app's storage.",
                failure,
            )

    def _read(self) -> tuple[CallSnapshot, ...]:
        if self._path is None:
            return ()
        try:
            with self._path.open("rb") as file:
                stored = parse(file.read(_MAX_BYTES))
        except FileNotFoundError:
            return ()
        except (OSError, UnreadableCalls) as error:
            logger.warning("The stored calls cannot be read (%s), so no call resumes", error)
            return ()
        return stored.calls if abs(self._age_s(stored)) <= STALE_S else ()

    def _age_s(self, stored: StoredCalls) -> float:
        """Age by the time since boot if the boot is the same, otherwise by the clock, which may have been set since."""
        boot = self._boot_clock()
        if boot is not None and stored.boot is not None and boot[0] == stored.boot[0] and boot[1] >= stored.boot[1]:
            return boot[1] - stored.boot[1]
        return self._wall_clock() - stored.at


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)


class _Target(_Entry):
    session: NcSessionId
    user: Annotated[str, StringConstraints(max_length=255)] | None = None
    translation: LangId | None = None


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
            "targets": [_describe(session, user, dict(call.translations)) for session, user in call.targets],
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
                translations = tuple((each.session, each.translation) for each in targets if each.translation)
                yield CallSnapshot(room.room, room.language, tuple((each.session, each.user) for each in targets), translations)


def _describe(session: str, user: str | None, translations: dict[str, str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {"session": session, "user": user}
    return found | {"translation": translations[session]} if session in translations else found


def _targets(entries: Sequence[Any]) -> Iterator[_Target]:
    for entry in entries:
        with contextlib.suppress(ValidationError):
            pair = isinstance(entry, list) and len(entry) >= 2  # version 1
            yield _Target.model_validate({"session": entry[0], "user": entry[1]} if pair else entry)


def _boot(entry: Any) -> tuple[str, float] | None:
    if not isinstance(entry, dict):
        return None
    boot, at = entry.get("id"), entry.get("at")
    return (boot, float(at)) if isinstance(boot, str) and boot and _is_number(at) else None


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18 and math.isfinite(value)
