# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What the page shows is in its language: causes, fixes, refused settings, steps of the checks."""

from __future__ import annotations

import re
import ssl

import httpx
import pytest

from ex_app.translation import translated
from live_transcription.errors import ConfigurationError, SttAtCapacity
from live_transcription.observability.conditions import hpb_condition
from live_transcription.signaling.diagnosis import hello_refusal, unreachable
from live_transcription.status import RecordedError
from live_transcription.texts import Text, join
from tests.ex_app.fakes import FakeEngine, FakeNextcloud

CHECK = "Check {LT_HPB_URL}, and that the backend is running."


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "Check “Address of the high-performance backend”, and that the backend is running."),
        ("de", "Prüfen Sie „Adresse des High-Performance-Backends“ und ob das Backend läuft."),
        ("fr", "Vérifiez «\u00a0Adresse du serveur hautes performances\u00a0», et que le serveur fonctionne."),
    ],
)
def test_a_setting_goes_by_its_label(language: str, expected: str) -> None:
    assert translated(Text(CHECK), language) == expected
    assert "LT_HPB_URL" in Text(CHECK)


@pytest.mark.parametrize(("language", "number"), [("en", "12,345.5"), ("de", "12.345,5"), ("fr", "12\u202f345,5")])
def test_numbers_have_the_format_of_the_language(language: str, number: str) -> None:
    assert number in translated(Text("{count} calls get no captions.", count=12345.5), language)


def test_only_texts_are_translated_and_values_stay_as_they_are() -> None:
    content = {"Save": ["Save", Text("Save"), 3, None, True], "joined": join(Text("Save"), "Save", "{LT_HPB_URL}")}
    assert translated(content, "de") == {
        "Save": ["Save", "Speichern", 3, None, True],
        "joined": "Speichern Save {LT_HPB_URL}",
    }


def test_an_unknown_text_stays_english() -> None:
    assert translated(Text("Not in any catalogue: {LT_GATE}."), "fr").startswith("Not in any catalogue: «")


async def test_the_pages_answers_are_in_its_language(talk: httpx.AsyncClient, nextcloud: FakeNextcloud) -> None:
    own = {"X-Live-Transcription": "1", "Accept-Language": "de"}
    refused = await talk.put("/admin/settings", json={"settings": {"lt_hpb_url": "nonsense"}}, headers=own)
    assert refused.status_code == 422
    assert refused.json()["fields"]["lt_hpb_url"].startswith("Geben Sie eine Adresse wie https://cloud.example.com/")
    missing = await talk.get("/admin/test/none", headers={"Accept-Language": "fr-FR,fr;q=0.9"})
    assert missing.json()["error"] == "Cette exécution n\u2019est plus conservée."
    assert (await talk.get("/admin/test/none?lang=de")).json()["error"] == "Dieser Durchlauf ist nicht mehr gespeichert."


async def test_talk_gets_english_with_the_names_of_variables(talk: httpx.AsyncClient) -> None:
    answer = await talk.post("/api/v1/call/transcribe", json={}, headers={"Accept-Language": "de"})
    assert answer.status_code == 422
    assert "Feld" not in answer.text


def test_an_error_of_a_setting_is_translated_with_its_fix() -> None:
    error = ConfigurationError("LT_INTERNAL_SECRET", "{setting} is not set.", fix="Check {LT_INTERNAL_SECRET}, then restart.")
    assert translated(error.message, "de") == "„Internes Geheimnis“ ist nicht gesetzt."


async def test_the_status_is_in_the_pages_language(talk: httpx.AsyncClient, engine: FakeEngine) -> None:
    refusal = hello_refusal("invalid_token", "https://cloud.example.com/")
    assert refusal is not None
    full = SttAtCapacity("{service} has too many sessions (HTTP {status}).", service=Text("The moshi-server"), status="429")
    engine.conditions = (hpb_condition(refusal, 2),)
    engine.errors = (RecordedError(1_750_000_000.0, full.code, full.text),)
    status = (await talk.get("/admin/status", headers={"Accept-Language": "de"})).json()
    (condition,), (error,) = status["conditions"], status["last_errors"]
    assert condition["message"] == (
        "2 Anrufe erhalten keine Untertitel. Das High-Performance-Backend hat das interne Geheimnis abgelehnt."
    )
    assert condition["fix"].startswith("Setzen Sie „Internes Geheimnis“ auf den Wert von internalsecret")
    assert error["message"] == "Der moshi-server hat zu viele Sitzungen (HTTP 429)."


def test_every_refusal_of_the_backend_is_translated_whole() -> None:
    """No English is left inside a translated text, whatever the values of the text are texts of."""
    untrusted = ssl.SSLCertVerificationError(1, "certificate verify failed")
    untrusted.verify_message = "self-signed certificate"
    found = [
        unreachable(error, "wss://hpb.example.com")
        for error in (untrusted, TimeoutError(), ConnectionRefusedError(), OSError())
    ]
    for error in found:
        english = translated(error.text, "en")
        for language in ("de", "fr"):
            foreign = translated(error.text, language)
            left = {word for word in re.findall(r"[a-z]{4,}", english) if word in re.findall(r"[a-z]{4,}", foreign)}
            assert left <= {"hpb", "example", "self", "signed", "certificate", "backend", "port", "test"}, foreign
