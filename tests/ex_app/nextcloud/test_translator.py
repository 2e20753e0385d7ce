# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Translations by Nextcloud's task processing, against its stand-in on a real port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from fastapi import FastAPI

from ex_app.nextcloud.gateway import AppApiGateway, NextcloudGateway
from ex_app.nextcloud.tasks import TRANSLATE, parse_pairs, parse_task
from ex_app.nextcloud.translator import STOP_S, WEBHOOK, NextcloudTranslator
from ex_app.routes.translation import translation_routes
from ex_app.selftest.checks import Checks
from ex_app.selftest.run import Run
from ex_app.settings.store import SavedSettings
from live_transcription.errors import TranslationError
from sandbox import virtual_clock
from sandbox.nextcloud import Fault, FaultKind, Nextcloud
from sandbox.nextcloud.serving import LoopbackServer
from sandbox.nextcloud.task_processing import Provider
from tests.ex_app.fakes import ENVIRONMENT, SECRET, FakeEngine, health_of
from tests.ex_app.nextcloud.test_gateway import gateway_to


@pytest.fixture
async def cloud() -> AsyncIterator[Nextcloud]:
    async with Nextcloud(version=(33, 0, 4)) as nextcloud:
        app = nextcloud.app_api.register(secret=SECRET)
        app.enabled = True
        nextcloud.task_processing.provider = Provider()
        yield nextcloud


@asynccontextmanager
async def translator_of(cloud: Nextcloud) -> AsyncIterator[NextcloudTranslator]:
    """A translator that knows the languages, with its webhook on a port of its own."""
    gateway: AppApiGateway = gateway_to(cloud.url)
    translator = NextcloudTranslator(gateway)
    app = FastAPI()
    app.include_router(translation_routes(translator))
    server = LoopbackServer(app)
    await server.start()
    cloud.app_api.apps["live_transcription"].url = server.url
    try:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(translator.run())
            async with asyncio.timeout(10):
                while cloud.task_processing.provider is not None and not translator.languages().targets:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            yield translator
            running.cancel()
    finally:
        await server.stop()
        await gateway.aclose()


async def all_deleted(cloud: Nextcloud) -> None:
    async with asyncio.timeout(10):
        while cloud.task_processing.tasks:  # noqa: ASYNC110  the stand-in has no event for it
            await asyncio.sleep(0.01)


async def test_a_text_is_translated_and_its_task_is_deleted(cloud: Nextcloud) -> None:
    async with translator_of(cloud) as translator:
        languages = translator.languages()
        assert list(languages.targets) == ["en", "fr", "de", "es", "pt_BR"]
        assert {"en", "fr", "de", "it"} <= set(languages.origins), "the provider detects the others"
        assert await translator.translate("Good morning.", "en", "pt_BR") == "[pt-BR] Good morning."
        await all_deleted(cloud)


async def test_the_webhook_makes_polls_unnecessary(cloud: Nextcloud) -> None:
    async with translator_of(cloud) as translator:
        provider = cloud.task_processing.provider
        assert provider is not None
        provider.seconds = 0.0
        await translator.translate("The first one may be polled.", "en", "fr")
        cloud.task_processing.polls = 0
        provider.seconds = 0.5
        assert await translator.translate("Good morning.", "en", "fr") == "[fr] Good morning."
        assert cloud.task_processing.polls == 0
        await all_deleted(cloud)


async def test_lost_and_repeated_webhooks_change_nothing(cloud: Nextcloud) -> None:
    async with translator_of(cloud) as translator:
        cloud.task_processing.webhooks = False
        assert await translator.translate("Good morning.", "en", "fr") == "[fr] Good morning."
        cloud.task_processing.webhooks, cloud.task_processing.repeats = True, 3
        texts = [f"Sentence {number}." for number in range(16)]
        found = await asyncio.gather(*(translator.translate(text, "en", "de") for text in texts))
        assert found == [f"[de] {text}" for text in texts]
        await all_deleted(cloud)


