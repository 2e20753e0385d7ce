# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Restored calls and the tests of an administrator share the hellos that the HPB tolerates."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from live_transcription.config import EngineConfig, HpbConfig
from live_transcription.errors import SignalingRefused
from live_transcription.service import TranscriptionService
from live_transcription.signaling.hello_guard import MAX_FAILURES
from live_transcription.status import CallSnapshot
from live_transcription.types import IceServer, Secret
from tests.fakes.stt import FakeRegistry
from tests.unit.signaling.hpb_stub import SECRET, HpbStub, hpb_stub

CALLS = 20
SNAPSHOTS = tuple(CallSnapshot(f"room-{number}", "en", ((f"nc-{number}", None),)) for number in range(CALLS))


def config_of(stub: HpbStub, secret: str = SECRET) -> EngineConfig:
    return EngineConfig(hpb=HpbConfig(stub.url, Secret(secret), "https://cloud.example.com"))


@contextlib.asynccontextmanager
async def restored(config: EngineConfig) -> AsyncIterator[TranscriptionService]:
    async def no_servers() -> Sequence[IceServer]:
        return ()

    service = TranscriptionService(config, no_servers, registry=FakeRegistry(), wall_clock=lambda: 0.0)  # type: ignore[arg-type]
    async with service:
        service.restore(SNAPSHOTS)
        yield service
        await service.leave_all(0.0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the stub and the service have no event to wait for
            await asyncio.sleep(0.02)


async def test_a_wrong_secret_costs_one_hello_however_many_calls_are_restored_and_a_good_test_lets_all_in() -> None:
    async with hpb_stub(hello_error="invalid_token") as stub, restored(config_of(stub)) as service:
        await until(lambda: any(condition.code == "hpb-refused" for condition in service.status().conditions))
        assert len(stub.full_hellos()) == 1
        stub.hello_error = None
        await service.probe_hpb(config_of(stub).hpb, lambda: None)
        await until(lambda: service.status().calls == CALLS)
        assert service.export() == SNAPSHOTS


async def test_saved_secrets_and_tests_never_exceed_the_hellos_that_the_hpb_tolerates() -> None:
    reasons = []
    async with hpb_stub() as stub, restored(config_of(stub, "wrong-0")) as service:
        await until(lambda: len(stub.full_hellos()) == 1)
        for number in range(1, 8):
            wrong = config_of(stub, f"wrong-{number}")
            service.apply(wrong)
            for _ in range(2):
                with pytest.raises(SignalingRefused) as refused:
                    await service.probe_hpb(wrong.hpb, lambda: None)
                reasons.append(refused.value.reason)
        assert len(stub.full_hellos()) == MAX_FAILURES
        assert (reasons[0], reasons[-1]) == ("invalid_token", "too_many_tries")
        assert service.export() == SNAPSHOTS
