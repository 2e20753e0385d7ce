# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A Nextcloud with Talk and AppAPI on one port."""

from __future__ import annotations

import secrets
from types import TracebackType
from typing import Any, Self

from fastapi import FastAPI, Request, Response
from starlette.middleware.base import RequestResponseEndpoint

from sandbox.appapi_rules import rule_of
from sandbox.nextcloud.admin_settings import admin_settings_routes
from sandbox.nextcloud.app_api import AA_VERSION, AppApi
from sandbox.nextcloud.app_api_routes import app_api_routes
from sandbox.nextcloud.bots import Bots
from sandbox.nextcloud.embedded import embedded_routes
from sandbox.nextcloud.faults import FaultMiddleware, Faults
from sandbox.nextcloud.files import Files
from sandbox.nextcloud.login import login_routes
from sandbox.nextcloud.ocs import OcsError, ocs, on_ocs_error
from sandbox.nextcloud.serving import LoopbackServer
from sandbox.nextcloud.talk import TRANSCRIPTION_APP, Talk
from sandbox.nextcloud.task_processing import TaskProcessing
from sandbox.nextcloud.web_api import Accounts, Refused, WebApi, on_refused


class Nextcloud:
    """`async with Nextcloud() as nextcloud:` runs it. `signaling_secret`: shared with the HPB, made up if not given.

    `talk` and `app_api` are its two halves, `bots` those of Talk, `files` the users' files, `task_processing` translates,
    `accounts` who may come in, `faults` what goes wrong with its requests.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        signaling_secret: str | None = None,
        hpb_url: str | None = None,
        version: tuple[int, int, int] = (32, 0, 3),
        talk_version: str = "22.0.4",
    ) -> None:
        self.version = version
        self.faults = Faults()
        self.app_api = AppApi()
        self.talk = Talk(signaling_secret or secrets.token_hex(32), hpb_url=hpb_url, version=talk_version)
        self.talk.ex_apps = self.app_api
        self.task_processing = TaskProcessing(self.app_api)
        self.bots = Bots(self.talk, self.app_api)
        self.files = Files(self.talk, self.bots)
        self.accounts = Accounts()
        self.app = self._application()
        self._server = LoopbackServer(FaultMiddleware(self.app, self.faults), port=port)

    @property
    def url(self) -> str:
        """Base URL, known once it runs."""
        return self._server.url

    @property
    def signaling_secret(self) -> str:
        return self.talk.secret

    @property
    def hpb_url(self) -> str | None:
        return self.talk.notifier.hpb_url

    @hpb_url.setter
    def hpb_url(self, url: str | None) -> None:
        """http base URL of the HPB that Talk tells about its calls, without a slash at its end."""
        self.talk.notifier.hpb_url = url.rstrip("/") if url else None

    async def start(self) -> None:
        await self._server.start()
        self.talk.listen_at(self.url)
        self.app_api.nextcloud_url = self.url

    async def stop(self) -> None:
        """Refuses connections from now on; `start()` brings it back on the same port with all that it knew."""
        await self._server.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        await self.task_processing.aclose()
        await self.bots.aclose()
        await self.talk.notifier.aclose()
        await self.app_api.aclose()

    def offers_captions(self) -> bool:
        """Talk's rule: calls use an HPB, and the app is installed and enabled."""
        app = self.app_api.apps.get(TRANSCRIPTION_APP)
        return self.hpb_url is not None and app is not None and app.enabled

    def capabilities(self, user: str = "") -> dict[str, Any]:
        """What a user sees; "" for a request without one."""
        major, minor, micro = self.version
        text = f"{major}.{minor}.{micro}"
        return {
            "version": {
                "major": major,
                "minor": minor,
                "micro": micro,
                "string": text,
                "edition": "",
                "extendedSupport": False,
            },
            "capabilities": {
                "core": {"pollinterval": 60, "webdav-root": "remote.php/webdav"},
                "app_api": {"loglevel": 2, "version": AA_VERSION},
                "spreed": self.talk.capabilities(captions=self.offers_captions(), user=user),
            },
        }

    def _application(self) -> FastAPI:
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        app.add_exception_handler(OcsError, on_ocs_error)
        app.add_exception_handler(Refused, on_refused)

        @app.middleware("http")
        async def authenticate(request: Request, call_next: RequestResponseEndpoint) -> Response:
            """Requests that claim an app or a user must prove it, on public pages, too. All others are guests."""
            try:
                request.state.ex_app = None
                if "EX-APP-ID" in request.headers:
                    address = request.client.host if request.client else ""
                    request.state.ex_app, request.state.user_id = await self.app_api.authenticate(
                        request.headers, address=address, path=request.url.path
                    )
                else:
                    request.state.user_id = self.accounts.user_of(request)
            except OcsError as error:
                return await on_ocs_error(request, error)
            return await call_next(request)

        for version in ("v1", "v2"):

            @app.get(f"/ocs/{version}.php/cloud/capabilities")
            async def capabilities(request: Request) -> Response:
                return ocs(request, self.capabilities(request.state.user_id))

            @app.get(f"/ocs/{version}.php/cloud/user")
            async def user(request: Request) -> Response:
                if not request.state.user_id:
                    raise OcsError(401, "Current user is not logged in")
                user_id = request.state.user_id
                groups = ["admin"] if user_id in self.app_api.admins else []
                return ocs(request, {"id": user_id, "display-name": user_id, "groups": groups})

        @app.get("/status.php")
        async def status() -> dict[str, Any]:
            return {"installed": True, "maintenance": False, "versionstring": ".".join(map(str, self.version))}

        app.include_router(self.talk.router)
        app.include_router(self.bots.routes())
        app.include_router(self.files.routes())
        app.include_router(WebApi(self.talk, self.app_api).router)
        app.include_router(app_api_routes(self.app_api, self.version))
        app.include_router(admin_settings_routes(self.app_api))
        app.include_router(self.task_processing.routes())
        app.include_router(login_routes(self.app_api, self.accounts))
        app.include_router(embedded_routes(self.app_api, self.app_api.client, rule_of(self.version)))
        return app
