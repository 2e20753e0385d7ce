# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""AppAPI's `occ` commands for daemons, apps and their settings, and the commands of the apps; `sandbox/occ` sends them by HTTP.

As in Nextcloud, `occ` builds the commands of all enabled apps at each call, so one invalid command breaks them all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from sandbox.appapi_rules import build_command
from sandbox.nextcloud.app_api import HEARTBEAT_TRIES, AppApi, ConfigValue, ExApp, ExAppUnreachable
from sandbox.nextcloud.app_info import AppInfo, InvalidInfo, from_json, from_xml
from sandbox.nextcloud.containers import Containers
from sandbox.ports import free_port

#: Seconds for a new container to become healthy.
HEALTHY_S = 90.0
#: The last line of an answer says how the command ended.
EXIT = "exit:"
_TOKEN_HEADER = "Sandbox-Occ"


class OccError(Exception):
    """An error message for the administrator's shell."""


@dataclass(frozen=True, slots=True)
class Daemon:
    name: str
    display_name: str
    kind: str
    protocol: str
    host: str
    nextcloud_url: str
    #: Registries that are not asked, since their images are on the machine.
    local_registries: set[str] = field(default_factory=set)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OccError(f"{self.prog}: {message}")


def _parser() -> _Parser:
    parser = _Parser(prog="occ", add_help=False)
    commands = parser.add_subparsers(dest="command", required=True)
    daemon = commands.add_parser("app_api:daemon:register", add_help=False)
    for name in ("name", "display_name", "kind", "protocol", "host", "nextcloud_url"):
        daemon.add_argument(name)
    daemon.add_argument("--net")
    daemon.add_argument("--set-default", action="store_true")
    commands.add_parser("app_api:daemon:list", add_help=False)
    for verb in ("add", "remove"):
        registry = commands.add_parser(f"app_api:daemon:registry:{verb}", add_help=False)
        registry.add_argument("name")
        registry.add_argument("--registry-from", required=True)
        registry.add_argument("--registry-to", required=True)
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
    commands.add_parser("setupchecks", add_help=False)
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
    """`token`: requests with it may use the commands. `containers`: the Docker engine; None: there is none."""

    def __init__(self, app_api: AppApi, containers: Containers | None = None) -> None:
        self.containers = containers
        self.token = secrets.token_hex(32)
        self.daemons: dict[str, Daemon] = {}
        self.app_api = app_api

    async def run(self, arguments: Sequence[str]) -> AsyncIterator[str]:
        """The lines that the command prints. Raises OccError."""
        self._build_commands()
        for app in self.app_api.apps.values():
            if app.enabled and arguments and arguments[0] in app.commands:
                async for line in self._run_command(app, app.commands[arguments[0]], arguments[1:]):
                    yield line
                return
        chosen = _parser().parse_args(list(arguments))
        match chosen.command.removeprefix("app_api:"):
            case "daemon:register":
                yield self._register_daemon(chosen)
            case "daemon:list":
                for each in self.daemons.values():
                    yield f"{each.name}  {each.display_name}  {each.kind}  {each.protocol}://{each.host}  {each.nextcloud_url}"
            case "daemon:registry:add" | "daemon:registry:remove":
                yield self._map_registry(chosen)
            case "setupchecks":
                for line in self._setup_checks():
                    yield line
            case "app:register":
                async for line in self._register(chosen):
                    yield line
            case "app:unregister":
                app = self._app(chosen.app_id)
                await self.app_api.disable(app)
                if self.containers is not None and app.container is not None:
                    await self.containers.remove(_container_name(app.app_id), with_volume=chosen.rm_data)
                self.app_api.remove(app)
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
        if chosen.kind == "docker-install" and self.containers is None:
            raise OccError("This sandbox starts no containers: its only daemon is a manual-install one.")
        if chosen.kind not in ("manual-install", "docker-install"):
            raise OccError("Value error: The accepts-deploy-id is not supported.")
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
            if daemon.kind == "docker-install":
                async for line in self._deploy(chosen, info, daemon):
                    yield line
                return
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
        async for line in self._install(app):
            yield line

    async def _deploy(self, chosen: argparse.Namespace, info: AppInfo, daemon: Daemon) -> AsyncIterator[str]:
        """On a Docker daemon: AppAPI chooses port and secret, and starts the container before anything else."""
        assert self.containers is not None
        if info.image[0] not in daemon.local_registries:
            image = "{}/{}:{}".format(*info.image)
            raise OccError(f"ExApp {info.app_id} deployment failed. Error: Failed to pull image {image}")
        app = self.app_api.register(info.app_id, version=info.version)
        app.display_name, app.routes = info.name, info.routes
        pairs = (pair.partition("=") for pair in chosen.env or [])
        given = {name: value for name, equals, value in pairs if equals}
        environment = self.app_api.environment(app, port=free_port(), storage=f"/nc_app_{app.app_id}_data")
        environment |= {"NEXTCLOUD_URL": daemon.nextcloud_url} | info.environment(given)
        app.container = await self.containers.run(_container_name(app.app_id), environment)
        # The image's health check asks for the heartbeat.
        if not await self.app_api.heartbeat(app, timeout_s=HEALTHY_S) or not app.container.running:
            raise OccError(f"ExApp {app.app_id} deployment failed. Error: Container healthcheck failed.")
        yield f"ExApp {app.app_id} deployed successfully."
        async for line in self._install(app):
            yield line

    async def _install(self, app: ExApp) -> AsyncIterator[str]:
        try:
            await self.app_api.install(app, timeout_s=HEARTBEAT_TRIES)
        except (ExAppUnreachable, TimeoutError) as error:
            self.app_api.remove(app)
            if self.containers is not None:
                await self.containers.remove(_container_name(app.app_id), with_volume=False)
            raise OccError(f"ExApp {app.app_id} could not be registered: {error}") from error
        yield f"ExApp {app.app_id} successfully registered."

    def _map_registry(self, chosen: argparse.Namespace) -> str:
        daemon = self.daemons.get(chosen.name)
        if daemon is None:
            raise OccError(f"Daemon config {chosen.name} not found.")
        if chosen.registry_to != "local":
            raise OccError("The sandbox has no other registry than `local`.")
        if chosen.command.endswith(":add"):
            daemon.local_registries.add(chosen.registry_from)
        else:
            daemon.local_registries.discard(chosen.registry_from)
        return f"Registry {chosen.registry_from} -> {chosen.registry_to}: done."

    def _build_commands(self) -> None:
        """AppAPI's `register_command.php`, which catches neither PHP's nor Symfony's errors."""
        try:
            for app in self.app_api.apps.values():
                for command in app.commands.values() if app.enabled else ():
                    build_command(command)
        except ValueError as error:
            raise OccError(f"An unhandled exception has been thrown:\n{error}") from error

    async def _run_command(self, app: ExApp, command: dict[str, Any], words: Sequence[str]) -> AsyncIterator[str]:
        parser = _Parser(prog=command["name"], add_help=False)
        for option in command["options"]:
            # Without a value: false or true.
            action = "store_true" if option["mode"] == "none" else "store"
            parser.add_argument(f"--{option['name']}", dest=option["name"], action=action)
        options = vars(parser.parse_args(list(words)))
        try:
            async for line in self.app_api.run_command(app, command, options or None):
                yield line
        except ExAppUnreachable as error:
            raise OccError(str(error)) from error

    def _setup_checks(self) -> list[str]:
        """As Nextcloud's `occ setupchecks`: the result of AppAPI's last round, and never a new one."""
        found = [(app_id, issue) for app_id, issues in self.app_api.issues.items() for issue in issues]
        names = {app_id: app.display_name for app_id, app in self.app_api.apps.items()}
        lines = [f"✗ {names.get(app_id, app_id)}: {issue.text} {issue.link_url}".rstrip() for app_id, issue in found]
        return lines or ["✓ External apps"]

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


def _container_name(app_id: str) -> str:
    return f"nc_app_{app_id}"


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
