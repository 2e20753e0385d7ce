# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Requests to the servers in the settings: which TLS switch covers which server, and that no redirect is followed."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from nc_py_api import AsyncNextcloudApp

from ex_app.errors import NextcloudError
from ex_app.nextcloud import gateway as gateway_module
from ex_app.nextcloud.gateway import AppApiGateway
from ex_app.selftest.checks import Checks
from ex_app.selftest.run import Run
from ex_app.settings.read import Settings, read_settings
from ex_app.settings.store import SavedSettings
from live_transcription.config import EngineConfig, HpbConfig
from live_transcription.errors import (
    ConfigurationError,
    LiveTranscriptionError,
    SignalingRedirected,
    SignalingUnreachable,
    SttUntrusted,
)
from live_transcription.signaling.hello_guard import HelloGuard
from live_transcription.signaling.probe import probe_hpb
from live_transcription.signaling.websocket import open_websocket
from live_transcription.status import HpbReport
from live_transcription.stt.kyutai.modal.backend import ModalBackend
from live_transcription.stt.kyutai.moshi.backend import MoshiBackend
from tests.certificates import self_signed
from tests.ex_app.fakes import ENVIRONMENT, SECRET, FakeEngine, FakeNextcloud, health_of
from tests.stranger import Stranger, stranger

SWITCHES = ("SKIP_CERT_VERIFY", "LT_SKIP_CERT_VERIFY", "LT_NEXTCLOUD_SKIP_CERT_VERIFY", "LT_MOSHI_SKIP_CERT_VERIFY")
#: None of these may reach a server that was not entered, or appear in a message.
SECRETS = (SECRET, ENVIRONMENT["LT_INTERNAL_SECRET"], "wk-key-1234", "ws-secret-1234", "mk-key-1234")
PEERS = ("hpb", "moshi", "nextcloud", "modal")


def verified(environment: Mapping[str, str], saved: Mapping[str, str] | None = None) -> dict[str, bool]:
    """Whose certificate is checked."""
    settings = settings_for(dict.fromkeys(PEERS, "peer.example.com"), environment, saved=saved)
    assert settings.engine.stt.moshi is not None
    assert settings.engine.stt.modal is not None
    return {
        "hpb": hpb_of(settings).verify_certificates,
        "moshi": settings.engine.stt.moshi.verify_certificates,
        "nextcloud": settings.app.verify_certificates,
        "modal": settings.engine.stt.modal.verify_certificates,
    }


def settings_for(
    hosts: Mapping[str, str], environment: Mapping[str, str], *, scheme: str = "https", saved: Mapping[str, str] | None = None
) -> Settings:
    settings = read_settings(
        ENVIRONMENT
        | {
            "NEXTCLOUD_URL": f"{scheme}://{hosts['nextcloud']}",
            "LT_HPB_URL": f"{scheme}://{hosts['hpb']}",
            "LT_MOSHI_URL": f"{scheme}://{hosts['moshi']}",
            "LT_MOSHI_KEY": SECRETS[4],
            "LT_MODAL_URL": f"{scheme}://{hosts['modal']}",
            "LT_MODAL_CREDENTIALS_ANYWHERE": "true",
            "MODAL_KEY": SECRETS[2],
            "MODAL_SECRET": SECRETS[3],
        }
        | environment,
        saved,
    )
    assert settings.problems == ()
    return settings


def hpb_of(settings: Settings) -> HpbConfig:
    config = settings.engine_config()
    assert isinstance(config, EngineConfig)
    return config.hpb


@pytest.mark.parametrize("values", list(itertools.product((None, "true", "false"), repeat=4)))
def test_each_switch_covers_its_own_server_and_modal_is_always_checked(values: tuple[str | None, ...]) -> None:
    environment = {name: value for name, value in zip(SWITCHES, values, strict=True) if value is not None}
    both, hpb, nextcloud, moshi = values
    assert verified(environment) == {
        "hpb": (hpb or both) != "true",
        "nextcloud": (nextcloud or both) != "true",
        "moshi": moshi != "true",
        "modal": True,
    }


def test_a_saved_switch_takes_precedence_over_the_environment() -> None:
    everything = dict.fromkeys(PEERS, True)
    assert verified({}, {"lt_skip_cert_verify": "true"}) == everything | {"hpb": False}
    assert verified({}, {"lt_moshi_skip_cert_verify": "true"}) == everything | {"moshi": False}
    assert verified({"SKIP_CERT_VERIFY": "1"}, {"lt_skip_cert_verify": "false"}) == everything | {"nextcloud": False}
    # Saved values come from Nextcloud, so none of them may decide whether Nextcloud is trusted.
    assert verified({}, {"lt_nextcloud_skip_cert_verify": "true"}) == everything


