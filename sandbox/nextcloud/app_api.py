# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""AppAPI: the registered external apps, and Nextcloud's requests to them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from sandbox.appapi_rules import NOT_RESPONDING, SETUP_CHECK_S, Issue, setup_issues
from sandbox.nextcloud.app_info import Route, declared_routes
from sandbox.nextcloud.containers import Container
from sandbox.nextcloud.ocs import OcsError
from sandbox.nextcloud.talk import TALK_TIMEOUT_S, ExAppAnswer
from sandbox.nextcloud.throttle import Throttle

#: AppAPI's own version, sent as `AA-VERSION`.
AA_VERSION = "32.0.0"

#: Seconds for an installed app to answer a heartbeat before it is enabled; AppAPI tries for ten minutes.
ENABLE_HEARTBEAT_S = 10.0
HEARTBEAT_INTERVAL_S = 1.0
HEARTBEAT_TRIES = 600
INIT_TIMEOUT_S = 30.0
ENABLED_TIMEOUT_S = 60.0
CONFIG_KEY_LENGTH = 64


class ExAppUnreachable(Exception):
    """Refused, broken or too slow; Talk answers its users with an error then."""


@dataclass(slots=True)
class ConfigValue:
    value: str
    sensitive: bool = False


@dataclass(slots=True)
class ExApp:
    """One registered app. `progress` and `init_error` come from the app's own reports; `log`: (level, message)."""

    app_id: str
    version: str
    secret: str
    url: str = ""
    display_name: str = "Live Transcription"
    enabled: bool = False
    #: Flagged as enabled, but not notified yet.
    enabling: bool = False
    progress: int = -1
    init_error: str = ""
    enabled_error: str = ""
    #: While AppAPI installs or updates the app, it may report its progress though it is not enabled.
    installing: bool = True
    #: The routes that browsers may use, as they were registered.
    routes: tuple[Route, ...] = field(default_factory=declared_routes)
    config: dict[str, ConfigValue] = field(default_factory=dict)
    log: list[tuple[int, str]] = field(default_factory=list)
    #: What the app registered for the browser, by kind (`top-menu`, `script`, `style`, `initial-state`, `settings`) and key.
    ui: dict[str, dict[tuple[str, ...], dict[str, Any]]] = field(default_factory=dict)
    #: The app's commands of occ, by name.
    commands: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: The container of a Docker daemon, which AppAPI starts and stops with the app; None for an app that runs elsewhere.
    container: Container | None = None
    progress_reports: list[int] = field(default_factory=list)


