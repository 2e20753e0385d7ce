# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The settings page: its entry in Nextcloud's menu, its fragment of HTML, and its languages."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from ex_app.nextcloud.gateway import Page
from ex_app.settings.fields import FIELDS, GROUPS

_HERE = Path(__file__).parent
_TEMPLATES = _HERE.parent / "templates"
_L10N = _HERE / "l10n"
SCRIPTS = ("api", "form", "tests", "status", "settings")


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
    """English text to text in `language`; what is missing stays English."""
    if language == "en" or language not in languages():
        return {}
    path = _L10N / f"{language}.json"
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))["translations"]
    return found


@cache
def languages() -> tuple[str, ...]:
    return ("en", *sorted(path.stem for path in _L10N.glob("*.json") if path.stem != "en"))


def language_of(wanted: str) -> str:
    """The first language of `wanted` that there is: `fr-CA`, or an Accept-Language header. English else."""
    for tag in wanted[:200].lower().split(","):
        code = re.match(r"\s*([a-z]{2,3})", tag)
        if code and code[1] in languages():
            return code[1]
    return "en"


def documentation() -> str:
    """What the settings mean, as text; a bare list of them where the page of the documentation is not beside the app."""
    try:
        return (_HERE.parent / "docs" / "settings.md").read_text(encoding="utf-8")
    except OSError:
        entries = (f"{entry.label}\n  `{entry.key}`, `{entry.variable}`\n  {entry.hint}\n" for entry in FIELDS)
        return "# Settings\n\n" + "\n".join(entries)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("settings.html.j2")


def render(language: str, settings: Mapping[str, Mapping[str, Any]], version: str) -> str:
    """The fragment that our script puts into Nextcloud's empty page. `settings` as `SavedSettings.describe` gives them."""
    words = translations(language)
    return _template().render(
        language=language,
        version=version,
        t=lambda text: words.get(text, text),
        groups=[(group, [(entry, settings[entry.key]) for entry in FIELDS if entry.group == group]) for group in GROUPS],
        words=dict(words),
    )
