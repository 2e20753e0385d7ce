# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""AppAPI's authentication: which requests come from our Nextcloud, and for which of its users.

AppAPI signs each request with `EX-APP-ID`, `EX-APP-VERSION` and `AUTHORIZATION-APP-API` (base64 of `user:secret`). The secret
is compared in constant time and never repeated, neither in an answer nor in the log.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import time
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ex_app import metrics
from ex_app.answers import error_answer
from ex_app.settings.read import AppIdentity
from live_transcription.observability.log_limit import LogLimit

logger = logging.getLogger(__name__)

#: Routes that answer anybody; their content depends on `request.state.authenticated`.
OPEN_PATHS = frozenset({"/heartbeat", "/healthz", "/metrics"})
#: Seconds in which a refusal is logged at most once per reason, since strangers can cause any number of them.
_LOG_EVERY_S = 10.0


class AppApiAuth:
    """ASGI middleware. Sets `request.state.authenticated` and `request.state.user_id` (None: no user); else answers 401."""

    def __init__(self, app: ASGIApp, identity: AppIdentity, open_paths: Iterable[str] = OPEN_PATHS) -> None:
        self._app = app
        self._identity = identity
        self._open_paths = frozenset(open_paths)
        self._log_limit = LogLimit(_LOG_EVERY_S, time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        user_id, refusal = self._check(Headers(scope=scope))
        state = scope.setdefault("state", {})
        state["authenticated"] = refusal is None
        state["user_id"] = user_id
        if refusal is None or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        self._log(refusal)
        metrics.requests_refused.labels("401").inc()
        await error_answer(401, "Not authenticated by AppAPI.")(scope, receive, send)

    def _check(self, headers: Headers) -> tuple[str | None, str | None]:
        """User id and None, or None and the reason of the refusal."""
        user_id, _, secret = _decode(headers.get("AUTHORIZATION-APP-API", "")).partition(b":")
        expected = self._identity.secret.reveal().encode()
        # Compared before anything else is checked, so that the response time reveals nothing.
        matches = hmac.compare_digest(secret, expected)
        if not expected:
            return None, "this app has no secret (APP_SECRET)"
        if not secret:
            return None, "no credentials"
        if not matches:
            return None, "wrong secret"
        if headers.get("EX-APP-ID", "") != self._identity.app_id:
            return None, "meant for another app (EX-APP-ID)"
        if not headers.get("EX-APP-VERSION", ""):
            return None, "no version (EX-APP-VERSION)"
        return user_id.decode("utf-8", "replace") or None, None

    def _log(self, reason: str) -> None:
        if (left_out := self._log_limit.permit(reason)) is not None:
            logger.warning("A request was refused: %s", reason, extra={"left_out": left_out})


def _decode(header: str) -> bytes:
    try:
        return base64.b64decode(header, validate=True)
    except (binascii.Error, ValueError):
        return b""
