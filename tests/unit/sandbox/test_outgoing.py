# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The clients of the live test and of the deployment follow no redirect either."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from deploy.deploy import health
from sandbox.caller.connection import Connection
from sandbox.live_test.advice import refused_room
from sandbox.live_test.talk_client import TalkClient, TalkRefused
from tests.stranger import stranger

STATUSES = [301, 302, 303, 307, 308]


@pytest.mark.parametrize("status", STATUSES)
async def test_a_tab_names_the_new_address_and_takes_no_password_there(status: int) -> None:
    async with (
        stranger() as elsewhere,
        stranger(status=status, location=f"http://{elsewhere.host}/hidden") as entered,
        TalkClient(f"http://{entered.host}", "token", user="user-1", password="hidden", room_password="hidden") as tab,
    ):
        with pytest.raises(TalkRefused) as refused:
            await tab.join_room()
        assert (len(entered.requests), elsewhere.requests) == (1, [])
    advice = str(refused_room(refused.value, guest=False))
    assert f"redirects to http://{elsewhere.host})" in advice
    assert "hidden" not in advice


@pytest.mark.parametrize("status", STATUSES)
async def test_a_participant_says_no_hello_elsewhere(status: int) -> None:
    async def auth(_version: str) -> dict[str, Any]:
        return {}

    async with stranger() as elsewhere, stranger(status=status, location=f"ws://{elsewhere.host}/spreed") as entered:
        connection = Connection(
            f"ws://{entered.host}/spreed",
            auth,
            features=[],
            on_message=lambda _type, _data: None,
            on_event=lambda _event: None,
            on_refused=lambda _error: None,
        )
        running = asyncio.create_task(connection.run(lambda: None))
        async with asyncio.timeout(10):
            while connection.trouble is None:  # noqa: ASYNC110  an attribute that the live test polls, too
                await asyncio.sleep(0.005)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert isinstance(connection.trouble, InvalidStatus)
        assert elsewhere.requests == []


@pytest.mark.parametrize("status", STATUSES)
async def test_the_deployment_takes_no_key_elsewhere(status: int) -> None:
    async with stranger() as elsewhere, stranger(status=status, location=f"http://{elsewhere.host}/health") as entered:
        answer = await asyncio.to_thread(health, f"http://{entered.host}", {"Modal-Key": "wk-key"})
        assert answer == (status, "")
        assert (len(entered.requests), elsewhere.requests) == (1, [])
