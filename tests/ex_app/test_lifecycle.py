# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""AppAPI's requests: heartbeat, init, enabled; and health and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ex_app import background
from ex_app.application import create_app
from ex_app.background import Background
from ex_app.errors import NextcloudError, NextcloudRefused
from ex_app.lifecycle import Lifecycle
from ex_app.nextcloud.gateway import Page
from live_transcription.status import Condition, EngineState, MemoryStatus, SpeechStatus
from tests.ex_app.fakes import ENVIRONMENT, FakeEngine, FakeNextcloud, credentials

ON = {"roomToken": "abc123", "ncSessionId": "nc1", "enable": True}


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_heartbeat_depends_on_nothing(
    anybody: httpx.AsyncClient, engine: FakeEngine, nextcloud: FakeNextcloud
) -> None:
    nextcloud.failures = 1000
    engine.failure = RuntimeError("broken")
    answer = await anybody.get("/heartbeat")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_init_answers_at_once_and_reports_from_the_background(
    nextcloud: FakeNextcloud, talk: httpx.AsyncClient, engine: FakeEngine
) -> None:
    await settle()
    nextcloud.reported.clear()
    nextcloud.reports.clear()
    enabled: list[int] = []

    async def app_api_enables() -> None:
        # AppAPI does this within the request that reports 100 %.
        enabled.append((await talk.put("/enabled", params={"enabled": "1"})).status_code)

    nextcloud.on_complete = app_api_enables
    assert (await talk.post("/init")).status_code == 200
    await nextcloud.reported.wait()
    assert nextcloud.reports == [(100, "")]
    assert enabled == [200]
    assert (await talk.post("/api/v1/call/transcribe", json=ON)).status_code == 200


async def test_progress_grows_with_the_steps_and_talk_gets_a_503_meanwhile() -> None:
    nextcloud, engine, go_on = FakeNextcloud(), FakeEngine(), asyncio.Event()

    async def step() -> None:
        await go_on.wait()

    app = create_app(ENVIRONMENT, engine, nextcloud, init_steps=[step, step])
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app", headers=credentials()) as client,
    ):
        assert (await client.post("/init")).status_code == 200
        assert (await client.post("/init")).status_code == 200
        await settle()
        answer = await client.post("/api/v1/call/transcribe", json=ON)
        assert (answer.status_code, set(answer.json())) == (503, {"error"})
        assert (await client.get("/healthz")).json()["status"] == "starting"
        go_on.set()
        await nextcloud.reported.wait()
        assert nextcloud.reports == [(0, ""), (50, ""), (100, "")]
        assert (await client.post("/api/v1/call/transcribe", json=ON)).status_code == 200


@pytest.mark.parametrize("failure", [NextcloudError("The model is missing."), ZeroDivisionError("oops")])
async def test_a_failed_init_is_reported_to_the_administrator(failure: Exception) -> None:
    nextcloud = FakeNextcloud()

    async def step() -> None:
        raise failure

    work = Background()
    lifecycle = Lifecycle(FakeEngine(), nextcloud, work, [step])
    async with asyncio.TaskGroup() as tasks:
        work.start(tasks)
        lifecycle.start()
        lifecycle.begin_init()
        await nextcloud.reported.wait()
        work.stop()
    percent, message = nextcloud.reports[-1]
    assert percent < 100
    assert message
    assert "oops" not in message


async def test_requests_to_nextcloud_are_repeated() -> None:
    nextcloud = FakeNextcloud(failures=3, enabled=False)
    waits: list[float] = []

    async def sleep(delay: float) -> None:
        waits.append(delay)
        await asyncio.sleep(0)

    work = Background()
    lifecycle = Lifecycle(FakeEngine(), nextcloud, work, sleep=sleep)
    async with asyncio.TaskGroup() as tasks:
        work.start(tasks)
        lifecycle.start()
        await settle()
        assert lifecycle.enabled is False
        nextcloud.failures = 2
        lifecycle.begin_init()
        await nextcloud.reported.wait()
        work.stop()
    assert waits == [1.0, 2.0, 4.0, 1.0, 2.0]
    assert nextcloud.reports == [(100, "")]


async def test_a_start_that_finds_the_app_enabled_reports_the_end_of_the_initialisation_once(
    talk: httpx.AsyncClient, nextcloud: FakeNextcloud
) -> None:
    await settle()
    assert nextcloud.reports == [(100, "")]


async def test_a_refused_app_waits_for_appapi_before_it_asks_again(nextcloud: FakeNextcloud, talk: httpx.AsyncClient) -> None:
    confirmations = nextcloud.confirmations
    await talk.get("/heartbeat", headers={"AUTHORIZATION-APP-API": ""})
    assert nextcloud.confirmations == confirmations, "anybody can ask for the heartbeat"
    await talk.put("/enabled", params={"enabled": "1"})
    assert nextcloud.confirmations == confirmations + 1


