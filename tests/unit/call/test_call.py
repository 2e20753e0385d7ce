# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One room's call beside its signaling: when it is over, and the order of what waits. With media: `tests/integration`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest

from live_transcription.call.call import Admit, Call
from live_transcription.captions.pace import Pace
from live_transcription.config import EngineConfig, HpbConfig
from live_transcription.errors import SignalingRefused
from live_transcription.signaling.auth import HelloGuard
from live_transcription.signaling.connection import SignalingConnection
from live_transcription.signaling.events import (
    InCall,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
    SessionStarted,
)
from live_transcription.speaker.speaker import Speaker
from live_transcription.stt_events import Hypothesis
from live_transcription.types import Caption, IceServer, Secret
from sandbox import virtual_clock
from tests.fakes.stt import FakeBackend

CONFIG = EngineConfig(hpb=HpbConfig("wss://signaling.example.com", Secret("secret"), "https://cloud.example.com"))


def everybody(*, returning: bool = False) -> bool:
    return True


def call(backend: FakeBackend | None = None, *, admit: Admit = everybody) -> Call:
    async def no_servers() -> Sequence[IceServer]:
        return ()

    return Call(
        "room",
        "en",
        CONFIG,
        backend or FakeBackend(),
        guard=HelloGuard(),
        ice_servers=no_servers,
        admit=admit,
        pace=Pace(),
        on_caption_sent=lambda caption: None,
        on_stt_error=lambda error: None,
    )


async def test_a_call_that_the_hpb_refuses_is_over_before_all_of_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    warming, refused, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def refuse(connection: SignalingConnection) -> None:
        await refused.wait()
        raise SignalingRefused("The secret has changed.")

    class SlowToEnd(FakeBackend):
        async def warm(self) -> None:
            warming.set()
            try:
                await asyncio.Event().wait()
            finally:
                await closed.wait()

    monkeypatch.setattr(SignalingConnection, "run", refuse)
    ours = call(SlowToEnd())
    running = asyncio.create_task(ours.run())
    async with asyncio.timeout(10):
        await warming.wait()
    assert not ours.ending
    refused.set()
    await asyncio.sleep(0.05)
    assert not running.done()
    assert ours.ending, "who asks for captions now needs another call"
    closed.set()
    with pytest.raises(ExceptionGroup) as failure:
        await running
    assert failure.group_contains(SignalingRefused, depth=1)


TALKING = InCall.IN_CALL | InCall.WITH_AUDIO


class Limit:
    """Admits as many as the test says; those who return always."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.asked: list[bool] = []

    def __call__(self, *, returning: bool = False) -> bool:
        self.asked.append(returning)
        if returning:
            return True
        self.places -= 1
        return self.places >= 0


@contextlib.asynccontextmanager
async def joined(monkeypatch: pytest.MonkeyPatch, *speakers: str, admit: Admit = everybody) -> AsyncIterator[Call]:
    """A call with a listener and these speakers in it; its signaling says nothing by itself."""

    async def stay(connection: SignalingConnection) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(SignalingConnection, "run", stay)
    ours = call(admit=admit)
    running = asyncio.create_task(ours.run())
    await asyncio.sleep(0.1)
    start_session(ours, *speakers)
    ours.add_target("nc1", None)
    yield ours
    running.cancel()
    await asyncio.wait([running])


def start_session(ours: Call, *speakers: str) -> None:
    ours._take(SessionStarted("own", resumed=False, server_version="2.0.2", features=frozenset()))
    ours._take(ParticipantsJoined((Participant("listener", nextcloud_session_id="nc1"),)))
    ours._take(ParticipantsUpdated(tuple(Participant(speaker, in_call=TALKING) for speaker in speakers)))


def test_speakers_beyond_the_limit_are_counted_and_taken_when_there_is_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The room may come from another call, of which this one hears nothing."""
    limit = Limit(1)

    async def run() -> None:
        async with joined(monkeypatch, "speaker-z", "speaker-a", "speaker-b", admit=limit) as ours:
            await asyncio.sleep(60)
            assert (ours.speaker_count, ours.waiting_count) == (1, 2)
            assert list(ours._speakers) == ["speaker-z"], "the first in the room is heard first"
            ours._take(ParticipantsLeft(("speaker-b",)))
            assert ours.waiting_count == 1
            limit.places = 5
            await asyncio.sleep(10)
            assert (ours.speaker_count, ours.waiting_count) == (2, 0)

    virtual_clock.run(run())


