# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The service: limits, restarts, ends and conditions of its calls. `tests/integration/test_call.py` tests the calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest

from live_transcription.audio_store.budget import PROCESS_BUDGET
from live_transcription.call.call import Call
from live_transcription.call.calls import ANSWER_S
from live_transcription.capacity.descriptors import DescriptorReading
from live_transcription.capacity.memory import MemoryBound, MemoryReading, MemorySource
from live_transcription.config import EngineConfig, HpbConfig
from live_transcription.errors import (
    CallUnavailable,
    ConfigurationError,
    OutOfDescriptors,
    SignalingUnreachable,
    TooManyCalls,
    UnknownLanguage,
)
from live_transcription.observability import metrics
from live_transcription.service import GRACE_S, SHUTDOWN_S, TranscriptionService
from live_transcription.signaling.connection import SignalingConnection
from live_transcription.signaling.hello_guard import HelloGuard
from live_transcription.status import CallSnapshot
from live_transcription.types import IceServer, Secret
from sandbox import virtual_clock
from tests.fakes.call import FakeSession, ended, join_and_stay
from tests.fakes.stt import FakeRegistry

CONFIG = EngineConfig(hpb=HpbConfig("wss://signaling.example.com", Secret("secret"), "https://cloud.example.com"))
SNAPSHOT = CallSnapshot("room", "en", (("nc1", "user-1"),))


async def no_servers() -> Sequence[IceServer]:
    return ()


def service(
    *, read_descriptors: Callable[[], DescriptorReading] = lambda: DescriptorReading(0, None), **changes: int
) -> TranscriptionService:
    return TranscriptionService(
        replace(CONFIG, **changes),  # type: ignore[arg-type]
        no_servers,
        registry=FakeRegistry(),
        wall_clock=lambda: 0.0,
        read_descriptors=read_descriptors,
    )


def test_a_call_that_keeps_failing_restarts_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began_at: list[float] = []
    lives_s = 0.0

    async def fail(call: Call) -> None:
        began_at.append(asyncio.get_running_loop().time())
        if lives_s:
            call.joined.set()
            await asyncio.sleep(lives_s)
            call.joined.clear()
        raise RuntimeError("unexpected")

    monkeypatch.setattr(Call, "run", fail)

    async def run() -> None:
        nonlocal lives_s
        async with service() as ours:
            ours.restore([SNAPSHOT])
            await asyncio.sleep(1000)
            waits = [later - earlier for earlier, later in pairwise(began_at)]
            assert 2.5 <= waits[0] <= 5.1
            assert 20 <= waits[3] <= 41
            assert all(60 <= wait <= 121 for wait in waits[5:])
            assert ours.export()[0].targets[0][0] == "nc1", "who reads is not forgotten"
            assert ours.status().calls == 0
            lives_s = 61.0
            await asyncio.sleep(200)
            assert began_at[-1] - began_at[-2] <= 61.0 + 5.1, "well for a minute: its failure counts as the first"
            lives_s = 0.0
            await asyncio.sleep(300)
            left_at = asyncio.get_running_loop().time()
            await ours.leave("room")
            assert asyncio.get_running_loop().time() - left_at < 0.1, "nobody waits for what waits"
            starts = len(began_at)
            await asyncio.sleep(500)
            assert len(began_at) == starts
            assert ours.export() == ()

    virtual_clock.run(run(), loopback_s=0.0)


def test_a_call_beyond_the_limit_is_refused_and_running_calls_continue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Call, "run", join_and_stay)

    def refused() -> float:
        return metrics.registry.get_sample_value("live_transcription_calls_refused_total", {"code": "too_many_calls"}) or 0.0

    async def run() -> None:
        before = refused()
        async with service(max_calls=2) as ours:
            ours.restore([CallSnapshot("restored", "en", (("nc1", None),))])
            await ours.enable("second", "nc2")
            with pytest.raises(TooManyCalls, match="2 other calls are being captioned") as failure:
                await ours.enable("third", "nc3")
            assert failure.value.code == "too_many_calls"
            assert failure.value.retryable
            assert refused() == before + 1
            await ours.enable("second", "nc4")
            assert ours.status().targets == 3, "more readers are welcome in a call that runs"
            ours.restore([CallSnapshot(f"more-{number}", "en", (("nc1", None),)) for number in range(3)])
            assert ours.status().calls == 2
            await ours.leave("restored")
            await ours.enable("third", "nc3")
            assert ours.status().calls == 2

    virtual_clock.run(run(), loopback_s=0.0)


