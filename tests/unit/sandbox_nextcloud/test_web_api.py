# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Talk's web API, the login page and occ of the stand-in refuse what the real ones refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.nextcloud import Nextcloud
from sandbox.nextcloud.app_info import INFO_XML, declared_routes
from sandbox.nextcloud.occ import Occ, OccError, occ_routes

API = "/ocs/v2.php/apps/spreed/api"
OCS = {"OCS-APIRequest": "true", "Accept": "application/json"}


@dataclass
class Talk:
    cloud: Nextcloud
    client: httpx.AsyncClient
    token: str

    async def ask(self, method: str, path: str, *, user: str = "", **body: object) -> tuple[int, Any]:
        """Status and `data`."""
        auth = (user, self.cloud.accounts.passwords.get(user, "wrong")) if user else None
        path = API + path.format(token=self.token)
        answer = await self.client.request(method, path, json=body or None, auth=auth, headers=OCS)
        return answer.status_code, answer.json()["ocs"]["data"]


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    async with Nextcloud() as cloud, httpx.AsyncClient(base_url=cloud.url, trust_env=False) as client:
        cloud.accounts.passwords["user-1"] = "app-password"
        yield Talk(cloud, client, cloud.talk.rooms.create().token)


async def test_requests_without_the_header_of_nextclouds_clients_are_refused(talk: Talk) -> None:
    answer = await talk.client.get(f"{API}/v4/room/{talk.token}")
    assert answer.status_code == 412


async def test_a_wrong_app_password_is_refused_everywhere(talk: Talk) -> None:
    assert (await talk.ask("GET", "/v4/room/{token}", user="nobody"))[0] == 401


async def test_a_conversation_that_is_not_public_does_not_exist_for_guests(talk: Talk) -> None:
    talk.cloud.talk.rooms[talk.token].public = False
    assert (await talk.ask("GET", "/v4/room/{token}"))[0] == 404
    assert (await talk.ask("POST", "/v4/room/{token}/participants/active"))[0] == 404
    assert (await talk.ask("GET", "/v4/room/{token}", user="user-1"))[0] == 200


async def test_the_cookie_is_what_ties_a_tab_to_its_session(talk: Talk) -> None:
    _, joined = await talk.ask("POST", "/v4/room/{token}/participants/active")
    assert (await talk.ask("POST", "/v4/call/{token}", flags=3))[0] == 200
    assert talk.cloud.talk.rooms.session(joined["sessionId"]).in_call == 3
    talk.client.cookies.clear()
    assert (await talk.ask("POST", "/v4/call/{token}", flags=3))[0] == 404


async def test_captions_need_the_app_and_the_call(talk: Talk) -> None:
    await talk.ask("POST", "/v4/room/{token}/participants/active")
    assert await talk.ask("POST", "/v1/live-transcription/{token}") == (400, {"error": "in-call"})
    await talk.ask("POST", "/v4/call/{token}", flags=1)
    assert await talk.ask("POST", "/v1/live-transcription/{token}") == (400, {"error": "app"})
    app = talk.cloud.app_api.register(url="http://127.0.0.1:9")
    app.enabled = True
    assert (await talk.ask("POST", "/v1/live-transcription/{token}"))[0] == 500


async def test_only_moderators_change_the_language(talk: Talk) -> None:
    app = talk.cloud.app_api.register(url="http://127.0.0.1:9")
    app.enabled = True
    path = "/v1/live-transcription/{token}/language"
    assert (await talk.ask("POST", path, user="user-1", languageId="fr"))[0] == 403
    assert (await talk.ask("POST", path, languageId="fr"))[0] == 403
    assert talk.cloud.talk.rooms[talk.token].language is None


async def test_captions_are_offered_only_with_an_hpb_and_an_enabled_app(talk: Talk) -> None:
    async def offered() -> bool:
        answer = await talk.client.get("/ocs/v2.php/cloud/capabilities", headers=OCS)
        spreed = answer.json()["ocs"]["data"]["capabilities"]["spreed"]
        return bool(spreed["config"]["call"]["live-transcription"])

    assert not await offered()
    talk.cloud.hpb_url = "http://127.0.0.1:9"
    assert not await offered()
    talk.cloud.app_api.register().enabled = True
    assert await offered()


@pytest.mark.parametrize(("languages", "cookie"), [("de-DE,de;q=0.9", "de"), ("fr", "fr"), ("es", "en"), ("", "en")])
async def test_a_person_who_logs_in_gets_the_browsers_language(talk: Talk, languages: str, cookie: str) -> None:
    form = "user=user-1&password=app-password"
    answer = await talk.client.post("/login", content=form, headers={"Accept-Language": languages})
    assert answer.cookies["sandbox_lang"] == cookie


