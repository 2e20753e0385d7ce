# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The login, and the page after it: a menu with the entries of the apps."""

from __future__ import annotations

import html
import secrets
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from sandbox.nextcloud.app_api import AppApi
from sandbox.nextcloud.web_api import Accounts

USER_COOKIE = "sandbox_user"
LANGUAGE_COOKIE = "sandbox_lang"

_PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - Nextcloud stand-in</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/core/css/server.css">
<style>#content{{padding:24px;overflow:auto}} form,main>*{{max-width:640px}} label{{display:block;margin:12px 0 4px}}
input{{font:inherit;padding:6px 10px;min-height:34px;box-sizing:border-box;width:100%}} a{{color:inherit;font-weight:bold}}
button{{font:inherit;font-weight:bold;margin-top:16px;padding:6px 16px;min-height:34px;border:0;border-radius:8px;
background:var(--color-primary-element);color:var(--color-primary-element-text)}} code{{overflow-wrap:anywhere}}</style></head>
<body><header id="header"></header><main id="content">{body}</main></body></html>"""

_FORM = """<h1>Log in</h1><p>This is not Nextcloud, but the sandbox's stand-in for it.</p>{problem}
<form method="post" action="/login"><label for="user">Account name</label><input id="user" name="user" autocomplete="username">
<label for="password">Password</label><input id="password" name="password" type="password" autocomplete="current-password">
<button type="submit">Log in</button></form>"""


def login_routes(app_api: AppApi, accounts: Accounts) -> APIRouter:
    router = APIRouter()

    def entered(user: str, to: str, lang: str) -> Response:
        # A path of this server, never another one's address.
        answer = RedirectResponse(to if to.startswith("/") and not to.startswith("//") else "/", 303)
        answer.set_cookie(USER_COOKIE, user, httponly=True, samesite="lax")
        answer.set_cookie(LANGUAGE_COOKIE, lang, samesite="lax")
        return answer

    @router.get("/login")
    async def login(user: str = "", to: str = "/", lang: str = "en") -> Response:
        """With `user`, which only tests know, nobody is asked for a password; there is nothing to protect in them."""
        if user and not accounts.passwords:
            return entered(user, to, lang)
        return page("Log in", _FORM.format(problem=""))

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        fields = parse_qs((await request.body())[:4096].decode(errors="replace"))
        user, password = (fields.get(name, [""])[0] for name in ("user", "password"))
        known = accounts.passwords.get(user, "")
        if not known or not secrets.compare_digest(known.encode(), password.encode()):
            return page("Log in", _FORM.format(problem='<p role="alert">Wrong account name or password.</p>'), 401)
        preferred = request.headers.get("accept-language", "")[:2].lower()
        return entered(user, "/", preferred if preferred in ("fr", "de") else "en")

    @router.get("/logout")
    async def log_out() -> Response:
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(USER_COOKIE)
        return answer

    @router.get("/")
    async def home(request: Request) -> Response:
        user = request.cookies.get(USER_COOKIE, "")
        if not user:
            return RedirectResponse("/login", 303)
        entries = [
            f'<li><a href="/index.php/apps/app_api/embedded/{app.app_id}/{html.escape(str(element["name"]))}">'
            f"{html.escape(str(element['displayName']))}</a></li>"
            for app in app_api.apps.values()
            if app.enabled
            for element in app.ui.get("top-menu", {}).values()
            if user in app_api.admins or not element.get("adminRequired")
        ]
        shown = f"<ul>{''.join(entries)}</ul>" if entries else f"<p>{html.escape(_missing(app_api))}</p>"
        settings = '<p><a href="/settings/admin/talk">Administration settings: Talk</a></p>' if user in app_api.admins else ""
        return page("Apps", f'<h1>Apps</h1><nav aria-label="Apps">{shown}</nav>{settings}<p><a href="/logout">Log out</a></p>')

    return router


def _missing(app_api: AppApi) -> str:
    if not app_api.apps:
        return "No external app is registered yet. Register it in the shell, then reload this page."
    if not any(app.enabled for app in app_api.apps.values()):
        return "The external app is registered, but not enabled yet. Does it run? Reload this page in a moment."
    return "The app has put nothing into the menu yet. Reload this page in a moment."


def page(title: str, body: str, status: int = 200) -> HTMLResponse:
    policy = "default-src 'none';style-src 'self' 'unsafe-inline';img-src data:;form-action 'self';frame-ancestors 'none'"
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return HTMLResponse(_PAGE.format(title=title, body=body), status, headers)
