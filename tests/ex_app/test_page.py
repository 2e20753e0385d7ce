# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The page's languages, its files as AppAPI's proxy serves them, and the documentation of the settings."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from ex_app.page import menu_page, render
from ex_app.settings.store import SavedSettings
from ex_app.settings.table import ON_PAGE
from ex_app.translation import language_of, languages, translations
from live_transcription.observability.conditions import RULES
from tests.ex_app.fakes import ENVIRONMENT, FakeNextcloud, credentials
from tests.ex_app.messages import ROOT, all_messages, has_words, sources, templates

#: Texts whose translation equals the English.
SAME = {"200 ms", "80 ms", "OK", "Version", "Version {version}", "Nextcloud {version}", "Talk {version}", "{seconds} s"}
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
    assert "stale-while-revalidate" in answer.headers["Cache-Control"]
    assert answer.headers["ETag"]
    again = await anybody.get(path, headers=credentials() | {"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.headers["Cache-Control"]) == (304, answer.headers["Cache-Control"])
    assert (await anybody.get("/js/../auth.py", headers=credentials())).status_code == 404
    assert (await anybody.get("/js/%2e%2e/auth.py", headers=credentials())).status_code == 404


def test_the_settings_come_first_until_the_app_is_configured() -> None:
    settings = SavedSettings(ENVIRONMENT, FakeNextcloud(), lambda _: None).describe()
    for configured, order in (
        (False, ["lt-form", "lt-title-selftest", "lt-title-status"]),
        (True, ["lt-title-status", "lt-form"]),
    ):
        text = render("en", settings, "10.0.0", configured=configured)
        places = [text.index(f'id="{name}"') for name in order]
        assert places == sorted(places)
        assert ("To start, enter" in text) is not configured


def engine_sections(environment: dict[str, str], language: str = "en") -> dict[str, str]:
    """The start tag and the summary of each engine's section."""
    text = render(language, SavedSettings(ENVIRONMENT | environment, FakeNextcloud(), lambda _: None).describe(), "10.0.0")
    return {
        name: tag for tag, name in re.findall(r'(<details class="lt-engine" data-engine="(\w+)".*?</summary>)', text, re.DOTALL)
    }


@pytest.mark.parametrize(
    ("environment", "opened"),
    [
        ({}, set()),
        ({"LT_STT_ORDER": "moshi,embedded"}, {"moshi", "embedded"}),
        ({"MODAL_KEY": "wk-123"}, {"modal"}),  # its workspace is missing, which is an error
        ({"LT_MOSHI_URL": "nonsense"}, {"moshi"}),
        ({"LT_MODEL_DIRECTORY": "/models/small"}, {"embedded"}),
    ],
)
def test_an_engines_section_is_open_if_it_is_selected_or_has_an_error(environment: dict[str, str], opened: set[str]) -> None:
    sections = engine_sections(environment)
    assert list(sections) == ["modal", "moshi", "embedded"]
    assert {name for name, tag in sections.items() if " open>" in tag} == opened


def test_a_section_says_that_its_engine_is_not_configured() -> None:
    hidden = {name: "hidden" in tag for name, tag in engine_sections({"LT_MOSHI_URL": "wss://stt.example.com"}, "de").items()}
    assert hidden == {"modal": False, "moshi": True, "embedded": True}
    assert "Nicht eingerichtet" in engine_sections({}, "de")["modal"]


def test_a_required_field_is_marked_and_not_wrong_before_anything_was_typed() -> None:
    nothing_set = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("LT_")}
    saved = SavedSettings(nothing_set, FakeNextcloud(), lambda _: None)
    described = saved.describe()
    assert {problem.setting for problem in saved.current.blocking} == {"LT_HPB_URL", "LT_INTERNAL_SECRET"}
    assert described["lt_hpb_url"]["problem"] == described["lt_internal_secret"]["problem"] == ""
    text = render("en", described, "10.0.0", configured=False)
    assert text.count('aria-required="true"') == 2
    malformed = SavedSettings(nothing_set | {"LT_HPB_URL": "cloud"}, FakeNextcloud(), lambda _: None).describe()
    assert malformed["lt_hpb_url"]["problem"] == "Enter an address such as https://cloud.example.com/standalone-signaling."


def test_nextcloud_stores_the_texts_for_an_app_that_does_not_answer() -> None:
    words = menu_page("1").initial_state["words"]
    assert words["fr"]["Try again"] == "Réessayer"
    for name in ("api", "settings"):
        script = (ROOT / f"ex_app/js/live_transcription-{name}.js").read_text(encoding="utf-8")
        for text in re.findall(r"LT\.t\('((?:[^'\\]|\\.)+)'", script):
            assert text.replace("\\'", "'") in words["de"], "the page needs it before it has loaded"


async def test_a_guide_is_html_with_links_to_the_other_guides(talk: httpx.AsyncClient) -> None:
    answer = await talk.get("/admin/docs/settings?lang=fr")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "<table>" in answer.text
    assert 'href="#guide-troubleshooting"' in answer.text
    assert "Paramètres de la transcription en direct" in answer.text
    for name in ("architecture", "../README", "%2e%2e%2fREADME"):
        assert (await talk.get(f"/admin/docs/{name}")).status_code == 404
