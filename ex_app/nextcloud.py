# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What the app asks of Nextcloud, behind one small interface; `nc_py_api` (whose HTTP is `niquests`) does the talking."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol

import niquests
from nc_py_api import AsyncNextcloudApp, NextcloudException

from ex_app.errors import NextcloudError
from ex_app.settings import AppIdentity
from live_transcription.types import IceServer, Secret

#: Longest time in seconds for one request; AppAPI enables the app within the one that reports 100 %.
REQUEST_S = 15
ENABLING_S = 60
_MAX_SERVERS = 20


class NextcloudGateway(Protocol):
    """Every method may raise NextcloudError, which is worth another try where `retryable` says so."""

    async def ice_servers(self) -> tuple[IceServer, ...]:
        """STUN and TURN servers that Talk's signaling settings name now; TURN credentials are time-limited."""
        ...

    async def is_enabled(self) -> bool:
        """Whether Nextcloud has this app enabled."""
        ...

    async def report_progress(self, percent: int, error: str = "") -> None:
        """Progress of the initialisation, 0 to 100. At 100 AppAPI calls `/enabled` before this returns."""
        ...

    async def log(self, level: int, text: str) -> None:
        """A line in Nextcloud's log; 0 debug, 1 info, 2 warning, 3 error, 4 fatal."""
        ...

    async def aclose(self) -> None: ...


class AppApiGateway:
    """The real one. One connection pool for the whole app, opened at the first request."""

    def __init__(self, identity: AppIdentity) -> None:
        self._identity = identity
        self._nextcloud: AsyncNextcloudApp | None = None

    async def ice_servers(self) -> tuple[IceServer, ...]:
        answer = await self._ocs("GET", "/ocs/v2.php/apps/spreed/api/v3/signaling/settings")
        return parse_ice_servers(answer)

    async def is_enabled(self) -> bool:
        # nc_py_api's own `enabled_state` hides every failure as "not enabled".
        return bool(await self._ocs("GET", "/ocs/v1.php/apps/app_api/ex-app/state"))

    async def report_progress(self, percent: int, error: str = "") -> None:
        body = {"progress": percent, "error": error}
        await self._ocs("PUT", "/ocs/v1.php/apps/app_api/ex-app/status", json=body, timeout=ENABLING_S)

    async def log(self, level: int, text: str) -> None:
        await self._ocs("POST", "/ocs/v1.php/apps/app_api/api/v1/log", json={"level": level, "message": text})

    async def aclose(self) -> None:
        if self._nextcloud is not None:
            # nc_py_api has no close of its own.
            session = self._nextcloud._session
            await session.adapter.close()
            await session.adapter_dav.close()
            self._nextcloud = None

    async def _ocs(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            return await self._client().ocs(method, path, **arguments)
        except NextcloudException as error:
            status = error.status_code
            if status in (401, 997):
                raise NextcloudError(
                    "Nextcloud refused the app's credentials.",
                    fix="Is the app registered, enabled, and APP_SECRET the one it got?",
                ) from None
            raise NextcloudError(f"Nextcloud answered {method} {path} with {status}.") from None
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise NextcloudError(f"Nextcloud's answer to {method} {path} makes no sense; is NEXTCLOUD_URL right?") from None
        except (niquests.RequestException, OSError) as error:
            raise NextcloudError(
                f"Nextcloud could not be reached ({type(error).__name__}).",
                fix="Check that NEXTCLOUD_URL can be reached from the app, and its certificate.",
            ) from None

    def _client(self) -> AsyncNextcloudApp:
        if self._nextcloud is None:
            identity = self._identity
            if not identity.nextcloud_url or not identity.secret:
                raise NextcloudError("Nextcloud is unknown: NEXTCLOUD_URL or APP_SECRET is not set.")
            self._nextcloud = AsyncNextcloudApp(
                nextcloud_url=identity.nextcloud_url,
                app_id=identity.app_id,
                app_version=identity.version,
                app_secret=identity.secret.reveal(),
                aa_version=identity.app_api_version,
                npa_timeout=REQUEST_S,
                npa_nc_cert=identity.verify_certificates,
            )
        return self._nextcloud


def parse_ice_servers(settings: Any) -> tuple[IceServer, ...]:
    """Servers out of Talk's signaling settings: `stunservers: [{urls}]`, `turnservers: [{urls, username, credential}]`.

    `urls` is a list or one text. What is malformed is left out.
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
