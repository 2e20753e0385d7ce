# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Turns the problems of all calls into conditions for an administrator. Pure: `now` in seconds of any monotonic clock."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from live_transcription.call.call import Call
from live_transcription.errors import SignalingError
from live_transcription.observability.conditions import (
    SHORTAGES,
    Change,
    Conditions,
    encrypted_condition,
    hpb_condition,
    media_condition,
    turn_condition,
)
from live_transcription.status import Condition

#: Seconds for which the last problem with the HPB counts when no call is left to report it.
HPB_PROBLEM_S = 300.0
#: Seconds for which a TURN server's refusal counts while no subscription asks it again.
TURN_REFUSED_S = 600.0
#: Seconds for which encrypted audio counts after the last encrypted speaker. So the condition, which logs a line when it begins
#: and when it ends, does not end when that speaker reloads the page, or when a guest switches encryption on and off.
ENCRYPTED_S = 10.0


class Problems:
    """The conditions of the service."""

    def __init__(self) -> None:
        self._conditions = Conditions()
        self._last_hpb_problem: tuple[SignalingError, float] | None = None
        # How many speakers were encrypted, and when.
        self._last_encrypted = (0, 0.0)

    def current(self) -> tuple[Condition, ...]:
        """The conditions that have begun and not ended, as of the last `observe`."""
        return self._conditions.current()

    def forget_hpb(self) -> None:
        """The HPB works, or another one is used from now on."""
        self._last_hpb_problem = None

    def observe(
        self, calls: Sequence[Call], shortages: Iterable[Condition], refusal: SignalingError | None, now: float
    ) -> tuple[Change, ...]:
        """Check all conditions, about once a second. Returns those that have begun or ended since the last check.

        `refusal`: why the HPB refuses every call of this app, if it does.
        """
        by_code = {shortage.code: shortage for shortage in shortages}
        for code in SHORTAGES:
            self._set(code, by_code.get(code), now)
        affected, errors = self._hpb_problems(calls, now)
        if refusal is not None:
            errors.append(refusal)
        hpb = {condition.code: condition for condition in (hpb_condition(error, affected) for error in errors)}
        for code in ("hpb-unreachable", "hpb-refused"):
            self._set(code, hpb.get(code), now)
        lost = {(call, who): failure for call in calls for who, failure in call.path_failures().items()}
        media: dict[Hashable, Condition] = {source: media_condition(len(lost), failure) for source, failure in lost.items()}
        self._conditions.observe("media-path", media, now)
        if encrypted := sum(call.encrypted_count for call in calls):
            self._last_encrypted = (encrypted, now)
        encrypted, seen_at = self._last_encrypted
        lasts = encrypted > 0 and now - seen_at < ENCRYPTED_S
        self._set("encrypted", encrypted_condition(encrypted) if lasts else None, now)
        answers = sorted((item for call in calls for item in call.turn_answers().items()), key=lambda item: item[1].at)
        refused = {server: answer.code for server, answer in dict(answers).items() if answer.code}
        recent = any(now - answer.at < TURN_REFUSED_S for _, answer in answers if answer.code)
        self._set("turn-refused", turn_condition(refused) if refused and recent else None, now)
        return self._conditions.changes(now)

    def _set(self, code: str, condition: Condition | None, now: float) -> None:
        self._conditions.observe(code, {} if condition is None else {"": condition}, now)

    def _hpb_problems(self, calls: Sequence[Call], now: float) -> tuple[int, list[SignalingError]]:
        """How many calls are not in their rooms, and why. The last problem counts for `HPB_PROBLEM_S` after its call."""
        errors = [error for call in calls if (error := call.last_error) is not None]
        if errors:
            self._last_hpb_problem = (errors[0], now)
        elif any(call.joined.is_set() for call in calls):
            self._last_hpb_problem = None
        elif self._last_hpb_problem is not None and now - self._last_hpb_problem[1] < HPB_PROBLEM_S:
            return 0, [self._last_hpb_problem[0]]
        return len(errors), errors
