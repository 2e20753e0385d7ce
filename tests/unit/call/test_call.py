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
from live_transcription.errors import RoomRefused
from live_transcription.signaling.auth import HelloGuard
from live_transcription.signaling.connection import SignalingConnection
from live_transcription.signaling.events import (
    InCall,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
    SessionInterrupted,
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


async def test_a_call_whose_room_the_hpb_refuses_is_over_before_all_of_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    warming, refused, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def refuse(connection: SignalingConnection) -> None:
        await refused.wait()
        raise RoomRefused("There is no such room.")

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
    assert failure.group_contains(RoomRefused, depth=1)


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


def test_a_recording_server_is_no_speaker(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it has audio; a SIP bridge, which says the same, comes with phone participants."""

    async def run() -> None:
        async with joined(monkeypatch, "speaker") as ours:
            ours._take(ParticipantsUpdated((Participant("recorder", in_call=TALKING, internal=True),)))
            await asyncio.sleep(1)
            assert ours.speaker_count == 1
            ours._take(ParticipantsUpdated((Participant("phone", in_call=TALKING, virtual=True),)))
            assert ours.speaker_count == 2

    virtual_clock.run(run())


def test_who_leaves_the_call_and_is_back_at_once_is_asked_for_a_second_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """In between the HPB handles the end of the old peer, and would lose the request."""
    asked: list[float] = []

    def request(connection: SignalingConnection, publisher: str, room_type: str) -> None:
        asked.append(asyncio.get_running_loop().time())

    monkeypatch.setattr(SignalingConnection, "request_offer", request)

    async def run() -> float:
        async with joined(monkeypatch, "speaker") as ours:
            await asyncio.sleep(0.5)
            left_at = asyncio.get_running_loop().time()
            ours._take(ParticipantsUpdated((Participant("speaker", in_call=InCall.IN_CALL),)))
            ours._take(ParticipantsUpdated((Participant("speaker", in_call=TALKING),)))
            await asyncio.sleep(2)
            return left_at

    left_at = virtual_clock.run(run())
    assert len(asked) == 2
    assert 1.0 <= asked[1] - left_at <= 1.4


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


def test_speakers_end_when_signaling_is_away_for_long_and_start_again_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with joined(monkeypatch, "speaker-1", "speaker-2") as ours:
            before = dict(ours._speakers)
            for _ in range(2):
                ours._take(SessionInterrupted("the websocket broke"))
                await asyncio.sleep(30)
                assert ours._speakers == before, "their audio may go on"
                ours._take(SessionStarted("own", resumed=True, server_version="2.0.2", features=frozenset()))
                await asyncio.sleep(100)
                assert ours._speakers == before
            ours._take(SessionInterrupted("the websocket broke"))
            await asyncio.sleep(50)
            assert ours.speaker_count == 0
            await asyncio.sleep(3600)
            assert [target.nc_session_id for target in ours.targets()] == ["nc1"]
            ours._take(SessionStarted("own", resumed=True, server_version="2.0.2", features=frozenset()))
            assert ours.speaker_count == 2
            ours._take(SessionInterrupted("the websocket broke"))
            ours.remove_target("nc1")
            await asyncio.sleep(100)
            assert ours.ending, "nobody wants captions, and nobody can be seen to come back"

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
            captioner.feed(Hypothesis("a word", final=False))
            try:
                await speaker._ending.wait()
                await asyncio.sleep(seconds)
                captioner.feed(Hypothesis("a word and all the rest", final=True))
            except asyncio.CancelledError:
                slow.note("cancelled")
                raise
            finally:
                captioner.close()

        monkeypatch.setattr(Speaker, "run", run)

    def note(self, what: str) -> None:
        self.happened.append((what, round(asyncio.get_running_loop().time(), 2)))

    def listen(self, ours: Call) -> None:
        offer, leave = ours._delivery.offer, ours._delivery.leave

        def noted(caption: Caption) -> None:
            if caption.final:
                self.note(caption.text)
            offer(caption)

        def noted_leave(speaker: str) -> None:
            self.note(f"{speaker} gone")
            leave(speaker)

        ours._delivery.offer = noted  # type: ignore[method-assign]
        ours._delivery.leave = noted_leave  # type: ignore[method-assign]


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
            assert slow.happened == []
            assert ours.speaker_count == 0
            ours.end()
            await asyncio.sleep(2)
            # With the words there were: closed first, cancelled then.
            assert slow.happened == [("a word", 9.3), ("cancelled", 9.3), ("speaker-1 gone", 9.3)]

    virtual_clock.run(run())


def test_the_end_of_the_app_gives_the_last_words_more_time_than_a_request_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the last second of speech takes seconds to decode; whoever stops the app waits longer than Talk."""
    slow = SlowLastWords(monkeypatch, 4.0)

    async def run() -> None:
        async with joined(monkeypatch) as ours:
            slow.listen(ours)
            start_session(ours, "speaker-1")
            await asyncio.sleep(1)
            ours.end(within_s=5.0)
            ours.end()  # a later request, such as Talk's, does not shorten it
            await asyncio.sleep(5)
            assert [what for what, _ in slow.happened] == ["a word and all the rest", "speaker-1 gone"]

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
            assert slow.happened == [("a word and all the rest", 7.0)]
            ours._take(ParticipantsLeft(("speaker-1",)))
            await asyncio.sleep(20)
            assert slow.happened[1:] == [("a word and all the rest", 27.0), ("speaker-1 gone", 27.0)]

    virtual_clock.run(run())


def test_another_receive_path_is_for_those_who_are_subscribed_from_now_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with joined(monkeypatch, "speaker-1") as ours:
            ours.set_receive_path("stock")
            ours._take(ParticipantsUpdated((Participant("speaker-2", in_call=TALKING),)))
            assert [speaker.receive_path for speaker in ours._speakers.values()] == ["stock", "stock"]

    virtual_clock.run(run())
