# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Every text of the settings page that can be translated, collected from the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ex_app.errors import INTERNAL_ERROR
from ex_app.settings.table import GROUPS, ON_PAGE

ROOT = Path(__file__).parents[2]
#: Names that are the same in every language.
NAMES = {"Nextcloud", "Modal", "moshi-server"}
#: Text that no setting accepts, for the messages of the parsers.
MALFORMED = ("", "-1", "1", "ws-x", "wk-x", "two words", "x://y", "http://[", "http://a@b", "http://a?b", "http://a..b", "é")
#: The calls whose constant arguments the page shows: by name, the positions of the arguments.
SHOWN = {"step": (1,), "begin": (1,), "sequence": (1,), "next": (1,), "warn": (0, 1), "of": (1, 2)}
ERRORS = {
    "NextcloudError": 0,
    "NextcloudRefused": 0,
    "TalkOutdated": 0,
    "NotReady": 0,
    "SttUnavailable": 0,
    "ConfigurationError": 1,
}


def all_messages() -> set[str]:
    found = page_messages() | setting_messages() | {INTERNAL_ERROR}
    for path in (
        "ex_app/selftest",
        "ex_app/nextcloud/gateway.py",
        "lib/live_transcription/capacity",
        "lib/live_transcription/observability/conditions.py",
    ):
        for file in sorted((ROOT / path).rglob("*.py")) or [ROOT / path]:
            found |= set(code_messages(file))
    return found - NAMES - {""}


def page_messages() -> set[str]:
    template = (ROOT / "templates/settings.html.j2").read_text(encoding="utf-8")
    found = set(re.findall(r'\bt\("([^"]+)"\)', template)) | set(re.findall(r'\("(?:hpb|ice|stt)", "([^"]+)"\)', template))
    for script in (ROOT / "ex_app/js").glob("*.js"):
        found |= set(re.findall(r"\bt\('((?:[^'\\]|\\.)+)'", script.read_text(encoding="utf-8")))
    return found


def setting_messages() -> set[str]:
    found = {text for group in GROUPS if group.on_page for text in (group.title, group.intro)}
    for setting in ON_PAGE:
        found |= {setting.label, setting.hint, setting.required, *(name for _, name in setting.choices)}
        for text in (*MALFORMED, "x" * 5000):
            try:
                setting.parse(text)
            except ValueError as error:
                found.add(str(error))
    return found


def code_messages(file: Path) -> Iterator[str]:
    """Constant texts of steps, errors and conditions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Dict) and file.name == "admission.py":
            shown: list[ast.expr] = [text for value in node.values if isinstance(value, ast.Tuple) for text in value.elts]
        elif isinstance(node, ast.Call):
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = getattr(node.func, "id", "")
            positions = SHOWN.get(method) or ((ERRORS[name],) if name in ERRORS else ())
            shown = [node.args[position] for position in positions if position < len(node.args)]
            shown += [keyword.value for keyword in node.keywords if keyword.arg == "fix" and name in ERRORS]
        else:
            continue
        for text in shown:
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield text.value