async def test_a_refusal_decides_when_the_app_asks_again() -> None:
    waits: list[float] = []

    class Refusing(FakeNextcloud):
        async def is_enabled(self) -> bool:
            if not waits:
                raise NextcloudRefused("Nextcloud refused the app's credentials.", 900)
            return False

    async def sleep(delay: float) -> None:
        waits.append(delay)

    work = Background()
    lifecycle = Lifecycle(FakeEngine(), Refusing(), work, sleep=sleep)
    async with asyncio.TaskGroup() as tasks:
        work.start(tasks)
        lifecycle.start()
        await settle()
        work.stop()
    assert (waits, lifecycle.enabled) == ([900], False)


async def test_a_refused_request_is_repeated_as_soon_as_nextcloud_has_used_the_secret() -> None:
    asked: list[int] = []

    class Refusing(FakeNextcloud):
        async def is_enabled(self) -> bool:
            asked.append(1)
            if len(asked) < 3:
                raise NextcloudRefused("Nextcloud refused the app's credentials.", 900)
            return False

    async def sleep(delay: float) -> None:
        await asyncio.Event().wait()

    work = Background()
    lifecycle = Lifecycle(FakeEngine(), Refusing(), work, sleep=sleep)
    async with asyncio.TaskGroup() as tasks:
        work.start(tasks)
        lifecycle.start()
        for attempts in (1, 2):
            await settle()
            assert (len(asked), lifecycle.enabled) == (attempts, None), "one request for each confirmation"
            lifecycle.credentials_confirmed()
        await settle()
        assert (len(asked), lifecycle.enabled) == (3, False)
        work.stop()


async def test_a_signed_request_wakes_what_waits_for_nextcloud(anybody: httpx.AsyncClient, nextcloud: FakeNextcloud) -> None:
    """Through the whole app: AppAPI's request ends the wait of 15 minutes."""
    asked: list[int] = []

    async def put_page(page: Page) -> None:
        asked.append(1)
        if len(asked) == 1:
            raise NextcloudRefused("Nextcloud refused the app's credentials.", 900)

    nextcloud.put_page = put_page  # type: ignore[method-assign]
    for enabled in ("0", "1"):
        answer = await anybody.put("/enabled", params={"enabled": enabled}, headers=credentials())
        assert answer.status_code == 200, answer.text
    await settle()
    await anybody.get("/heartbeat")
    await settle()
    assert len(asked) == 1
    await anybody.get("/capabilities", headers=credentials())
    await settle()
    assert len(asked) == 2


async def test_disabling_ends_all_calls(talk: httpx.AsyncClient, engine: FakeEngine) -> None:
    await talk.post("/api/v1/call/transcribe", json=ON)
    assert engine.rooms
    answer = await talk.put("/enabled", params={"enabled": "0"})
    assert (answer.status_code, answer.json()) == (200, {"error": ""})
    assert engine.rooms == {}
    assert (await talk.get("/healthz")).json()["status"] == "disabled"
    assert (await talk.put("/enabled", params={"enabled": "1"})).json() == {"error": ""}
    assert (await talk.post("/api/v1/call/transcribe", json=ON)).status_code == 200
    assert (await talk.put("/enabled", params={"enabled": "perhaps"})).status_code == 400


async def test_talks_next_request_corrects_a_stale_disabled_state(
    talk: httpx.AsyncClient, nextcloud: FakeNextcloud, engine: FakeEngine
) -> None:
    await talk.put("/enabled", params={"enabled": "0"})
    nextcloud.enabled = True
    assert (await talk.post("/api/v1/call/transcribe", json=ON)).status_code == 503
    await settle()
    assert (await talk.post("/api/v1/call/transcribe", json=ON)).status_code == 200


async def test_the_shutdown_closes_engine_and_gateway() -> None:
    engine, nextcloud = FakeEngine(), FakeNextcloud(failures=1000)
    app = create_app(ENVIRONMENT, engine, nextcloud)
    async with app.router.lifespan_context(app):
        assert engine.is_open
    assert not engine.is_open
    assert nextcloud.closed


async def test_without_credentials_only_the_health_is_readable(anybody: httpx.AsyncClient, engine: FakeEngine) -> None:
    assert (await anybody.get("/healthz")).json() == {"status": "ok", "reasons": []}
    engine.problem = "LT_HPB_URL is not set."
    assert (await anybody.get("/healthz")).json() == {"status": "failed", "reasons": ["configuration"]}
    assert (await anybody.get("/metrics")).status_code == 401


async def test_app_api_sees_numbers_but_no_rooms(talk: httpx.AsyncClient) -> None:
    await talk.post("/api/v1/call/transcribe", json=ON)
    health = await talk.get("/healthz")
    body = health.json()
    assert (body["calls"], body["targets"], body["captions_sent"], body["engines"]) == (1, 1, 7, ["whisper"])
    assert body["memory_bytes"] > 1_000_000
    metrics = await talk.get("/metrics")
    assert metrics.status_code == 200
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "\nlive_transcription_calls 1.0\n" in metrics.text
    for text in (health.text, metrics.text):
        assert "abc123" not in text
        assert "user-1" not in text


