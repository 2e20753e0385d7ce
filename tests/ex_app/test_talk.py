# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Routes of Talk."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ex_app import responses
from ex_app.application import create_app
from ex_app.routes import talk as talk_routes
from ex_app.routes.talk import describe
from live_transcription.errors import (
    CallUnavailable,
    LiveTranscriptionError,
    OutOfDescriptors,
    SignalingRefused,
    SttUnavailable,
    TooManyCalls,
)
from live_transcription.languages import LANGUAGES
from live_transcription.types import Language, TranslationLanguages
from tests.ex_app.fakes import ENVIRONMENT, FakeEngine, FakeNextcloud, credentials

ON = {"roomToken": "abc123", "ncSessionId": "nc+session/1=", "enable": True}
TRANSCRIBE = "/api/v1/call/transcribe"


async def test_capabilities_list_the_languages_without_a_request_to_the_engine(
    talk: httpx.AsyncClient, engine: FakeEngine
) -> None:
    answer = await talk.get("/capabilities")
    body = answer.json()["live_transcription"]
    assert body["version"] == "10.0.0"
    assert body["features"] == ["live_transcription"]
    assert body["live_transcription"]["supported_languages"]["en"]["name"] == "English"
    assert engine.requests == 0
    assert answer.headers["cache-control"] == "no-store"


async def test_languages_keep_their_order_and_have_metadata(talk: httpx.AsyncClient) -> None:
    answer = await talk.get("/api/v1/languages")
    assert list(answer.json()) == ["fr", "en", "auto"]
    assert answer.json()["auto"] == {"name": "Automatic", "metadata": {"separator": " ", "rtl": False}}
    assert answer.json()["en"] == {"name": "English", "metadata": {"separator": " ", "rtl": False}}
    assert answer.json()["fr"]["name"] == "Français", "a name in its own language, as the official app sends it"


def test_talk_gets_the_names_of_languages_as_their_speakers_write_them() -> None:
    names = {code: entry["name"] for code, entry in describe(LANGUAGES).items()}
    assert names | {"de": "Deutsch", "es": "Español", "ja": "日本語", "ru": "Русский"} == names
    assert all(name[0].isupper() or not name.isascii() for name in names.values())


async def test_captions_can_be_turned_on_and_off(talk: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = await talk.post(TRANSCRIBE, json=ON | {"langId": "fr", "translationTargetLangId": None, "later": [1]})
    assert answer.status_code == 200
    assert engine.rooms == {"abc123": {"nc+session/1=": "user-1"}}
    assert engine.languages_of["abc123"] == "fr"
    assert (await talk.post(TRANSCRIBE, json=ON | {"enable": False})).status_code == 200
    assert engine.rooms == {"abc123": {}}


@pytest.mark.parametrize("extra", [{}, {"langId": None}, {"langId": ""}])
async def test_a_room_without_a_language_gets_the_default(
    talk: httpx.AsyncClient, engine: FakeEngine, extra: dict[str, Any]
) -> None:
    assert (await talk.post(TRANSCRIBE, json=ON | extra)).status_code == 200
    assert engine.languages_of["abc123"] is None


@pytest.mark.parametrize("language", ["ar", "ar_TN", "vi", "tlh"])
async def test_a_room_with_a_language_of_the_official_app_gets_the_default(
    talk: httpx.AsyncClient, engine: FakeEngine, language: str
) -> None:
    assert (await talk.post(TRANSCRIBE, json=ON | {"langId": language})).status_code == 200
    assert engine.languages_of["abc123"] is None


@pytest.mark.parametrize("language", ["", "tlh", "ar"])
async def test_a_change_to_an_unknown_language_is_a_bad_request(
    talk: httpx.AsyncClient, engine: FakeEngine, language: str
) -> None:
    assert (await talk.post(TRANSCRIBE, json=ON | {"langId": "fr"})).status_code == 200
    answer = await talk.post("/api/v1/call/set-language", json={"roomToken": "abc123", "langId": language})
    assert (answer.status_code, set(answer.json())) == (400, {"error"})
    assert engine.languages_of["abc123"] == "fr"


async def test_the_language_of_a_call_that_is_not_transcribed_is_not_found(talk: httpx.AsyncClient) -> None:
    answer = await talk.post("/api/v1/call/set-language", json={"roomToken": "abc123", "langId": "fr"})
    assert answer.status_code == 404


async def test_set_language_and_leave(talk: httpx.AsyncClient, engine: FakeEngine) -> None:
    await talk.post(TRANSCRIBE, json=ON)
    assert (await talk.post("/api/v1/call/set-language", json={"roomToken": "abc123", "langId": "fr"})).status_code == 200
    assert engine.languages_of["abc123"] == "fr"
    assert (await talk.post("/api/v1/call/leave", json={"roomToken": "abc123"})).status_code == 200
    assert engine.rooms == {}
    assert (await talk.post("/api/v1/call/leave", json={"roomToken": "abc123"})).status_code == 200


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (CallUnavailable("The backend refused the internal secret.", fix="Set it."), 503),
        (OutOfDescriptors("Open files are short.", fix="Raise the limit."), 503),
        (TooManyCalls("500 other calls are being captioned.", fix="Try again later."), 503),
        (SignalingRefused("Refused."), 503),
        (SttUnavailable("Not there."), 503),
        (LiveTranscriptionError("Something else."), 550),
    ],
)
async def test_each_error_has_the_status_that_talk_expects(
    talk: httpx.AsyncClient, engine: FakeEngine, failure: LiveTranscriptionError, status: int
) -> None:
    engine.failure = failure
    answer = await talk.post(TRANSCRIBE, json=ON)
    assert answer.status_code == status
    code = {"code": failure.code} if isinstance(failure, CallUnavailable) else {}
    assert answer.json() == {"error": str(failure), **code}


