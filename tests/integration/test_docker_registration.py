# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Registration from info.xml on a Docker daemon: `make register` prints the commands, AppAPI starts the app."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import pytest

from sandbox.hpb import HpbStandIn
from sandbox.hpb import Nextcloud as NextcloudBehindHpb
from sandbox.nextcloud import Nextcloud
from sandbox.nextcloud.app_info import INFO_XML
from sandbox.nextcloud.containers import Containers
from sandbox.nextcloud.occ import Occ, OccError
from sandbox.sfu import Sfu
from sandbox.stun import stun_server
from scripts.register import docker_commands

IMAGE = "registry.example.com/live_transcription:10.0.0"
DAEMON = ["app_api:daemon:register", "harp", "HaRP", "docker-install", "http", "localhost:2375"]


class Shell:
    def __init__(self, cloud: Nextcloud, containers: Containers) -> None:
        self.cloud = cloud
        self.containers = containers
        self._occ = Occ(cloud.app_api, containers)

    async def __call__(self, *arguments: str) -> list[str]:
        return [line async for line in self._occ.run(arguments)]


@pytest.fixture(params=[(32, 0, 3)])
async def shell(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shell]:
    async with Nextcloud(version=request.param) as cloud, contextlib.AsyncExitStack() as stack:
        containers = Containers(tmp_path)
        stack.push_async_callback(containers.aclose)
        made = Shell(cloud, containers)
        await made(*DAEMON, cloud.url)
        yield made


def commands(*settings: str, local_image: bool = True) -> list[list[str]]:
    info = ET.fromstring(INFO_XML.read_text(encoding="utf-8"))
    image = f"{info.findtext('.//registry')}/{info.findtext('.//image')}:{info.findtext('.//image-tag')}"
    return docker_commands(info, "harp", str(INFO_XML), list(settings), image, local_image=local_image)


@pytest.mark.model
@pytest.mark.timeout(120)
async def test_the_printed_commands_install_the_app_on_a_docker_daemon(shell: Shell) -> None:
    lines: list[str] = []
    for command in commands("LT_HPB_URL=https://hpb.example.com", "LT_DEFAULT_LANGUAGE=fr"):
        lines += await shell(*command)
    assert lines[-1] == "ExApp live_transcription successfully registered."
    assert await shell("app_api:app:list") == ["live_transcription (Live Transcription): 10.0.0 [enabled]"]
    app = shell.cloud.app_api.apps["live_transcription"]
    assert app.container is not None
    environment = app.container.environment
    assert environment["APP_DISPLAY_NAME"] == "Live Transcription"
    assert (environment["LT_HPB_URL"], environment["LT_DEFAULT_LANGUAGE"]) == ("https://hpb.example.com", "fr")
    # A default of info.xml arrives as if it had been entered, and an empty value does not arrive.
    assert environment["LT_STT_FALLBACK"] == "true"
    assert "LT_INTERNAL_SECRET" not in environment
    answer = await shell.cloud.app_api.request("live_transcription", "GET", "/admin/settings", user_id="admin")
    assert isinstance(answer.body, dict)
    assert answer.body["settings"]["lt_default_language"] == {"source": "environment", "value": "fr", "problem": ""}

    await shell("app_api:app:disable", "live_transcription")
    assert not app.container.running
    await shell("app_api:app:enable", "live_transcription")
    assert app.container.running
    await shell("app_api:app:config:set", "live_transcription", "lt_default_language", "--value", "de")
    volume = app.container.volume
    await shell("app_api:app:unregister", "live_transcription", "--rm-data")
    assert not volume.exists()
    assert not shell.containers.containers
    # The database keeps what was saved.
    assert shell.cloud.app_api.register().config["lt_default_language"].value == "de"


@pytest.mark.model
@pytest.mark.timeout(120)
@pytest.mark.parametrize("shell", [(32, 0, 0), (33, 0, 3), (35, 0, 0)], ids=["32.0.0", "33.0.3", "35"], indirect=True)
async def test_from_the_registration_to_a_green_self_test(shell: Shell) -> None:
    cloud, secret = shell.cloud, "internal-secret-of-the-tests"
    side = NextcloudBehindHpb(cloud.url + "/", cloud.signaling_secret)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(side.aclose)
        sfu = await stack.enter_async_context(Sfu())
        hpb = await stack.enter_async_context(HpbStandIn(side, sfu, internal_secret=secret))
        cloud.hpb_url = hpb.url
        cloud.talk.stun_servers = [{"urls": [await stack.enter_async_context(stun_server())]}]
        for command in commands(f"LT_HPB_URL={hpb.url}", f"LT_INTERNAL_SECRET={secret}"):
            await shell(*command)
        async with asyncio.timeout(20):
            while "live_transcription:selftest" not in cloud.app_api.apps["live_transcription"].commands:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        lines = await shell("live_transcription:selftest", "--exit-code")
        assert lines[-1] == "All checks passed.", lines
        cookies = {"sandbox_user": "admin"}
        async with httpx.AsyncClient(base_url=cloud.url, cookies=cookies, trust_env=False, timeout=20) as browser:
            for path in ("js/live_transcription-api.js", "css/live_transcription-settings.css", "img/app.svg", "admin/page"):
                answer = await browser.get(f"/index.php/apps/app_api/proxy/live_transcription/{path}")
                assert answer.status_code == 200, path
            assert "Live transcription" in (await browser.get("/settings/admin/talk")).text
        await cloud.app_api.refresh_setup_checks()
        assert await shell("setupchecks") == ["✓ External apps"]
        await shell("app_api:app:unregister", "live_transcription", "--rm-data")


async def test_an_image_that_is_only_on_the_machine_cannot_be_pulled(shell: Shell) -> None:
    (command,) = commands(local_image=False)
    with pytest.raises(OccError, match="pull image"):
        await shell(*command)


async def test_a_container_that_ends_is_not_healthy(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.nextcloud.occ.HEALTHY_S", 0.5)
    add, register = commands("LT_HPB_URL=https://hpb.example.com")
    await shell(*add)

    async def broken(*_: object, **__: object) -> asyncio.subprocess.Process:
        return await asyncio.subprocess.create_subprocess_exec("false")

    monkeypatch.setattr("sandbox.nextcloud.containers.asyncio.create_subprocess_exec", broken)
    with pytest.raises(OccError, match="healthcheck failed"):
        await shell(*register)
