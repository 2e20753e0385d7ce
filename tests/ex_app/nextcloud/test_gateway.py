# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The gateway, against a Nextcloud stand-in on a real port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ex_app.nextcloud.gateway as nextcloud_module
from ex_app.errors import NextcloudError
from ex_app.identity import AppIdentity
from ex_app.nextcloud.gateway import AppApiGateway, parse_ice_servers, parse_version
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
    assert await gateway.is_enabled() is True


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