@pytest.mark.parametrize("name", SWITCHES)
def test_a_malformed_switch_switches_nothing_off(name: str) -> None:
    settings = read_settings(ENVIRONMENT | {"LT_MOSHI_URL": "wss://stt.example.com", name: "maybe"})
    assert [problem.setting for problem in settings.problems] == [name]
    assert settings.app.verify_certificates
    assert hpb_of(settings).verify_certificates
    assert settings.engine.stt.moshi is not None
    assert settings.engine.stt.moshi.verify_certificates


@pytest.mark.parametrize(
    ("environment", "saved", "noticed"),
    [
        ({"SKIP_CERT_VERIFY": "true"}, {}, True),
        ({"LT_SKIP_CERT_VERIFY": "true"}, {}, True),
        ({}, {"lt_skip_cert_verify": "true"}, True),
        ({}, {}, False),
        ({"LT_MOSHI_SKIP_CERT_VERIFY": "true"}, {"lt_skip_cert_verify": "true"}, False),
        ({"LT_MOSHI_SKIP_CERT_VERIFY": "false"}, {"lt_skip_cert_verify": "true"}, False),
        ({"LT_MOSHI_URL": "ws://stt.example.com"}, {"lt_skip_cert_verify": "true"}, False),
        ({"LT_MOSHI_URL": ""}, {"lt_skip_cert_verify": "true"}, False),
    ],
)
def test_a_notice_names_the_new_switch_if_the_old_one_may_have_been_meant(
    environment: dict[str, str], saved: dict[str, str], noticed: bool
) -> None:
    settings = read_settings(ENVIRONMENT | {"LT_MOSHI_URL": "https://stt.example.com"} | environment, saved)
    assert any("LT_MOSHI_SKIP_CERT_VERIFY" in notice for notice in settings.notices) is noticed
    assert settings.problems == ()


@pytest.mark.parametrize(
    ("environment", "notices"),
    [
        ({}, []),
        ({"LT_MOSHI_URL": "wss://stt.example.com"}, []),
        ({"NEXTCLOUD_URL": "http://127.0.0.1", "LT_HPB_URL": "ws://localhost", "LT_MOSHI_URL": "ws://[::1]:8080"}, []),
        ({"LT_MOSHI_URL": "ws://stt.example.com:8080"}, ["Without TLS: the connection to the moshi-server."]),
        (
            {"NEXTCLOUD_URL": "http://nextcloud", "LT_HPB_URL": "http://hpb", "LT_MOSHI_URL": "http://stt"},
            ["Without TLS: the connection to Nextcloud, the high-performance backend and the moshi-server."],
        ),
        ({"SKIP_CERT_VERIFY": "1"}, ["Not checked: the certificate of Nextcloud and the high-performance backend."]),
        (
            {"LT_MOSHI_URL": "wss://stt.example.com", "LT_MOSHI_SKIP_CERT_VERIFY": "1"},
            ["Not checked: the certificate of the moshi-server."],
        ),
        (
            {"LT_HPB_URL": "ws://hpb.example.com", "LT_SKIP_CERT_VERIFY": "1"},
            ["Without TLS: the connection to the high-performance backend."],
        ),
    ],
)
def test_notices_name_unencrypted_connections_and_unchecked_certificates(
    environment: dict[str, str], notices: list[str]
) -> None:
    found = read_settings(ENVIRONMENT | environment).notices
    assert [notice.partition(" Anyone")[0] for notice in found] == notices


async def ask_hpb(settings: Settings) -> None:
    await probe_hpb(hpb_of(settings), lambda: None, guard=HelloGuard())


async def join_room(settings: Settings) -> None:
    # What a call does first; its `run` would try again and again.
    await open_websocket(hpb_of(settings), open_timeout_s=10.0, max_size=2**20)


async def warm_modal(settings: Settings) -> None:
    assert settings.engine.stt.modal is not None
    await ModalBackend(settings.engine.stt.modal).warm()


async def stream_to_modal(settings: Settings) -> None:
    assert settings.engine.stt.modal is not None
    async with ModalBackend(settings.engine.stt.modal).open_stream("en"):
        pass


async def warm_moshi(settings: Settings) -> None:
    assert settings.engine.stt.moshi is not None
    await MoshiBackend(settings.engine.stt.moshi).warm()


async def stream_to_moshi(settings: Settings) -> None:
    assert settings.engine.stt.moshi is not None
    async with MoshiBackend(settings.engine.stt.moshi).open_stream("en"):
        pass