async def test_a_provider_that_fails_raises_a_translation_error(cloud: Nextcloud) -> None:
    async with translator_of(cloud) as translator:
        assert cloud.task_processing.provider is not None
        cloud.task_processing.provider.answer = lambda text, origin, target: None
        with pytest.raises(TranslationError, match="provider failed"):
            await translator.translate("Good morning.", "en", "fr")
        await all_deleted(cloud)


async def test_without_a_provider_no_language_is_offered(cloud: Nextcloud) -> None:
    async with translator_of(cloud) as translator:
        cloud.task_processing.provider = None
        with pytest.raises(TranslationError):
            await translator.translate("Good morning.", "en", "fr")
        assert not translator.languages().targets


async def test_a_translation_that_is_no_longer_needed_is_deleted(cloud: Nextcloud) -> None:
    async with translator_of(cloud) as translator:
        assert cloud.task_processing.provider is not None
        cloud.task_processing.provider.hangs = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await translator.translate("Good morning.", "en", "fr")
        await all_deleted(cloud)
        assert cloud.task_processing.scheduled == 1


async def test_nextcloud_that_is_away_is_a_translation_error_and_the_languages_stay(cloud: Nextcloud) -> None:
    async with translator_of(cloud) as translator:
        with cloud.faults.during(Fault(FaultKind.UNAVAILABLE)), pytest.raises(TranslationError):
            await translator.translate("Good morning.", "en", "fr")
        assert translator.languages().targets


@pytest.mark.parametrize(
    "answer",
    [None, [], {"types": []}, {"types": {"core:text2text:translate": {"inputShapeEnumValues": {"origin_language": {}}}}}],
)
def test_a_malformed_list_of_types_offers_nothing(answer: object) -> None:
    assert not parse_pairs(answer).targets


@pytest.mark.parametrize("answer", [None, {}, {"task": {}}, {"task": {"id": "1"}}, {"task": {"id": True}}, {"task": []}])
def test_a_malformed_task_is_none(answer: object) -> None:
    assert parse_task(answer) is None


def test_a_finished_task_without_text_has_failed() -> None:
    state = parse_task({"task": {"id": 1, "status": "STATUS_SUCCESSFUL", "output": {"output": None}}})
    assert state is not None
    assert state.failed


async def test_a_finished_task_whose_number_was_never_learnt_is_deleted(cloud: Nextcloud) -> None:
    """Nextcloud's answer was lost, or the app was started again: only the webhook tells the task's number."""
    async with translator_of(cloud) as translator:
        gateway: AppApiGateway = gateway_to(cloud.url)
        content = {"input": "Good morning.", "origin_language": "en", "target_language": "fr"}
        await gateway.schedule_task(TRANSLATE, content, "unknown", WEBHOOK)
        assert cloud.task_processing.tasks
        await all_deleted(cloud)
        await gateway.aclose()
        assert await translator.translate("Good morning.", "en", "fr") == "[fr] Good morning."


class SlowNextcloud:
    """Schedules tasks that never end, and never answers a deletion."""

    def __init__(self) -> None:
        self.scheduled = self.deletions = 0

    async def task_types(self) -> Any:
        values = [{"name": "English", "value": "en"}, {"name": "French", "value": "fr"}]
        return {"types": {TRANSLATE: {"inputShapeEnumValues": {"origin_language": values, "target_language": values}}}}

    async def schedule_task(self, kind: str, content: Mapping[str, str], custom_id: str, webhook: str) -> Any:
        self.scheduled += 1
        return {"task": {"id": self.scheduled, "customId": custom_id, "status": "STATUS_SCHEDULED"}}

    async def task(self, number: int) -> Any:
        return {}

    async def delete_task(self, number: int) -> None:
        self.deletions += 1
        await asyncio.sleep(1e6)