class AppApi:
    """The registered apps and AppAPI's requests to them."""

    def __init__(self, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self.apps: dict[str, ExApp] = {}
        self.throttle = Throttle()
        #: What an app has saved outlives its registration, with `--rm-data` too: AppAPI removes the volume only.
        self._configs: dict[str, dict[str, ConfigValue]] = {}
        #: How a throttled request waits.
        self.sleep = sleep
        self.nextcloud_url = ""
        #: Apps that want to be asked for their problems, and the problems at the last time.
        self.in_setup_checks: set[str] = set()
        self.issues: dict[str, list[Issue]] = {}
        #: ICrypto's cipher texts, with their plain texts.
        self._encrypted: dict[str, str] = {}
        #: Users whose account was deleted.
        self.deleted_users: set[str] = set()
        #: Called with the id of an app that is removed.
        self.on_removed: Callable[[str], None] = lambda _app_id: None
        #: Users in Nextcloud's group `admin`.
        self.admins = {"admin"}
        #: Seconds that pass in `enable` between the flag and the app's request: AppAPI looks at the container meanwhile.
        self.enabling_s = 0.0
        self.client = httpx.AsyncClient(trust_env=False)
        self.changed = asyncio.Condition()

    async def aclose(self) -> None:
        await self.client.aclose()

    def register(
        self, app_id: str = "live_transcription", *, url: str = "", version: str = "10.0.0", secret: str | None = None
    ) -> ExApp:
        """`url`: where the app listens; can be set later, as with a container that starts now."""
        app = self.apps[app_id] = ExApp(app_id, version, secret or secrets.token_hex(64), url)
        app.config = self._configs.setdefault(app_id, app.config)
        return app

    def environment(self, app: ExApp, *, port: int, storage: str = "") -> dict[str, str]:
        """The variables that AppAPI gives to the app's container; sets `app.url` to that port of the loopback."""
        app.url = f"http://127.0.0.1:{port}"
        environment = {
            "AA_VERSION": AA_VERSION,
            "APP_ID": app.app_id,
            "APP_DISPLAY_NAME": app.display_name,
            "APP_VERSION": app.version,
            "APP_SECRET": app.secret,
            "APP_HOST": "127.0.0.1",
            "APP_PORT": str(port),
            "NEXTCLOUD_URL": self.nextcloud_url,
            "COMPUTE_DEVICE": "CPU",
        }
        if storage:
            environment["APP_PERSISTENT_STORAGE"] = storage
        return environment

    async def authenticate(self, headers: Any, *, address: str, path: str) -> tuple[ExApp, str]:
        """The app behind a request and the user that it acts for.

        As `AppAPIService::validateExAppRequestToNC`: a request of an unknown app or with a wrong secret counts against its
        address, delays every other request from there, whichever app sends it, and ends in 429. Raises OcsError 401 for
        those and for a disabled app, which may ask for its state only.
        """
        delay = self.throttle.delay(address, time.monotonic())
        if delay is None:
            raise OcsError(429, "Reached maximum delay")
        if delay:
            await self.sleep(delay)
        app_id = headers.get("EX-APP-ID", "")
        app = self.apps.get(app_id)
        user_id, _, secret = _decoded(headers.get("AUTHORIZATION-APP-API", "")).partition(":")
        subject = f"{app_id}:{user_id}"
        if app is None or not secrets.compare_digest(secret.encode(), app.secret.encode()):
            self.throttle.failed(address, subject, time.monotonic())
            raise OcsError(401, "Current user is not logged in")
        exempt = path.endswith("/ex-app/state") or (app.installing and path.endswith("/ex-app/status"))
        if not app.enabled and not exempt:
            raise OcsError(401, "ExApp is disabled")
        if not headers.get("EX-APP-VERSION") or user_id in self.deleted_users:
            raise OcsError(401, "Current user is not logged in")
        if delay:
            self.throttle.succeeded(address, subject)
        return app, user_id

    def encrypt(self, text: str) -> str:
        """As `ICrypto::encrypt`: cipher text, initialisation vector, authentication code and version, separated by bars."""
        cipher = f"{secrets.token_hex(len(text.encode()) + 16)}|{secrets.token_hex(16)}|{secrets.token_hex(64)}|3"
        self._encrypted[cipher] = text
        return cipher

    def decrypt(self, cipher: str) -> str | None:
        """None if this server has not encrypted it."""
        return self._encrypted.get(cipher)

    async def refresh_setup_checks(self) -> None:
        """As AppAPI's background job: ask every enabled and initialised app that has joined."""
        self.issues = {
            app.app_id: issues
            for app in self.apps.values()
            if app.app_id in self.in_setup_checks and app.enabled and app.progress >= 100
            if (issues := await self._setup_issues(app))
        }

    async def _setup_issues(self, app: ExApp) -> list[Issue]:
        try:
            async with asyncio.timeout(SETUP_CHECK_S):
                answer = await self.client.get(app.url + "/setup_checks", headers=self.signed(app, ""))
        except (httpx.HTTPError, TimeoutError):
            return [NOT_RESPONDING]
        return setup_issues(answer.status_code, answer.headers.get("content-length"), answer.content)

    async def run_command(self, app: ExApp, command: dict[str, Any], options: dict[str, Any] | None) -> AsyncIterator[str]:
        """The lines that a command prints, as they arrive. Raises ExAppUnreachable unless the status is 200."""
        content = json.dumps({"occ": {"arguments": None, "options": options}})
        headers = self.signed(app, "") | {"Content-Type": "application/json"}
        url = f"{app.url}/{command['execute_handler'].lstrip('/')}"
        try:
            async with self.client.stream("POST", url, content=content, headers=headers, timeout=None) as answer:
                if answer.status_code != 200:
                    raise ExAppUnreachable(f"[{command['name']}] command executeHandler failed")
                async for line in answer.aiter_lines():
                    yield line
        except httpx.HTTPError as error:
            what = f"[{command['name']}] command executeHandler failed. Error: {type(error).__name__}"
            raise ExAppUnreachable(what) from error

    def signed(self, app: ExApp, user_id: str, secret: str | None = None) -> dict[str, str]:
        """The headers with which AppAPI vouches for a request. `secret`: a wrong one, for tests."""
        token = f"{user_id}:{app.secret if secret is None else secret}"
        return {
            "AA-VERSION": AA_VERSION,
            "EX-APP-ID": app.app_id,
            "EX-APP-VERSION": app.version,
            "AUTHORIZATION-APP-API": base64.b64encode(token.encode()).decode(),
            "AA-REQUEST-ID": secrets.token_hex(10),
        }

    # Requests to the app.

    async def request(
        self,
        app_id: str,
        method: str,
        route: str,
        *,
        user_id: str | None = None,
        params: dict[str, Any] | None = None,
        timeout_s: float = TALK_TIMEOUT_S,
        secret: str | None = None,
    ) -> ExAppAnswer:
        """As AppAPI's `exAppRequest`: GET has `params` in the query, others as JSON. `secret`: a wrong one, for tests."""
        app = self.apps[app_id]
        headers = self.signed(app, user_id or "", secret)
        return await self._send(app, method, route, headers, params, timeout_s)

    async def heartbeat(self, app: ExApp, *, timeout_s: float = HEARTBEAT_TRIES * HEARTBEAT_INTERVAL_S) -> bool:
        """Asks once per second, without authentication, until the app answers ok. False if it never does."""
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(ExAppUnreachable):
                answer = await self._send(app, "GET", "/heartbeat", {}, None, 5.0)
                if answer.status == 200 and isinstance(answer.body, dict) and answer.body.get("status") == "ok":
                    return True
            if time.monotonic() + HEARTBEAT_INTERVAL_S > deadline:
                return False
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)

    async def init(self, app: ExApp) -> None:
        """`POST /init`; the app counts as enabled before it. 404 or 501: it has no init and is enabled at once."""
        app.progress, app.init_error = 0, ""
        app.enabled = app.installing = True
        try:
            answer = await self.request(app.app_id, "POST", "/init", timeout_s=INIT_TIMEOUT_S)
        except ExAppUnreachable as error:
            await self._init_failed(app, str(error))
            raise
        if answer.status in (404, 501):
            await self.report_progress(app, 100, "")
        elif not answer.ok:
            await self._init_failed(app, f"/init answered {answer.status}")

    async def report_progress(self, app: ExApp, progress: int, error: str) -> None:
        """The app's `PUT …/ex-app/status`; at 100 AppAPI enables the app before it answers. Later reports change nothing."""
        if progress != 0 and app.progress == 100:
            return
        if error:
            await self._init_failed(app, error)
            return
        app.progress = progress
        app.progress_reports.append(progress)
        if progress >= 100:
            app.installing = False
            await self.enable(app)
        await self._notify()

    async def enable(self, app: ExApp) -> bool:
        """Flag the app as enabled, wait for its container and its heartbeat, and then notify it.

        The app can already read its settings between the flag and the request. Like `AppAPIService::enableExApp` of AppAPI 35,
        for installations and `occ app_api:app:enable`. Without a heartbeat the flag stays, and the app is not notified.
        """
        app.enabled = app.enabling = True
        try:
            return await self._enable(app)
        finally:
            app.enabling = False
            await self._notify()

    async def _enable(self, app: ExApp) -> bool:
        if app.container is not None:
            await app.container.start()
        await asyncio.sleep(self.enabling_s)
        if not await self.heartbeat(app, timeout_s=ENABLE_HEARTBEAT_S):
            app.enabled_error = "no heartbeat"
            return False
        try:
            answer = await self.request(app.app_id, "PUT", "/enabled?enabled=1", timeout_s=ENABLED_TIMEOUT_S)
            error = _error_of(answer)
        except ExAppUnreachable as unreachable:
            error = str(unreachable)
        app.enabled, app.enabled_error = not error, error
        return app.enabled

    async def disable(self, app: ExApp) -> bool:
        """True if the app agreed. It is disabled in any case, after it was notified."""
        try:
            error = _error_of(await self.request(app.app_id, "PUT", "/enabled?enabled=0", timeout_s=ENABLED_TIMEOUT_S))
        except ExAppUnreachable as unreachable:
            error = str(unreachable)
        if app.container is not None:
            await app.container.stop()
        app.enabled, app.enabled_error = False, error
        await self._notify()
        return not error

    def remove(self, app: ExApp) -> None:
        """Forget the app, and what it has registered with Talk."""
        del self.apps[app.app_id]
        self.on_removed(app.app_id)

    async def install(self, app: ExApp, *, timeout_s: float = 60.0) -> None:
        """Heartbeat, init, and wait until the app is enabled. Raises ExAppUnreachable with the reason."""
        async with asyncio.timeout(timeout_s):
            if not await self.heartbeat(app, timeout_s=timeout_s):
                raise ExAppUnreachable("no heartbeat")
            await self.init(app)
            async with self.changed:
                await self.changed.wait_for(lambda: app.init_error or (app.progress >= 100 and not app.enabling))
        if app.init_error or not app.enabled:
            raise ExAppUnreachable(app.init_error or app.enabled_error or "the app was not enabled")

    async def _init_failed(self, app: ExApp, error: str) -> None:
        # The flag stays: AppAPI notes the error in the app's status and nothing else (`setAppInitProgress`).
        app.init_error = error
        await self._notify()

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def _send(
        self, app: ExApp, method: str, route: str, headers: dict[str, str], params: dict[str, Any] | None, timeout_s: float
    ) -> ExAppAnswer:
        started = time.monotonic()
        query = params if method == "GET" else None
        content = None if method == "GET" or params is None else json.dumps(params)
        if content is not None:
            headers = {**headers, "Content-Type": "application/json"}
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self.client.request(
                    method, app.url + route, params=query, content=content, headers=headers, timeout=timeout_s
                )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise ExAppUnreachable(f"{method} {route}: {type(error).__name__}") from error
        try:
            body = answer.json()
        except ValueError:
            body = None
        return ExAppAnswer(answer.status_code, body, time.monotonic() - started)


def _error_of(answer: ExAppAnswer) -> str:
    if answer.status != 200 or not isinstance(answer.body, dict):
        return f"/enabled answered {answer.status}"
    return str(answer.body.get("error", ""))


def _decoded(authorization: str) -> str:
    try:
        return base64.b64decode(authorization, validate=True).decode()
    except ValueError:
        return ""
