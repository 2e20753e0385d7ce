# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The test of an HPB's settings, which shares the guard of hellos with the calls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from live_transcription.config import HpbConfig
from live_transcription.errors import SignalingRefused, SignalingUnreachable
from live_transcription.signaling.connection import SignalingConnection
from live_transcription.signaling.hello_guard import HelloGuard
from live_transcription.signaling.probe import probe_hpb
from live_transcription.types import Secret
from tests.unit.signaling.hpb_stub import SECRET, HpbStub, hpb_stub


def config_of(stub: HpbStub, secret: str = SECRET) -> HpbConfig:
    return HpbConfig(stub.url, Secret(secret), "https://cloud.example.com")


def ignore() -> None:
    pass


@contextlib.asynccontextmanager
async def calls(stub: HpbStub, guard: HelloGuard, count: int) -> AsyncIterator[list[SignalingConnection]]:
    connections = [SignalingConnection(config_of(stub), f"room-{number}", guard=guard) for number in range(count)]
    running = [asyncio.create_task(connection.run()) for connection in connections]
    yield connections
    await asyncio.gather(*(connection.close() for connection in connections))
    await asyncio.gather(*running)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - properties, which the service polls, too
            await asyncio.sleep(0.01)


async def test_the_probe_reports_version_and_features_and_leaves_no_session() -> None:
    opened: list[str] = []
    async with hpb_stub() as stub:
        report = await probe_hpb(config_of(stub), lambda: opened.append("open"), guard=HelloGuard())
        assert (report.version, report.features) == ("2.0.2", ("mcu", "recipient-call", "welcome"))
        assert opened == ["open"]
        assert [frame["type"] for frame in stub.received] == ["hello", "bye"]
        assert stub.sessions == {}


async def test_after_a_successful_probe_the_calls_that_were_refused_log_in_at_once() -> None:
    """They would otherwise wait for five minutes."""
    guard = HelloGuard()
    async with hpb_stub(hello_error="invalid_token") as stub, calls(stub, guard, 3) as connections:
        await until(lambda: all(connection.refused.is_set() for connection in connections))
        assert len(stub.full_hellos()) == 1
        stub.hello_error = None
        await probe_hpb(config_of(stub), ignore, guard=guard)
        await until(lambda: all(connection.in_room for connection in connections))
        assert guard.refusal(config_of(stub), asyncio.get_running_loop().time()) is None


async def test_the_refusal_of_a_probe_keeps_calls_from_trying_the_same_credential() -> None:
    guard = HelloGuard()
    async with hpb_stub(hello_error="invalid_token") as stub:
        with pytest.raises(SignalingRefused) as refused:
            await probe_hpb(config_of(stub), ignore, guard=guard)
        assert refused.value.reason == "invalid_token"
        async with calls(stub, guard, 3) as connections:
            await until(lambda: all(connection.refused.is_set() for connection in connections))
            assert len(stub.full_hellos()) == 1


async def test_a_probe_of_an_hpb_without_sfu_proves_the_credential_all_the_same() -> None:
    guard = HelloGuard()
    async with hpb_stub(features=["recipient-call"]) as stub:
        with pytest.raises(SignalingRefused) as refused:
            await probe_hpb(config_of(stub), ignore, guard=guard)
        assert refused.value.reason == "no_sfu"
        assert guard.obstacle(config_of(stub), asyncio.get_running_loop().time()) is None


async def test_a_probe_waits_for_the_outcome_of_a_calls_hello() -> None:
    guard = HelloGuard()
    async with hpb_stub(hello_delay_s=0.1) as stub, calls(stub, guard, 1):
        await until(lambda: len(stub.full_hellos()) == 1)
        await probe_hpb(config_of(stub), ignore, guard=guard)
        assert [frame["type"] for frame in stub.received][:3] == ["hello", "room", "hello"]


async def test_a_probe_whose_connection_breaks_counts_as_a_failed_hello() -> None:
    guard = HelloGuard()
    async with hpb_stub(answers_hello=False) as stub:
        probing = asyncio.create_task(probe_hpb(config_of(stub), ignore, guard=guard))
        await until(lambda: len(stub.full_hellos()) == 1)
        await stub.cut()
        with pytest.raises(SignalingUnreachable):
            await probing
        wait = guard.obstacle(config_of(stub), asyncio.get_running_loop().time())
        assert wait is not None
        assert wait.until is not None


async def test_two_tests_at_once_share_the_outcome_of_one_refused_hello() -> None:
    guard = HelloGuard()
    async with hpb_stub(hello_error="invalid_token", hello_delay_s=0.1) as stub:
        opened: list[str] = []
        tests = [probe_hpb(config_of(stub), lambda: opened.append("open"), guard=guard) for _ in range(3)]
        outcomes = await asyncio.gather(*tests, return_exceptions=True)
        assert [getattr(outcome, "reason", outcome) for outcome in outcomes] == ["invalid_token"] * 3
        assert len(stub.full_hellos()) == 1
        assert opened == ["open"] * 3, "the address is right in each of them: only the secret is refused"


async def test_a_refusal_without_a_connection_of_its_own_is_no_unreachable_backend() -> None:
    """The check in the background and the test on the page both begin when a wrong secret is saved."""
    guard = HelloGuard()
    opened: list[str] = []
    async with hpb_stub(hello_error="invalid_token", hello_delay_s=0.1) as stub:
        background = asyncio.create_task(probe_hpb(config_of(stub), ignore, guard=guard, urgent=False))
        await until(lambda: len(stub.full_hellos()) == 1)
        with pytest.raises(SignalingRefused):
            await probe_hpb(config_of(stub), lambda: opened.append("open"), guard=guard)
        with pytest.raises(SignalingRefused):
            await background
    assert opened == ["open"]


async def test_two_tests_at_once_both_succeed() -> None:
    guard = HelloGuard()
    async with hpb_stub(hello_delay_s=0.1) as stub:
        opened: list[str] = []
        tests = [probe_hpb(config_of(stub), lambda: opened.append("open"), guard=guard) for _ in range(3)]
        for report in await asyncio.gather(*tests):
            assert report.version
        assert opened == ["open"] * 3
