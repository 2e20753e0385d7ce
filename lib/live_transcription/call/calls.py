# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""All calls of this process: one per room, restarted when it fails, cancelled when it does not end."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from types import TracebackType

from live_transcription.call.call import Call
from live_transcription.errors import CallUnavailable, LiveTranscriptionError, TooManyCalls, main_error
from live_transcription.runtime.backoff import Restarts
from live_transcription.status import CallSnapshot

logger = logging.getLogger(__name__)

#: Seconds that a request to end a call waits for the last words and the bye. Talk waits 3 s.
GRACE_S = 1.7
#: Longest time in seconds that a request waits for a call to be joined.
ANSWER_S = 1.7


class Calls:
    """An async context manager that owns the calls' tasks; all of them have ended when the block is left.

    `make(room_token, language, replaces)` builds a call and raises CallUnavailable if it must not start. `replaces` is the call
    of the same room whose place it takes, or None. `record` is called with every error that ends a call.
    """

    def __init__(
        self,
        make: Callable[[str, str | None, Call | None], Call],
        record: Callable[[LiveTranscriptionError], None],
    ) -> None:
        self._make = make
        self._record = record
        self._calls: dict[str, Call] = {}
        # Includes calls that still end after another one of their room has taken their place.
        self._tasks: dict[Call, asyncio.Task[LiveTranscriptionError | None]] = {}
        self._restarts = Restarts(random.random)
        # The number of a session's requests that wait for its call to be joined, and the sessions that were targets before.
        self._waiting: Counter[tuple[Call, str]] = Counter()
        self._earlier_targets: set[tuple[Call, str]] = set()
        self._group: asyncio.TaskGroup | None = None

    async def __aenter__(self) -> Calls:
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._group is not None
        group, self._group = self._group, None  # no call starts any more, not even while these end
        async with AsyncExitStack() as stack:
            # If this wait is cancelled, the group cancels the calls.
            stack.push_async_exit(group)
            await self.end_all(GRACE_S)

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls.values()))

    def __len__(self) -> int:
        return len(self._calls)

    def get(self, room_token: str) -> Call | None:
        """The room's call, even if it is ending."""
        return self._calls.get(room_token)

    def active(self, room_token: str) -> Call | None:
        """The room's call unless it is ending."""
        call = self._calls.get(room_token)
        return None if call is None or call.ending else call

    def start(self, room_token: str, language: str | None, *, replaces: Call | None = None) -> Call:
        """Start a call. `language` None: the default of the settings. Raises CallUnavailable."""
        call = self._make(room_token, language, replaces)
        if self._group is None:
            raise CallUnavailable("The app is starting or stopping.")
        self._calls[room_token] = call
        self._tasks[call] = self._group.create_task(self._supervise(call), name="call")
        return call

    async def wait_until_joined(self, call: Call, nc_session_id: str, *, was_target: bool) -> None:
        """Wait for a call on behalf of a session. Raises CallUnavailable, at once while the HPB refuses the app.

        The session of a failed request is no target, unless it was one before, or another request of it still waits.
        """
        waiting = (call, nc_session_id)
        if was_target and not self._waiting[waiting]:
            self._earlier_targets.add(waiting)
        self._waiting[waiting] += 1
        try:
            await _until_joined(call, self._tasks[call])
        except CallUnavailable:
            if self._waiting[waiting] == 1 and waiting not in self._earlier_targets:
                call.remove_target(nc_session_id)
                # New settings may have replaced the call meanwhile, and the other one has its targets.
                if (current := self.get(call.room_token)) not in (None, call) and not self._waiting[current, nc_session_id]:
                    current.remove_target(nc_session_id)
            raise
        finally:
            self._waiting[waiting] -= 1
            if not self._waiting[waiting]:
                del self._waiting[waiting]
                self._earlier_targets.discard(waiting)

    def export(self) -> tuple[CallSnapshot, ...]:
        """The calls with at least one target."""
        return tuple(
            CallSnapshot(
                call.room_token,
                call.language,
                tuple((target.nc_session_id, target.user_id) for target in targets),
                tuple((target.nc_session_id, target.translation) for target in targets if target.translation is not None),
            )
            for call in self
            if not call.ending and (targets := call.targets())
        )

    def restore(self, snapshots: Iterable[CallSnapshot]) -> None:
        """Start these calls, or add the targets to the calls that their rooms have."""
        too_many = 0
        for snapshot in snapshots:
            if not snapshot.targets:
                continue
            try:
                call = self.active(snapshot.room_token) or self.start(snapshot.room_token, snapshot.language)
            except TooManyCalls:
                too_many += 1
                continue
            except CallUnavailable as failure:
                logger.warning("A call was not restored: %s", failure, extra={"room": snapshot.room_token})
                continue
            for nc_session_id, user_id in snapshot.targets:
                call.add_target(nc_session_id, user_id)
            for nc_session_id, language in snapshot.translations:
                call.translate(nc_session_id, language)
        if too_many:
            logger.warning("%d calls were not restored: the maximum number of concurrent calls is reached", too_many)

    def rejoin_all(self) -> None:
        """Join every call again with the current settings; the old session delivers its last words meanwhile."""
        for old in self:
            if old.ending:
                continue
            try:
                call = self.start(old.room_token, old.language, replaces=old)
            except CallUnavailable as failure:
                logger.warning("A call continues with the old settings: %s", failure, extra={"room": old.room_token})
                continue
            call.take_over(old)
            old.end()

    async def end(self, calls: Iterable[Call], grace_s: float) -> None:
        """End these calls; cancel those that have not ended after `grace_s` seconds."""
        calls = list(calls)
        tasks = [self._tasks[call] for call in calls if call in self._tasks]
        for call in calls:
            call.end(within_s=grace_s)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                logger.warning("A call did not end within %.1f s and was cancelled", grace_s)
                task.cancel()

    async def end_all(self, grace_s: float) -> None:
        await self.end(self._tasks, grace_s)

    async def _supervise(self, call: Call) -> LiveTranscriptionError | None:
        """Run the call to its end. Returns the error that ended it, if any."""
        failure: LiveTranscriptionError | None = None
        began_at = asyncio.get_running_loop().time()
        try:
            try:
                await call.run()
            except* LiveTranscriptionError as failures:
                failure = main_error(failures)
                self._record(failure)
                logger.error("A call ended: %s", failure, extra={"room": call.room_token, "code": failure.code})
            except* Exception:  # the other calls continue, and this one is started again
                logger.exception("A call failed unexpectedly", extra={"room": call.room_token})
                ran_s = asyncio.get_running_loop().time() - began_at
                await call.wait_for_end(self._restarts.failed(call.room_token, ran_s))
                self._restart(call)
        finally:
            if self._calls.get(call.room_token) is call:
                del self._calls[call.room_token]
            del self._tasks[call]
            if call.room_token not in self._calls:  # no other call of the room has taken its place
                self._restarts.forget(call.room_token)
        return failure

    def _restart(self, failed: Call) -> None:
        if self._calls.get(failed.room_token) is not failed or failed.ending or self._group is None:
            return
        try:
            call = self.start(failed.room_token, failed.language, replaces=failed)
        except CallUnavailable as failure:
            self._record(failure)
            return
        call.take_over(failed)


async def _until_joined(call: Call, task: asyncio.Task[LiveTranscriptionError | None]) -> None:
    if not call.refused.is_set():
        outcomes = [asyncio.ensure_future(event.wait()) for event in (call.joined, call.refused)]
        try:
            await asyncio.wait([*outcomes, task], timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for outcome in outcomes:
                outcome.cancel()
    if call.joined.is_set() and not call.refused.is_set():
        return
    failure: LiveTranscriptionError | None = call.last_error
    if task.done() and not task.cancelled():
        failure = task.result() or failure
    if failure is not None:
        raise CallUnavailable(failure.message, fix=failure.fix)
    raise CallUnavailable(
        "The call could not be joined in time; the attempt continues.",
        fix="If this continues, check that the app can reach the high-performance backend.",
    )
