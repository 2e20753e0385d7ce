# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Rations the app's hellos so that the HPB does not lock it out.

The HPB (since 1.3) counts failed hellos per address. After 10 within 30 minutes it refuses every hello from that address, even
a correct one, until the oldest of the 10 is 30 minutes old. Therefore only one hello at a time tries a credential that is not
known to work, a refused credential is tried again after five minutes, and all hellos of the process stay below the HPB's limit.
A part of that limit is reserved for other credentials, so that the right one can be tried as soon as it is set.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass, field

from live_transcription.config import HpbConfig
from live_transcription.errors import SignalingRefused
from live_transcription.runtime.hosts import host_of
from live_transcription.signaling.diagnosis import UNCOUNTED, refused_again, too_many_tries
from live_transcription.types import Secret

#: Seconds before a refused credential is tried again.
RETRY_AFTER_S = 300.0
#: The HPB's window in seconds, and how many of our hellos may fail in it. The HPB allows 9, but an earlier process may have
#: used some of them.
WINDOW_S = 1800.0
MAX_FAILURES = 8
#: How many hellos with one and the same credential may fail in it. The rest is for corrected settings.
SAME_FAILURES = 6
#: Seconds between two hellos to an HPB that does not answer them.
UNANSWERED_INTERVAL_S = 6.0
#: Limit of the remembered credentials; each corrected setting adds one.
_MAX_CREDENTIALS = 8


@dataclass(slots=True)
class _Credential:
    """What is known about one secret at one HPB.

    `failures` holds the times of the latest failed hellos at this HPB, and is shared by all its credentials. `own_failures`
    holds those with this credential. `works` means that the last hello was accepted, at `accepted_at`, and that no lost session
    has put the credential in doubt since. `has_worked` is True until a hello is refused. `refusal` is the last answer, if
    it is a refusal; it is tried again from `retry_at` on.
    """

    failures: deque[float]
    own_failures: deque[float] = field(default_factory=lambda: deque(maxlen=SAME_FAILURES))
    works: bool = False
    has_worked: bool = False
    accepted_at: float = float("-inf")
    attempts: set[HelloAttempt] = field(default_factory=set)
    refusal: SignalingRefused | None = None
    retry_at: float = 0.0
    unanswered_at: float = float("-inf")


@dataclass(eq=False, slots=True)
class HelloAttempt:
    """Permission to send one hello. Report the outcome with `HelloGuard.settle`.

    If `patient` is set, wait up to 30 s for the answer: the HPB may delay a refusal by 25 s, and a second hello would count
    again.
    """

    credential: _Credential
    patient: bool
    began_at: float


@dataclass(frozen=True, slots=True)
class Wait:
    """No hello may be sent before `until` (None: before the outcome of another one). `refusal` is the HPB's last answer."""

    until: float | None = None
    refusal: SignalingRefused | None = None


