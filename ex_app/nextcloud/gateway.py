# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app's requests to Nextcloud, behind one small interface; `nc_py_api` (with `niquests` for HTTP) sends them."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import niquests
from nc_py_api import AsyncNextcloudApp, NextcloudException, NextcloudExceptionNotFound

from ex_app.errors import NextcloudError, NextcloudRedirected, NextcloudRefused, TalkOutdated
from ex_app.identity import AppIdentity
from ex_app.nextcloud.schemes import check_command, check_form
from live_transcription.runtime.redirects import redirect_of
from live_transcription.texts import Text, join, template
from live_transcription.types import IceServer, Secret

#: Longest time in seconds for one request. AppAPI enables the app during the request that reports 100 %.
REQUEST_S = 15
ENABLING_S = 60
#: Seconds without requests after a refusal, unless AppAPI calls the app before. Nextcloud counts a request with unknown
#: credentials as an attack: it delays all apps of this address, and blocks them for half an hour after ten.
REFUSED_S = 900.0
_MAX_SERVERS = 20
_APP_API = "/ocs/v1.php/apps/app_api/api/v1"
_TASKS = "/ocs/v2.php/taskprocessing/tasks_consumer"
_STATE = "/ocs/v1.php/apps/app_api/ex-app/state"
_STATUS = "/ocs/v1.php/apps/app_api/ex-app/status"
#: What AppAPI answers to a disabled app, too: the state always, the progress during an installation.
_FOR_DISABLED = (_STATE, _STATUS)
_CAPABILITIES = "/ocs/v1.php/cloud/capabilities"
_TALK_SETTINGS = "/ocs/v2.php/apps/spreed/api/v3/signaling/settings"
#: The versions of Talk that refuse `_TALK_SETTINGS` to apps (spreed, pull request 17736).
_REFUSES_APPS = re.compile(r"(22\.0\.11|23\.0\.3)(\.\d+)?")


#: Talk's limits for the secret of a bot.
_BOT_SECRET = re.compile(r"[\x21-\x7e]{40,128}")

_ANSWERED = template("Nextcloud answered {method} {path} with {status}.")


class _NotFound(NextcloudError):
    """Nextcloud answered 404."""


class NoTaskProvider(NextcloudError):
    """No provider in Nextcloud works on tasks of this type (412)."""


@dataclass(frozen=True, slots=True)
class TalkFacts:
    """What Talk says about itself. `encrypts_calls`: whether its clients encrypt calls end to end."""

    version: str
    encrypts_calls: bool

    @property
    def refuses_apps(self) -> bool:
        """Whether this version refuses its STUN and TURN servers to apps."""
        return _REFUSES_APPS.fullmatch(self.version) is not None