def test_the_app_stops_soon_although_nextcloud_answers_no_deletion() -> None:
    async def run() -> None:
        nextcloud, loop = SlowNextcloud(), asyncio.get_running_loop()
        translator = NextcloudTranslator(cast("NextcloudGateway", nextcloud))
        running = asyncio.create_task(translator.run())
        await asyncio.sleep(1)
        waiting = [asyncio.create_task(translator.translate(f"Sentence {n}.", "en", "fr")) for n in range(16)]
        await asyncio.sleep(1)
        began_at = loop.time()
        running.cancel()
        await asyncio.wait([running])
        assert loop.time() - began_at <= STOP_S + 0.1
        assert nextcloud.deletions == 16
        await asyncio.wait(waiting, timeout=1)
        assert all(each.cancelled() for each in waiting)

    virtual_clock.run(run())


def test_codes_and_names_of_a_provider_are_checked_and_mapped() -> None:
    codes = ["EN-US", "en_US", "pt-br", "zh-Hans", "\ud800", "a\u202eb", "", "x" * 65, 7, None]
    values = [{"name": f"name of {code}\ud800" if code == "EN-US" else f"name of {code}", "value": code} for code in codes]
    shapes = {"origin_language": values, "target_language": [*values, *values]}
    pairs = parse_pairs({"types": {TRANSLATE: {"inputShapeEnumValues": shapes}}})
    assert dict(pairs.targets) == {"en_US": "EN-US", "pt_BR": "pt-br", "zh_Hans": "zh-Hans"}
    assert pairs.origins["en"] == "EN-US"
    assert pairs.languages.targets["en_US"].name == "EN-US"
    assert pairs.languages.targets["pt_BR"].name == "name of pt-br"


async def check_of(cloud: Nextcloud, *, switched_on: bool = True) -> dict[str, dict[str, Any]]:
    """The steps of the self-test's check of translations, by id."""
    engine, environment = FakeEngine(), ENVIRONMENT | ({} if switched_on else {"LT_TRANSLATION": "off"})
    async with translator_of(cloud) as translator:
        gateway = gateway_to(cloud.url)
        saved = SavedSettings(environment, gateway, lambda _: None)
        run = Run("translation", asyncio.get_running_loop().time)
        await Checks(engine, gateway, saved, health_of(engine, gateway, saved), translator).run("translation", run)
        await gateway.aclose()
    return {step["id"]: step for step in run.describe()["steps"]}


async def test_the_self_test_translates_a_greeting_with_the_real_provider(cloud: Nextcloud) -> None:
    assert cloud.task_processing.provider is not None
    cloud.task_processing.provider.known[("Good morning", "en", "fr")] = "Bonjour"
    steps = await check_of(cloud)
    assert steps["translation.ask"]["state"] == steps["translation.task"]["state"] == "ok"
    assert steps["translation.task"]["detail"] == "French: Bonjour"
    assert steps["translation.task"]["seconds"] >= 0.2
    assert cloud.task_processing.tasks == {}


async def test_the_self_test_tests_no_translation_without_a_provider_or_when_switched_off(cloud: Nextcloud) -> None:
    steps = await check_of(cloud, switched_on=False)
    assert {name: step["state"] for name, step in steps.items()} == {"translation.off": "ok"}
    cloud.task_processing.provider = None
    steps = await check_of(cloud)
    assert {name: step["state"] for name, step in steps.items()} == {"translation.ask": "ok"}
    assert "no translation provider" in str(steps["translation.ask"]["title"])
    assert cloud.task_processing.scheduled == 0


@pytest.mark.parametrize("answer", [None, "Good morning!", "…"])
async def test_the_self_test_warns_if_the_provider_fails_or_does_not_translate(cloud: Nextcloud, answer: str | None) -> None:
    assert cloud.task_processing.provider is not None
    cloud.task_processing.provider.answer = lambda text, origin, target: answer
    step = (await check_of(cloud))["translation.task"]
    assert step["state"] == "warning"
    assert step["message"]
    assert step["fix"]
