# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One room's call beside its signaling: when it is over, and the order of what waits. With media: `tests/integration`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest

from live_transcription.call.call import Call
from live_transcription.call.offer_queue import MOST_PENDING
from live_transcription.capacity.load import CaptionInterval
from live_transcription.capacity.memory import MemoryBound, MemoryReading, MemorySource
from live_transcription.capacity.watch import Capacity, PublisherClaims
from live_transcription.config import EngineConfig, HpbConfig
from live_transcription.errors import RoomRefused
from live_transcription.signaling.connection import SignalingConnection
from live_transcription.signaling.events import (
    InCall,
    OfferReceived,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
    SessionInterrupted,
    SessionStarted,
    SubscribeFailed,
)
from live_transcription.signaling.hello_guard import HelloGuard
from live_transcription.signaling.requests import Recipient
from live_transcription.speaker.speaker import Speaker
from live_transcription.transcript import Hypothesis
from live_transcription.types import Caption, IceServer, Secret
from sandbox import virtual_clock
from tests.fakes.stt import FakeBackend

CONFIG = EngineConfig(hpb=HpbConfig("wss://signaling.example.com", Secret("secret"), "https://cloud.example.com"))


def call(backend: FakeBackend | None = None, *, sharing: Capacity | None = None) -> Call:
    async def no_servers() -> Sequence[IceServer]:
        return ()

    return Call(
        "room",
        "en",
        CONFIG,
        backend or FakeBackend(),
        guard=HelloGuard(),
        ice_servers=no_servers,
        sharing=sharing or Capacity(read=lambda: MemoryReading(0)),
        interval=CaptionInterval(),
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


@contextlib.asynccontextmanager
async def joined(monkeypatch: pytest.MonkeyPatch, *speakers: str, sharing: Capacity | None = None) -> AsyncIterator[Call]:
    """A call with a listener and these speakers in it; its signaling says nothing by itself."""

    async def stay(connection: SignalingConnection) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(SignalingConnection, "run", stay)
    ours = call(sharing=sharing)
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


class Machine:
    """A process with so much memory in use, of 1,000 MB."""

    def __init__(self, used_mb: int = 100) -> None:
        self.used_mb = used_mb
        self.capacity = Capacity(read=self.read, release=lambda: None)

    def read(self) -> MemoryReading:
        used = self.used_mb << 20
        return MemoryReading(used, (MemoryBound(MemorySource.CONTAINER, used, 1000 << 20),))

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[Capacity]:
        watching = asyncio.create_task(self.capacity.watch())
        try:
            yield self.capacity
        finally:
            watching.cancel()
            await asyncio.wait([watching])


def slot_of(ours: Call, session_id: str) -> PublisherClaims:
    claims = ours._claims[session_id]
    assert isinstance(claims, PublisherClaims)
    return claims


def answer(ours: Call, session_id: str) -> None:
    ours._take(OfferReceived(session_id, "video", "1", "not SDP"))


def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whom the call asks for an offer, in order."""
    requests: list[str] = []
    monkeypatch.setattr(SignalingConnection, "request_offer", lambda self, publisher, room_type: requests.append(publisher))
    return requests


def test_a_recording_server_is_no_speaker(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it has audio; a SIP bridge, which says the same, comes with phone participants."""
    requests = asked(monkeypatch)

    async def run() -> None:
        async with joined(monkeypatch, "speaker") as ours:
            answer(ours, "speaker")
            ours._take(ParticipantsUpdated((Participant("recorder", in_call=TALKING, internal=True),)))
            await asyncio.sleep(1)
            assert ours.speaker_count == 1
            assert requests.count("recorder") == 1
            ours._take(SubscribeFailed("recorder", "client_not_found"))
            await asyncio.sleep(25)
            assert requests.count("recorder") == 1
            ours._take(ParticipantsUpdated((Participant("phone", in_call=TALKING, virtual=True),)))
            await asyncio.sleep(0.1)
            assert requests.count("recorder") == 2, "a bridge is expected to publish now"
            answer(ours, "recorder")
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


def test_without_memory_nobody_new_is_subscribed_and_all_are_once_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    requests = asked(monkeypatch)

    async def run() -> None:
        async with machine.watched() as capacity, joined(monkeypatch, "speaker-z", sharing=capacity) as ours:
            machine.used_mb = 900
            await asyncio.sleep(2)
            ours._take(ParticipantsUpdated((Participant("speaker-a", in_call=TALKING),)))
            await asyncio.sleep(5)
            assert set(requests) == {"speaker-z"}
            machine.used_mb = 100
            await asyncio.sleep(2)
            assert set(requests) == {"speaker-z", "speaker-a"}

    virtual_clock.run(run())


def test_a_new_session_takes_nobodys_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memory for new ones, as many speakers as before the reconnect are transcribed after it, and no more."""
    machine = Machine()

    async def run() -> None:
        async with machine.watched() as capacity, joined(monkeypatch, "speaker-1", "speaker-2", sharing=capacity) as ours:
            await asyncio.sleep(1)
            assert slot_of(ours, "speaker-1").speaking()
            assert slot_of(ours, "speaker-2").speaking()
            machine.used_mb = 950
            await asyncio.sleep(2)
            start_session(ours, "speaker-4", "speaker-5", "speaker-6")
            await asyncio.sleep(1)
            assert set(ours._speakers) == {"speaker-4", "speaker-6"}, "the first and the last in turns"
            assert slot_of(ours, "speaker-4").speaking()
            assert slot_of(ours, "speaker-6").speaking()
            assert capacity.slots == 2
            await asyncio.sleep(60)
            start_session(ours, "speaker-7")
            await asyncio.sleep(45)
            ours._take(ParticipantsUpdated((Participant("speaker-8", in_call=TALKING),)))
            await asyncio.sleep(1)
            assert "speaker-8" not in ours._speakers, "who comes back after a minute is new"

    virtual_clock.run(run())


def test_silent_publishers_give_their_subscription_to_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live_transcription.capacity.watch.MAX_SUBSCRIPTIONS", 2)
    machine = Machine()
    machine.capacity.limit(1, 0)
    requests = asked(monkeypatch)

    async def stay(speaker: Speaker) -> None:
        await speaker._ending.wait()

    monkeypatch.setattr(Speaker, "run", stay)

    async def run() -> None:
        async with machine.watched() as capacity, joined(monkeypatch, "speaker-1", "speaker-2", sharing=capacity) as ours:
            answer(ours, "speaker-1")
            answer(ours, "speaker-2")
            assert slot_of(ours, "speaker-2").speaking()
            ours._take(ParticipantsUpdated((Participant("speaker-3", in_call=TALKING),)))
            await asyncio.sleep(50)
            assert set(ours._speakers) == {"speaker-1", "speaker-2"}
            await asyncio.sleep(12)
            assert set(ours._speakers) == {"speaker-2", "speaker-3"}, "one who speaks keeps it"
            await asyncio.sleep(70)
            assert set(ours._speakers) == {"speaker-1", "speaker-2"}, "they take turns"
            assert requests == [], "the fake speakers ask nobody"

    virtual_clock.run(run())


def test_a_call_that_is_started_again_has_the_slots_of_the_one_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()

    async def run() -> None:
        async with machine.watched() as capacity:
            async with joined(monkeypatch, "speaker-1", sharing=capacity) as failed:
                await asyncio.sleep(1)
                assert slot_of(failed, "speaker-1").speaking()
            machine.used_mb = 950
            await asyncio.sleep(3)
            async with joined(monkeypatch, "speaker-1", "speaker-2", sharing=capacity) as ours:
                ours.take_over(failed)
                assert len(ours._speakers) == 1
                assert slot_of(ours, "speaker-1").speaking()

    virtual_clock.run(run())


def test_claimants_without_a_stream_hold_nothing_and_a_newcomer_is_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = asked(monkeypatch)
    claimants = [f"claimant-{number}" for number in range(200)]

    async def run() -> None:
        async with Machine().watched() as capacity, joined(monkeypatch, *claimants, sharing=capacity) as ours:
            refusing = asyncio.create_task(refuse_after(ours, 10.0))
            await asyncio.sleep(1)
            assert len(requests) == MOST_PENDING
            assert ours.speaker_count == 0
            await asyncio.sleep(120)
            repeated = len(claimants)  # a first request without an answer may be lost, and is repeated after 3 s
            assert len(requests) <= 120 * MOST_PENDING / 10 + 2 * MOST_PENDING + repeated
            assert set(requests) == set(claimants)
            ours._take(ParticipantsUpdated((Participant("newcomer", in_call=TALKING),)))
            await asyncio.sleep(0.1)
            assert "newcomer" in requests
            answer(ours, "newcomer")
            assert ours.speaker_count == 1
            assert (capacity.slots, capacity.speakers_waiting) == (0, 0)
            refusing.cancel()

    async def refuse_after(ours: Call, seconds: float) -> None:
        loop, done = asyncio.get_running_loop(), 0
        while True:
            for session_id in requests[done:]:
                if session_id != "newcomer":
                    loop.call_later(seconds, ours._take, SubscribeFailed(session_id, "client_not_found"))
            done = len(requests)
            await asyncio.sleep(0.05)

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
            assert not ours._speakers
            await asyncio.sleep(3600)
            assert [target.nc_session_id for target in ours.targets()] == ["nc1"]
            ours._take(SessionStarted("own", resumed=True, server_version="2.0.2", features=frozenset()))
            assert set(ours._speakers) == {"speaker-1", "speaker-2"}
            ours._take(SessionInterrupted("the websocket broke"))
            ours.remove_target("nc1")
            await asyncio.sleep(100)
            assert ours.ending, "nobody wants captions, and nobody can be seen to come back"

    virtual_clock.run(run())


def test_a_speaker_that_fails_again_and_again_is_tried_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    began_at: list[float] = []
    machine = Machine()

    async def fail(speaker: Speaker) -> None:
        began_at.append(asyncio.get_running_loop().time())
        raise RuntimeError("unexpected")

    monkeypatch.setattr(Speaker, "run", fail)

    async def run() -> None:
        async with machine.watched() as capacity, joined(monkeypatch, "speaker-1", sharing=capacity) as ours:
            await asyncio.sleep(1000)
            waits = [later - earlier for earlier, later in pairwise(began_at)]
            assert all(2.5 <= wait <= 5.1 for wait in waits[:1])
            assert all(20 <= wait <= 41 for wait in waits[3:4])
            assert all(60 <= wait <= 121 for wait in waits[5:])
            assert len(waits) >= 10
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
            assert [what for what, _ in slow.happened] == ["a word or", "two more", "speaker-1 gone"]

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


def test_who_becomes_likely_while_a_subscription_is_awaited_claims_one_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SIP bridge waits for memory when the phone joins that makes its stream likely."""
    machine = Machine()
    asked(monkeypatch)

    async def run() -> None:
        async with machine.watched() as capacity, joined(monkeypatch, sharing=capacity) as ours:
            ours._take(ParticipantsUpdated((Participant("bridge", in_call=TALKING, internal=True),)))
            await asyncio.sleep(0.1)
            ours._take(SubscribeFailed("bridge", "client_not_found"))
            machine.used_mb = 950
            await asyncio.sleep(600)
            assert capacity._subscriptions.waiting == 1
            ours._take(ParticipantsUpdated((Participant("phone", in_call=TALKING, virtual=True),)))
            await asyncio.sleep(5)
            assert capacity._subscriptions.waiting == 1
            machine.used_mb = 100
            await asyncio.sleep(5)
            assert set(ours._speakers) == {"bridge"}
            ours._take(ParticipantsLeft(("bridge", "phone")))
            await asyncio.sleep(1)
            assert (capacity._subscriptions.waiting, capacity._subscriptions.held) == (0, 0)

    virtual_clock.run(run())


def test_a_subscription_that_is_granted_and_taken_in_one_moment_is_awaited_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live_transcription.capacity.watch.MAX_SUBSCRIPTIONS", 2)
    machine = Machine()
    machine.capacity.limit(1, 0)
    asked(monkeypatch)

    async def run() -> None:
        async with (
            machine.watched() as capacity,
            joined(monkeypatch, sharing=capacity) as large,
            joined(monkeypatch, sharing=capacity) as small,
        ):
            small.room_token = "small"
            machine.used_mb = 950
            await asyncio.sleep(2)
            large._take(ParticipantsUpdated(tuple(Participant(each, in_call=TALKING) for each in ("speaker-1", "speaker-2"))))
            machine.used_mb = 100
            while not all(large._claims[each].subscribed for each in ("speaker-1", "speaker-2")):
                capacity.observe(asyncio.get_running_loop().time())
                capacity._share_subscriptions(asyncio.get_running_loop().time())
            # Before the large call has its turn.
            small._take(ParticipantsUpdated((Participant("speaker-3", in_call=TALKING),)))
            await asyncio.sleep(1)
            assert (len(large._speakers), len(small._speakers)) == (1, 1)
            small._take(ParticipantsLeft(("speaker-3",)))
            await asyncio.sleep(1)
            assert set(large._speakers) == {"speaker-1", "speaker-2"}

    virtual_clock.run(run())


def test_a_call_that_is_cut_off_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other calls can use the subscriptions of its speakers, and those that its publishers wait for."""
    monkeypatch.setattr("live_transcription.capacity.watch.MAX_SUBSCRIPTIONS", 1)
    machine = Machine()
    machine.capacity.limit(1, 0)
    asked(monkeypatch)

    async def run() -> None:
        async with machine.watched() as capacity, joined(monkeypatch, "speaker-1", "speaker-2", sharing=capacity) as ours:
            await asyncio.sleep(1)
            assert (capacity._subscriptions.held, capacity._subscriptions.waiting) == (1, 1)
            ours._take(SessionInterrupted("the websocket broke"))
            await asyncio.sleep(50)
            assert (capacity._subscriptions.held, capacity._subscriptions.waiting) == (0, 0)
            ours._take(SessionStarted("own", resumed=True, server_version="2.0.2", features=frozenset()))
            await asyncio.sleep(1)
            assert (capacity._subscriptions.held, capacity._subscriptions.waiting) == (1, 1)

    virtual_clock.run(run())


def test_last_words_that_the_queue_to_the_hpb_does_not_take_at_once_still_go_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand frames wait at most; the last words of several speakers to hundreds of readers are more."""
    sent: list[tuple[str | None, str]] = []

    def send(connection: SignalingConnection, recipient: Recipient, caption: Caption) -> bool:
        if len(sent) >= 2 + 50 * (asyncio.get_running_loop().time() - began_at):
            return False
        sent.append((recipient.session_id, caption.text))
        return True

    async def stay(speaker: Speaker) -> None:
        await speaker._ending.wait()

    monkeypatch.setattr(Speaker, "run", stay)

    async def close(connection: SignalingConnection, timeout_s: float) -> None:
        monkeypatch.setattr(SignalingConnection, "in_room", False)

    monkeypatch.setattr(SignalingConnection, "in_room", True)
    monkeypatch.setattr(SignalingConnection, "send_caption", send)
    monkeypatch.setattr(SignalingConnection, "close", close)
    began_at = 1e9

    async def run() -> None:
        nonlocal began_at
        speakers = ("speaker-1", "speaker-2", "speaker-3")
        async with joined(monkeypatch, *speakers) as ours:
            ours._take(ParticipantsJoined((Participant("another", nextcloud_session_id="nc2"),)))
            ours.add_target("nc2", None)
            began_at = asyncio.get_running_loop().time()
            for speaker in speakers:
                ours._delivery.offer(Caption(speaker, f"Goodbye from {speaker}", "en"))
            ours.end()
            await asyncio.sleep(1)
        assert sorted(sent) == [
            (reader, f"Goodbye from {speaker}") for reader in ("another", "listener") for speaker in speakers
        ]

    virtual_clock.run(run())
