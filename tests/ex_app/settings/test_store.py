# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Saved settings: read, kept during outages, validated and applied."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ex_app.errors import NextcloudError, SettingsRefused
from ex_app.settings.read import Settings, read_settings
from ex_app.settings.store import MAX_VALUE, SavedSettings
from ex_app.settings.table import BY_KEY, ON_PAGE
from live_transcription.config import EngineConfig
from sandbox import virtual_clock
from sandbox.nextcloud import Fault, FaultKind, Nextcloud
from sandbox.nextcloud.app_api import ConfigValue
from tests.ex_app.fakes import ENVIRONMENT, SECRET, FakeNextcloud
from tests.ex_app.nextcloud.test_gateway import gateway_to

MODAL = {"lt_modal_workspace": "workspace", "lt_modal_key": "wk-key-1", "lt_modal_secret": "ws-secret-1"}


class Applied:
    def __init__(self) -> None:
        self.settings: list[Settings] = []

    def __call__(self, settings: Settings) -> None:
        self.settings.append(settings)


def saved_settings(nextcloud: Any, **environment: str) -> tuple[SavedSettings, Applied]:
    applied = Applied()
    return SavedSettings(ENVIRONMENT | environment, nextcloud, applied), applied


def test_every_setting_has_a_unique_key_that_app_api_accepts() -> None:
    keys = [entry.key for entry in ON_PAGE]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith("lt_") and len(key) <= 64 for key in keys)
    assert all(entry.kind != "switch" or entry.default in ("true", "false") for entry in ON_PAGE)


def test_setting_every_default_explicitly_changes_nothing() -> None:
    explicit = {entry.variable: entry.default for entry in ON_PAGE if entry.default}
    assert read_settings(ENVIRONMENT | explicit) == read_settings(ENVIRONMENT)


async def test_forgetting_deletes_every_value_and_the_environment_applies() -> None:
    retired = {"lt_finals_only": "1"}
    nextcloud = FakeNextcloud(values={"lt_hpb_url": "https://saved.example.com", **MODAL, **retired, "of_another_app": "1"})
    saved, applied = saved_settings(nextcloud)
    await saved.refresh()
    nextcloud.failures = 1
    with pytest.raises(NextcloudError):
        await saved.forget()
    assert saved.describe()["lt_modal_key"] == {"source": "saved", "set": True, "problem": ""}
    await saved.forget()
    assert nextcloud.values == {"of_another_app": "1"}
    assert {state["source"] for state in saved.describe().values()} <= {"environment", "default"}
    assert applied.settings[-1].engine.hpb.url == ENVIRONMENT["LT_HPB_URL"]
    assert applied.settings[-1].engine.stt.modal is None
    await saved.forget()


async def test_saved_values_take_precedence_until_they_are_deleted() -> None:
    nextcloud = FakeNextcloud(values={"lt_hpb_url": "https://saved.example.com", **MODAL})
    saved, applied = saved_settings(nextcloud)
    await saved.refresh()
    assert saved.current.engine.hpb.url == "https://saved.example.com"
    assert saved.current.engine.stt.modal is not None
    assert applied.settings == [saved.current]
    await saved.refresh()
    assert len(applied.settings) == 1, "unchanged values are not applied again"
    await saved.save({"lt_hpb_url": None})
    assert saved.current.engine.hpb.url == ENVIRONMENT["LT_HPB_URL"]
    assert "lt_hpb_url" not in nextcloud.values


def test_values_set_by_occ_apply_within_a_minute() -> None:
    async def run() -> None:
        nextcloud, applied = FakeNextcloud(), Applied()
        saved = SavedSettings(ENVIRONMENT, nextcloud, applied)
        task = asyncio.create_task(saved.run())
        await saved.known.wait()
        nextcloud.values["lt_prewarm"] = "0"
        await asyncio.sleep(59)
        assert applied.settings == []
        await asyncio.sleep(2)
        assert not applied.settings[-1].engine.stt.prewarm
        nextcloud.values["lt_prewarm"] = "1"
        saved.refresh_soon()
        await asyncio.sleep(1)
        assert applied.settings[-1].engine.stt.prewarm
        task.cancel()

    virtual_clock.run(run(), loopback_s=0.0)