async def test_an_internal_error_reveals_no_detail(talk: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.failure = ZeroDivisionError("internal detail")
    answer = await talk.post(TRANSCRIBE, json=ON)
    assert answer.status_code == 500
    assert set(answer.json()) == {"error"}
    assert "detail" not in answer.text


async def test_an_engine_that_hangs_gets_a_503_in_time(
    talk: httpx.AsyncClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert talk_routes.ANSWER_S < 2
    monkeypatch.setattr(talk_routes, "ANSWER_S", 0.01)
    engine.hook = asyncio.Event().wait  # type: ignore[assignment]
    for path, body in [(TRANSCRIBE, ON), ("/api/v1/call/leave", {"roomToken": "abc123"})]:
        answer = await talk.post(path, json=body)
        assert (answer.status_code, set(answer.json())) == (503, {"error"})


async def test_ten_concurrent_equal_requests_succeed(talk: httpx.AsyncClient, engine: FakeEngine) -> None:
    answers = await asyncio.gather(*(talk.post(TRANSCRIBE, json=ON) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert engine.rooms == {"abc123": {"nc+session/1=": "user-1"}}


async def test_without_a_provider_there_is_no_translation(talk: httpx.AsyncClient) -> None:
    assert (await talk.get("/api/v1/translation/languages", params={"roomToken": "abc"})).status_code == 550
    body = {"roomToken": "abc", "ncSessionId": "nc1", "langId": "fr"}
    answer = await talk.post("/api/v1/translation/set-target-language", json=body)
    assert (answer.status_code, set(answer.json())) == (550, {"error"})
    assert (await talk.get("/capabilities")).json()["live_transcription"]["features"] == ["live_transcription"]


async def test_with_a_provider_talk_can_offer_translations(talk: httpx.AsyncClient, engine: FakeEngine) -> None:
    languages = (
        {"en": Language("en", "English", "English")},
        {"fr": Language("fr", "French", "Français"), "ar": Language("ar", "Arabic", "العربية", rtl=True)},
    )
    engine.pairs = TranslationLanguages(*languages)
    found = (await talk.get("/capabilities")).json()["live_transcription"]
    assert found["features"] == ["live_transcription", "live_translation"]
    pairs = found["live_translation"]["supported_translation_languages"]
    assert pairs["origin_languages"] == {"en": {"name": "English", "metadata": {"separator": " ", "rtl": False}}}
    assert pairs["target_languages"]["ar"]["metadata"]["rtl"] is True
    assert (await talk.get("/api/v1/translation/languages")).json() == pairs

    target = "/api/v1/translation/set-target-language"
    body = {"roomToken": "abc", "ncSessionId": "nc1", "langId": "fr"}
    assert (await talk.post(target, json=body)).status_code == 412
    await talk.post(TRANSCRIBE, json={"roomToken": "abc", "ncSessionId": "nc1", "enable": True})
    assert (await talk.post(target, json=body)).status_code == 200
    assert engine.translations == {"nc1": "fr"}
    assert (await talk.post(target, json=body | {"langId": None})).status_code == 200
    assert engine.translations == {"nc1": None}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[]", 422),
        (b"null", 422),
        (b"{}", 422),
        (b"[" * 60_000, 400),
        (b'{"roomToken":"abc","ncSessionId":"nc1","enable":"true"}', 422),
        (b'{"roomToken":"abc","ncSessionId":"nc1","enable":1}', 422),
        (b'{"roomToken":5,"ncSessionId":"nc1","enable":true}', 422),
        (b'{"roomToken":"","ncSessionId":"nc1","enable":true}', 422),
        (b'{"roomToken":"../x","ncSessionId":"nc1","enable":true}', 422),
        (b'{"roomToken":"abc\\n","ncSessionId":"nc1","enable":true}', 422),
        (b'{"roomToken":"abc","ncSessionId":"' + b"n" * 513 + b'","enable":true}', 422),
        (b'{"roomToken":"abc","ncSessionId":"nc1","enable":true,"langId":7}', 422),
        (b'{"roomToken":"abc","ncSessionId":"nc1","enable":true,"langId":"' + b"e" * 65 + b'"}', 422),
        (b'{"x":"' + b"y" * 65_536 + b'"}', 413),
    ],
)
async def test_invalid_bodies_are_refused(talk: httpx.AsyncClient, engine: FakeEngine, content: bytes, status: int) -> None:
    answer = await talk.post(TRANSCRIBE, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, set(answer.json())) == (status, {"error"})
    assert engine.requests == 0


async def test_a_long_body_without_a_declared_length(talk: httpx.AsyncClient) -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield b" " * 1024

    assert (await talk.post(TRANSCRIBE, content=endless())).status_code == 413


async def test_unknown_routes_and_methods_answer_in_json(talk: httpx.AsyncClient) -> None:
    assert set((await talk.get("/nothing")).json()) == {"error"}
    answer = await talk.get(TRANSCRIBE)
    assert (answer.status_code, set(answer.json())) == (405, {"error"})


async def test_a_refused_body_is_not_repeated(talk: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    body = {"roomToken": "what somebody typed", "ncSessionId": "nc1", "enable": True}
    answer = await talk.post(TRANSCRIBE, json=body)
    assert answer.status_code == 422
    assert "roomToken" in answer.json()["error"]
    assert "somebody" not in answer.text + caplog.text


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "roomToken": ANYTHING | st.just("abc"),
        "ncSessionId": ANYTHING | st.just("nc1"),
        "enable": ANYTHING | st.just(True),
        "langId": ANYTHING | st.just("en"),
        "translationTargetLangId": ANYTHING,
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    path=st.sampled_from([TRANSCRIBE, "/api/v1/call/set-language", "/api/v1/call/leave"]),
    body=st.one_of(BODIES, ANYTHING).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200),
)
async def test_any_body_is_accepted_or_refused_with_a_reason(talk: httpx.AsyncClient, path: str, body: bytes) -> None:
    answer = await talk.post(path, content=body)
    assert answer.status_code in (200, 400, 404, 422)
    assert answer.status_code == 200 or set(answer.json()) == {"error"}


async def test_a_client_that_disconnects_within_the_body_causes_no_error(
    engine: FakeEngine, nextcloud: FakeNextcloud, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(ENVIRONMENT, engine, nextcloud)
    name = "live_transcription_requests_refused_total"
    before = responses.registry.get_sample_value(name, {"status": "500"})
    messages: list[Any] = [{"type": "http.request", "body": b'{"room', "more_body": True}, {"type": "http.disconnect"}]
    headers = [(key.lower().encode(), value.encode()) for key, value in credentials().items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": TRANSCRIBE,
        "query_string": b"",
        "headers": headers,
        "client": ("::1", 1),
    }
    answers: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        answers.append(message)

    await app(scope, receive, send)
    assert responses.registry.get_sample_value(name, {"status": "500"}) == before
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert engine.requests == 0


@pytest.mark.parametrize("length", ["\u00b2", "9" * 5_000, "-1", "1_0"])
async def test_a_malformed_content_length_is_no_internal_error(talk: httpx.AsyncClient, length: str) -> None:
    body = json.dumps(ON).encode()
    answer = await talk.post(TRANSCRIBE, content=body, headers={"Content-Length": length.encode("latin-1")})  # type: ignore[dict-item]
    assert answer.status_code in (200, 413)
