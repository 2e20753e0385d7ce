# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What all calls report about the HPB, the media path and TURN: conditions, and the last outcomes of these dependencies.

Pure: `now` in seconds of any monotonic clock, `at` in seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from live_transcription.call.call import Call
from live_transcription.errors import LiveTranscriptionError, NoMediaPath, RoomRefused, SignalingError, SignalingRefused
from live_transcription.observability.conditions import (
    SHORTAGES,
    Change,
    Conditions,
    encrypted_condition,
    hpb_condition,
    media_condition,
    turn_condition,
)
from live_transcription.observability.health import FAILED, HPB, MEDIA, OK, TURN, WARNING, Outcomes
from live_transcription.status import Condition
from live_transcription.types import TurnAnswer

#: Seconds for which the last problem with the HPB counts when no call is left to report it.
HPB_PROBLEM_S = 300.0
#: Seconds for which a TURN server's refusal counts while no subscription asks it again.
TURN_REFUSED_S = 600.0
#: Seconds for which encrypted audio counts after the last encrypted speaker. So the condition, which logs a line when it begins
#: and when it ends, does not end when that speaker reloads the page, or when a guest switches encryption on and off.
ENCRYPTED_S = 10.0


#: The conditions that say that calls have no session at the HPB.
_HPB_CODES = ("hpb-unreachable", "hpb-refused")