async def test_the_login_page_asks_for_the_password_and_leads_nowhere_else(talk: Talk) -> None:
    assert "Log in" in (await talk.client.get("/login?user=user-1")).text, "once there are accounts nobody skips it"
    wrong = await talk.client.post("/login", content="user=user-1&password=guess")
    assert wrong.status_code == 401
    assert "Wrong account name or password." in wrong.text
    right = await talk.client.post("/login", content="user=user-1&password=app-password")
    assert right.headers["location"] == "/"
    assert "No external app is registered yet" in (await talk.client.get("/")).text
    talk.cloud.accounts.passwords.clear()
    elsewhere = await talk.client.get("/login?user=user-1&to=//example.com/")
    assert elsewhere.headers["location"] == "/"


async def test_occ_is_for_those_who_can_read_its_token(talk: Talk) -> None:
    occ = Occ(talk.cloud.app_api)
    talk.cloud.app.include_router(occ_routes(occ))
    for headers in ({}, {"Sandbox-Occ": "guess"}):
        assert (await talk.client.post("/sandbox/occ", json=["app_api:app:list"], headers=headers)).status_code == 404
    answer = await talk.client.post("/sandbox/occ", json=["app_api:app:list"], headers={"Sandbox-Occ": occ.token})
    assert answer.text == "exit:0\n"


class Shell:
    """`occ`, and the app that it configures."""

    def __init__(self, cloud: Nextcloud) -> None:
        self.occ = Occ(cloud.app_api)
        self.app = cloud.app_api.register()
        self.app.enabled = True

    async def __call__(self, *arguments: str) -> str:
        return "\n".join([line async for line in self.occ.run(arguments)])

    async def config(self, verb: str, key: str, *options: str) -> str:
        return await self(f"app_api:app:config:{verb}", "live_transcription", key, *options)


@pytest.fixture
def shell(talk: Talk) -> Shell:
    return Shell(talk.cloud)


async def test_occ_sets_what_the_app_reads(shell: Shell) -> None:
    await shell.config("set", "lt_default_language", "--value", "fr")
    assert shell.app.config["lt_default_language"].value == await shell.config("get", "lt_default_language") == "fr"
    await shell.config("delete", "lt_default_language")
    with pytest.raises(OccError, match="not found"):
        await shell.config("get", "lt_default_language")


async def test_occ_changes_an_existing_value_only_when_told_so(shell: Shell) -> None:
    with pytest.raises(OccError, match="not found"):
        await shell.config("set", "lt_key", "--update-only", "--value", "one")
    await shell.config("set", "lt_key", "--value", "one", "--sensitive=1")
    with pytest.raises(OccError, match="Use --update-only flag"):
        await shell.config("set", "lt_key", "--value", "two")
    await shell.config("set", "lt_key", "--value", "two", "--update-only")
    assert (shell.app.config["lt_key"].value, shell.app.config["lt_key"].sensitive) == ("two", True)


@pytest.mark.parametrize(
    ("option", "sensitive"), [(["--sensitive"], False), (["--sensitive=1"], True), (["--sensitive", "true"], True)]
)
async def test_sensitive_without_a_value_stores_plain_text(shell: Shell, option: list[str], *, sensitive: bool) -> None:
    await shell.config("set", "lt_key", *option, "--value=secret")
    assert shell.app.config["lt_key"].sensitive is sensitive


async def test_occ_reads_info_xml_as_appapi_does(shell: Shell, tmp_path: Path) -> None:
    await shell("app_api:daemon:register", "manual", "Manual", "manual-install", "http", "127.0.0.1:1", "http://127.0.0.1")
    info = tmp_path / "info.xml"
    info.write_text(INFO_XML.read_text(encoding="utf-8").replace("<id>live_transcription<", "<id>another<"), encoding="utf-8")
    lines = shell.occ.run(["app_api:app:register", "another", "manual", "--info-xml", str(info)])
    await anext(lines)
    registered = shell.occ.app_api.apps["another"]
    assert registered.display_name == "Live Transcription"
    assert registered.routes == declared_routes()
    await lines.aclose()


async def test_occ_says_what_it_cannot_do(shell: Shell) -> None:
    for arguments in (
        ["app_api:app:enable", "another_app"],
        ["app_api:nothing"],
        ["app_api:app:register", "another_app", "--json-info", "{}"],
        ["app_api:app:register", "another_app"],
        ["app_api:daemon:register", "harp", "HaRP", "docker-install", "http", "harp:8780", "http://127.0.0.1"],
    ):
        with pytest.raises(OccError):
            await shell(*arguments)
