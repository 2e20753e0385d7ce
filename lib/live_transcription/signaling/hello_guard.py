# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Hellos of an internal client, rationed so that the HPB does not lock the app out.

The HPB counts failed hellos per address. After 10 within 30 minutes it refuses every hello from that address, even a correct
one, until the oldest of the 10 is 30 minutes old. So only one hello at a time tries a credential that is not known to work, a
refused credential rests for five minutes, and all hellos of the process together stay below the HPB's limit.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from live_transcription.config import HpbConfig
from live_transcription.errors import SignalingRefused
from live_transcription.signaling.refusals import UNCOUNTED, too_many_tries
from live_transcription.types import Secret

#: Seconds before a refused credential is tried again.
RETRY_AFTER_S = 300.0
#: The HPB's window in seconds, and how many of our hellos may fail in it. The HPB allows 9, but an earlier process may have
#: used some of them.
WINDOW_S = 1800.0
MAX_FAILURES = 8
#: Seconds between two hellos while an HPB that has accepted us before does not answer. After `_HASTY_HELLOS` in the window,
#: each hello waits as long as the HPB may delay a refusal, since the HPB may have another secret by now and count them.
UNANSWERED_PACE_S = 6.0
_HASTY_HELLOS = MAX_FAILURES - 1
#: Limit of remembered credentials; each corrected setting adds one.
_MAX_CREDENTIALS = 8


def hello_token(internal_secret: Secret, random: str) -> str:
    """Hex HMAC-SHA256 of `random` (at least 32 characters) with the HPB's internal secret."""
    return hmac.new(internal_secret.reveal().encode(), random.encode(), hashlib.sha256).hexdigest()


@dataclass(slots=True)
class _Credential:
    """`works`: the last hello was accepted, at `accepted_at`, and the credential is not in doubt.

    `has_worked`: no hello was refused since one was accepted. `failures`: times of failures, shared by all credentials at this
    HPB.
    """

    failures: deque[float]
    works: bool = False
    has_worked: bool = False
    accepted_at: float = 0.0
    attempts: set[HelloAttempt] = field(default_factory=set)
    refusal: SignalingRefused | None = None
    retry_at: float = 0.0
    unanswered_at: float = float("-inf")


@dataclass(eq=False, slots=True)
class HelloAttempt:
    """Permission to send one hello. Report its outcome to the guard: `accepted`, `refused` or `abandoned`.

    `patient`: wait up to 25 s for the answer. The HPB may delay a refusal by so much, and another hello would count again.
    """

    _credential: _Credential
    patient: bool
    began_at: float


@dataclass(frozen=True, slots=True)
class Wait:
    """No hello now. Ask again at `until` if that is known, or when a listener is called. `refusal`: the HPB's last answer."""

    until: float | None = None
    refusal: SignalingRefused | None = None


HelloLeave: TypeAlias = HelloAttempt | Wait


class HelloGuard:
    """Decides who may send a hello. One for all calls and tests of the service. Pure: `now` in seconds comes in."""

    def __init__(self) -> None:
        self._credentials: OrderedDict[tuple[str, Secret, str], _Credential] = OrderedDict()
        self._listeners: list[Callable[[], None]] = []

    def add_listener(self, listener: Callable[[], None]) -> None:
        """`listener` is called after every outcome, when waiting connections should ask again."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[], None]) -> None:
        self._listeners.remove(listener)

    def refusal(self, config: HpbConfig, now: float) -> SignalingRefused | None:
        """The HPB's refusal of this credential, if it is not older than `RETRY_AFTER_S`."""
        credential = self._credential(config)
        return _copy(credential.refusal) if now < credential.retry_at else None

    def obstacle(self, config: HpbConfig, now: float, *, urgent: bool = False) -> Wait | None:
        """Why a hello has to wait; None: it may be sent. Check this before opening a connection just for a hello.

        `urgent`: an administrator waits for the outcome, so a refused credential may be tried before its rest is over.
        """
        credential = self._credential(config)
        if credential.works:
            return None
        if credential.refusal is not None and now < credential.retry_at and not urgent:
            return Wait(credential.retry_at, _copy(credential.refusal))
        if credential.attempts:
            return Wait(refusal=_copy(credential.refusal))
        if now < credential.unanswered_at + UNANSWERED_PACE_S and not urgent:
            return Wait(credential.unanswered_at + UNANSWERED_PACE_S)
        if not credential.has_worked and len(credential.failures) >= MAX_FAILURES:
            again_at = credential.failures[-MAX_FAILURES] + WINDOW_S
            if now < again_at:
                return Wait(again_at, too_many_tries(again_at - now))
        return None

    def ask(self, config: HpbConfig, now: float, *, lost_at: float | None = None, urgent: bool = False) -> HelloLeave:
        """Permission to send a hello now, or why it has to wait.

        `lost_at`: the caller had a session until then, which the HPB no longer knows. The HPB may have restarted with another
        secret, unless it has accepted a hello since.
        """
        credential = self._credential(config)
        if lost_at is not None and credential.accepted_at <= lost_at:
            credential.works = False
        if (wait := self.obstacle(config, now, urgent=urgent)) is not None:
            return wait
        failures = sum(now - at < WINDOW_S for at in credential.failures)
        patient = not credential.has_worked or failures >= _HASTY_HELLOS
        attempt = HelloAttempt(credential, patient and not credential.works, now)
        credential.attempts.add(attempt)
        return attempt

    def accepted(self, attempt: HelloAttempt, now: float) -> None:
        credential = attempt._credential
        credential.accepted_at = now
        credential.works = credential.has_worked = True
        credential.refusal = None
        self._settle(attempt)

    def refused(self, attempt: HelloAttempt, refusal: SignalingRefused, now: float) -> None:
        credential = attempt._credential
        credential.works = credential.has_worked = False
        credential.refusal = refusal
        credential.retry_at = now + RETRY_AFTER_S
        if refusal.reason not in UNCOUNTED:
            credential.failures.append(now)
        self._settle(attempt)

    def abandoned(self, attempt: HelloAttempt, now: float, *, sent: bool = True) -> None:
        """No outcome: the connection broke, or the server answered something else. Idempotent, also after an outcome.

        A hello that was `sent` counts as failed, since the HPB may have refused it and delayed the answer.
        """
        if attempt in attempt._credential.attempts:
            if sent and not attempt._credential.works:
                attempt._credential.failures.append(now)
                attempt._credential.unanswered_at = attempt.began_at
            self._settle(attempt)

    def _credential(self, config: HpbConfig) -> _Credential:
        key = (config.url, config.internal_secret, config.backend_url)
        credential = self._credentials.get(key)
        if credential is None:
            # The HPB counts per address, whichever secret was used.
            known = (other.failures for (url, *_), other in self._credentials.items() if url == config.url)
            credential = self._credentials[key] = _Credential(next(known, deque(maxlen=MAX_FAILURES)))
        self._credentials.move_to_end(key)
        while len(self._credentials) > _MAX_CREDENTIALS:
            self._credentials.popitem(last=False)
        return credential

    def _settle(self, attempt: HelloAttempt) -> None:
        attempt._credential.attempts.discard(attempt)
        for listener in list(self._listeners):
            listener()


def _copy(refusal: SignalingRefused | None) -> SignalingRefused | None:
    """A raised exception collects a traceback, so each caller gets its own copy."""
    return refusal and SignalingRefused(refusal.message, fix=refusal.fix, reason=refusal.reason)