def test_enabling_the_app_during_a_failing_read_reads_the_values_again_at_once() -> None:
    class SlowNextcloud(FakeNextcloud):
        async def read_values(self, keys: Sequence[str]) -> dict[str, str]:
            enabled = self.enabled
            await asyncio.sleep(5)
            if not enabled:
                raise NextcloudError("Nextcloud refused the app's credentials.")
            return await super().read_values(keys)

    async def run() -> None:
        nextcloud = SlowNextcloud()
        nextcloud.enabled = False
        saved, _ = saved_settings(nextcloud)
        task = asyncio.create_task(saved.run())
        await asyncio.sleep(57)  # during the read from 55 to 60 s, after which the next one is due in 30 s
        nextcloud.enabled = True
        saved.refresh_soon()
        async with asyncio.timeout(12):
            await saved.known.wait()
        task.cancel()

    virtual_clock.run(run(), loopback_s=0.0)


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("LT_FINALS_ONLY", "true", "Captions are never revised, so every version of Talk shows them once."),
        ("LT_RECEIVE_PATH", "stock", "There is only one way to receive audio."),
    ],
)
async def test_a_setting_of_an_earlier_version_is_mentioned_once_and_has_no_effect(
    variable: str, value: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for environment, values in ((ENVIRONMENT | {variable: value}, {}), (ENVIRONMENT, {variable.lower(): value})):
        caplog.clear()
        saved = SavedSettings(environment, FakeNextcloud(values=values), lambda settings: None)
        for _ in range(3):
            await saved.refresh()
        assert [record.message for record in caplog.records if variable in record.message] == [
            f"{variable} no longer has an effect. {reason}"
        ]
        assert variable.lower() not in saved.describe()
        assert not saved.current.problems


async def test_the_last_known_values_apply_during_an_outage_of_nextcloud() -> None:
    nextcloud = FakeNextcloud(values={"lt_hpb_url": "https://saved.example.com"})
    saved, _ = saved_settings(nextcloud)
    await saved.refresh()
    nextcloud.failures = 1
    with pytest.raises(NextcloudError):
        await saved.refresh()
    assert saved.last_error is not None
    assert saved.current.engine.hpb.url == "https://saved.example.com"
    nextcloud.failures = 1
    with pytest.raises(NextcloudError):
        await saved.save({"lt_prewarm": "false"})
    assert saved.current.engine.stt.prewarm
    await saved.refresh()
    assert saved.last_error is None


@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.GARBAGE, FaultKind.WRONG_SHAPE, FaultKind.UNAUTHORIZED])
async def test_an_unusable_answer_of_nextcloud_changes_nothing(kind: FaultKind) -> None:
    async with Nextcloud() as cloud:
        app = cloud.app_api.register(secret=SECRET)
        app.enabled = True
        app.config["lt_hpb_url"] = ConfigValue("https://saved.example.com")
        gateway = gateway_to(cloud.url)
        saved, _ = saved_settings(gateway)
        await saved.refresh()
        with cloud.faults.during(Fault(kind)), pytest.raises(NextcloudError):
            await saved.refresh()
        assert saved.current.engine.hpb.url == "https://saved.example.com"
        gateway.credentials_confirmed()
        await saved.save({"lt_internal_secret": "a-new-secret", "lt_hpb_url": None})
        assert app.config["lt_internal_secret"] == ConfigValue("a-new-secret", sensitive=True)
        assert "lt_hpb_url" not in app.config
        await gateway.aclose()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lt_hpb_url", "ftp://x"),
        ("lt_hpb_url", "https://user:pass@x.example.com"),
        ("lt_internal_secret", "two words of a secret"),
        ("lt_modal_key", "ws-this-is-a-secret"),
        ("lt_default_language", "xx"),
        ("lt_languages", "en,xx"),
        ("lt_stt_order", "modal,modal"),
        ("lt_stt_order", "cloud"),
        ("lt_frame_ms", "100"),
        ("lt_max_speakers", "0"),
        ("lt_max_calls", "0"),
        ("lt_max_memory_mb", "5"),
        ("lt_gate", "maybe"),
        ("lt_model_directory", "relative"),
        ("lt_backend_url", "wss://cloud.example.com"),
        ("lt_finals_only", "true"),
        ("lt_receive_path", "stock"),
        ("lt_hpb_url", "https://x.example.com/" + "x" * MAX_VALUE),
        ("lt_unknown", "1"),
        ("enabled", "0"),
    ],
)
async def test_an_invalid_value_is_refused_with_its_key_and_nothing_is_saved(key: str, value: str) -> None:
    nextcloud = FakeNextcloud()
    saved, applied = saved_settings(nextcloud)
    with pytest.raises(SettingsRefused) as refused:
        await saved.save({key: value, "lt_prewarm": "false"})
    assert set(refused.value.fields) == {key}
    assert len(value) < 8 or value not in str(refused.value.fields)
    assert nextcloud.values == {}
    assert applied.settings == []


