# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Every text that the settings page can show, collected from the sources: the templates of errors, conditions and steps, the
settings' texts, and those of the page's template and scripts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import ex_app.errors
import live_transcription.errors
from ex_app.settings.parsers import Malformed
from ex_app.settings.table import GROUPS, ON_PAGE
from live_transcription.errors import LiveTranscriptionError

ROOT = Path(__file__).parents[2]
#: Names that are the same in every language.
NAMES = {"Nextcloud", "Modal", "moshi-server"}
#: Text that no setting accepts, for the messages of the parsers.
MALFORMED = ("", "-1", "1", "ws-x", "wk-x", "two words", "x://y", "http://[", "http://a@b", "http://a?b", "http://a..b", "é")
#: Calls with templates as arguments: by name, the positions of these. Errors and conditions also have the keyword `fix`.
_ERRORS = {
    name: 0
    for module in (live_transcription.errors, ex_app.errors)
    for name, found in vars(module).items()
    if isinstance(found, type) and issubclass(found, LiveTranscriptionError)
}
CALLS: dict[str, tuple[int, ...]] = {
    **{name: (position,) for name, position in _ERRORS.items()},
    "ConfigurationError": (1,),
    "BodyError": (1,),
    "Condition": (1, 2),
    "Condition.of": (1, 2),
    "Malformed": (0,),
    "Text": (0,),
    "template": (0,),
}


def all_messages() -> set[str]:
    found = page_messages() | setting_messages()
    for file in sources():
        found |= {text for text, _ in templates(file) if text is not None}
    return {text for text in found - NAMES if has_words(text)}


def has_words(template: str) -> bool:
    """Whether there is anything to translate besides the values."""
    return bool(re.search(r"[A-Za-z]", re.sub(r"{\w+}", "", template)))


def sources() -> Iterator[Path]:
    for folder in ("ex_app", "lib/live_transcription"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def page_messages() -> set[str]:
    found: set[str] = set()
    for file in (ROOT / "templates").glob("settings*.j2"):
        template = file.read_text(encoding="utf-8")
        found |= set(re.findall(r'\bt\("([^"]+)"\)', template)) | set(re.findall(r'\("(?:hpb|ice|stt)", "([^"]+)"\)', template))
    for script in (ROOT / "ex_app/js").glob("*.js"):
        texts = re.findall(r"\bt\('((?:[^'\\]|\\.)+)'", script.read_text(encoding="utf-8"))
        found |= {text.replace("\\'", "'") for text in texts}
    return found


def setting_messages() -> set[str]:
    found = {text for group in GROUPS if group.on_page for text in (group.title, group.intro)}
    for setting in ON_PAGE:
        found |= {setting.label, setting.hint, setting.required, *(name for _, name in setting.choices)}
        for text in (*MALFORMED, "x" * 5000):
            try:
                setting.parse(text)
            except Malformed as error:
                found.add(error.text.template)
    return found


def templates(file: Path) -> Iterator[tuple[str | None, int]]:
    """The constant templates of a file with their lines. None for a text that is composed, so that it has no translation."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name not in CALLS:
            continue
        given = [node.args[position] for position in CALLS[name] if position < len(node.args)]
        given += [keyword.value for keyword in node.keywords if keyword.arg == "fix"]
        for text in given:
            if isinstance(text, ast.Constant):
                yield str(text.value), text.lineno
            elif isinstance(text, ast.JoinedStr | ast.BinOp) or (
                isinstance(text, ast.Call) and isinstance(text.func, ast.Attribute)
            ):
                yield None, text.lineno