async def test_the_loopback_sees_numbers_and_the_unix_socket_does_not(engine: FakeEngine, nextcloud: FakeNextcloud) -> None:
    app = create_app(ENVIRONMENT, engine, nextcloud)
    for client, status in [(("127.0.0.1", 1), 200), (("::1", 1), 200), (("", 0), 401), (("172.17.0.1", 1), 401)]:
        transport = httpx.ASGITransport(app, client=client)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
            forwarded = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
            assert (await http.get("/metrics", headers=forwarded)).status_code == status


async def test_the_health_names_the_reasons(talk: httpx.AsyncClient, engine: FakeEngine, nextcloud: FakeNextcloud) -> None:
    await settle()
    assert (await talk.get("/healthz")).json()["reasons"] == []
    engine.problem = "LT_HPB_URL is not set."
    engine.speech = SpeechStatus((EngineState("modal", "down", "It is down."),), 0, 90.0, 0, 0.0)
    nextcloud.failures = 1
    await talk.post("/admin/test/nextcloud", json={}, headers={"X-Live-Transcription": "1"})
    body = (await talk.get("/healthz")).json()
    assert (body["status"], body["reasons"][:2]) == ("failed", ["configuration", "speech-to-text"])
    assert body["engine_states"] == {"modal": "down"}


async def test_failed_background_work_restarts_and_ends_no_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Short(FakeNextcloud):
        async def read_values(self, keys: Sequence[str]) -> dict[str, str]:
            if self.reads == 0:
                self.reads += 1
                raise MemoryError
            return await super().read_values(keys)

    monkeypatch.setattr(background, "RESTART_S", 0.01)
    engine, nextcloud = FakeEngine(), Short(values={"lt_hpb_url": "https://saved.example.com"})
    async with create_app(ENVIRONMENT, engine, nextcloud).router.lifespan_context(None):  # type: ignore[arg-type]
        engine.rooms["abc"] = {"nc1": None}
        async with asyncio.timeout(5):
            while not engine.applied:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert engine.rooms
    assert "Background work failed and restarts" in caplog.text


async def test_the_page_is_added_when_enabled_and_removed_when_disabled(
    talk: httpx.AsyncClient, nextcloud: FakeNextcloud
) -> None:
    await talk.put("/enabled", params={"enabled": "0"})
    assert nextcloud.pages == []
    nextcloud.reads = 0
    await talk.put("/enabled", params={"enabled": "1"})
    await settle()
    assert [page.name for page in nextcloud.pages] == ["settings"]
    assert nextcloud.reads >= 1, "values saved in the meantime apply at once"
    await talk.put("/enabled", params={"enabled": "0"})
    assert nextcloud.pages == []
    nextcloud.failures = 10
    assert (await talk.put("/enabled", params={"enabled": "0"})).json() == {"error": ""}


async def test_the_health_explains_a_shortage_to_app_api_only(talk: httpx.AsyncClient, engine: FakeEngine) -> None:
    body = (await talk.get("/healthz")).json()
    assert (body["memory_limit_bytes"], body["memory_limit_of"]) == (None, "no limit known")
    engine.conditions = (Condition("memory", "Memory is low.", "Give the container more."),)
    engine.waiting, engine.memory = 3, MemoryStatus(450 << 20, 470 << 20, 512 << 20, "container")
    answer = await talk.get("/healthz")
    assert answer.status_code == 200, "a probe that restarts the app would end running captions"
    body = answer.json()
    assert (body["status"], body["reasons"]) == ("degraded", ["memory"])
    assert body["explanations"] == {"memory": "Memory is low. Give the container more."}
    assert (body["speakers_waiting"], body["memory_limit_bytes"], body["memory_limit_of"]) == (3, 512 << 20, "container")
    assert (await talk.get("/heartbeat")).json() == {"status": "ok"}
    metrics = (await talk.get("/metrics")).text
    assert 'live_transcription_condition{code="memory"} 1.0' in metrics
    assert 'live_transcription_condition{code="load"} 0.0' in metrics
    assert "live_transcription_speakers_waiting 3.0" in metrics
    status = (await talk.get("/admin/status")).json()
    assert [condition["code"] for condition in status["conditions"]] == ["memory"]
    assert (status["speakers_waiting"], status["memory_limit_bytes"]) == (3, 512 << 20)
    del talk.headers["AUTHORIZATION-APP-API"]
    assert (await talk.get("/healthz")).json() == {"status": "degraded", "reasons": ["memory"]}


async def test_metrics_of_the_app_and_the_engine_are_in_one_answer(talk: httpx.AsyncClient) -> None:
    assert (await talk.post("/api/v1/call/transcribe", json={"roomToken": 1})).status_code >= 400
    text = (await talk.get("/metrics")).text
    assert {"live_transcription_requests_refused", "live_transcription_captions_sent"} <= {
        family.name for family in text_string_to_metric_families(text)
    }
    types = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
