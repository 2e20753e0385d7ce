# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""AppAPI's routes for external apps: state, progress, log, settings, and elements for the browser."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Request, Response

from sandbox.appapi_rules import SETUP_CHECKS_SINCE, Version
from sandbox.nextcloud.app_api import CONFIG_KEY_LENGTH, AppApi, ConfigValue, ExApp
from sandbox.nextcloud.ocs import OcsError, ocs

_LOG_LEVELS = range(5)

#: Kind of UI element -> the parameters that make its key.
_UI_KEYS = {
    "top-menu": ("name",),
    "initial-state": ("type", "name", "key"),
    "script": ("type", "name", "path"),
    "style": ("type", "name", "path"),
    "settings": ("formId",),
}


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise OcsError(400, "Bad request")
    return body


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise OcsError(400, f"{key} is required")
    return value


def app_api_routes(app_api: AppApi, version: Version) -> APIRouter:
    """`version`: Nextcloud's, since AppAPI's routes depend on it."""
    router = APIRouter()
    root = "/ocs/v1.php/apps/app_api"

    def caller(request: Request) -> ExApp:
        app: ExApp | None = request.state.ex_app
        if app is None:
            raise OcsError(401, "Current user is not logged in")
        return app

    @router.get(root + "/ex-app/state")
    async def state(request: Request) -> Response:
        return ocs(request, int(caller(request).enabled))

    @router.put(root + "/ex-app/status")
    async def status(request: Request) -> Response:
        app, body = caller(request), await _body(request)
        progress = body.get("progress")
        if not isinstance(progress, int) or not 0 <= progress <= 100:
            raise OcsError(400, "Invalid progress")
        await app_api.report_progress(app, progress, str(body.get("error") or ""))
        return ocs(request, [])

    @router.post(root + "/api/v1/log")
    async def log(request: Request) -> Response:
        app, body = caller(request), await _body(request)
        level = body.get("level")
        if not isinstance(level, int) or level not in _LOG_LEVELS:
            raise OcsError(400, "Invalid log level")
        app.log.append((level, _text(body, "message")))
        return ocs(request, [])

    @router.get(root + "/api/v1/users")
    async def users(request: Request) -> Response:
        caller(request)
        return ocs(request, ["admin"])

    @router.post(root + "/api/v1/ex-app/config")
    async def set_config(request: Request) -> Response:
        app, body = caller(request), await _body(request)
        key, value = _text(body, "configKey"), body.get("configValue", "")
        if len(key) > CONFIG_KEY_LENGTH or not isinstance(value, str):
            raise OcsError(500, "Failed to save the value")
        known = app.config.get(key)
        sensitive = body.get("sensitive")
        app.config[key] = ConfigValue(value, bool(sensitive) if sensitive is not None else bool(known and known.sensitive))
        return ocs(request, {"appid": app.app_id, "configkey": key, "configvalue": value})

    @router.post(root + "/api/v1/ex-app/config/get-values")
    async def get_config(request: Request) -> Response:
        app, body = caller(request), await _body(request)
        keys = body.get("configKeys")
        if not isinstance(keys, list):
            raise OcsError(400, "configKeys is required")
        found = [{"configkey": key, "configvalue": app.config[key].value} for key in keys if key in app.config]
        return ocs(request, found)

    @router.delete(root + "/api/v1/ex-app/config")
    async def delete_config(request: Request) -> Response:
        app, body = caller(request), await _body(request)
        removed = [key for key in body.get("configKeys", []) if app.config.pop(key, None) is not None]
        if not removed:
            raise OcsError(404, "No values were deleted")
        return ocs(request, len(removed))

    @router.post(root + "/api/v1/occ_command")
    async def register_command(request: Request) -> Response:
        """AppAPI looks at the types of the outer values only."""
        app, body = caller(request), await _body(request)
        command = {name: _text(body, name) for name in ("name", "description", "execute_handler")}
        lists = {name: body.get(name, []) for name in ("arguments", "options", "usages")}
        if not all(isinstance(each, list) for each in lists.values()):
            raise OcsError(400, "Bad request")
        app.commands[command["name"]] = {**command, **lists, "hidden": body.get("hidden", 0)}
        return ocs(request, [])

    @router.delete(root + "/api/v1/occ_command")
    async def unregister_command(request: Request, name: str = "") -> Response:
        if caller(request).commands.pop(name, None) is None:
            raise OcsError(404, "Not found")
        return ocs(request, [])

    @router.api_route(root + "/api/v1/setup_check", methods=["POST", "DELETE"])
    async def setup_check(request: Request) -> Response:
        if version < SETUP_CHECKS_SINCE:
            raise OcsError(404, "Invalid query, please check the syntax.")
        app_id = caller(request).app_id
        if request.method == "POST":
            app_api.in_setup_checks.add(app_id)
        else:
            app_api.in_setup_checks.discard(app_id)
            app_api.issues.pop(app_id, None)
        return ocs(request, [])

    @router.post(root + "/api/v1/ui/{kind}")
    async def register_ui(request: Request, kind: str) -> Response:
        app, body = caller(request), await _body(request)
        element = body.get("formScheme") if kind == "settings" else body
        if not isinstance(element, dict):
            raise OcsError(400, "formScheme is required")
        if kind == "settings":
            element = {**element, "storage_type": "external"}
        key = (_text(element, "id"),) if kind == "settings" else _ui_key(kind, element)
        app.ui.setdefault(kind, {})[key] = element
        return ocs(request, [])

    @router.get(root + "/api/v1/ui/{kind}")
    async def read_ui(request: Request, kind: str) -> Response:
        app = caller(request)
        element = app.ui.get(kind, {}).get(_ui_key(kind, dict(request.query_params)))
        if element is None:
            raise OcsError(404, "Not found")
        if kind == "settings":
            return ocs(request, element)
        record = {re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", name): value for name, value in element.items()}
        return ocs(request, {"appid": app.app_id, **record})

    @router.delete(root + "/api/v1/ui/{kind}")
    async def unregister_ui(request: Request, kind: str) -> Response:
        app = caller(request)
        if app.ui.get(kind, {}).pop(_ui_key(kind, dict(request.query_params)), None) is None:
            raise OcsError(404, "Not found")
        return ocs(request, [])

    return router


def _ui_key(kind: str, parameters: dict[str, Any]) -> tuple[str, ...]:
    names = _UI_KEYS.get(kind)
    if names is None:
        raise OcsError(404, "Not found")
    return tuple(_text(parameters, name) for name in names)
