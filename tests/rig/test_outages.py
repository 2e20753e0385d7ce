# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The HPB is down, refuses the secret, or no audio arrives: captions return automatically, and health gives the cause."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from ex_app.routes.admin import OWN_HEADER
from sandbox.rig import HPB_SERIES, RigUnavailable
from sandbox.rig.installed import turn_program
from tests.rig.setting import SHORT_SPEECH, Setting, eventually, setting

#: Long enough for waits that double to have grown beyond `BACK_S`.
AWAY_S = 15.0
#: 6 s between attempts, and what the way back takes.
BACK_S = 9.0
ROOMS = 6
PROXY = "/index.php/apps/app_api/proxy/live_transcription"


async def reasons(talk: Setting) -> list[str]:
    return list((await talk.app.health())["reasons"])


async def reasoned(talk: Setting, expected: set[str], timeout_s: float) -> None:
    async def met() -> bool:
        return expected <= set(await reasons(talk))

    await eventually(met, f"health gives the reasons {expected}", timeout_s)


async def well(talk: Setting, timeout_s: float = 5.0) -> None:
    async def met() -> bool:
        return set(await reasons(talk)) <= {"load"}  # of the machine

    await eventually(met, "health gives no reasons", timeout_s)


def warnings(talk: Setting, code: str) -> int:
    """Lines of the app's log that say that a condition has begun or ended."""
    lines = [line for line in talk.app.process.log.read_text(encoding="utf-8").splitlines() if f'"code": "{code}"' in line]
    return sum('"level": "warning"' in line for line in lines)


async def change_settings(talk: Setting, **settings: str) -> None:
    """As an administrator does on the settings page."""
    async with httpx.AsyncClient(
        base_url=talk.nextcloud.url, cookies={"sandbox_user": "admin"}, headers={OWN_HEADER: "1"}, trust_env=False
    ) as browser:
        answer = await browser.put(f"{PROXY}/admin/settings", json={"settings": settings})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("series", [series for series in HPB_SERIES if series != "2.1"], indirect=True)
async def test_all_rooms_are_captioned_again_soon_after_an_outage(series: str, tmp_path: Path) -> None:
    async with setting(tmp_path, hpb_series=series) as talk, AsyncExitStack() as stack:
        rooms = [talk.room() for _ in range(ROOMS)]
        listeners = [await stack.enter_async_context(talk.listener(room)) for room in rooms]
        for listener in listeners:
            assert (await listener.enable_captions("en")).ok
        speaker = await stack.enter_async_context(talk.speaker(rooms[0]))
        for _ in range(10):
            speaker.play(SHORT_SPEECH)
        await listeners[0].captions.wait(speaker=speaker.session_id)

        async def reconnected() -> bool:
            return await talk.app.metric("live_transcription_signaling_reconnects_total") >= ROOMS

        talk.link.refusing = True
        talk.link.cut()
        await reasoned(talk, {"hpb-unreachable"}, AWAY_S)
        await asyncio.sleep(AWAY_S / 2)
        talk.link.refusing = False
        back_at = time.time()
        await asyncio.gather(
            eventually(reconnected, "every room is back", BACK_S),
            listeners[0].captions.wait(since=back_at, timeout_s=BACK_S),
        )
        await well(talk)
        assert warnings(talk, "hpb-unreachable") == 2, "one when it begins and one when it ends, not one per room"


async def test_a_wrong_secret_that_is_set_right_again_costs_nobody_their_captions(tmp_path: Path) -> None:
    async with setting(tmp_path) as talk:
        room, other = talk.room(), talk.room()
        async with (
            talk.speaker(room) as speaker,
            talk.listener(room) as listener,
            talk.listener(other, "listener-2") as latecomer,
        ):
            for _ in range(10):
                speaker.play(SHORT_SPEECH)
            assert (await listener.enable_captions("en")).ok
            await listener.captions.wait(speaker=speaker.session_id)
            await change_settings(talk, lt_internal_secret="mistyped-secret")
            await reasoned(talk, {"hpb-refused"}, 15.0)
            asked = time.monotonic()
            answer = await latecomer.enable_captions("en")
            assert answer.status == 503
            assert "refused the internal secret" in str(answer.body)
            assert time.monotonic() - asked < 1.0, "the cause is known, so nobody waits for it"
            assert (await talk.app.health())["targets"] == 0
            await change_settings(talk, lt_internal_secret=talk.rig.internal_secret)
            again = time.time()
            await listener.captions.wait(since=again, timeout_s=10)
            await well(talk)
            assert warnings(talk, "hpb-refused") == 2
            assert talk.rig.hpb.logged("Failed attempt on") <= 1


async def test_a_missing_media_path_and_a_turn_server_that_refuses_us_show_in_health(tmp_path: Path) -> None:
    try:
        turn_program()
    except RigUnavailable as error:
        pytest.skip(str(error))
    async with setting(tmp_path, turn_only=True) as talk:
        room = talk.room()
        async with talk.speaker(room) as speaker, talk.listener(room) as listener:
            await speaker.wait_connected()
            (server,) = talk.rig.turn_servers
            talk.nextcloud.talk.turn_servers = [server | {"credential": "another"}]
            assert (await listener.enable_captions("en")).ok
            await reasoned(talk, {"media-path", "turn-refused"}, 30.0)
            health: dict[str, Any] = await talk.app.health()
            assert "(401)" in health["explanations"]["turn-refused"]
            assert "UDP" in health["explanations"]["media-path"]
            assert {"media-path", "turn-refused"} <= {error["code"] for error in health["last_errors"]}
            for private in (speaker.session_id, room, "another"):
                assert private not in str(health)
            assert warnings(talk, "media-path") == warnings(talk, "turn-refused") == 1
            assert health["status"] == "failed"
            # The conditions end with the call, but what it has shown is still true.
            await talk.nextcloud.talk.leave(room)

            async def ended() -> bool:
                return not await talk.app.metric("live_transcription_condition", code="media-path")

            await eventually(ended, "the condition ends with the call", 5.0)
            assert {"media-path", "turn-refused"} <= set(await reasons(talk))
