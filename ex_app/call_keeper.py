# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Remembers on disk which calls run and for whom, so that a container that starts again takes them up by itself.

One small JSON file in the app's persistent storage, replaced as a whole, readable by the app only. It holds room tokens,
session ids and user ids; nothing of what is said.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from ex_app.engine import Engine
from ex_app.schemas import LangId, NcSessionId, RoomToken
from live_transcription.status import CallSnapshot

logger = logging.getLogger(__name__)

FILE_NAME = "calls.json"
#: Between two looks at the calls, in seconds.
LOOK_S = 2.0
#: Unchanged calls are written again after this long, so that the file's time says when they still ran.
FRESH_S = 60.0
#: Calls of a container that has been away for longer are over, in seconds.
STALE_S = 900.0
_MAX_BYTES = 4 * 1024 * 1024

_UserId = Annotated[str, StringConstraints(max_length=255)]


class _Call(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)

    room: RoomToken
    language: LangId
    targets: list[tuple[NcSessionId, _UserId | None]]


class _File(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    at: float
    calls: list[_Call]


class CallKeeper:
    """`storage` None: nothing is remembered. `wall_clock`: seconds since the epoch."""

    def __init__(
        self,
        engine: Engine,
        storage: Path | None,
        wall_clock: Callable[[], float],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._path = None if storage is None else storage / FILE_NAME
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._written: tuple[CallSnapshot, ...] | None = None
        self._written_at = 0.0
        self._frozen = False

    async def run(self) -> None:
        """Write down the calls whenever they have changed. Starts with taking up those that were written down."""
        self.restore()
        while True:
            await self._sleep(LOOK_S)
            self._note()

    def restore(self) -> None:
        if snapshots := self._read():
            logger.info("%d calls are taken up again", len(snapshots))
            self._engine.restore(snapshots)

    async def leave_all(self, grace_s: float | None = None) -> None:
        """The app stops: what runs now is what the next start takes up."""
        self.freeze()
        await self._engine.leave_all(grace_s)

    def freeze(self) -> None:
        if not self._frozen and self._written is not None:
            self._written_at = 0.0
            self._note()
        self._frozen = True

    def _note(self) -> None:
        calls = tuple(self._engine.export())
        now = self._wall_clock()
        fresh = not calls or now - self._written_at < FRESH_S
        if self._path is None or self._frozen or (calls == self._written and fresh):
            return
        content = {
            "at": now,
            "calls": [{"room": call.room_token, "language": call.language, "targets": call.targets} for call in calls],
        }
        try:
            _replace(self._path, json.dumps(content))
        except OSError as error:
            if self._written is None or calls != self._written:
                logger.warning("The running calls cannot be written down: %s", error.strerror)
        self._written, self._written_at = calls, now

    def _read(self) -> Sequence[CallSnapshot]:
        if self._path is None:
            return ()
        try:
            with self._path.open("rb") as file:
                content = _File.model_validate_json(file.read(_MAX_BYTES))
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError) as error:
            logger.warning("The calls that ran before cannot be read (%s); nothing is taken up again", type(error).__name__)
            return ()
        if not 0 <= self._wall_clock() - content.at <= STALE_S:
            return ()
        return [CallSnapshot(call.room, call.language, tuple(call.targets)) for call in content.calls]


def _replace(path: Path, text: str) -> None:
    """All or nothing, also when the machine stops in between. A few kilobytes: not worth a thread."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
