# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Authentication: which requests come from our Nextcloud, for which user, and whether that user is an administrator.

A monitoring server has a separate token (`LT_METRICS_TOKEN`), which only gives access to the numbers.

AppAPI sends `EX-APP-ID`, `EX-APP-VERSION` and `AUTHORIZATION-APP-API` (base64 of `user:secret`) with each request. The secret
is compared in constant time and never appears in an answer or in the log.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import time
from collections.abc import Callable, Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ex_app.errors import NextcloudError, NotAllowed
from ex_app.identity import AppIdentity
from ex_app.nextcloud.gateway import NextcloudGateway
from ex_app.responses import error_answer, requests_refused
from live_transcription.observability.log_limit import LogLimit
from live_transcription.types import Secret

logger = logging.getLogger(__name__)

#: Routes that answer everyone; their content depends on `request.state.authenticated`.
OPEN_PATHS = frozenset({"/heartbeat", "/healthz", "/metrics"})
#: Seconds for which Nextcloud's answer about a user is used.
FRESH_S = 60.0
#: Longest wait in seconds for that answer.
ASK_S = 3.0
_MAX_USERS = 200
#: Seconds between two log lines about refusals for the same reason, since strangers can cause any number of refusals.
_LOG_EVERY_S = 10.0


class AppApiAuth:
    """ASGI middleware. Sets `request.state.authenticated` and `request.state.user_id` (None: no user), or answers 401.

    `request.state.reads_numbers` says whether the request has the token for the metrics. `on_authenticated` is called for each
    request that has the app's secret.
    """

    def __init__(
        self,
        app: ASGIApp,
        identity: AppIdentity,
        open_paths: Iterable[str] = OPEN_PATHS,
        *,
        metrics_token: Callable[[], Secret] = lambda: Secret(""),
        on_authenticated: Callable[[], None] = lambda: None,
    ) -> None:
        self._app = app
        self._metrics_token = metrics_token
        self._identity = identity
        self._on_authenticated = on_authenticated
        self._open_paths = frozenset(open_paths)
        self._log_limit = LogLimit(_LOG_EVERY_S, time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        user_id, refusal = self._check(headers)
        state = scope.setdefault("state", {})
        state["authenticated"] = refusal is None
        state["user_id"] = user_id
        # `MonitoringOnly` may have decided already.
        state.setdefault("reads_numbers", has_token(headers, self._metrics_token()))
        if refusal is None:
            self._on_authenticated()
        if refusal is None or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        self._log(refusal)
        requests_refused.labels("401").inc()
        await error_answer(401, "Not authenticated by AppAPI.")(scope, receive, send)

    def _check(self, headers: Headers) -> tuple[str | None, str | None]:
        """The user id and None; or None and the reason for the refusal."""
        user_id, _, secret = _decode(headers.get("AUTHORIZATION-APP-API", "")).partition(b":")
        expected = self._identity.secret.reveal().encode()
        # Compare the secret before checking anything else, so that the response time reveals nothing.
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
            logger.warning("Refused a request: %s", reason, extra={"left_out": left_out})


def has_token(headers: Headers, token: Secret) -> bool:
    """Whether the request has this token (RFC 6750, section 2.1); compared in constant time. Never for an empty token."""
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    expected = token.reveal().encode()
    matches = hmac.compare_digest(given.strip().encode(), expected)
    return bool(expected) and matches and scheme.lower() == "bearer"


def _decode(header: str) -> bytes:
    try:
        return base64.b64decode(header, validate=True)
    except ValueError:
        return b""


class Admins:
    """Checks that a user is in Nextcloud's group `admin`, as AppAPI does for routes with the access level ADMIN.

    AppAPI refuses everyone else before the request gets here. This second check guards against a mistake in `info.xml`. While
    Nextcloud does not answer, AppAPI's check is enough; otherwise nobody could correct the settings meanwhile.
    """

    def __init__(self, nextcloud: NextcloudGateway, now: Callable[[], float] = time.monotonic) -> None:
        self._nextcloud = nextcloud
        self._now = now
        self._known: dict[str, tuple[bool, float]] = {}

    async def require(self, user_id: str | None) -> None:
        """Raise NotAllowed if there is no user, or if the user is known not to be an administrator."""
        if not user_id:
            raise NotAllowed("This is for administrators only: the request names no user.")
        known = self._known.get(user_id)
        if known is None or self._now() - known[1] > FRESH_S:
            await self._ask(user_id)
            known = self._known.get(user_id)
        if known is not None and not known[0]:
            raise NotAllowed("This is for administrators only.", fix="Log in as an administrator.")

    async def _ask(self, user_id: str) -> None:
        try:
            async with asyncio.timeout(ASK_S):
                is_admin = await self._nextcloud.is_admin(user_id)
        except (NextcloudError, TimeoutError):
            logger.info("Could not ask Nextcloud whether a user is an administrator, so AppAPI's check decides")
            return
        if len(self._known) >= _MAX_USERS:
            self._known.clear()
        self._known[user_id] = (is_admin, self._now())