async def test_values_that_contradict_each_other_are_refused() -> None:
    nextcloud = FakeNextcloud()
    saved, _ = saved_settings(nextcloud)
    with pytest.raises(SettingsRefused) as refused:
        await saved.save({"lt_languages": "en,de", "lt_default_language": "fr"})
    assert set(refused.value.fields) == {"lt_default_language"}
    await saved.save({"lt_languages": "fr,de", "lt_default_language": "fr"})
    assert saved.current.engine.default_language == "fr"
    await saved.save({"lt_modal_workspace": "half-done"})
    assert saved.current.engine.stt.modal is None, "incomplete settings may be saved one by one"


async def test_secrets_are_saved_encrypted_and_never_described() -> None:
    nextcloud = FakeNextcloud()
    saved, applied = saved_settings(nextcloud)
    await saved.save({"lt_internal_secret": "new-secret-1234", **MODAL})
    assert nextcloud.secret_keys == {"lt_internal_secret", "lt_modal_key", "lt_modal_secret"}
    described = saved.describe()
    assert described["lt_internal_secret"] == {"source": "saved", "problem": "", "set": True}
    assert described["lt_moshi_key"]["set"] is False
    for text in (str(described), repr(saved.current), repr(applied.settings)):
        for secret in ("new-secret-1234", "wk-key-1", "ws-secret-1", SECRET):
            assert secret not in text


async def test_an_unencrypted_connection_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    saved, _ = saved_settings(FakeNextcloud())
    await saved.save({"lt_moshi_url": "ws://stt.example.com:8080"})
    await saved.save({"lt_max_speakers": "12"})
    await saved.save({"lt_skip_cert_verify": "true"})
    lines = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len([line for line in lines if "Without TLS: the connection to the moshi-server" in line]) == 1
    assert len([line for line in lines if "Not checked: the certificate of the high-performance backend" in line]) == 1


async def test_saved_settings_reach_the_engine() -> None:
    saved, _ = saved_settings(FakeNextcloud())
    await saved.save(
        {
            **MODAL, "lt_backend_url": "https://inside.example.com", "lt_skip_cert_verify": "1",
            "lt_frame_ms": "200", "lt_gate": "off",
            "lt_prewarm": "0", "lt_max_speakers": "12", "lt_max_calls": "34", "lt_max_memory_mb": "2048",
            "lt_languages": "fr,en",
            "lt_stt_order": "embedded,modal",
            "lt_moshi_url": "ws://stt.example.com:8080",
        }
    )  # fmt: skip
    config = saved.current.engine_config()
    assert isinstance(config, EngineConfig)
    assert config.hpb.backend_url == "https://inside.example.com"
    assert not config.hpb.verify_certificates
    assert (config.audio.frame_ms, config.audio.gate, config.stt.prewarm) == (200, False, False)
    assert (config.max_speakers, config.max_calls, config.max_memory_mb) == (12, 34, 2048)
    assert config.languages == ("en", "fr")
    assert config.stt.order == ("embedded", "modal")
    await saved.save({"lt_stt_fallback": "false"})
    assert saved.current.engine.stt.in_use == ("embedded",)


@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(st.dictionaries(st.sampled_from([*BY_KEY, "enabled", "x"]), st.none() | st.text(max_size=40), max_size=5))
async def test_any_input_is_saved_or_refused(changes: dict[str, str | None]) -> None:
    nextcloud = FakeNextcloud()
    saved, _ = saved_settings(nextcloud)
    refused = (await asyncio.gather(saved.save(changes), return_exceptions=True))[0]
    if refused is not None:
        assert isinstance(refused, SettingsRefused)
        assert nextcloud.values == {}
        assert set(refused.fields) <= set(changes)
    assert isinstance(saved.current.engine_config(), EngineConfig)


async def test_malformed_saved_values_are_reported_and_the_environment_applies() -> None:
    values = {entry.key: "<script>alert(1)</script>\x00" for entry in ON_PAGE}
    saved, _ = saved_settings(FakeNextcloud(values=values))
    await saved.refresh()
    assert isinstance(saved.current.engine_config(), EngineConfig)
    named = {problem.setting for problem in saved.current.problems}
    assert {"LT_HPB_URL", "LT_STT_ORDER", "LT_GATE"} <= named
    assert all("<script>" not in str(problem) for problem in saved.current.problems)
