# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Every text of the settings page that can be translated, read out of the sources."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from ex_app.settings.table import ON_PAGE

ROOT = Path(__file__).parents[2]
#: What is the same in every language.
NAMES = {"Nextcloud", "Modal", "moshi-server", ",", "order"}


def page_messages() -> set[str]:
    found: set[str] = set()
    template = (ROOT / "templates/settings.html.j2").read_text(encoding="utf-8")
    found |= set(re.findall(r't\("([^"]+)"\)', template))
    for block in re.findall(r"{% set (?:titles|intros) = {(.*?)} %}", template, re.DOTALL):
        found |= set(re.findall(r': "([^"]+)"', block))
    found |= set(re.findall(r'\("\w+", "([^"]+)"\)', template))
    for script in (ROOT / "ex_app/js").glob("*.js"):
        found |= set(re.findall(r"\bt\('((?:[^'\\]|\\.)+)'", script.read_text(encoding="utf-8")))
    for entry in ON_PAGE:
        found |= {entry.label, entry.hint, *(name for _, name in entry.choices)}
    return found - {""}


def server_messages() -> set[str]:
    """Titles of the tests' steps, what the fields' checks say where it has no numbers in it, and what is missing."""
    hops = ast.parse((ROOT / "ex_app/selftest/checks.py").read_text(encoding="utf-8"))
    found = {
        call.args[1].value
        for call in ast.walk(hops)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("step", "begin")
        and len(call.args) > 1
        and isinstance(call.args[1], ast.Constant)
        and isinstance(call.args[1].value, str)
    }
    values = ast.parse((ROOT / "ex_app/settings/parsers.py").read_text(encoding="utf-8"))
    found |= {
        call.args[0].value
        for call in ast.walk(values)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "ValueError"
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }
    settings = ast.parse((ROOT / "ex_app/settings/read.py").read_text(encoding="utf-8"))
    found |= {
        keyword.value.value
        for keyword in ast.walk(settings)
        if isinstance(keyword, ast.keyword)
        and keyword.arg == "required"
        and isinstance(keyword.value, ast.Constant)
        and isinstance(keyword.value.value, str)
    }
    return found


def all_messages() -> set[str]:
    return (page_messages() | server_messages()) - NAMES
