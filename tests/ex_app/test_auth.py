# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Authentication: who has access, and that the secret is never repeated."""

from __future__ import annotations

import base64
import logging

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ex_app.application import create_app
from tests.ex_app.fakes import ENVIRONMENT, SECRET, FakeEngine, FakeNextcloud, credentials

PROTECTED = [
    ("POST", "/init"),
    ("PUT", "/enabled?enabled=1"),
    ("GET", "/capabilities"),
    ("GET", "/api/v1/languages"),
    ("POST", "/api/v1/call/transcribe"),
    ("POST", "/api/v1/call/set-language"),
    ("POST", "/api/v1/call/leave"),
    ("GET", "/api/v1/translation/languages"),
    ("GET", "/metrics"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/nothing"),
]

BAD = [
    {},
    credentials(secret="wrong"),
    credentials(secret=SECRET + "x"),
    credentials(secret=SECRET[:-1]),
    credentials(secret=""),
    credentials() | {"EX-APP-ID": "other_app"},
    credentials() | {"EX-APP-VERSION": ""},
    {key: value for key, value in credentials().items() if key != "EX-APP-ID"},
    credentials() | {"AUTHORIZATION-APP-API": SECRET},
    credentials() | {"AUTHORIZATION-APP-API": base64.b64encode(SECRET.encode()).decode()},
    credentials() | {"AUTHORIZATION-APP-API": "%%%"},
    credentials() | {"AUTHORIZATION-APP-API": base64.b64encode(b"\xff\xfe:\xff").decode()},
    {"Authorization": f"Bearer {SECRET}"},
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_a_request_without_credentials_is_refused(anybody: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await anybody.request(method, path, json={"roomToken": "abc", "ncSessionId": "nc1", "enable": True})
    assert answer.status_code == 401
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("headers", BAD)
async def test_wrong_credentials_are_refused_and_never_repeated(
    anybody: httpx.AsyncClient,
    engine: FakeEngine,
    headers: dict[str, str],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await anybody.post(
        "/api/v1/call/transcribe", headers=headers, json={"roomToken": "abc", "ncSessionId": "nc1", "enable": True}
    )
    assert answer.status_code == 401
    assert engine.rooms == {}
    out, err = capfd.readouterr()
    told = answer.text + caplog.text + out + err
    assert SECRET not in told
    assert headers.get("AUTHORIZATION-APP-API", "no header") not in told


async def test_without_a_secret_every_request_is_refused() -> None:
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "APP_SECRET"}
    app = create_app(environment, FakeEngine(), FakeNextcloud())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        for secret in ("", "x"):
            assert (await client.get("/capabilities", headers=credentials(secret=secret))).status_code == 401
        assert (await client.get("/heartbeat")).json() == {"status": "ok"}


async def test_the_right_secret_is_accepted_with_any_user_name(talk: httpx.AsyncClient, engine: FakeEngine) -> None:
    for number, user in enumerate(["", "user-1", "user@cloud.example.com", "ü"]):
        body = {"roomToken": f"room{number}", "ncSessionId": "nc1", "enable": True}
        assert (await talk.post("/api/v1/call/transcribe", headers=credentials(user), json=body)).status_code == 200
    assert [targets["nc1"] for targets in engine.rooms.values()] == [None, "user-1", "user@cloud.example.com", "ü"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(header=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
async def test_malformed_credentials_are_refused(anybody: httpx.AsyncClient, header: str) -> None:
    headers = credentials() | {"AUTHORIZATION-APP-API": header}
    assert (await anybody.get("/capabilities", headers=headers)).status_code == 401
