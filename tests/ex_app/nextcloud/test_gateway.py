# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The gateway, against a Nextcloud stand-in on a real port."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ex_app.nextcloud.gateway as nextcloud_module
from ex_app.administration import SELFTEST_COMMAND
from ex_app.errors import NextcloudError, NextcloudRefused, TalkOutdated
from ex_app.identity import AppIdentity
from ex_app.nextcloud.gateway import AppApiGateway, TalkFacts, parse_ice_servers, parse_talk, parse_version
from ex_app.nextcloud.schemes import InvalidScheme
from live_transcription.types import IceServer, Secret
from sandbox.nextcloud import Fault, FaultKind, Nextcloud
from tests.ex_app.fakes import SECRET


@pytest.fixture
async def cloud() -> AsyncIterator[Nextcloud]:
    async with Nextcloud() as nextcloud:
        app = nextcloud.app_api.register(secret=SECRET)
        app.enabled = True
        yield nextcloud


@pytest.fixture
async def gateway(cloud: Nextcloud) -> AsyncIterator[AppApiGateway]:
    gateway = gateway_to(cloud.url)
    yield gateway
    await gateway.aclose()


def gateway_to(url: str, secret: str = SECRET) -> AppApiGateway:
    return AppApiGateway(AppIdentity(Secret(secret), version="10.0.0", app_api_version="32.0.0", nextcloud_url=url))


async def test_the_enabled_state(cloud: Nextcloud, gateway: AppApiGateway) -> None:
    assert await gateway.is_enabled() is True
    cloud.app_api.apps["live_transcription"].enabled = False
    assert await gateway.is_enabled() is False


async def test_stun_and_turn_servers(cloud: Nextcloud, gateway: AppApiGateway) -> None:
    cloud.talk.stun_servers = [{"urls": ["stun:stun.example.com:443"]}]
    cloud.talk.turn_servers = [{"urls": ["turn:turn.example.com:443"], "username": "1:x", "credential": "turn-secret"}]
    assert await gateway.ice_servers() == (
        IceServer(("stun:stun.example.com:443",)),
        IceServer(("turn:turn.example.com:443",), "1:x", Secret("turn-secret")),
    )


async def test_an_invalid_form_or_command_never_reaches_nextcloud(cloud: Nextcloud, gateway: AppApiGateway) -> None:
    app = cloud.app_api.apps["live_transcription"]
    with pytest.raises(InvalidScheme, match="section_type"):
        await gateway.put_form({"id": "talk", "title": "A form", "fields": []})
    with pytest.raises(InvalidScheme, match="description"):
        await gateway.put_command({"name": "live_transcription:go", "execute_handler": "go"})
    assert "settings" not in app.ui
    assert app.commands == {}


async def test_a_command_is_registered_again_without_a_second_one(cloud: Nextcloud, gateway: AppApiGateway) -> None:
    await gateway.put_command(SELFTEST_COMMAND)
    await gateway.put_command(SELFTEST_COMMAND)
    assert list(cloud.app_api.apps["live_transcription"].commands) == ["live_transcription:selftest"]


@pytest.mark.parametrize(("version", "joined"), [((32, 0, 0), False), ((34, 0, 3), False), ((35, 0, 0), True)])
async def test_setup_checks_are_joined_where_they_exist(version: tuple[int, int, int], *, joined: bool) -> None:
    async with Nextcloud(version=version) as cloud:
        cloud.app_api.register(secret=SECRET).enabled = True
        gateway = gateway_to(cloud.url)
        await gateway.join_setup_checks()
        await gateway.join_setup_checks()
        assert bool(cloud.app_api.in_setup_checks) is joined
        cloud.faults.add(Fault(FaultKind.UNAVAILABLE))
        with pytest.raises(NextcloudError):
            await gateway.join_setup_checks()
        await gateway.aclose()


async def test_progress_and_log_lines_reach_nextcloud(cloud: Nextcloud, gateway: AppApiGateway) -> None:
    app = cloud.app_api.apps["live_transcription"]
    await gateway.report_progress(50)
    assert app.progress == 50
    await gateway.report_progress(60, "The model is missing.")
    assert app.init_error == "The model is missing."
    app.enabled = True
    await gateway.log(2, "a line")
    assert (2, "a line") in app.log


@pytest.mark.parametrize(
    "kind", [FaultKind.UNAVAILABLE, FaultKind.GARBAGE, FaultKind.WRONG_SHAPE, FaultKind.UNAUTHORIZED, FaultKind.SLOW]
)
async def test_every_failure_of_nextcloud_is_a_nextcloud_error_and_temporary(
    cloud: Nextcloud, gateway: AppApiGateway, kind: FaultKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nextcloud_module, "REQUEST_S", 1)
    with cloud.faults.during(Fault(kind, delay_s=1.5)):
        for request in (gateway.ice_servers, gateway.is_enabled):
            with pytest.raises(NextcloudError) as refused:
                await request()
            assert SECRET not in str(refused.value)
    gateway.credentials_confirmed()
    assert await gateway.is_enabled() is True