def test_a_request_is_answered_in_time_while_the_call_is_still_being_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    async def join_late(call: Call) -> None:
        await asyncio.sleep(5)
        call.joined.set()
        await ended(call)

    monkeypatch.setattr(Call, "run", join_late)

    async def run() -> None:
        clock = asyncio.get_running_loop().time
        async with service() as ours:
            began_at = clock()
            with pytest.raises(CallUnavailable, match="could not be joined in time"):
                await ours.enable("room", "nc1")
            assert clock() - began_at == pytest.approx(ANSWER_S, abs=0.05)
            assert ours.export() == (), "the session of a failed request is no target"
            await asyncio.sleep(5)
            await ours.enable("room", "nc1")
            assert ours.status().targets == 1

    virtual_clock.run(run(), limit_s=60.0, loopback_s=0.0)


#: Languages of the official app that this one does not have, and values that are none.
LACKED = ("ar", "ar_TN", "br", "cs", "eo", "fa", "hi", "kk", "te", "tg", "uz", "vi", "tlh", "EN", "x" * 64, "\n{}%s")


@pytest.mark.parametrize("language", LACKED)
def test_a_room_whose_language_cannot_be_transcribed_is_captioned_in_the_default_language(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, language: str
) -> None:
    monkeypatch.setattr(Call, "run", join_and_stay)

    async def run() -> None:
        async with service() as ours:
            for reader in ("nc1", "nc2", "nc3"):
                await ours.enable("room", reader, language=language)
            (call,) = ours.export()
            assert (call.language, len(call.targets)) == ("en", 3)
            with pytest.raises(UnknownLanguage):
                await ours.set_language("room", language)
            await ours.set_language("room", "fr")
            assert ours.export()[0].language == "fr"

    virtual_clock.run(run(), limit_s=60.0, loopback_s=0.0)
    (line,) = [record.getMessage() for record in caplog.records if "default language" in record.getMessage()]
    assert repr(language)[:10] in line
    assert len(line) < 150


def test_the_language_of_a_running_call_is_kept_when_a_reader_names_one_that_cannot_be_transcribed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Call, "run", join_and_stay)

    async def run() -> None:
        async with service() as ours:
            await ours.enable("room", "nc1", language="fr")
            await ours.enable("room", "nc2", language="cs")
            assert ours.export()[0].language == "fr"

    virtual_clock.run(run(), limit_s=60.0, loopback_s=0.0)


def test_new_settings_rejoin_running_calls_even_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[str] = []

    async def stay(call: Call) -> None:
        joined.append(call.room_token)
        call.joined.set()
        await ended(call)

    monkeypatch.setattr(Call, "run", stay)

    async def run() -> None:
        async with service(max_calls=1) as ours:
            await ours.enable("room", "nc1")
            await asyncio.sleep(0.1)
            ours.apply(replace(CONFIG, max_calls=1, hpb=replace(CONFIG.hpb, url="wss://other.example.com")))
            await asyncio.sleep(0.1)
            assert joined == ["room", "room"]

    virtual_clock.run(run(), loopback_s=0.0)