async def ask_nextcloud(settings: Settings) -> None:
    gateway = AppApiGateway(settings.app)
    try:
        await gateway.read_values(["lt_hpb_url"])
    finally:
        await gateway.aclose()


async def ask_nextcloud_for_a_user(settings: Settings) -> None:
    gateway = AppApiGateway(settings.app)
    try:
        await gateway.is_admin("user-1")
    finally:
        await gateway.aclose()


CLIENTS: dict[str, tuple[Callable[[Settings], Awaitable[None]], ...]] = {
    "hpb": (ask_hpb, join_room),
    "moshi": (warm_moshi, stream_to_moshi),
    "nextcloud": (ask_nextcloud, ask_nextcloud_for_a_user),
    "modal": (warm_modal, stream_to_modal),
}
EACH_CLIENT = [pytest.param(peer, client, id=client.__name__) for peer, clients in CLIENTS.items() for client in clients]


@pytest.fixture
async def self_signed_peers(tmp_path: Path) -> AsyncIterator[dict[str, Stranger]]:
    async with AsyncExitStack() as stack:
        yield {peer: await stack.enter_async_context(stranger(tls=self_signed(tmp_path / f"{peer}.pem"))) for peer in PEERS}


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # by urllib3, which Nextcloud is asked with
@pytest.mark.parametrize("chosen", list(itertools.product((False, True), repeat=4)))
async def test_a_self_signed_server_gets_a_request_only_with_its_own_switch(
    chosen: tuple[bool, ...], self_signed_peers: dict[str, Stranger]
) -> None:
    environment = {name: "true" for name, on in zip(SWITCHES, chosen, strict=True) if on}
    settings = settings_for({peer: found.host for peer, found in self_signed_peers.items()}, environment)
    checked = verified(environment)
    for peer, clients in CLIENTS.items():
        for client in clients:
            before = len(self_signed_peers[peer].requests)
            with pytest.raises(LiveTranscriptionError) as refused:
                await client(settings)
            if checked[peer]:
                assert "certificate" in refused.value.message
                assert "install its authority where this app runs" in refused.value.fix
            assert not any(secret in str(refused.value) for secret in SECRETS)
            assert len(self_signed_peers[peer].requests) - before == int(not checked[peer]), client


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(("peer", "client"), EACH_CLIENT)
async def test_no_redirect_is_followed(peer: str, client: Callable[[Settings], Awaitable[None]], status: int) -> None:
    async with stranger() as elsewhere:
        location = f"http://user:hidden@{elsewhere.host}/hidden?hidden=1"
        async with stranger(status=status, location=location) as entered:
            settings = settings_for(dict.fromkeys(PEERS, entered.host), {}, scheme="http")
            with pytest.raises(LiveTranscriptionError, match=rf"redirects to http://{elsewhere.host}\. Enter") as refused:
                await client(settings)
        assert len(entered.requests) == 1
        assert elsewhere.requests == []
    assert refused.value.code == {"hpb": "signaling", "nextcloud": "nextcloud"}.get(peer, "stt") + "_redirected"
    assert refused.value.retryable
    assert not any(secret in str(refused.value) for secret in (*SECRETS, "hidden"))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(("peer", "client"), EACH_CLIENT)