@dataclass(frozen=True, slots=True)
class Page:
    """A page in Nextcloud's top menu. Paths are relative to the app; those of scripts and styles have no extension.

    AppAPI stores `initial_state` in plain text, so it must not contain secrets.
    """

    name: str
    title: str
    icon: str
    scripts: tuple[str, ...]
    styles: tuple[str, ...]
    initial_state: Mapping[str, Any]

    def resources(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """For each resource of the page: its kind, the parameters that identify it, and its other parameters."""
        yield "top-menu", {"name": self.name}, {"displayName": self.title, "icon": self.icon, "adminRequired": 1}
        common = {"type": "top_menu", "name": self.name}
        yield "initial-state", common | {"key": "app"}, {"value": dict(self.initial_state)}
        for script in self.scripts:
            yield "script", common | {"path": script}, {"afterAppId": ""}
        for style in self.styles:
            yield "style", common | {"path": style}, {}


class NextcloudGateway(Protocol):
    """Every method may raise NextcloudError; its `retryable` says whether a retry makes sense."""

    async def ice_servers(self) -> tuple[IceServer, ...]:
        """The STUN and TURN servers in Talk's settings; TURN credentials are time-limited."""

    async def is_enabled(self) -> bool:
        """Whether Nextcloud has this app enabled."""

    async def report_progress(self, percent: int, error: str = "") -> None:
        """Report the progress of the initialisation, 0 to 100. At 100, AppAPI calls `/enabled` before this returns."""

    async def log(self, level: int, text: str) -> None:
        """Add a line to Nextcloud's log. `level`: 0 debug, 1 info, 2 warning, 3 error, 4 fatal."""

    async def read_values(self, keys: Sequence[str]) -> dict[str, str]:
        """The app's saved values, as far as they exist; secrets in plain text."""

    async def write_value(self, key: str, value: str, *, secret: bool) -> None:
        """Save a value. Nextcloud encrypts a secret, and does not show it in its pages or logs."""

    async def delete_values(self, keys: Sequence[str]) -> None:
        """Delete saved values; no error if they do not exist."""

    async def put_page(self, page: Page) -> None:
        """Add the page, with its scripts, styles and initial state, to the menu of administrators. Idempotent."""

    async def remove_page(self, page: Page) -> None: ...

    async def put_form(self, form: Mapping[str, Any]) -> None:
        """Add a form to Nextcloud's settings. Idempotent. Raises InvalidScheme if Nextcloud could not show it.

        AppAPI shows it while the app is enabled, and removes it with the app.
        """

    async def put_command(self, command: Mapping[str, Any]) -> None:
        """Add a command to `occ`, as `put_form` adds a form. Raises InvalidScheme if `occ` could not build it."""

    async def join_setup_checks(self) -> None:
        """Let AppAPI ask the app for its problems. Idempotent; without effect before Nextcloud 35."""

    async def is_admin(self, user_id: str) -> bool:
        """Whether the user is in Nextcloud's group `admin`."""

    async def server_version(self) -> str:
        """Nextcloud's version."""

    async def talk(self) -> TalkFacts | None:
        """Talk's version and settings, None if Talk is not installed."""

    async def task_types(self) -> Any:
        """The types of tasks that Nextcloud's providers work on, as `{types: {…}}`; empty if there is no task processing."""

    async def schedule_task(self, kind: str, content: Mapping[str, str], custom_id: str, webhook: str) -> Any:
        """Schedule a task. Its end is reported to the path `webhook` of this app. Raises NoTaskProvider."""

    async def task(self, number: int) -> Any:
        """A task that this app has scheduled."""

    async def delete_task(self, number: int) -> None:
        """Delete a task with its texts; no error if it does not exist."""

    async def put_bot(self, name: str, route: str, description: str) -> Secret:
        """Register a bot with Talk; returns the secret that signs its messages. Idempotent.

        `route`: where the app receives the conversations' events. The bot must not be removed while the app is installed: Talk
        would forget in which conversations moderators have enabled it.
        """

    def credentials_confirmed(self) -> None:
        """Nextcloud has used the app's secret, so it knows the app: ask it again, even after a refusal."""

    async def aclose(self) -> None: ...


class AppApiGateway:
    """The implementation. One connection pool for the whole app, opened at the first request.

    After a refusal it raises NextcloudRefused without asking Nextcloud, until `credentials_confirmed` or for `REFUSED_S`. A
    disabled app is refused, too, except for its state and progress, which are sent until they are refused themselves.
    """

    def __init__(self, identity: AppIdentity, now: Callable[[], float] = time.monotonic) -> None:
        self._identity = identity
        self._now = now
        self._nextcloud: AsyncNextcloudApp | None = None
        # The time of the next request for state or progress, and of the next other one.
        self._state_from = self._others_from = 0.0
        # Counts the confirmations: a refusal of a request that was sent before the last one means nothing.
        self._confirmations = 0
        # Whether the installed version of Talk has refused its settings. Then its version is checked before it is asked again.
        self._talk_refuses = False

    async def ice_servers(self) -> tuple[IceServer, ...]:
        if self._talk_refuses and (outdated := await self._outdated_talk()) is not None:
            raise outdated
        return parse_ice_servers(await self._ocs("GET", _TALK_SETTINGS))

    async def is_enabled(self) -> bool:
        # nc_py_api's own `enabled_state` hides every failure as "not enabled".
        enabled = bool(await self._ocs("GET", _STATE))
        if enabled:
            self.credentials_confirmed()
        return enabled

    def credentials_confirmed(self) -> None:
        self._confirmations += 1
        self._state_from = self._others_from = 0.0

    async def report_progress(self, percent: int, error: str = "") -> None:
        body = {"progress": percent, "error": error}
        await self._ocs("PUT", _STATUS, json=body, timeout=ENABLING_S)

    async def read_values(self, keys: Sequence[str]) -> dict[str, str]:
        answer = await self._ocs("POST", f"{_APP_API}/ex-app/config/get-values", json={"configKeys": list(keys)})
        if not isinstance(answer, list):
            raise NextcloudError(
                "Nextcloud's answer is malformed: the saved settings are not a list.", fix="See Nextcloud's log."
            )
        values: dict[str, str] = {}
        for entry in answer:
            key, value = (entry.get("configkey"), entry.get("configvalue")) if isinstance(entry, dict) else (None, None)
            if not isinstance(key, str) or not isinstance(value, str | None):
                raise NextcloudError(
                    "Nextcloud's answer is malformed: a saved setting has no key or is not text.", fix="See Nextcloud's log."
                )
            if key in keys:
                values[key] = value or ""
        return values

    async def write_value(self, key: str, value: str, *, secret: bool) -> None:
        body = {"configKey": key, "configValue": value, "sensitive": secret}
        await self._ocs("POST", f"{_APP_API}/ex-app/config", json=body)

    async def delete_values(self, keys: Sequence[str]) -> None:
        with contextlib.suppress(_NotFound):
            await self._ocs("DELETE", f"{_APP_API}/ex-app/config", json={"configKeys": list(keys)})

    async def put_page(self, page: Page) -> None:
        for kind, identity, rest in page.resources():
            await self._ocs("POST", f"{_APP_API}/ui/{kind}", json=identity | rest)

    async def remove_page(self, page: Page) -> None:
        for kind, identity, _ in reversed(list(page.resources())):
            with contextlib.suppress(_NotFound):
                await self._ocs("DELETE", f"{_APP_API}/ui/{kind}", params=identity)

    async def put_form(self, form: Mapping[str, Any]) -> None:
        check_form(form)
        await self._ocs("POST", f"{_APP_API}/ui/settings", json={"formScheme": dict(form)})

    async def put_command(self, command: Mapping[str, Any]) -> None:
        check_command(command)
        await self._ocs("POST", f"{_APP_API}/occ_command", json=dict(command))

    async def join_setup_checks(self) -> None:
        with contextlib.suppress(_NotFound):
            await self._ocs("POST", f"{_APP_API}/setup_check")

    async def is_admin(self, user_id: str) -> bool:
        # A separate client, since a client sends the same user with all its requests.
        client = self._new_client()
        client._session.set_user(user_id)
        try:
            answer = await self._ocs("GET", "/ocs/v1.php/cloud/user", client=client)
        finally:
            await _close(client)
        groups = answer.get("groups") if isinstance(answer, dict) else None
        if not isinstance(groups, list) or answer.get("id") != user_id:
            raise NextcloudError("Could not read a user's groups from Nextcloud.", fix="See Nextcloud's log.")
        return "admin" in groups

    async def server_version(self) -> str:
        return parse_version(await self._ocs("GET", _CAPABILITIES))

    async def talk(self) -> TalkFacts | None:
        return parse_talk(await self._ocs("GET", _CAPABILITIES))

    async def _outdated_talk(self) -> TalkOutdated | None:
        """The error if the installed version of Talk refuses its settings to apps."""
        talk = await self.talk()
        self._talk_refuses = talk is not None and talk.refuses_apps
        if talk is None or not talk.refuses_apps:
            return None
        return TalkOutdated(
            "Talk {version} does not give apps its STUN and TURN servers.",
            fix="Update Talk to 22.0.12, 23.0.4 or newer. Until then, captions need a direct path to the media server.",
            version=talk.version,
        )

    async def task_types(self) -> Any:
        try:
            return await self._ocs("GET", f"{_TASKS}/tasktypes")
        except _NotFound:
            return {}

    async def schedule_task(self, kind: str, content: Mapping[str, str], custom_id: str, webhook: str) -> Any:
        app_id = self._identity.app_id
        body = {
            "type": kind, "appId": app_id, "customId": custom_id, "input": dict(content),
            "webhookUri": webhook, "webhookMethod": f"AppAPI:{app_id}:POST",
        }  # fmt: skip
        return await self._ocs("POST", f"{_TASKS}/schedule", json=body)

    async def task(self, number: int) -> Any:
        return await self._ocs("GET", f"{_TASKS}/task/{number}")

    async def delete_task(self, number: int) -> None:
        with contextlib.suppress(_NotFound):
            await self._ocs("DELETE", f"{_TASKS}/task/{number}")

    async def put_bot(self, name: str, route: str, description: str) -> Secret:
        body = {"name": name, "route": route, "description": description}
        answer = await self._ocs("POST", f"{_APP_API}/talk_bot", json=body)
        secret = answer.get("secret") if isinstance(answer, dict) else None
        if not isinstance(secret, str) or not _BOT_SECRET.fullmatch(secret):
            raise NextcloudError("Nextcloud's answer is malformed: the bot has no secret.", fix="See Nextcloud's log.")
        return Secret(secret)

    async def log(self, level: int, text: str) -> None:
        await self._ocs("POST", "/ocs/v1.php/apps/app_api/api/v1/log", json={"level": level, "message": text})

    async def aclose(self) -> None:
        if self._nextcloud is not None:
            await _close(self._nextcloud)
            self._nextcloud = None

    async def _ocs(self, method: str, path: str, *, client: AsyncNextcloudApp | None = None, **arguments: Any) -> Any:
        wait_s = (self._state_from if path in _FOR_DISABLED else self._others_from) - self._now()
        if wait_s > 0:
            raise _refused(wait_s)
        confirmations = self._confirmations
        status = 0
        # Every request carries the app's secret, in a header that niquests would pass on to another host. `_refuse_redirect` is
        # not enough, since nc_py_api loses it when it makes a new session.
        arguments |= {"allow_redirects": False}
        if not self._identity.verify_certificates:
            # The session's setting alone has no effect if REQUESTS_CA_BUNDLE is set.
            arguments |= {"verify": False}
        try:
            return await (client or self._client()).ocs(method, path, **arguments)
        except NextcloudExceptionNotFound:
            failure: NextcloudError = _NotFound(_ANSWERED, method=method, path=path, status="404")
        except NextcloudException as error:
            status = error.status_code
            kind = NoTaskProvider if status == 412 else NextcloudError
            failure = kind(_ANSWERED, method=method, path=path, status=str(status))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
            failure = NextcloudError(
                "Nextcloud gave an unexpected answer to {method} {path}.", fix="Check NEXTCLOUD_URL.", method=method, path=path
            )
        except (niquests.RequestException, OSError) as error:
            failure = NextcloudError(
                "Nextcloud could not be reached ({reason}).",
                fix="Check that the app can reach NEXTCLOUD_URL.",
                reason=type(error).__name__,
            )
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                failure = NextcloudError(
                    "This system does not trust Nextcloud's certificate.",
                    fix="Serve the whole certificate chain, or install its authority where this app runs.",
                )
        # Handled and raised here, so that no library's exception, which may contain the request, is the failure's context.
        if status in (401, 403) and path == _TALK_SETTINGS and self._confirmations:
            # Nextcloud knows the app. If it is Talk that refuses, the credentials are right, and all other requests work.
            outdated = None
            with contextlib.suppress(NextcloudError):
                outdated = await self._outdated_talk()
            if outdated is not None:
                raise outdated
        # A request for another user is also refused if there is no such user.
        if status in (401, 997, 429) and client is None:
            blocked = status == 429
            if blocked or confirmations == self._confirmations:
                self._pause(everything=blocked or path in _FOR_DISABLED)
                failure = _refused(REFUSED_S, blocked=blocked)
        raise failure

    def _pause(self, *, everything: bool) -> None:
        self._others_from = self._now() + REFUSED_S
        if everything:
            self._state_from = self._others_from

    def _client(self) -> AsyncNextcloudApp:
        if self._nextcloud is None:
            self._nextcloud = self._new_client()
        return self._nextcloud

    def _new_client(self) -> AsyncNextcloudApp:
        identity = self._identity
        if not identity.nextcloud_url or not identity.secret:
            raise NextcloudError("NEXTCLOUD_URL or APP_SECRET is not set.", fix="AppAPI sets them when it registers the app.")
        client = AsyncNextcloudApp(
            nextcloud_url=identity.nextcloud_url,
            app_id=identity.app_id,
            app_version=identity.version,
            app_secret=identity.secret.reveal(),
            aa_version=identity.app_api_version,
            npa_timeout=REQUEST_S,
            npa_nc_cert=identity.verify_certificates,
        )
        client._session.adapter.hooks["response"].append(_refuse_redirect)
        return client


def _refused(retry_after_s: float, *, blocked: bool = False) -> NextcloudRefused:
    if blocked:
        return NextcloudRefused(
            "Nextcloud blocks this address because of too many failed attempts.",
            retry_after_s,
            fix="Wait 30 minutes, or remove the block in Nextcloud: occ security:bruteforce:reset ADDRESS.",
        )
    return NextcloudRefused(
        "Nextcloud refused the app's credentials.",
        retry_after_s,
        fix="Check that the app is registered and enabled, and that APP_SECRET is the one from its registration.",
    )


async def _refuse_redirect(response: niquests.AsyncResponse) -> None:
    """Raise NextcloudRedirected for a redirect, whose body nc_py_api would parse as JSON. Called for every answer."""
    redirect = redirect_of(response.url or "", response.status_code or 0, str(response.headers.get("Location", "")))
    if redirect is None:
        return
    await response.close()
    message, fix = redirect.describe("Nextcloud")
    where = Text("AppAPI's deploy daemon sets it as its Nextcloud URL (NEXTCLOUD_URL).")
    raise NextcloudRedirected(message, fix=join(fix, where))


async def _close(client: AsyncNextcloudApp) -> None:
    """nc_py_api has no close method."""
    await client._session.adapter.close()
    await client._session.adapter_dav.close()


def parse_version(capabilities: Any) -> str:
    """Nextcloud's version in its capabilities: `version: {string}`. Raises NextcloudError."""
    version = capabilities.get("version") if isinstance(capabilities, dict) else None
    version = version.get("string") if isinstance(version, dict) else None
    if not isinstance(version, str):
        raise NextcloudError("Could not read Nextcloud's version.", fix="Check NEXTCLOUD_URL.")
    return version[:32]


def parse_talk(capabilities: Any) -> TalkFacts | None:
    """Talk's facts in Nextcloud's capabilities, None if it is not there. Without the setting, Talk's clients encrypt calls."""
    found = capabilities.get("capabilities") if isinstance(capabilities, dict) else None
    talk = found.get("spreed") if isinstance(found, dict) else None
    version = talk.get("version") if isinstance(talk, dict) else None
    if not isinstance(talk, dict) or not isinstance(version, str):
        return None
    config = talk.get("config")
    calls = config.get("call") if isinstance(config, dict) else None
    setting = calls.get("end-to-end-encryption") if isinstance(calls, dict) else None
    features = talk.get("features")
    supported = isinstance(features, list) and "call-end-to-end-encryption" in features
    return TalkFacts(version[:32], encrypts_calls=supported if setting is None else bool(setting))


def parse_ice_servers(settings: Any) -> tuple[IceServer, ...]:
    """The servers in Talk's signaling settings: `stunservers: [{urls}]`, `turnservers: [{urls, username, credential}]`.

    `urls` is a list or a text. Malformed entries are skipped.
    """
    if not isinstance(settings, dict):
        return ()
    servers = [*_servers(settings.get("stunservers")), *_servers(settings.get("turnservers"))]
    return tuple(servers[:_MAX_SERVERS])


def _servers(entries: Any) -> Iterator[IceServer]:
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        urls = entry.get("urls", entry.get("url"))
        urls = [urls] if isinstance(urls, str) else urls
        known = [url for url in urls if _is_ice_url(url)] if isinstance(urls, list) else []
        username, credential = entry.get("username"), entry.get("credential")
        if known:
            yield IceServer(
                urls=tuple(known),
                username=username if isinstance(username, str) and username else None,
                credential=Secret(credential) if isinstance(credential, str) and credential else None,
            )


def _is_ice_url(url: object) -> bool:
    return isinstance(url, str) and len(url) <= 512 and url.partition(":")[0] in ("stun", "stuns", "turn", "turns")