def test_a_lower_limit_and_another_backend_rejoin_every_running_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for one more call: those that run would stay with the backend that is no more."""
    urls: list[str] = []

    async def stay(call: Call) -> None:
        urls.append(call.config.hpb.url)
        call.joined.set()
        await ended(call)

    monkeypatch.setattr(Call, "run", stay)

    async def run() -> None:
        async with service(max_calls=2) as ours:
            await ours.enable("first", "nc1")
            await ours.enable("second", "nc2")
            ours.apply(replace(CONFIG, max_calls=1, hpb=replace(CONFIG.hpb, url="wss://other.example.com")))
            await asyncio.sleep(0.1)
            assert urls[2:] == ["wss://other.example.com"] * 2

    virtual_clock.run(run(), loopback_s=0.0)


def test_refused_calls_take_no_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else anybody who asks again and again would keep speakers of running calls waiting."""
    reading = DescriptorReading(100, 400)

    monkeypatch.setattr(Call, "run", join_and_stay)

    def refused(code: str) -> float:
        return metrics.registry.get_sample_value("live_transcription_calls_refused_total", {"code": code}) or 0.0

    async def run() -> None:
        nonlocal reading
        async with service(read_descriptors=lambda: reading, max_calls=1) as ours:
            await ours.enable("room", "nc1")
            for number in range(200):
                with pytest.raises(TooManyCalls):
                    await ours.enable(f"room-{number}", "nc1")
            ours.apply(replace(CONFIG, max_calls=2))
            await ours.enable("another", "nc1")
            await asyncio.sleep(2)
            assert [condition.code for condition in ours.status().conditions] == []
        before = refused("out_of_descriptors")
        reading = DescriptorReading(390, 400)
        async with service(read_descriptors=lambda: reading) as ours:
            with pytest.raises(OutOfDescriptors):
                await ours.enable("room", "nc1")
            assert refused("out_of_descriptors") == before + 1

    virtual_clock.run(run(), loopback_s=0.0)


def test_buffered_audio_of_all_calls_is_bounded_by_the_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROCESS_BUDGET, "limit_bytes", PROCESS_BUDGET.limit_bytes)
    reading = MemoryReading(100 << 20, (MemoryBound(MemorySource.CONTAINER, 100 << 20, 400 << 20),))
    TranscriptionService(CONFIG, no_servers, registry=FakeRegistry(), wall_clock=lambda: 0.0, read_memory=lambda: reading)  # type: ignore[arg-type]
    assert PROCESS_BUDGET.limit_bytes == 100 << 20


def test_the_service_ends_without_waiting_for_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(call: Call) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(Call, "run", fail)

    async def run() -> None:
        async with service() as ours:
            ours.restore([SNAPSHOT])
            await asyncio.sleep(100)
            ended_at = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - ended_at < 0.1

    virtual_clock.run(run(), loopback_s=0.0)


def test_a_service_that_is_cancelled_while_it_ends_leaves_no_call_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    async def run_on(call: Call) -> None:
        call.joined.set()
        try:
            await asyncio.sleep(1e6)
        finally:
            ended.append(call.room_token)

    monkeypatch.setattr(Call, "run", run_on)

    async def live(leave: asyncio.Event) -> None:
        async with service() as ours:
            await ours.enable("room", "nc1")
            await leave.wait()

    async def run() -> None:
        leave = asyncio.Event()
        life = asyncio.create_task(live(leave))
        await asyncio.sleep(1)
        leave.set()
        await asyncio.sleep(GRACE_S / 2)
        life.cancel()
        await asyncio.wait([life])
        assert life.cancelled()
        assert ended == ["room"]

    virtual_clock.run(run(), loopback_s=0.0)


def test_a_cancelled_call_leaves_no_delay_behind_after_its_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    began_at: list[float] = []

    async def fail_but_the_fifth_time(call: Call) -> None:
        began_at.append(asyncio.get_running_loop().time())
        if len(began_at) != 5:
            raise RuntimeError("unexpected")
        await asyncio.sleep(1e6)

    monkeypatch.setattr(Call, "run", fail_but_the_fifth_time)

    async def run() -> None:
        async with service() as ours:
            ours.restore([SNAPSHOT])
            await asyncio.sleep(200)
            assert len(began_at) == 5
            assert began_at[4] - began_at[3] >= 20
            await ours.leave("room")
            await asyncio.sleep(1)
            ours.restore([SNAPSHOT])
            await asyncio.sleep(6)
            assert began_at[6] - began_at[5] <= 5.1, "the first failure of a new call"

    virtual_clock.run(run(), limit_s=1000.0, loopback_s=0.0)


