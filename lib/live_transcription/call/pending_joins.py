# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Requests for captions that wait until the call is joined."""

from __future__ import annotations

import asyncio
from collections import Counter

from live_transcription.call.call import Call
from live_transcription.errors import CallUnavailable, LiveTranscriptionError

#: Longest time in seconds that a request waits for a call to be joined.
ANSWER_S = 1.7


class Joining:
    """Requests that wait for a call to be joined. A session whose request fails is no target."""

    def __init__(self) -> None:
        self._asking: Counter[tuple[Call, str]] = Counter()
        self._earlier_targets: set[tuple[Call, str]] = set()

    async def wait(
        self, call: Call, task: asyncio.Task[LiveTranscriptionError | None], nc_session_id: str, *, was_target: bool
    ) -> None:
        """Wait for the call that `task` runs. Raises CallUnavailable, at once while the HPB refuses the app.

        The session of a failed request is no target, unless it was one before, or another request of it still waits.
        """
        asking = (call, nc_session_id)
        if was_target and not self._asking[asking]:
            self._earlier_targets.add(asking)
        self._asking[asking] += 1
        try:
            await _until_joined(call, task)
        except CallUnavailable:
            if self._asking[asking] == 1 and asking not in self._earlier_targets:
                call.remove_target(nc_session_id)
            raise
        finally:
            self._asking[asking] -= 1
            if not self._asking[asking]:
                del self._asking[asking]
                self._earlier_targets.discard(asking)


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
        raise CallUnavailable(failure.message, fix=failure.fix, cause_code=failure.code)
    raise CallUnavailable(
        "The call could not be joined in time; the attempt continues.",
        fix="If this stays so, check that the high-performance backend can be reached from the app.",
        cause_code="signaling_unreachable",
    )
