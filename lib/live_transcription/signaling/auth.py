# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Saying hello as an internal client, and not getting locked out by it.

The HPB counts failed hellos per address: 10 within 30 minutes lock the address out, and are remembered for 12 hours. So while a
credential is not known to work one hello at a time may try it, and after a refusal the next try has to wait.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from live_transcription.config import HpbConfig
from live_transcription.errors import SignalingRefused
from live_transcription.signaling.refusals import TOO_MANY_REQUESTS
from live_transcription.types import Secret

#: Wait before a refused credential may be tried once more, in seconds.
RETRY_AFTER_S = 300.0
#: The same while the HPB has locked our address out.
RETRY_AFTER_LOCKOUT_S = 3600.0
#: Credentials remembered; an administrator who corrects a setting makes another one.
_MAX_CREDENTIALS = 8


def hello_token(internal_secret: Secret, random: str) -> str:
    """Hex HMAC-SHA256 of `random` (at least 32 characters) with the HPB's internal secret."""
    return hmac.new(internal_secret.reveal().encode(), random.encode(), hashlib.sha256).hexdigest()


@dataclass(slots=True)
class _Credential:
    works: bool = False
    attempts: set[HelloAttempt] = field(default_factory=set)
    refusal: SignalingRefused | None = None
    retry_at: float = 0.0


@dataclass(eq=False, slots=True)
class HelloAttempt:
    """Leave to send one hello; its outcome goes back to the guard: `accepted`, `refused` or `abandoned`."""

    _credential: _Credential


@dataclass(frozen=True, slots=True)
class Wait:
    """Another hello with this credential is in flight; ask again when a listener is called."""


HelloLeave: TypeAlias = HelloAttempt | Wait | SignalingRefused


class HelloGuard:
    """Decides who may say hello. One for all calls of the service; pure: `now` in seconds comes in, no clock, no waiting."""

    def __init__(self) -> None:
        self._credentials: OrderedDict[tuple[str, Secret, str], _Credential] = OrderedDict()
        self._listeners: list[Callable[[], None]] = []

    def add_listener(self, listener: Callable[[], None]) -> None:
        """`listener` is called after every outcome, when waiting connections should ask again."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[], None]) -> None:
        self._listeners.remove(listener)

    def refusal(self, config: HpbConfig, now: float) -> SignalingRefused | None:
        """The remembered refusal, while it still stands."""
        return self._standing(self._credential(config), now)

    def ask(self, config: HpbConfig, now: float, *, doubtful: bool = False) -> HelloLeave:
        """Whether a hello may be sent now.

        `doubtful`: the asker had a session that the HPB no longer knows, so it may have restarted with another secret.
        """
        credential = self._credential(config)
        if (refusal := self._standing(credential, now)) is not None:
            return refusal
        if doubtful:
            credential.works = False
        if credential.attempts and not credential.works:
            return Wait()
        attempt = HelloAttempt(credential)
        credential.attempts.add(attempt)
        return attempt

    def accepted(self, attempt: HelloAttempt) -> None:
        credential = attempt._credential
        credential.works = True
        credential.refusal = None
        self._settle(attempt)

    def refused(self, attempt: HelloAttempt, refusal: SignalingRefused, now: float) -> None:
        credential = attempt._credential
        credential.works = False
        credential.refusal = refusal
        credential.retry_at = now + (RETRY_AFTER_LOCKOUT_S if refusal.reason == TOO_MANY_REQUESTS else RETRY_AFTER_S)
        self._settle(attempt)

    def abandoned(self, attempt: HelloAttempt) -> None:
        """No outcome: the connection broke, or the server answered something else. Idempotent, also after an outcome."""
        if attempt in attempt._credential.attempts:
            self._settle(attempt)

    @staticmethod
    def _standing(credential: _Credential, now: float) -> SignalingRefused | None:
        """A copy for each asker: a raised exception collects its own traceback."""
        refusal = credential.refusal
        if refusal is None or now >= credential.retry_at:
            return None
        return SignalingRefused(refusal.message, fix=refusal.fix, reason=refusal.reason)

    def _credential(self, config: HpbConfig) -> _Credential:
        key = (config.url, config.internal_secret, config.backend_url)
        credential = self._credentials.setdefault(key, _Credential())
        self._credentials.move_to_end(key)
        while len(self._credentials) > _MAX_CREDENTIALS:
            self._credentials.popitem(last=False)
        return credential

    def _settle(self, attempt: HelloAttempt) -> None:
        attempt._credential.attempts.discard(attempt)
        for listener in list(self._listeners):
            listener()
