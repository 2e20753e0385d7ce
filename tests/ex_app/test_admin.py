# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Routes of the settings page: access, content, and the checks."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

import httpx
import pytest

from ex_app.nextcloud.gateway import TalkFacts
from ex_app.routes.admin import OWN_HEADER
from ex_app.selftest.checks import Checks
from ex_app.selftest.recording import TEXT, load_speech
from ex_app.selftest.run import Run
from ex_app.settings.store import SavedSettings
from live_transcription.errors import ConfigurationError, SignalingRefused, SignalingUnreachable, SttUnavailable
from live_transcription.observability.conditions import encrypted_condition
from live_transcription.status import EngineState, RecordedError, SpeechStatus
from live_transcription.types import IceServer
from tests.ex_app.fakes import ENVIRONMENT, SECRET, FakeEngine, FakeNextcloud, credentials, health_of

OWN = {OWN_HEADER: "1"}
READS = ("/admin/page", "/admin/settings", "/admin/status", "/admin/test/unknown")


async def put(client: httpx.AsyncClient, changes: dict[str, str | None], **more: Any) -> httpx.Response:
    return await client.put("/admin/settings", json={"settings": changes}, headers=OWN, **more)


async def outcome(client: httpx.AsyncClient, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    started = await client.post(path, json=body or {}, headers=OWN)
    assert started.status_code == 202, started.text
    async with asyncio.timeout(10):
        while True:
            run: dict[str, Any] = (await client.get(f"/admin/test/{started.json()['id']}")).json()
            if run["done"]:
                return run
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", READS)
async def test_only_administrators_have_access(anybody: httpx.AsyncClient, nextcloud: FakeNextcloud, path: str) -> None:
    assert (await anybody.get(path)).status_code == 401
    assert (await anybody.get(path, headers=credentials(secret="wrong"))).status_code == 401
    assert (await anybody.get(path, headers=credentials(user=""))).status_code == 403
    assert (await anybody.get(path, headers=credentials(user="user-2"))).status_code == 403
    assert (await anybody.get(path, headers=credentials())).status_code in (200, 404)


async def test_all_settings_are_forgotten_on_request(talk: httpx.AsyncClient, nextcloud: FakeNextcloud) -> None:
    assert (await put(talk, {"lt_default_language": "fr", "lt_modal_key": "wk-1"})).status_code == 200
    assert (await talk.post("/admin/forget", json={"key": "x"}, headers=OWN)).status_code == 422
    assert nextcloud.values
    answer = await talk.post("/admin/forget", json={}, headers=OWN)
    assert answer.status_code == 200
    assert nextcloud.values == {}
    assert answer.json()["settings"]["lt_default_language"]["source"] == "default"
    nextcloud.failures = 1
    assert (await talk.post("/admin/forget", json={}, headers=OWN)).status_code == 503


async def test_app_apis_check_is_enough_while_nextcloud_does_not_answer(
    anybody: httpx.AsyncClient, nextcloud: FakeNextcloud
) -> None:
    nextcloud.failures = 1
    assert (await anybody.get("/admin/settings", headers=credentials(user="user-2"))).status_code == 200
    nextcloud.failures = 0
    assert (await anybody.get("/admin/settings", headers=credentials(user="user-2"))).status_code == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/admin/settings"), ("POST", "/admin/selftest"), ("POST", "/admin/test/hpb"), ("POST", "/admin/forget")],
)
async def test_the_page_of_another_site_cannot_change_anything(
    talk: httpx.AsyncClient, nextcloud: FakeNextcloud, method: str, path: str
) -> None:
    body = json.dumps({"settings": {"lt_prewarm": "true"}})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await talk.request(method, path, content=body, headers={"Content-Type": "application/json"})).status_code == 403
    assert (await talk.request(method, path, content=body, headers=OWN | form)).status_code == 415
    assert (await talk.request(method, path, content=body, headers=OWN | {"Content-Type": "text/plain"})).status_code == 415
    assert (await talk.get(path, headers=OWN)).status_code in (200, 404, 405)
    assert nextcloud.values == {}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 422),
        (b'{"settings":{"lt_gate":true}}', 422),
        (b'{"settings":{},"more":1}', 422),
        (b'{"settings":{"lt_gate":"' + b"x" * 70_000 + b'"}}', 413),
        (b'{"settings":{"lt_gate":"' + b"x" * 5_000 + b'"}}', 422),
        (b'{"settings":{"__proto__":"1"}}', 422),
        (b'{"settings":{"<script>":"1"}}', 422),
        (b"[" * 20_000, 400),
        (b'{"settings":{"lt_gate":"\\ud800"}}', 400),
    ],
)
async def test_invalid_bodies_are_refused(talk: httpx.AsyncClient, nextcloud: FakeNextcloud, body: bytes, status: int) -> None:
    answer = await talk.put("/admin/settings", content=body, headers=OWN | {"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "application/json"
    assert nextcloud.values == {}


async def test_saving_applies_at_once_and_returns_the_new_state(
    talk: httpx.AsyncClient, nextcloud: FakeNextcloud, engine: FakeEngine
) -> None:
    answer = await put(talk, {"lt_prewarm": "false", "lt_internal_secret": "a-new-secret-value"})
    assert answer.status_code == 200
    assert answer.json()["settings"]["lt_prewarm"] == {"source": "saved", "problem": "", "value": "false"}
    assert answer.json()["settings"]["lt_internal_secret"]["set"] is True
    assert engine.applied[-1].hpb.internal_secret.reveal() == "a-new-secret-value"  # type: ignore[union-attr]
    refused = await put(talk, {"lt_hpb_url": "nonsense", "lt_gate": "false"})
    assert refused.status_code == 422
    assert set(refused.json()["fields"]) == {"lt_hpb_url"}
    assert "lt_gate" not in nextcloud.values
    nextcloud.failures = 1
    assert (await put(talk, {"lt_gate": "false"})).status_code == 503


async def test_no_answer_contains_a_secret(
    talk: httpx.AsyncClient, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = {
        "lt_internal_secret": "internal-9f3a",
        "lt_modal_key": "wk-9f3a77",
        "lt_modal_secret": "ws-9f3a88",
        "lt_moshi_key": "moshi-9f3a",
    }
    shown = [(await put(talk, {**secrets, "lt_modal_workspace": "w", "lt_moshi_url": "ws://x.example.com"})).text]
    engine.probe_failure = SignalingRefused("The high-performance backend refused the internal secret.", reason="invalid_token")
    shown += [json.dumps(await outcome(talk, "/admin/selftest"))]
    shown += [(await talk.get(path)).text for path in (*READS, "/healthz", "/metrics")] + [caplog.text]
    for text in shown:
        for secret in (*secrets.values(), SECRET, "internal-secret-of-the-tests"):
            assert secret not in text


async def test_the_page_contains_no_scripts_in_any_language(talk: httpx.AsyncClient) -> None:
    hostile = '"><img src=x onerror=alert(1)>'
    answer = await talk.get("/admin/page", params={"lang": "fr-CA"})
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "<script" not in answer.text
    assert " onclick" not in answer.text
    assert 'lang="fr"' in answer.text
    assert 'lang="en"' in (await talk.get("/admin/page", params={"lang": hostile})).text
    assert "onerror" not in (await talk.get("/admin/page", params={"lang": hostile})).text


async def test_saved_text_cannot_become_html(talk: httpx.AsyncClient, nextcloud: FakeNextcloud) -> None:
    nextcloud.values["lt_hpb_url"] = 'https://x.example.com/"><img src=x onerror=alert(1)>'
    await put(talk, {})
    page = (await talk.get("/admin/page")).text
    assert "<img" not in page


async def test_a_green_selftest(talk: httpx.AsyncClient, nextcloud: FakeNextcloud) -> None:
    nextcloud.servers = (IceServer(("stun:stun.example.com:443",)),)
    run = await outcome(talk, "/admin/selftest")
    assert (run["state"], run["failing"]) == ("ok", "")
    assert {step["check"] for step in run["steps"]} == {"nextcloud", "hpb", "ice", "stt", "translation", "calls"}
    assert any(step["detail"] == TEXT for step in run["steps"])


@pytest.mark.parametrize(
    ("failure", "check", "step"),
    [
        (SignalingUnreachable("Nothing listens.", fix="Start it."), "hpb", "hpb.connect"),
        (SignalingRefused("Wrong secret.", fix="Set it."), "hpb", "hpb.hello"),
        (SttUnavailable("It is down.", fix="Start it."), "stt", "stt.open"),
    ],
)
async def test_the_selftest_reports_the_failing_check_the_cause_and_the_fix(
    talk: httpx.AsyncClient, engine: FakeEngine, failure: Any, check: str, step: str
) -> None:
    if check == "hpb":
        engine.probe_failure = failure
    else:
        engine.probe_failure = None
        engine.heard = ""
        engine.probe_failure = failure
    run = await outcome(talk, f"/admin/test/{check}")
    assert (run["state"], run["failing"]) == ("failed", check)
    failed = next(entry for entry in run["steps"] if entry["state"] == "failed")
    assert failed["id"] == step
    assert (failed["message"], failed["fix"], failed["code"]) == (failure.message, failure.fix, failure.code)


@pytest.mark.parametrize(
    ("facts", "state", "message", "fix"),
    [
        (TalkFacts("22.0.12", encrypts_calls=False), "ok", "", ""),
        (TalkFacts("22.0.12", encrypts_calls=True), "warning", "cannot be transcribed", "call_end_to_end_encryption"),
        (None, "warning", "not installed", "Install Talk"),
    ],
)
async def test_the_selftest_warns_of_talks_end_to_end_encryption(
    talk: httpx.AsyncClient, nextcloud: FakeNextcloud, facts: TalkFacts | None, state: str, message: str, fix: str
) -> None:
    nextcloud.talk_facts = facts
    nextcloud.servers = (IceServer(("stun:stun.example.com:443",)),)
    run = await outcome(talk, "/admin/selftest")
    assert (run["state"], run["failing"]) == (state, "")
    step = next(step for step in run["steps"] if step["id"] == "nextcloud.talk")
    assert step["state"] == state
    assert message in step["message"]
    assert fix in step["fix"]
    assert step["detail"] == ("Talk 22.0.12" if facts else "")


async def test_the_check_of_the_backend_names_missing_settings_by_their_labels(
    nextcloud: FakeNextcloud, engine: FakeEngine
) -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "LT_INTERNAL_SECRET"}
    saved = SavedSettings(environment, nextcloud, lambda _: None)
    run = Run("hpb", lambda: 0.0)
    with pytest.raises(ConfigurationError):
        await Checks(engine, nextcloud, saved, health_of(engine, nextcloud, saved)).run("hpb", run)
    (step,) = run.describe()["steps"]
    assert (step["title"], step["state"], step["message"]) == ("Internal secret", "failed", "LT_INTERNAL_SECRET is not set.")
    assert step["fix"].startswith("Enter the internalsecret")


async def test_a_failing_check_does_not_stop_the_others(talk: httpx.AsyncClient, nextcloud: FakeNextcloud) -> None:
    await talk.get("/admin/settings")
    nextcloud.failures = 1
    run = await outcome(talk, "/admin/selftest")
    assert run["failing"] == "nextcloud"
    assert {step["check"] for step in run["steps"] if step["state"] == "ok"} >= {"hpb", "stt"}


async def test_an_engine_that_returns_no_text_or_another_text(talk: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.heard = ""
    assert (await outcome(talk, "/admin/test/stt", {"engine": "embedded"}))["state"] == "failed"
    engine.heard = "Completely different words."
    assert (await outcome(talk, "/admin/test/stt"))["state"] == "warning"


async def test_a_second_start_returns_the_running_check(talk: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.probe_pause = asyncio.Event()
    first = (await talk.post("/admin/test/stt", json={}, headers=OWN)).json()
    second = (await talk.post("/admin/test/stt", json={}, headers=OWN)).json()
    assert first["id"] == second["id"]
    async with asyncio.timeout(5):
        while True:
            run = (await talk.get(f"/admin/test/{first['id']}")).json()
            if run["steps"] and run["steps"][-1]["id"] == "stt.transcribe":
                break
            await asyncio.sleep(0.01)
    assert run["state"] == "running"
    engine.probe_pause.set()


async def test_unknown_checks_and_engines_are_refused(talk: httpx.AsyncClient) -> None:
    assert (await talk.post("/admin/test/moon", json={}, headers=OWN)).status_code == 404
    assert (await talk.post("/admin/test/stt", json={"engine": "x"}, headers=OWN)).status_code == 422
    assert (await talk.get("/admin/test/../../etc/passwd")).status_code == 404


async def test_the_status_of_calls_engines_and_errors(talk: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.rooms = {"abc": {"nc1": None}}
    engine.errors = (RecordedError(1.0, "stt", "<b>bold</b>"), RecordedError(2.0, "stt", "later"))
    starting = EngineState("modal", "starting", "It takes long.", "stt_starting", "Wait.")
    engine.speech = SpeechStatus((starting,), 1, 120.0, 2, 0.5)
    status = (await talk.get("/admin/status")).json()
    assert (status["calls"], status["targets"], status["gpu_minutes"], status["reconnects"]) == (1, 1, 2.0, 2)
    assert status["engines"] == [asdict(starting)]
    assert [error["message"] for error in status["last_errors"]] == ["later", "<b>bold</b>"]
    assert status["memory_bytes"] > 1_000_000


def test_the_recording_is_about_four_seconds_of_sound() -> None:
    speech = load_speech()
    assert 3.5 < len(speech) / 24_000 < 5
    assert abs(speech).max() > 0.1


async def test_encrypted_audio_is_a_reason_for_a_degraded_health(talk: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.conditions = (encrypted_condition(2),)
    health = (await talk.get("/healthz")).json()
    assert "encrypted" in health["reasons"]
    assert health["status"] == "degraded"
    assert "Speakers without captions: 2." in health["explanations"]["encrypted"]
