# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Nextcloud's administration settings with the forms of external apps (declarative settings).

All pages of the settings load all forms, so one invalid form breaks every page.
"""

from __future__ import annotations

import html
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from sandbox.appapi_rules import register_forms
from sandbox.nextcloud.app_api import AppApi, ConfigValue, ExApp
from sandbox.nextcloud.login import USER_COOKIE, page
from sandbox.nextcloud.ocs import OcsError, ocs

_VALUE = "/ocs/v2.php/settings/api/declarative/value"
_FORMS = "/ocs/v2.php/settings/api/declarative/forms"
#: What the browser gets instead of a secret.
_DUMMY_SECRET = "dummySecret"


def admin_settings_routes(app_api: AppApi) -> APIRouter:
    router = APIRouter()

    def administrator(request: Request) -> None:
        if request.cookies.get(USER_COOKIE, "") not in app_api.admins:
            raise OcsError(403, "Logged in user does not have permission to access these settings.")

    def forms() -> list[tuple[ExApp, dict[str, Any]]]:
        """Raises ValueError if one is invalid."""
        enabled = [app for app in app_api.apps.values() if app.enabled]
        for app in enabled:
            register_forms(list(app.ui.get("settings", {}).values()))
        return [(app, form) for app in enabled for form in app.ui.get("settings", {}).values()]

    def field_of(app_id: str, form_id: str, field_id: str) -> tuple[ExApp, dict[str, Any]]:
        for app, form in forms():
            for field in form["fields"]:
                if (app.app_id, form["id"], field["id"]) == (app_id, form_id, field_id):
                    return app, field
        raise OcsError(400, f'Unknown fieldId "{field_id}"')

    def save(app: ExApp, field: dict[str, Any], value: Any) -> None:
        """As AppAPI's `SetValueListener`: a sensitive value is encrypted once more, so the app cannot read it."""
        # PHP: the text of an object is "Array", that of true "1".
        text = "Array" if isinstance(value, dict | list) else "" if value in (None, False) else str(value)
        text = "1" if value is True else text
        known = app.config.get(field["id"])
        cipher = app_api.encrypt(text) if field.get("sensitive") is True else text
        app.config[field["id"]] = ConfigValue(cipher, bool(known and known.sensitive))

    def value_of(app: ExApp, field: dict[str, Any]) -> str:
        known = app.config.get(field["id"])
        if known is None:
            return str(field.get("default", ""))
        if field.get("sensitive") is True:
            return _DUMMY_SECRET if app_api.decrypt(known.value) else ""
        return known.value

    @router.get(_FORMS)
    async def get_forms(request: Request) -> Response:
        administrator(request)
        try:
            found = forms()
        except ValueError as error:
            raise OcsError(500, str(error)) from None
        shown = [
            {**form, "app": app.app_id, "fields": [{**field, "value": value_of(app, field)} for field in form["fields"]]}
            for app, form in found
        ]
        return ocs(request, shown)

    @router.post(_VALUE)
    async def set_value(request: Request) -> Response:
        administrator(request)
        body = await request.json()
        try:
            # The page removes the first "<app id>_" from the form's id.
            app, field = field_of(body["app"], body["formId"].replace(f"{body['app']}_", "", 1), body["fieldId"])
        except (ValueError, KeyError, TypeError):
            raise OcsError(400) from None
        save(app, field, body.get("value"))
        return ocs(request, None)

    @router.get("/settings/admin/{section}")
    async def settings(request: Request, section: str) -> Response:
        if request.cookies.get(USER_COOKIE, "") not in app_api.admins:
            return Response("<h1>Not found</h1>", 404, media_type="text/html")
        try:
            found = forms()
        except ValueError:
            return Response("<h1>Internal Server Error</h1>", 500, media_type="text/html")
        found = [(app, form) for app, form in found if (form["section_type"], form["section_id"]) == ("admin", section)]
        found.sort(key=lambda each: -each[1]["priority"])
        shown = "".join(
            _form(app, form, {field["id"]: value_of(app, field) for field in form["fields"]}) for app, form in found
        )
        return page(f"Administration settings: {section}", shown or "<p>There is nothing here.</p>")

    @router.post("/settings/admin/{section}")
    async def save_settings(request: Request, section: str) -> Response:
        """The stand-in's page has no script; it saves a whole form at once."""
        administrator(request)
        entered = {name: texts[0] for name, texts in parse_qs((await request.body()).decode(), keep_blank_values=True).items()}
        app_id, form_id = entered.pop("app"), entered.pop("form")
        for field_id, value in entered.items():
            save(*field_of(app_id, form_id, field_id), value)
        return RedirectResponse(f"/settings/admin/{section}", 303)

    return router


def _form(app: ExApp, form: dict[str, Any], values: dict[str, str]) -> str:
    address = html.escape(form.get("doc_url") or "")
    link = f' <a href="{address}" target="_blank">External documentation</a>' if address else ""
    fields = "".join(_field(field, values[field["id"]]) for field in form["fields"])
    return (
        f"<h2>{html.escape(form['title'])}{link}</h2><p>{html.escape(form.get('description', ''))}</p>"
        f'<form method="post"><input type="hidden" name="app" value="{html.escape(app.app_id)}">'
        f'<input type="hidden" name="form" value="{html.escape(form["id"])}">{fields}<button>Save</button></form>'
    )


def _field(field: dict[str, Any], value: str) -> str:
    name, title = html.escape(field["id"]), html.escape(field["title"])
    hint = f"<p>{html.escape(field.get('description', ''))}</p>"
    if field["type"] == "radio":
        options = "".join(
            f'<label><input type="radio" name="{name}" value="{html.escape(option["value"])}" style="width:auto;min-height:0"'
            f"{' checked' if option['value'] == value else ''}> {html.escape(option['name'])}</label>"
            for option in field["options"]
        )
        return f"<fieldset><legend>{title}</legend>{options}</fieldset>{hint}"
    shown, hidden = html.escape(value), html.escape(field.get("placeholder", ""))
    control = f'<input type="{html.escape(field["type"])}" id="{name}" name="{name}" value="{shown}" placeholder="{hidden}">'
    return f'<label for="{name}">{title}</label>{control}{hint}'