def test_a_new_session_takes_nobodys_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memory for new ones, those who were heard before the reconnect are heard after it, and no more."""
    limit = Limit(2)

    async def run() -> None:
        async with joined(monkeypatch, "speaker-1", "speaker-2", "speaker-3", admit=limit) as ours:
            start_session(ours, "speaker-4", "speaker-5", "speaker-6")
            assert (ours.speaker_count, ours.waiting_count) == (2, 1)
            await asyncio.sleep(60)
            start_session(ours, "speaker-7")
            assert (ours.speaker_count, ours.waiting_count) == (1, 0)
            await asyncio.sleep(60)
            ours._take(ParticipantsUpdated((Participant("speaker-8", in_call=TALKING),)))
            assert ours.waiting_count == 1, "who comes back after a minute is new"

    virtual_clock.run(run())


def test_a_speaker_that_fails_again_and_again_is_tried_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    began_at: list[float] = []
    limit = Limit(1)

    async def fail(speaker: Speaker) -> None:
        began_at.append(asyncio.get_running_loop().time())
        raise RuntimeError("unexpected")

    monkeypatch.setattr(Speaker, "run", fail)

    async def run() -> None:
        async with joined(monkeypatch, "speaker-1", admit=limit) as ours:
            await asyncio.sleep(1000)
            assert ours.waiting_count == 0
            waits = [later - earlier for earlier, later in pairwise(began_at)]
            assert all(2.5 <= wait <= 5.1 for wait in waits[:1])
            assert all(20 <= wait <= 41 for wait in waits[3:4])
            assert all(60 <= wait <= 121 for wait in waits[5:])
            assert len(waits) >= 10
            assert all(limit.asked[1:]), "its place is its own"
            loop = asyncio.get_running_loop()
            ended_at = loop.time()
            ours.end()
            await ours._say_last_words()
            assert loop.time() == ended_at, "nobody waits for who rests"

    virtual_clock.run(run())


class SlowLastWords:
    """In place of `Speaker.run`: shows a word, and takes so many seconds over the rest."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 1e6) -> None:
        self.happened: list[tuple[str, float]] = []
        slow = self

        async def run(speaker: Speaker) -> None:
            captioner = speaker._captioner
            for _ in range(2):
                captioner.feed(Hypothesis("a word or two", final=False))
            try:
                await speaker._ending.wait()
                await asyncio.sleep(seconds)
                captioner.feed(Hypothesis("a word or two more", final=True))
            except asyncio.CancelledError:
                slow.note("cancelled")
                raise
            finally:
                captioner.close()

        monkeypatch.setattr(Speaker, "run", run)

    def note(self, what: str) -> None:
        self.happened.append((what, round(asyncio.get_running_loop().time(), 2)))

    def listen(self, ours: Call) -> None:
        offer, forget = ours._delivery.offer, ours._delivery.forget

        def noted(caption: Caption) -> None:
            self.note(caption.text)
            offer(caption)

        def noted_forget(speaker: str) -> None:
            self.note(f"{speaker} gone")
            forget(speaker)

        ours._delivery.offer = noted  # type: ignore[method-assign]
        ours._delivery.forget = noted_forget  # type: ignore[method-assign]


def test_who_leaves_while_the_call_goes_on_is_not_hurried_and_the_end_of_the_call_waits_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = SlowLastWords(monkeypatch)

    async def run() -> None:
        async with joined(monkeypatch) as ours:
            slow.listen(ours)
            start_session(ours, "speaker-1")
            await asyncio.sleep(1.9)
            ours._take(ParticipantsLeft(("speaker-1",)))
            await asyncio.sleep(6)
            assert slow.happened == [("a word or", 0.1)]
            assert ours.speaker_count == 0
            ours.end()
            await asyncio.sleep(2)
            # With the words there were: committed first, cancelled then.
            assert slow.happened[1:] == [("two", 9.3), ("cancelled", 9.3), ("speaker-1 gone", 9.3)]

    virtual_clock.run(run())


def test_who_is_back_before_the_last_words_are_out_goes_on_speaking(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowLastWords(monkeypatch, 5.0)

    async def run() -> None:
        async with joined(monkeypatch) as ours:
            slow.listen(ours)
            start_session(ours, "speaker-1")
            await asyncio.sleep(1.9)
            start_session(ours, "speaker-1")
            await asyncio.sleep(20)
            assert slow.happened == [("a word or", 0.1), ("a word or", 2.0), ("two more", 7.0)]
            ours._take(ParticipantsLeft(("speaker-1",)))
            await asyncio.sleep(20)
            assert slow.happened[3:] == [("two more", 27.0), ("speaker-1 gone", 27.0)]

    virtual_clock.run(run())


def test_another_receive_path_is_for_those_who_are_subscribed_from_now_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with joined(monkeypatch, "speaker-1") as ours:
            ours.set_receive_path("stock")
            ours._take(ParticipantsUpdated((Participant("speaker-2", in_call=TALKING),)))
            assert [speaker.receive_path for speaker in ours._speakers.values()] == ["stock", "stock"]

    virtual_clock.run(run())
