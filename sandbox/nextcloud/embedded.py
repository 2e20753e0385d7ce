# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""An external app in the browser: AppAPI's embedded page, and its proxy with access levels and cache rule.

Who is logged in stands in a cookie, see `login`; members of `AppApi.admins` are administrators.
"""

from __future__ import annotations

import base64
import html
import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from fastapi import APIRouter, Request, Response

from sandbox.appapi_rules import Rule
from sandbox.nextcloud.app_api import AA_VERSION, AppApi, ExApp
from sandbox.nextcloud.login import LANGUAGE_COOKIE, USER_COOKIE

#: Seconds for which browsers may keep what says nothing about it.
CACHE_S = 3600
PROXY_TIMEOUT_S = 30.0
_STYLE = Path(__file__).with_name("core.css")
_PARENT_SEGMENT = re.compile(r"(?:^|/|%2f)(?:\.|%2e){2}(?:/|%2f|$)", re.IGNORECASE)
#: Nextcloud's policy for pages; connections go to itself only, scripts need the page's nonce.
_POLICY = (
    "default-src 'none';base-uri 'none';manifest-src 'self';script-src 'nonce-{nonce}';style-src 'self' 'unsafe-inline';"
    "img-src 'self' data: blob:;font-src 'self' data:;connect-src 'self';media-src 'self';frame-ancestors 'self';"
    "form-action 'self'"
)


def embedded_routes(app_api: AppApi, client: httpx.AsyncClient, rule: Rule) -> APIRouter:
    """`rule`: how this AppAPI matches a path against the routes of an app."""
    router = APIRouter()

    def level(user: str) -> int:
        return 2 if user in app_api.admins else 1 if user else 0

    @router.get("/core/css/server.css")
    async def style() -> Response:
        return Response(_STYLE.read_text(encoding="utf-8"), media_type="text/css")

    @router.get("/index.php/apps/app_api/embedded/{app_id}/{name}")
    async def embedded(request: Request, app_id: str, name: str) -> Response:
        app = app_api.apps.get(app_id)
        user = request.cookies.get(USER_COOKIE, "")
        entry = None if app is None or not app.enabled else app.ui.get("top-menu", {}).get((name,))
        if app is None or entry is None or not user or (entry.get("adminRequired") and level(user) < 2):
            return Response("<h1>Not found</h1>", 404, media_type="text/html")
        nonce = secrets.token_urlsafe(16)
        page = _page(app, name, nonce, request.cookies.get(LANGUAGE_COOKIE, "en"))
        return Response(page, headers={"Content-Security-Policy": _POLICY.format(nonce=nonce)}, media_type="text/html")

    @router.api_route("/index.php/apps/app_api/proxy/{app_id}/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
    async def proxy(request: Request, app_id: str, path: str) -> Response:
        """The first route that fits decides; what none fits does not exist. No request token is asked for."""
        app = app_api.apps.get(app_id)
        user = request.cookies.get(USER_COOKIE, "")
        if app is None or not app.enabled or _PARENT_SEGMENT.search(path):
            return Response(status_code=404)
        fitting = (route for route in app.routes if request.method in route.verbs and rule(route.url, path))
        route = next(fitting, None)
        if route is None or level(user) < route.level:
            return Response(status_code=404)
        headers = {k: v for k, v in request.headers.items() if k not in _NOT_PASSED} | signed(app, user)
        try:
            answer = await client.request(
                request.method,
                f"{app.url}/{quote(path)}",
                params=httpx.QueryParams(request.url.query),
                content=await request.body(),
                headers=headers,
                timeout=PROXY_TIMEOUT_S,
            )
        except httpx.HTTPError:
            return Response(status_code=500)
        return Response(answer.content, answer.status_code, _passed_back(answer.headers))

    return router


_NOT_PASSED = frozenset({"host", "content-length", "cookie", "authorization-app-api", "connection", "accept-encoding"})


def signed(app: ExApp, user_id: str) -> dict[str, str]:
    """The headers with which AppAPI vouches for a request."""
    return {
        "AA-VERSION": AA_VERSION,
        "EX-APP-ID": app.app_id,
        "EX-APP-VERSION": app.version,
        "AUTHORIZATION-APP-API": base64.b64encode(f"{user_id}:{app.secret}".encode()).decode(),
        "Accept-Encoding": "identity",
    }


def _passed_back(headers: Mapping[str, str]) -> dict[str, str]:
    passed = {key: value for key, value in headers.items() if key not in ("content-length", "transfer-encoding", "connection")}
    passed.setdefault("cache-control", f"private, max-age={CACHE_S}, immutable")
    passed.setdefault("content-security-policy", "default-src 'none';frame-ancestors 'none'")
    return passed


def _page(app: ExApp, name: str, nonce: str, language: str) -> str:
    def proxied(path: str) -> str:
        return html.escape(f"/index.php/apps/app_api/proxy/{app.app_id}/{path}?v={app.version}")

    def of_page(kind: str) -> list[dict[str, Any]]:
        return [element for key, element in app.ui.get(kind, {}).items() if key[:2] == ("top_menu", name)]

    styles = "".join(f'<link rel="stylesheet" href="{proxied(style["path"] + ".css")}">' for style in of_page("style"))
    scripts = "".join(
        f'<script nonce="{nonce}" defer src="{proxied(script["path"] + ".js")}"></script>' for script in of_page("script")
    )
    states = "".join(
        f'<input type="hidden" id="initial-state-app_api-{html.escape(state["key"])}" value="'
        f'{base64.b64encode(json.dumps(json.dumps(state["value"])).encode()).decode()}">'
        for state in of_page("initial-state")
    )
    lang = html.escape(language)
    return f"""<!DOCTYPE html><html lang="{lang}" data-locale="{lang}"><head data-requesttoken="token"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{html.escape(app.display_name)} - Nextcloud</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/core/css/server.css">{styles}
<script nonce="{nonce}">window.OC={{requestToken:'token',generateUrl:function(path){{return '/index.php'+path}}}}</script>
{scripts}</head><body id="body-user"><header id="header" aria-label="Nextcloud"></header>{states}
<main id="content" class="app-app_api"></main></body></html>"""
