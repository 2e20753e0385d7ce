# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""AppAPI's `occ` commands, as far as a manual-install daemon goes; what is asked comes by HTTP from `sandbox/occ`."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from sandbox.nextcloud.app_api import HEARTBEAT_TRIES, AppApi, ConfigValue, ExApp, ExAppUnreachable

#: The last line of an answer says how the command ended.
EXIT = "exit:"
_TOKEN_HEADER = "Sandbox-Occ"


class OccError(Exception):
    """What the administrator reads in the shell."""


@dataclass(frozen=True, slots=True)
class Daemon:
    name: str
    display_name: str
    kind: str
    protocol: str
    host: str
    nextcloud_url: str


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OccError(f"{self.prog}: {message}")


def _parser() -> _Parser:
    parser = _Parser(prog="occ", add_help=False)
    commands = parser.add_subparsers(dest="command", required=True)
    daemon = commands.add_parser("app_api:daemon:register", add_help=False)
    for name in ("name", "display_name", "kind", "protocol", "host", "nextcloud_url"):
        daemon.add_argument(name)
    commands.add_parser("app_api:daemon:list", add_help=False)
    register = commands.add_parser("app_api:app:register", add_help=False)
    register.add_argument("app_id")
    register.add_argument("daemon", nargs="?")
    register.add_argument("--json-info", required=True)
    register.add_argument("--wait-finish", action="store_true")
    unregister = commands.add_parser("app_api:app:unregister", add_help=False)
    unregister.add_argument("app_id")
    unregister.add_argument("--rm-data", action="store_true")
    commands.add_parser("app_api:app:list", add_help=False)
    for verb in ("enable", "disable"):
        commands.add_parser(f"app_api:app:{verb}", add_help=False).add_argument("app_id")
    for verb in ("set", "get", "delete"):
        config = commands.add_parser(f"app_api:app:config:{verb}", add_help=False)
        config.add_argument("app_id")
        config.add_argument("key")
        if verb == "set":
            config.add_argument("--value", required=True)
            config.add_argument("--sensitive", action="store_true")
    return parser


class Occ:
    """`token`: requests with it may use the commands."""

    def __init__(self, app_api: AppApi) -> None:
        self.token = secrets.token_hex(32)
        self.daemons: dict[str, Daemon] = {}
        self._app_api = app_api

    async def run(self, arguments: Sequence[str]) -> AsyncIterator[str]:
        """The lines that the command prints. Raises OccError."""
        chosen = _parser().parse_args(list(arguments))
        match chosen.command.removeprefix("app_api:"):
            case "daemon:register":
                yield self._register_daemon(chosen)
            case "daemon:list":
                for each in self.daemons.values():
                    yield f"{each.name}  {each.display_name}  {each.kind}  {each.protocol}://{each.host}  {each.nextcloud_url}"
            case "app:register":
                async for line in self._register(chosen):
                    yield line
            case "app:unregister":
                app = self._app(chosen.app_id)
                await self._app_api.disable(app)
                del self._app_api.apps[app.app_id]
                yield f"ExApp {app.app_id} successfully unregistered."
            case "app:list":
                for app in self._app_api.apps.values():
                    yield f"{app.app_id} ({app.display_name}): {app.version} [{'enabled' if app.enabled else 'disabled'}]"
            case "app:enable":
                app = self._app(chosen.app_id)
                if not await self._app_api.enable(app):
                    raise OccError(f"ExApp {app.app_id} could not be enabled: {app.enabled_error}")
                yield f"ExApp {app.app_id} successfully enabled."
            case "app:disable":
                app = self._app(chosen.app_id)
                await self._app_api.disable(app)
                yield f"ExApp {app.app_id} successfully disabled."
            case _:
                yield self._configure(chosen)

    def _register_daemon(self, chosen: argparse.Namespace) -> str:
        if chosen.name in self.daemons:
            raise OccError(f"Registration skipped, as the daemon config `{chosen.name}` already registered.")
        if chosen.kind != "manual-install":
            raise OccError("The sandbox starts no containers: its only daemon is a manual-install one.")
        fields = ("name", "display_name", "kind", "protocol", "host", "nextcloud_url")
        self.daemons[chosen.name] = Daemon(*(getattr(chosen, name) for name in fields))
        return "Daemon successfully registered."

    async def _register(self, chosen: argparse.Namespace) -> AsyncIterator[str]:
        if chosen.app_id in self._app_api.apps:
            raise OccError(f"ExApp {chosen.app_id} already registered.")
        try:
            info: dict[str, Any] = json.loads(chosen.json_info)
            name = chosen.daemon or info["daemon_config_name"]
            daemon, port, version, secret = self.daemons[name], int(info["port"]), str(info["version"]), str(info["secret"])
        except (ValueError, TypeError) as error:
            raise OccError("--json-info is not valid.") from error
        except KeyError as error:
            raise OccError(f"--json-info or its daemon lacks {error}.") from error
        url = f"{daemon.protocol}://{daemon.host}:{port}"
        app = self._app_api.register(chosen.app_id, url=url, version=version, secret=secret)
        app.display_name = str(info.get("name", app.display_name))
        yield f"Waiting for the heartbeat of {app.app_id} at {url} …"
        try:
            await self._app_api.install(app, timeout_s=HEARTBEAT_TRIES)
        except (ExAppUnreachable, TimeoutError) as error:
            del self._app_api.apps[app.app_id]
            raise OccError(f"ExApp {app.app_id} could not be registered: {error}") from error
        yield f"ExApp {app.app_id} successfully registered."

    def _configure(self, chosen: argparse.Namespace) -> str:
        config = self._app(chosen.app_id).config
        if chosen.command.endswith(":set"):
            config[chosen.key] = ConfigValue(chosen.value, chosen.sensitive)
            return f"ExApp {chosen.app_id} config value {chosen.key} set."
        if chosen.key not in config:
            raise OccError(f"ExApp {chosen.app_id} config value {chosen.key} not found.")
        if chosen.command.endswith(":get"):
            return config[chosen.key].value
        del config[chosen.key]
        return f"ExApp {chosen.app_id} config value {chosen.key} deleted."

    def _app(self, app_id: str) -> ExApp:
        app = self._app_api.apps.get(app_id)
        if app is None:
            raise OccError(f"ExApp {app_id} not found.")
        return app


def occ_routes(occ: Occ) -> APIRouter:
    router = APIRouter()

    @router.post("/sandbox/occ")
    async def run(request: Request) -> Response:
        if not secrets.compare_digest(request.headers.get(_TOKEN_HEADER, "").encode(), occ.token.encode()):
            return Response(status_code=404)
        arguments = [str(argument) for argument in await request.json()]

        async def lines() -> AsyncIterator[str]:
            try:
                async for line in occ.run(arguments):
                    yield line + "\n"
                    await asyncio.sleep(0)
            except OccError as error:
                yield f"{error}\n{EXIT}1\n"
            else:
                yield f"{EXIT}0\n"

        return StreamingResponse(lines(), media_type="text/plain; charset=utf-8")

    return router