class PatientCloud:
    """A Nextcloud that does not know the app yet, with a gateway whose clock the test sets."""

    def __init__(self, cloud: Nextcloud) -> None:
        self.cloud, self.now, self.requests = cloud, 0.0, 0
        self.gateway = AppApiGateway(
            AppIdentity(Secret(SECRET), version="10.0.0", app_api_version="32.0.0", nextcloud_url=cloud.url), lambda: self.now
        )
        authenticate = cloud.app_api.authenticate

        async def count(*arguments: Any, **options: Any) -> Any:
            self.requests += 1
            return await authenticate(*arguments, **options)

        cloud.app_api.authenticate = count  # type: ignore[method-assign]

        async def do_not_wait(_delay_s: float) -> None:
            return

        cloud.app_api.sleep = do_not_wait

    async def ask_everything(self) -> list[NextcloudError]:
        refusals = []
        for request in (self.gateway.ice_servers(), self.gateway.is_enabled(), self.gateway.log(2, "a line")):
            try:
                await request
            except NextcloudError as error:
                refusals.append(error)
        return refusals


@pytest.fixture
async def patient() -> AsyncIterator[PatientCloud]:
    async with Nextcloud() as cloud:
        made = PatientCloud(cloud)
        yield made
        await made.gateway.aclose()


async def test_an_app_that_is_not_registered_yet_asks_twice_in_a_quarter_of_an_hour(patient: PatientCloud) -> None:
    for _ in range(50):
        refusals = await patient.ask_everything()
        assert all(isinstance(refusal, NextcloudRefused) for refusal in refusals)
        assert len(refusals) == 3
        patient.now += 15
    assert patient.requests == 2
    patient.now += 200
    await patient.ask_everything()
    assert patient.requests == 4
    app = patient.cloud.app_api.register(secret=SECRET)
    app.enabled = True
    assert len(await patient.ask_everything()) == 3, "it does not ask before AppAPI has called it"
    patient.gateway.credentials_confirmed()
    assert await patient.ask_everything() == []


@pytest.mark.parametrize("version", ["22.0.11", "23.0.3"])
async def test_a_version_of_talk_that_refuses_its_settings_to_apps_is_named_and_nothing_else_stops(
    patient: PatientCloud, version: str
) -> None:
    cloud = patient.cloud
    cloud.app_api.register(secret=SECRET).enabled = True
    cloud.talk.version = version
    patient.gateway.credentials_confirmed()
    for _ in range(3):
        (refusal,) = await patient.ask_everything()
        assert isinstance(refusal, TalkOutdated)
        assert "Update Talk to 22.0.12, 23.0.4" in refusal.fix
        assert "credentials" not in str(refusal)
    assert cloud.talk.refused_settings == 1, "Talk is not asked again before it is updated"
    cloud.talk.version = "22.0.12"
    assert await patient.ask_everything() == []


async def test_another_version_of_talk_that_refuses_is_a_refusal_of_the_app(cloud: Nextcloud, gateway: AppApiGateway) -> None:
    gateway.credentials_confirmed()
    with cloud.faults.during(Fault(FaultKind.UNAUTHORIZED, path="signaling/settings")), pytest.raises(NextcloudRefused):
        await gateway.ice_servers()


@pytest.mark.parametrize("encrypts", [False, True])
async def test_talks_version_and_whether_it_encrypts_calls(cloud: Nextcloud, gateway: AppApiGateway, encrypts: bool) -> None:
    cloud.talk.encrypts_calls = encrypts
    assert await gateway.talk() == TalkFacts("22.0.4", encrypts_calls=encrypts)


def capabilities(**talk: Any) -> dict[str, Any]:
    return {"capabilities": {"spreed": {"version": "22.0.4", **talk}}}


@pytest.mark.parametrize(
    ("answer", "encrypts"),
    [
        (capabilities(), False),
        (capabilities(features=["call-end-to-end-encryption"]), True),
        (capabilities(features=["call-end-to-end-encryption"], config={"call": {"end-to-end-encryption": False}}), False),
        (capabilities(features=None, config={"call": {"end-to-end-encryption": True}}), True),
        (capabilities(features="x", config={"call": []}), False),
        (capabilities(config=[]), False),
    ],
)
def test_talks_capabilities(answer: object, encrypts: bool) -> None:
    assert parse_talk(answer) == TalkFacts("22.0.4", encrypts_calls=encrypts)


@pytest.mark.parametrize(
    "answer",
    [None, [], {}, {"capabilities": []}, {"capabilities": {"spreed": []}}, {"capabilities": {"spreed": {"version": 22}}}],
)
def test_capabilities_without_talk(answer: object) -> None:
    assert parse_talk(answer) is None


