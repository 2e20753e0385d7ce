# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Forms and commands that would break Nextcloud's settings pages or `occ` are refused."""

from __future__ import annotations

from typing import Any

import pytest

from ex_app.administration import SELFTEST_COMMAND, talk_form
from ex_app.nextcloud.schemes import InvalidScheme, check_command, check_form
from ex_app.settings.store import SavedSettings
from tests.ex_app.fakes import ENVIRONMENT, FakeNextcloud

RADIO = {"id": "lt_x", "title": "t", "description": "d", "type": "radio", "options": [{"name": "One", "value": "1"}]}


def form(**changes: Any) -> dict[str, Any]:
    unsaved = SavedSettings(ENVIRONMENT, FakeNextcloud(), lambda _: None).describe()
    made = {**talk_form("https://cloud.example.com", unsaved), **changes}
    return {name: value for name, value in made.items() if value is not ...}


def field(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**RADIO, **changes}.items() if value is not ...}


def command(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**SELFTEST_COMMAND, **changes}.items() if value is not ...}


def option(**changes: Any) -> dict[str, Any]:
    made = {"name": "x", "shortcut": None, "mode": "none", "description": "d", "default": None, **changes}
    return {name: value for name, value in made.items() if value is not ...}


def argument(name: str = "x", mode: str = "required", **rest: Any) -> dict[str, Any]:
    return {"name": name, "mode": mode, "description": "d", **rest}


def test_what_the_app_registers_is_valid() -> None:
    check_form(form())
    check_command(command())
    check_form(form(fields=[field(), field(id="lt_y", type="select", options=["a", "b"]), field(id="lt_z", type="checkbox")]))


@pytest.mark.parametrize(
    "broken",
    [
        form(id=...), form(id=""), form(id=7), form(id="live_transcription_talk"), form(id="x" * 65), form(id="a b"),
        form(section_type=...), form(section_type="global"), form(section_id=...), form(section_id=""),
        form(title=...), form(title=None), form(description=...),
        form(priority=...), form(priority="10"), form(priority=True), form(doc_url=None),
        form(fields=...), form(fields=[]), form(fields={}), form(fields="x"), form(fields=[None]), form(fields=[[]]),
        form(fields=[field(), field()]),
        form(fields=[field(id=...)]), form(fields=[field(id="x" * 65)]), form(fields=[field(id="lt/x")]),
        form(fields=[field(title=...)]), form(fields=[field(description=...)]),
        form(fields=[field(type=...)]), form(fields=[field(type="button")]), form(fields=[field(type="password")]),
        form(fields=[field(sensitive=True)]), form(fields=[field(placeholder=None)]), form(fields=[field(default=1)]),
        form(fields=[field(options=...)]), form(fields=[field(options=[])]), form(fields=[field(options={"1": "One"})]),
        form(fields=[field(options=["1"])]), form(fields=[field(options=[{"name": "One"}])]),
        form(fields=[field(options=[{"name": "One", "value": 1}])]),
        form(fields=[field(options=RADIO["options"] * 2)]),
        # Nextcloud's select saves the chosen option as it is, and AppAPI makes the text "Array" of an object.
        form(fields=[field(type="select")]), form(fields=[field(type="multi-select")]),
    ],
)  # fmt: skip
def test_a_form_that_breaks_the_settings_pages_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidScheme):
        check_form(broken)


@pytest.mark.parametrize(
    "broken",
    [
        command(name=...), command(name=""), command(name="selftest"), command(name="live_transcription:"),
        command(name="live_transcription::x"), command(name="other:selftest"), command(name="live_transcription:" + "x" * 64),
        command(description=...), command(description=None), command(description="x" * 256),
        command(execute_handler=...), command(execute_handler=""), command(hidden=...), command(hidden="no"),
        command(arguments=...), command(arguments=None), command(options=...), command(options={}), command(usages=...),
        command(usages=[7]),
        command(arguments=[{"name": "x", "mode": "required"}]), command(arguments=[argument(mode="optional")]),
        command(arguments=[argument(mode="array")]), command(arguments=[argument(mode="array", default="x")]),
        command(arguments=[argument(mode="sometimes")]), command(arguments=[argument(), argument()]), command(arguments=["x"]),
        command(arguments=[argument("a", "optional", default=None), argument("b")]),
        command(arguments=[argument("a", "optional,array"), argument("b", "optional", default=None)]),
        command(options=[option(mode="array")]), command(options=[option(mode=...)]), command(options=[option(mode="a,b")]),
        command(options=[option(description=...)]), command(options=[option(name="--x")]), command(options=[option(name="")]),
        command(options=[option(), option()]), command(options=[option(name="help")]),
        command(options=[option(name="verbose")]),
        command(options=[option(shortcut="v")]), command(options=[option(shortcut="")]),
        command(options=[option(shortcut="xy")]),
        command(options=[option(mode="negatable"), option(name="no-x")]),
    ],
)  # fmt: skip
def test_a_command_that_breaks_occ_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidScheme):
        check_command(broken)
