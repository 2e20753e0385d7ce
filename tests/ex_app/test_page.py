# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The page's languages, its files as AppAPI's proxy serves them, and the documentation of the settings."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from ex_app.page import documentation, menu_page, render
from ex_app.settings.store import SavedSettings
from ex_app.settings.table import ON_PAGE
from ex_app.translation import language_of, languages, translations
from live_transcription.observability.conditions import RULES
from tests.ex_app.fakes import ENVIRONMENT, FakeNextcloud, credentials
from tests.ex_app.messages import ROOT, all_messages, has_words, sources, templates

#: Texts whose translation equals the English.
SAME = {"200 ms", "80 ms", "OK", "Version", "Version {version}", "Nextcloud {version}", "{seconds} s"}
SAME_IN = {"de": {"Engines", "Status", "libopus: {reason}.", "{count} MB"}, "fr": {"Catalan"}}


def test_the_page_is_translated_into_french_and_german() -> None:
    assert languages() == ("en", "de", "fr")
    assert translations("de")["Save"] == "Speichern"
    assert translations("fr")["Save"] == "Enregistrer"


@pytest.mark.parametrize("language", [language for language in languages() if language != "en"])
def test_a_language_has_every_text_and_no_other(language: str) -> None:
    translated = translations(language)
    assert all_messages() - set(translated) == set()
    assert set(translated) - all_messages() == set()
    for english, foreign in translated.items():
        assert sorted(re.findall(r"{\w+}", english)) == sorted(re.findall(r"{\w+}", foreign)), english
        assert foreign.strip(), english
    assert {english for english, foreign in translated.items() if english == foreign} <= SAME_IN[language] | SAME


def test_no_text_is_composed_before_it_is_translated() -> None:
    """An f-string, or a text put together from parts, has no entry in a catalogue."""
    composed = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in sources()
        if file.name != "texts.py"
        for text, line in templates(file)
        if text is None
    ]
    assert composed == []


def test_the_collector_notices_composed_texts(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        'raise SttError("A {b}.", fix="C.")\nraise SttError(f"A {b}.", fix="C" + d)\nraise BodyError(404, "E".join(f))\n'
    )
    assert list(templates(module)) == [("A {b}.", 1), ("C.", 1), (None, 2), (None, 2), (None, 3)]
    assert has_words("{a}: B")
    assert not has_words("{part0} {part1}")


@pytest.mark.parametrize(
    ("wanted", "language"),
    [
        ("fr", "fr"),
        ("fr-CA", "fr"),
        ("de_DE", "de"),
        ("", "en"),
        ("nl-NL,fr;q=0.8,en;q=0.5", "fr"),
        ("../../x", "en"),
    ],
)
def test_which_language(wanted: str, language: str) -> None:
    assert language_of(wanted) == language


def test_every_setting_is_on_the_page_and_no_secret_is() -> None:
    saved = SavedSettings(ENVIRONMENT | {"MODAL_KEY": "wk-123456"}, FakeNextcloud(), lambda _: None)
    text = render("en", saved.describe(), "10.0.0")
    for entry in ON_PAGE:
        assert f'data-key="{entry.key}"' in text
        assert f"lt-field-{entry.key}-error" in text
    for secret in ("wk-123456", ENVIRONMENT["LT_INTERNAL_SECRET"], ENVIRONMENT["APP_SECRET"]):
        assert secret not in text
    assert not re.search(r"\son\w+=|<script|style=|https?://(?!cloud\.example|hpb\.example)", text)


def test_an_administrator_finds_every_condition_explained() -> None:
    symptoms = (Path(__file__).parents[2] / "docs/troubleshooting.md").read_text(encoding="utf-8")
    for code in RULES:
        assert f"`healthz`: `{code}`" in symptoms, code


@pytest.mark.parametrize(
    "path",
    [
        "/img/app.svg",
        *(f"/{script}.js" for script in menu_page("1").scripts),
        *(f"/{style}.css" for style in menu_page("1").styles),
    ],
)
async def test_static_files_need_credentials_and_are_revalidated(anybody: httpx.AsyncClient, path: str) -> None:
    assert (await anybody.get(path)).status_code == 401
    answer = await anybody.get(path, headers=credentials())
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["ETag"]
    again = await anybody.get(path, headers=credentials() | {"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.headers["Cache-Control"]) == (304, "no-cache")
    assert (await anybody.get("/js/../auth.py", headers=credentials())).status_code == 404
    assert (await anybody.get("/js/%2e%2e/auth.py", headers=credentials())).status_code == 404


def test_the_documentation_names_every_setting(tmp_path: Path) -> None:
    for text in (documentation(), documentation(tmp_path / "not-installed.md")):
        for entry in ON_PAGE:
            assert f"`{entry.key}`" in text, entry.key
            assert f"`{entry.variable}`" in text, entry.variable
