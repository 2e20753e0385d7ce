# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The settings page: its entry in Nextcloud's menu, its HTML and its translations."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from ex_app.nextcloud.gateway import Page
from ex_app.settings.table import GROUPS, ON_PAGE, SETTINGS, Setting

_HERE = Path(__file__).parent
_TEMPLATES = _HERE.parent / "templates"
_L10N = _HERE / "l10n"
SCRIPTS = ("api", "form", "tests", "status", "forget", "settings")


def menu_page(version: str) -> Page:
    return Page(
        name="settings",
        title="Live transcription",
        icon="img/app.svg",
        scripts=tuple(f"js/live_transcription-{name}" for name in SCRIPTS),
        styles=("css/live_transcription-settings",),
        initial_state={"version": version},
    )


@cache
def translations(language: str) -> Mapping[str, str]:
    """Texts in `language` by the English text; a text without translation stays English."""
    if language == "en" or language not in languages():
        return {}
    found: dict[str, str] = json.loads((_L10N / f"{language}.json").read_text(encoding="utf-8"))["translations"]
    return found


@cache
def languages() -> tuple[str, ...]:
    return ("en", *sorted(path.stem for path in _L10N.glob("*.json") if path.stem != "en"))


def language_of(wanted: str) -> str:
    """The first available language in `wanted` (`fr-CA`, or an Accept-Language header), otherwise English."""
    for tag in wanted[:200].lower().split(","):
        code = re.match(r"\s*([a-z]{2,3})", tag)
        if code and code[1] in languages():
            return code[1]
    return "en"


def documentation(page: Path = _HERE.parent / "docs" / "settings.md") -> str:
    """docs/settings.md, or only its tables if the file is not installed next to the app."""
    try:
        return page.read_text(encoding="utf-8")
    except OSError:
        return f"# Settings\n\n{settings_tables()}"


def settings_tables() -> str:
    """The settings as Markdown, one table per group; a part of docs/settings.md."""
    return "\n".join(
        f"## {group.title}\n\n{group.intro}\n\n"
        "| setting | key | environment | default | meaning |\n|---|---|---|---|---|\n"
        + "".join(map(_row, (setting for setting in SETTINGS if setting.group == group.name)))
        for group in GROUPS
    )


def _row(setting: Setting) -> str:
    key = f"`{setting.key}`" if setting in ON_PAGE else ""
    default = f"`{setting.default}`" if setting.default else ""
    return f"| {setting.label} | {key} | `{setting.variable}` | {default} | {setting.hint} |\n"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("settings.html.j2")


def render(language: str, settings: Mapping[str, Mapping[str, Any]], version: str) -> str:
    """The HTML that the page's script puts into Nextcloud's empty page. `settings`: from `SavedSettings.describe`."""
    words = translations(language)
    return _template().render(
        language=language,
        version=version,
        t=lambda text: words.get(text, text),
        groups=[
            (group, [(entry, settings[entry.key]) for entry in ON_PAGE if entry.group == group.name])
            for group in GROUPS
            if group.on_page
        ],
        words=dict(words),
    )