class HelloGuard:
    """Decides when a hello may be sent. The calls, the test on the settings page and the self-test share one guard.

    `now` is the event loop's time in seconds.
    """

    def __init__(self) -> None:
        self._credentials: OrderedDict[tuple[str, Secret, str], _Credential] = OrderedDict()
        self._settled = asyncio.Event()

    def refusal(self, config: HpbConfig, now: float) -> SignalingRefused | None:
        """The HPB's refusal of this credential, if it is younger than `RETRY_AFTER_S`."""
        credential = self._credential(config)
        return _copy(credential.refusal) if now < credential.retry_at else None

    def refusal_since(self, config: HpbConfig, began_at: float) -> SignalingRefused | None:
        """The HPB's refusal of this credential, if it is its last answer and not older than `began_at`."""
        credential = self._credential(config)
        return _copy(credential.refusal) if credential.retry_at - RETRY_AFTER_S >= began_at else None

    def accepted_at(self, config: HpbConfig) -> float:
        """When the HPB accepted this credential for the last time; -inf if it never did."""
        return self._credential(config).accepted_at

    def obstacle(self, config: HpbConfig, now: float, *, urgent: bool = False) -> Wait | None:
        """Why a hello has to wait, or None. Check this before opening a connection just for a hello.

        `urgent` means that an administrator waits for the outcome: a refused credential is then tried at once.
        """
        credential = self._credential(config)
        # A credential that works needs no ration.
        if credential.works:
            return None
        # The HPB has refused it: only time, new settings or an administrator's test make another attempt worthwhile.
        if credential.refusal is not None and now < credential.retry_at and not urgent:
            return Wait(credential.retry_at, _copy(credential.refusal))
        # One attempt at a time, so that a wrong secret costs one failure however many calls there are.
        if credential.attempts:
            return Wait(refusal=_copy(credential.refusal))
        if now < credential.unanswered_at + UNANSWERED_INTERVAL_S and not urgent:
            return Wait(credential.unanswered_at + UNANSWERED_INTERVAL_S)
        # Whatever happens, stay below the HPB's limit. A credential that has worked fails only because the HPB is away.
        if not credential.has_worked and len(credential.own_failures) >= SAME_FAILURES:
            again_at = credential.own_failures[-SAME_FAILURES] + WINDOW_S
            if now < again_at:
                return Wait(again_at, refused_again(again_at - now))
        if not credential.has_worked and len(credential.failures) >= MAX_FAILURES:
            again_at = credential.failures[-MAX_FAILURES] + WINDOW_S
            if now < again_at:
                return Wait(again_at, too_many_tries(again_at - now))
        return None

    def ask(self, config: HpbConfig, now: float, *, lost_at: float | None = None, urgent: bool = False) -> HelloAttempt | Wait:
        """Permission to send a hello now, or why it has to wait.

        `lost_at` is when the caller lost a session that the HPB no longer knows. The HPB may have restarted with another secret
        since then, so the credential is in doubt unless a hello was accepted later.
        """
        credential = self._credential(config)
        if lost_at is not None and credential.accepted_at <= lost_at:
            credential.works = False
        if (wait := self.obstacle(config, now, urgent=urgent)) is not None:
            return wait
        # A proven credential gets short timeouts, until so many hellos failed that one more refusal must not be overlooked.
        failures = sum(now - at < WINDOW_S for at in credential.failures)
        patient = not credential.works and (not credential.has_worked or failures >= MAX_FAILURES - 1)
        attempt = HelloAttempt(credential, patient, now)
        credential.attempts.add(attempt)
        return attempt

    def settle(
        self, attempt: HelloAttempt, now: float, *, accepted: bool = False, refusal: SignalingRefused | None = None
    ) -> None:
        """Report the outcome of a hello; only the first report counts.

        Without `accepted` or `refusal` the connection broke, or the server gave another answer. This counts as a failure, since
        the HPB may have refused the hello and delayed the answer.
        """
        credential = attempt.credential
        if attempt not in credential.attempts:
            return
        credential.attempts.discard(attempt)
        if accepted:
            credential.accepted_at, credential.refusal = now, None
            credential.works = credential.has_worked = True
        elif refusal is not None:
            credential.refusal, credential.retry_at = refusal, now + RETRY_AFTER_S
            credential.works = credential.has_worked = False
            if refusal.reason not in UNCOUNTED:
                self._count(credential, now)
        elif not credential.works:
            self._count(credential, now)
            credential.unanswered_at = attempt.began_at
        self._settled.set()
        self._settled = asyncio.Event()

    async def wait(self, until: float | None) -> None:
        """Wait for the outcome of any hello, and at the latest until this time of the event loop. Then ask again."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._settled.wait()

    @staticmethod
    def _count(credential: _Credential, now: float) -> None:
        credential.failures.append(now)
        credential.own_failures.append(now)

    def _credential(self, config: HpbConfig) -> _Credential:
        key = (config.url, config.internal_secret, config.backend_url)
        credential = self._credentials.get(key)
        if credential is None:
            # The HPB counts failures per address, whatever the secret, and however its own address is written.
            server = _server(config.url)
            known = (other.failures for (url, *_), other in self._credentials.items() if _server(url) == server)
            credential = self._credentials[key] = _Credential(next(known, deque(maxlen=MAX_FAILURES)))
        self._credentials.move_to_end(key)
        while len(self._credentials) > _MAX_CREDENTIALS:
            self._credentials.popitem(last=False)
        return credential


def _server(url: str) -> str:
    """Host and port of the HPB, the same for all default ports: HTTP and HTTPS usually lead to the same one."""
    return host_of(url).removesuffix(":443").removesuffix(":80")


def _copy(refusal: SignalingRefused | None) -> SignalingRefused | None:
    """A raised exception collects a traceback, so each caller gets its own copy."""
    return refusal and SignalingRefused(refusal.message, fix=refusal.fix, reason=refusal.reason)
