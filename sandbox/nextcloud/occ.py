# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""AppAPI's `occ` commands, as far as a manual-install daemon needs them; `sandbox/occ` sends the commands by HTTP."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from sandbox.nextcloud.app_api import HEARTBEAT_TRIES, AppApi, ConfigValue, ExApp, ExAppUnreachable
from sandbox.nextcloud.app_info import InvalidInfo, from_json, from_xml

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
    register.add_argument("--json-info")
    register.add_argument("--info-xml")
    register.add_argument("--env", action="append")
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
            config.add_argument("--value")
            # As Symfony's VALUE_OPTIONAL: without a value it is null, which AppAPI takes for false.
            config.add_argument("--sensitive", nargs="?")
            config.add_argument("--update-only", action="store_true")
    return parser


class Occ:
    """`token`: requests with it may use the commands."""

    def __init__(self, app_api: AppApi) -> None:
        self.token = secrets.token_hex(32)
        self.daemons: dict[str, Daemon] = {}
        self.app_api = app_api

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
                await self.app_api.disable(app)
                del self.app_api.apps[app.app_id]
                yield f"ExApp {app.app_id} successfully unregistered."
            case "app:list":
                for app in self.app_api.apps.values():
                    yield f"{app.app_id} ({app.display_name}): {app.version} [{'enabled' if app.enabled else 'disabled'}]"
            case "app:enable":
                app = self._app(chosen.app_id)
                if not await self.app_api.enable(app):
                    raise OccError(f"ExApp {app.app_id} could not be enabled: {app.enabled_error}")
                yield f"ExApp {app.app_id} successfully enabled."
            case "app:disable":
                app = self._app(chosen.app_id)
                await self.app_api.disable(app)
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
        if chosen.app_id in self.app_api.apps:
            raise OccError(f"ExApp {chosen.app_id} is already registered.")
        try:
            given: dict[str, Any] = json.loads(chosen.json_info) if chosen.json_info else {}
            info = from_json(given, app_id=chosen.app_id) if given else from_xml(_read(chosen.info_xml))
            daemon = self.daemons[chosen.daemon or given["daemon_config_name"]]
            port, secret = int(given.get("port", 0)), str(given["secret"]) if given else None
        except InvalidInfo as error:
            raise OccError(f"ExApp '{chosen.app_id}' has an invalid definition. {error}") from error
        except (ValueError, TypeError) as error:
            raise OccError("Invalid app info provided in JSON format") from error
        except KeyError as error:
            raise OccError(f"--json-info or its daemon lacks {error}.") from error
        url = f"{daemon.protocol}://{daemon.host}:{port}"
        app = self.app_api.register(info.app_id, url=url, version=info.version, secret=secret)
        app.display_name, app.routes = info.name, info.routes
        yield f"Waiting for the heartbeat of {app.app_id} at {url} …"
        try:
            await self.app_api.install(app, timeout_s=HEARTBEAT_TRIES)
        except (ExAppUnreachable, TimeoutError) as error:
            del self.app_api.apps[app.app_id]
            raise OccError(f"ExApp {app.app_id} could not be registered: {error}") from error
        yield f"ExApp {app.app_id} successfully registered."

    def _configure(self, chosen: argparse.Namespace) -> str:
        """As AppAPI's SetConfig, GetConfig and DeleteConfig, with their pitfalls."""
        app, key = self._app(chosen.app_id), chosen.key
        known = app.config.get(key)
        label = f"ExApp {app.app_id} config {key}"
        if chosen.command.endswith(":set"):
            if not chosen.update_only and known is not None:
                raise OccError(f"{label} already exists. Use --update-only flag.")
            if chosen.update_only and known is None:
                raise OccError(f"{label} not found")
            sensitive = known.sensitive if known and chosen.sensitive is None else _truth(chosen.sensitive)
            app.config[key] = ConfigValue(chosen.value or "", sensitive)
            return f"{label} set to {chosen.value} {'[sensitive]' if sensitive else ''}"
        if chosen.command.endswith(":get"):
            if known is None:
                raise OccError(f"{label} not found")
            return known.value
        if not app.enabled:
            raise OccError("")
        if app.config.pop(key, None) is None:
            raise OccError(f"{label} not found.")
        return f"{label} deleted."

    def _app(self, app_id: str) -> ExApp:
        app = self.app_api.apps.get(app_id)
        if app is None:
            raise OccError(f"ExApp {app_id} not found.")
        return app


def _read(path: str | None) -> str:
    """info.xml from the path that occ was given. Raises InvalidInfo."""
    if path is None:
        raise InvalidInfo("The sandbox has no app store: give --info-xml or --json-info.")
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInfo(f"Failed to read info.xml from {path}") from error


def _truth(value: str | None) -> bool:
    """PHP's `filter_var($value, FILTER_VALIDATE_BOOLEAN)`."""
    return (value or "").strip().lower() in ("1", "true", "on", "yes")


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
