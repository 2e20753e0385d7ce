# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The settings page: its entry in Nextcloud's menu, its HTML and that of its help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from ex_app.guides import guides
from ex_app.nextcloud.gateway import Page
from ex_app.settings.read import NEEDED
from ex_app.settings.table import ENGINE_NAMES, GROUPS, ON_PAGE, Setting
from ex_app.translation import languages, translated, translations

_HERE = Path(__file__).parent
_TEMPLATES = _HERE.parent / "templates"
#: The guide of each engine.
_ENGINE_GUIDES = {"modal": "modal", "moshi": "moshi-server", "embedded": "engines"}
#: Shown although the app does not answer, so they are stored in Nextcloud as the page's initial state.
_WITHOUT_THE_APP = (
    "Live transcription",
    "Nextcloud cannot be reached.",
    "The app does not answer (status {status}). Is its container running?",
    "The app did not answer in time.",
    "Nextcloud refuses this request (status {status}). Log in as an administrator, and check that the app is enabled.",
    "The page could not be set up. Reload it. If this does not help, see the browser's console.",
    "Try again",
    "Loading…",
    "Reload the page",
)
SCRIPTS = ("api", "form", "tests", "status", "forget", "settings")


def menu_page(version: str) -> Page:
    return Page(
        name="settings",
        title="Live transcription",
        icon="img/app.svg",
        scripts=tuple(f"js/live_transcription-{name}" for name in SCRIPTS),
        styles=("css/live_transcription-settings",),
        initial_state={
            "version": version,
            "words": {
                language: {text: translations(language)[text] for text in _WITHOUT_THE_APP}
                for language in languages()
                if language != "en"
            },
        },
    )


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine's settings, a section of the page that is open if the engine is in use or has an error.

    `configured`: whether any of them is set, or there is nothing to set. `guide`: the name of its guide, "" if not installed.
    """

    name: str
    title: str
    entries: Sequence[tuple[Setting, Mapping[str, Any]]]
    configured: bool
    open: bool
    guide: str


def _engines(settings: Mapping[str, Mapping[str, Any]]) -> Iterator[Engine]:
    order = settings["lt_stt_order"]
    chosen = order["source"] != "default"
    for name, title in ENGINE_NAMES.items():
        entries = [(entry, settings[entry.key]) for entry in ON_PAGE if entry.engine == name]
        given = any(state["source"] != "default" for _, state in entries)
        wrong = any(state["problem"] for _, state in entries)
        guide = _ENGINE_GUIDES[name] if _ENGINE_GUIDES[name] in guides() else ""
        # By default all engines are selected, so the default selects none in particular.
        is_open = wrong or given or (chosen and name in order["value"].split(","))
        yield Engine(name, title, entries, given or name == "embedded", is_open, guide)


@cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(name)


def render(language: str, settings: Mapping[str, Mapping[str, Any]], version: str, *, configured: bool = True) -> str:
    """The HTML that the page's script puts into Nextcloud's empty page. `settings`: from `SavedSettings.describe`.

    Until the app is `configured`, the settings come first, afterwards the status.
    """
    words = translations(language)
    settings = translated(settings, language)
    return _template("settings.html.j2").render(
        language=language,
        version=version,
        configured=configured,
        t=lambda text: words.get(text, text),
        groups=[
            (group, [(entry, settings[entry.key]) for entry in ON_PAGE if entry.group == group.name and not entry.engine])
            for group in GROUPS
            if group.on_page
        ],
        engines=list(_engines(settings)),
        required=NEEDED,
        words=dict(words),
    )


def render_guide(language: str, name: str) -> str | None:
    """The HTML of a guide, None if it is not installed."""
    found = guides().get(name)
    if found is None:
        return None
    words = translations(language)
    return _template("settings_guide.html.j2").render(
        language=language, t=lambda text: words.get(text, text), guide=found, guides=list(guides().values()), words=dict(words)
    )