def test_a_call_that_fails_while_settings_are_invalid_restarts_with_the_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[str] = []

    async def fail_once(call: Call) -> None:
        began.append(call.config.hpb.url)
        if len(began) == 1:
            raise RuntimeError("unexpected")
        await ended(call)

    monkeypatch.setattr(Call, "run", fail_once)

    async def run() -> None:
        async with service(max_calls=1) as ours:
            ours.restore([SNAPSHOT])
            await asyncio.sleep(1)
            ours.apply(ConfigurationError("LT_HPB_URL", "There is no address."))
            await asyncio.sleep(10)
            assert began == [CONFIG.hpb.url] * 2
            assert ours.export() == (SNAPSHOT,)

    virtual_clock.run(run(), loopback_s=0.0)


@pytest.mark.parametrize(
    ("how", "takes_s"), [("leave", GRACE_S), ("leave_all", SHUTDOWN_S), ("leave_all at once", 0.0), ("the block ends", GRACE_S)]
)
def test_calls_that_do_not_end_are_cancelled_after_the_grace_period(
    monkeypatch: pytest.MonkeyPatch, how: str, takes_s: float
) -> None:
    """Talk waits 3 s for an answer, Docker 10 s for the end of the app, and a second signal for nothing."""

    async def never_end(call: Call) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Call, "run", never_end)

    async def run() -> None:
        clock = asyncio.get_running_loop().time
        async with service() as ours:
            ours.restore([SNAPSHOT])
            await asyncio.sleep(1)
            began_at = clock()
            match how:
                case "leave":
                    await ours.leave("room")
                case "leave_all":
                    await ours.leave_all()
                case "leave_all at once":
                    await ours.leave_all(0.0)
        assert clock() - began_at == pytest.approx(takes_s, abs=0.05)

    virtual_clock.run(run(), limit_s=60.0, loopback_s=0.0)


def test_targets_are_kept_while_a_call_cannot_be_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restored call, or one whose settings have changed: nobody can be seen to come back before we are in the room."""

    async def stay_outside(connection: SignalingConnection) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(SignalingConnection, "run", stay_outside)

    async def run() -> None:
        async with service() as ours:
            ours.restore([SNAPSHOT])
            await asyncio.sleep(4 * 3600)
            assert ours.export() == (SNAPSHOT,)
            await ours.disable("room", "nc1")
            await asyncio.sleep(100)
            assert ours.export() == ()

    virtual_clock.run(run(), loopback_s=0.0)


def test_an_outage_of_many_rooms_is_one_condition(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    outage: SignalingUnreachable | None = SignalingUnreachable("Nothing listens.", fix="Start it.")
    sessions: list[FakeSession] = []

    def new_session(config: HpbConfig, room_token: str, *, guard: HelloGuard) -> FakeSession:
        sessions.append(FakeSession(config, room_token, guard=guard))
        sessions[-1].last_error = outage
        return sessions[-1]

    monkeypatch.setattr("live_transcription.service.Call", partial(Call, new_session=new_session))

    def counted() -> float:
        labels = {"code": "hpb-unreachable"}
        return metrics.registry.get_sample_value("live_transcription_conditions_total", labels) or 0.0

    before = counted()

    def codes(ours: TranscriptionService) -> list[str]:
        return [condition.code for condition in ours.status().conditions]

    async def run() -> None:
        nonlocal outage
        async with service() as ours:
            ours.restore([CallSnapshot(f"room-{number}", "en", (("nc1", None),)) for number in range(50)])
            await asyncio.sleep(3)
            assert codes(ours) == []
            await asyncio.sleep(60)
            assert codes(ours) == ["hpb-unreachable"]
            assert [error.code for error in ours.status().last_errors] == ["hpb-unreachable"]
            assert counted() == before + 1
            await ours.leave_all()
            await asyncio.sleep(60)
            assert codes(ours) == ["hpb-unreachable"], "nothing has shown that it is over"
            outage = None
            ours.restore([SNAPSHOT])
            await sessions[-1].start()
            await asyncio.sleep(2)
            assert codes(ours) == []

    virtual_clock.run(run(), loopback_s=0.0)
    records = [record for record in caplog.records if record.levelno >= logging.WARNING and "code" in vars(record)]
    warnings = [record.getMessage() for record in records]
    assert warnings[0] == "50 calls get no captions. Nothing listens. Start it."
    assert warnings[1].startswith("The condition hpb-unreachable ended after 1")
    assert len(warnings) == 2