@pytest.mark.parametrize("version", ["22.0.1", "22.0.110", "22.0.12", "23.0.30", "23.0.4", "122.0.11", "", "22.0.11x"])
def test_other_versions_of_talk_answer_apps(version: str) -> None:
    assert not TalkFacts(version, encrypts_calls=False).refuses_apps


async def test_a_disabled_app_may_still_ask_for_its_state(patient: PatientCloud) -> None:
    app = patient.cloud.app_api.register(secret=SECRET)
    assert len(await patient.ask_everything()) == 2
    assert len(await patient.ask_everything()) == 2
    assert patient.requests == 3, "only the state is asked again"
    app.enabled = True
    assert await patient.gateway.is_enabled()
    assert await patient.ask_everything() == []


async def test_progress_is_reported_during_an_installation_although_settings_are_refused(patient: PatientCloud) -> None:
    app = patient.cloud.app_api.register(secret=SECRET)
    with pytest.raises(NextcloudRefused):
        await patient.gateway.read_values(["lt_hpb_url"])
    await patient.gateway.report_progress(40)
    assert app.progress == 40


async def test_a_refusal_that_comes_after_a_confirmation_was_sent_before_it(patient: PatientCloud) -> None:
    """The app reads its settings when it starts, and AppAPI initialises it before the answer is there."""
    app = patient.cloud.app_api.register(secret=SECRET)
    with patient.cloud.faults.during(Fault(FaultKind.SLOW, path="/ex-app/config", delay_s=0.3)):
        reading = asyncio.create_task(patient.gateway.read_values(["lt_hpb_url"]))
        await asyncio.sleep(0.1)
        patient.gateway.credentials_confirmed()
        with pytest.raises(NextcloudError):
            await reading
    app.enabled = True
    assert await patient.gateway.read_values(["lt_hpb_url"]) == {}


async def test_a_blocked_address_is_named_and_not_used_for_a_while(patient: PatientCloud) -> None:
    patient.cloud.app_api.register(secret=SECRET).enabled = True
    for _ in range(11):
        patient.cloud.app_api.throttle.failed("127.0.0.1", "another_app:", time.monotonic())
    with pytest.raises(NextcloudRefused, match="blocks this address"):
        await patient.gateway.is_enabled()
    await patient.ask_everything()
    assert patient.requests == 1


async def test_a_user_that_does_not_exist_blocks_nothing(cloud: Nextcloud, gateway: AppApiGateway) -> None:
    with cloud.faults.during(Fault(FaultKind.UNAUTHORIZED, path="/cloud/user")), pytest.raises(NextcloudError):
        await gateway.is_admin("nobody")
    assert await gateway.is_enabled()


async def test_errors_do_not_contain_the_secret(cloud: Nextcloud) -> None:
    wrong = gateway_to(cloud.url, "another-secret")
    with pytest.raises(NextcloudError, match="refused the app's credentials") as refused:
        await wrong.is_enabled()
    assert "another-secret" not in str(refused.value)
    await wrong.aclose()
    garbage = gateway_to(cloud.url + "/status.php?")
    with pytest.raises(NextcloudError):
        await garbage.is_enabled()
    await garbage.aclose()
    nowhere = gateway_to("http://127.0.0.1:9")
    with pytest.raises(NextcloudError, match="could not be reached"):
        await nowhere.ice_servers()
    await nowhere.aclose()
    with pytest.raises(NextcloudError, match="NEXTCLOUD_URL"):
        await gateway_to("").ice_servers()


@pytest.mark.parametrize("answer", [None, [], "32", {}, {"version": "32"}, {"version": None}, {"version": {"string": 32}}])
def test_an_answer_without_a_version(answer: Any) -> None:
    with pytest.raises(NextcloudError, match="version"):
        parse_version(answer)


def test_ice_servers_are_read_from_talks_settings() -> None:
    answer = {
        "server": "https://hpb.example.com",
        "stunservers": [{"urls": ["stun:stun.example.com:443", 5, "http://x"]}, "junk", {"urls": []}],
        "turnservers": [
            {"urls": ["turn:t.example.com:443?transport=udp"], "username": "1:x", "credential": "turn-secret"},
            {"urls": "turns:t.example.com"},
        ],
    }
    servers = parse_ice_servers(answer)
    assert [server.urls for server in servers] == [
        ("stun:stun.example.com:443",),
        ("turn:t.example.com:443?transport=udp",),
        ("turns:t.example.com",),
    ]
    assert servers[1].credential == Secret("turn-secret")
    assert "turn-secret" not in repr(servers)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["stunservers", "turnservers", "urls", "url", "username", "credential"]), inner)
        ),
        max_leaves=12,
    )
)
def test_any_answer_of_nextcloud_can_be_parsed(answer: Any) -> None:
    assert isinstance(parse_ice_servers(answer), tuple)