class Problems:
    """The conditions of the service. It notes what calls and tests show in `outcomes`."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._conditions = Conditions()
        self._outcomes = outcomes
        self._last_hpb_problem: tuple[SignalingError, float] | None = None
        # How many speakers were encrypted, and when.
        self._last_encrypted = (0, 0.0)
        # Only later events change the outcome: an existing session does not prove a secret that a test found to be wrong, an
        # earlier login does not prove other settings, and a call without a session does not affect the sessions of other calls.
        self._hpb_since = float("-inf")
        self._sessions_since = float("-inf")
        self._turn_since = float("-inf")
        self._hpb_refusal: SignalingRefused | None = None

    def current(self) -> tuple[Condition, ...]:
        """The conditions that have begun and not ended, as of the last `observe`."""
        return self._conditions.current()

    @property
    def hpb_refusal(self) -> tuple[SignalingRefused, float] | None:
        """The refusal that is the HPB's last outcome, and when it was noted; None for another outcome."""
        return None if self._hpb_refusal is None else (self._hpb_refusal, self._hpb_since)

    def forget_hpb(self, now: float) -> None:
        """Other settings of the HPB apply from now on."""
        self._last_hpb_problem = self._hpb_refusal = None
        self._hpb_since = self._sessions_since = now
        self._outcomes.forget(HPB, MEDIA)

    def hpb_succeeded(self, at: float) -> None:
        """The HPB has accepted a hello."""
        self._last_hpb_problem = self._hpb_refusal = None
        self._outcomes.succeeded(HPB, at)

    def hpb_failed(self, error: LiveTranscriptionError, now: float, at: float) -> None:
        """A test has shown that the HPB cannot be reached, or that it refuses the app."""
        self._sessions_since = now
        self._note_hpb_failure(error, now, at)

    def _note_hpb_failure(self, error: LiveTranscriptionError, now: float, at: float) -> None:
        self._hpb_refusal = error if isinstance(error, SignalingRefused) else None
        self._hpb_since = now
        self._outcomes.failed(HPB, error, at)

    def turn_tested(self, problem: Condition | None, now: float, at: float) -> None:
        """A test of all STUN and TURN servers has ended."""
        self._turn_since = now
        if problem is None:
            self._outcomes.succeeded(TURN, at)
        else:
            self._outcomes.warned(TURN, problem, at)

    def observe(
        self,
        calls: Sequence[Call],
        shortages: Iterable[Condition],
        refusal: SignalingError | None,
        now: float,
        *,
        accepted_at: float,
        at: float,
    ) -> tuple[Change, ...]:
        """Check all conditions, about once a second. Returns those that have begun or ended since the last check.

        `refusal`: why the HPB refuses every call of this app, if it does. `accepted_at`: when it accepted the last hello.
        """
        by_code = {shortage.code: shortage for shortage in shortages}
        for code in SHORTAGES:
            self._set(code, by_code.get(code), now)
        affected, errors = self._hpb_problems(calls, now)
        if refusal is not None:
            errors.append(refusal)
        hpb = {condition.code: condition for condition in (hpb_condition(error, affected) for error in errors)}
        for code in _HPB_CODES:
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
        self._set("turn-refused", _turn_refusal(answers, now), now)
        changes = self._conditions.changes(now)
        begun = {condition.code for condition in self._conditions.current()}
        self._note_hpb(calls, errors if begun.intersection(_HPB_CODES) else [], accepted_at, now, at)
        self._note_media(calls, list(lost.values()), "media-path" in begun, at)
        self._note_turn([answer for answer in answers if answer[1].at > self._turn_since], now, at)
        return changes

    def _note_hpb(
        self, calls: Sequence[Call], errors: Sequence[SignalingError], accepted_at: float, now: float, at: float
    ) -> None:
        if errors:
            # A refusal explains more than the connections that fail after it.
            error = next((error for error in errors if isinstance(error, SignalingRefused)), errors[0])
            self._note_hpb_failure(error, now, at)
            return
        since = [since for call in calls if (since := call.in_room_since) is not None]
        # A session that is resumed shows that the HPB is back, but not that it accepts the secret.
        in_room = self._hpb_refusal is None and any(began > self._sessions_since for began in since)
        if in_room or (accepted_at > self._hpb_since and (since or self._outcomes.of(HPB).state != OK)):
            self.hpb_succeeded(at)

    def _note_media(self, calls: Sequence[Call], failures: Sequence[NoMediaPath], lasting: bool, at: float) -> None:
        connected = any(call.has_media_path for call in calls)
        if failures and lasting:
            self._outcomes.failed(MEDIA, failures[0], at, state=WARNING if connected else FAILED)
        elif connected and not failures:
            self._outcomes.succeeded(MEDIA, at)

    def _note_turn(self, answers: Sequence[tuple[str, TurnAnswer]], now: float, at: float) -> None:
        """`answers`: those since the last test, in order."""
        if (refusal := _turn_refusal(answers, now)) is not None:
            self._outcomes.warned(TURN, refusal, at)
        elif answers and not answers[-1][1].code:
            self._outcomes.succeeded(TURN, at)

    def _set(self, code: str, condition: Condition | None, now: float) -> None:
        self._conditions.observe(code, {} if condition is None else {"": condition}, now)

    def _hpb_problems(self, calls: Sequence[Call], now: float) -> tuple[int, list[SignalingError]]:
        """How many calls are not in their rooms, and why. The last problem counts for `HPB_PROBLEM_S` after its call.

        A room that refuses the app is no problem with the HPB.
        """
        found = [call.last_error for call in calls]
        errors = [error for error in found if error is not None and not isinstance(error, RoomRefused)]
        if errors:
            self._last_hpb_problem = (errors[0], now)
        elif any(call.joined.is_set() for call in calls):
            self._last_hpb_problem = None
        elif self._last_hpb_problem is not None and now - self._last_hpb_problem[1] < HPB_PROBLEM_S:
            return 0, [self._last_hpb_problem[0]]
        return len(errors), errors


def _turn_refusal(answers: Sequence[tuple[str, TurnAnswer]], now: float) -> Condition | None:
    """The condition for servers whose last answer was a refusal, if one is recent. `answers`: in order, with the addresses."""
    refused = {server: answer.code for server, answer in dict(answers).items() if answer.code}
    recent = any(now - answer.at < TURN_REFUSED_S for _, answer in answers if answer.code)
    return turn_condition(refused) if refused and recent else None