async def test_the_error_of_a_redirect_names_the_new_address(
    peer: str, client: Callable[[Settings], Awaitable[None]], status: int
) -> None:
    async with stranger(status=status, location="https://cloud.example.com/standalone-signaling/spreed?x=1") as entered:
        settings = settings_for(dict.fromkeys(PEERS, entered.host), {}, scheme="http")
        with pytest.raises(LiveTranscriptionError) as refused:
            await client(settings)
    assert "redirects to https://cloud.example.com. Enter that address" in str(refused.value), peer
    assert "websocket protocol" not in str(refused.value)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("variable", ["", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_nextclouds_switch_applies_whatever_ca_bundle_is_set(
    variable: str, skip: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        self_signed(tmp_path / "another.pem")
        monkeypatch.setenv(variable, str(tmp_path / "another.pem"))
    async with stranger(tls=self_signed(tmp_path / "nextcloud.pem")) as cloud:
        environment = {"LT_NEXTCLOUD_SKIP_CERT_VERIFY": str(skip)}
        with pytest.raises(NextcloudError):
            await ask_nextcloud(settings_for(dict.fromkeys(PEERS, cloud.host), environment))
        assert len(cloud.requests) == int(skip)


async def test_a_renewed_session_follows_no_redirect_either(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stranger() as elsewhere, stranger(status=307, location=f"http://{elsewhere.host}/") as entered:
        gateway = AppApiGateway(settings_for(dict.fromkeys(PEERS, entered.host), {}, scheme="http").app)
        made: list[AsyncNextcloudApp] = []

        def make(**arguments: Any) -> AsyncNextcloudApp:
            made.append(AsyncNextcloudApp(**arguments))
            made[-1]._session.init_adapter(restart=True)
            return made[-1]

        monkeypatch.setattr(gateway_module, "AsyncNextcloudApp", make)
        with pytest.raises(NextcloudError):
            await gateway.is_enabled()
        assert made
        assert (len(entered.requests), elsewhere.requests) == (1, [])
        await gateway.aclose()


async def test_repeated_redirects_leave_no_connections_open() -> None:
    async with stranger(status=302, location="https://elsewhere.example.com") as entered:
        gateway = AppApiGateway(settings_for(dict.fromkeys(PEERS, entered.host), {}, scheme="http").app)
        for _ in range(30):
            with pytest.raises(NextcloudError):
                await gateway.is_enabled()
        assert len(entered.requests) == 30
        await gateway.aclose()


@pytest.mark.parametrize("url", ["ws://stt.example.com", "http://a--b.modal.run", "ws://10.0.0.5:8080/v1/stream"])
def test_a_modal_address_needs_tls_unless_it_is_the_loopback(url: str) -> None:
    modal = {"LT_MODAL_URL": url, "LT_MODAL_CREDENTIALS_ANYWHERE": "true", "MODAL_KEY": "wk-1", "MODAL_SECRET": "ws-1"}
    settings = read_settings(ENVIRONMENT | modal)
    assert settings.engine.stt.modal is None
    (problem,) = settings.problems
    assert isinstance(problem, ConfigurationError)
    assert problem.setting == "LT_MODAL_URL"
    assert "unencrypted" in str(problem)
    assert settings.blocking == ()


async def test_a_redirect_counts_as_an_unreachable_backend() -> None:
    # Code that handles an unreachable backend also handles this: calls try again.
    async with stranger(status=302, location="https://elsewhere.example.com") as entered:
        with pytest.raises(SignalingUnreachable):
            await ask_hpb(settings_for(dict.fromkeys(PEERS, entered.host), {}, scheme="http"))


class ProbingEngine(FakeEngine):
    """Sends real requests to the backend."""

    async def probe_hpb(self, config: HpbConfig, connected: Callable[[], None]) -> HpbReport:
        return await probe_hpb(config, connected, guard=HelloGuard())


async def test_the_check_of_the_backend_names_the_new_address() -> None:
    async with stranger(status=301, location="https://cloud.example.com/standalone-signaling/spreed") as entered:
        nextcloud = FakeNextcloud()
        saved = SavedSettings(ENVIRONMENT | {"LT_HPB_URL": f"http://{entered.host}"}, nextcloud, lambda _: None)
        run = Run("hpb", lambda: 0.0)
        engine = ProbingEngine()
        with pytest.raises(SignalingRedirected):
            await Checks(engine, nextcloud, saved, health_of(engine, nextcloud, saved)).run("hpb", run)
    step = run.describe()["steps"][-1]
    assert (step["id"], step["state"], step["code"]) == ("hpb.connect", "failed", "signaling_redirected")
    assert step["message"] == f"The server at {entered.host} redirects to https://cloud.example.com."
    assert step["fix"] == "Enter that address instead, and keep the path."


async def test_the_error_of_an_untrusted_moshi_server_names_its_switch(tmp_path: Path) -> None:
    async with stranger(tls=self_signed(tmp_path / "moshi.pem")) as moshi:
        settings = settings_for(dict.fromkeys(PEERS, moshi.host), {"LT_SKIP_CERT_VERIFY": "true"})
        with pytest.raises(SttUntrusted, match="LT_MOSHI_SKIP_CERT_VERIFY") as refused:
            await stream_to_moshi(settings)
        assert moshi.requests == []
    assert refused.value.retryable


@pytest.mark.parametrize("client", [warm_modal, stream_to_modal])
async def test_the_error_of_an_untrusted_modal_names_no_switch(
    client: Callable[[Settings], Awaitable[None]], tmp_path: Path
) -> None:
    async with stranger(tls=self_signed(tmp_path / "modal.pem")) as modal:
        settings = settings_for(dict.fromkeys(PEERS, modal.host), dict.fromkeys(SWITCHES, "true"))
        with pytest.raises(SttUntrusted, match="always checked"):
            await client(settings)
        assert modal.requests == []
