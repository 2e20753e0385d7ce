# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The settings page: its entry in Nextcloud's menu, its HTML and its translations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from ex_app.nextcloud.gateway import Page
from ex_app.settings.table import GROUPS, ON_PAGE, SETTINGS, Setting
from ex_app.translation import translated, translations

_HERE = Path(__file__).parent
_TEMPLATES = _HERE.parent / "templates"
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
    settings = translated(settings, language)
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
