# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The life of a call without media: when it is over, and in which order it serves its publishers."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from live_transcription.call.offer_queue import MOST_PENDING
from live_transcription.call.targets import RELOAD_S
from live_transcription.errors import RoomRefused
from live_transcription.signaling.events import (
    InCall,
    OfferReceived,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    SessionInterrupted,
    SessionStarted,
    SubscribeFailed,
)
from live_transcription.translation.translator import Translations
from sandbox import virtual_clock
from tests.fakes.call import FakeCall, FakeSpeaker, Machine, Speakers
from tests.fakes.stt import FakeBackend
from tests.unit.call.test_translated import Translator


async def test_a_call_whose_room_is_refused_is_ending_before_everything_is_closed() -> None:
    warming, closed = asyncio.Event(), asyncio.Event()

    class SlowToEnd(FakeBackend):
        async def warm(self) -> None:
            warming.set()
            try:
                await asyncio.Event().wait()
            finally:
                await closed.wait()

    ours = FakeCall(backend=SlowToEnd())
    running = asyncio.create_task(ours.call.run())
    async with asyncio.timeout(10):
        await warming.wait()
    assert not ours.call.ending
    ours.session.failure.set_exception(RoomRefused("There is no such room."))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not running.done()
    assert ours.call.ending, "a new request for captions needs another call"
    closed.set()
    with pytest.raises(ExceptionGroup) as failure:
        await running
    assert failure.group_contains(RoomRefused, depth=1)


# Whose offer is requested, and when.


def test_a_recording_server_is_no_speaker() -> None:
    """It claims to have audio. So does a SIP bridge, which comes with phone participants."""

    async def run() -> None:
        async with FakeCall().joined("speaker") as ours:
            requests = ours.session.requests
            await ours.session.offer("speaker")
            await ours.session.update("recorder", internal=True)
            await asyncio.sleep(1)
            assert ours.call.speaker_count == 1
            assert requests.count("recorder") == 1
            await ours.session.deliver(SubscribeFailed("recorder", "client_not_found"))
            await asyncio.sleep(25)
            assert requests.count("recorder") == 1
            await ours.session.update("phone", virtual=True)
            await asyncio.sleep(0.1)
            assert requests.count("recorder") == 2, "a bridge is expected to publish now"
            await ours.session.offer("recorder")
            assert ours.call.speaker_count == 2

    virtual_clock.run(run())


def test_speakers_are_kept_while_their_only_reader_reloads_the_page() -> None:
    speakers = Speakers()

    async def run() -> None:
        async with FakeCall(speakers=speakers).joined("speaker") as ours:
            await ours.session.offer("speaker")
            for absent_s in (1.0, RELOAD_S - 1):
                await ours.session.deliver(ParticipantsLeft(("listener",)))
                await asyncio.sleep(absent_s)
                await ours.session.deliver(ParticipantsJoined((Participant("listener", nextcloud_session_id="nc1"),)))
                await asyncio.sleep(1)
                assert (len(speakers.made), len(speakers.running)) == (1, 1)
            await ours.session.deliver(ParticipantsLeft(("listener",)))
            await asyncio.sleep(RELOAD_S + 0.1)
            assert not speakers.running, "nobody reads it, and nobody pays for what is not read"
            await ours.session.deliver(ParticipantsJoined((Participant("listener", nextcloud_session_id="nc1"),)))
            await asyncio.sleep(2)
            assert len(speakers.running) == 1

    virtual_clock.run(run())


def test_speakers_end_at_once_when_captions_are_switched_off() -> None:
    speakers = Speakers()

    async def run() -> None:
        async with FakeCall(speakers=speakers).joined("speaker") as ours:
            await ours.session.offer("speaker")
            ours.call.remove_target("nc1")
            await asyncio.sleep(0.1)
            assert not speakers.running

    virtual_clock.run(run())


def test_a_publisher_that_returns_at_once_is_asked_a_second_later() -> None:
    """In between, the HPB handles the end of the old peer and would lose the request."""

    async def run() -> None:
        async with FakeCall().joined("speaker") as ours:
            await asyncio.sleep(0.5)
            left_at = asyncio.get_running_loop().time()
            await ours.session.update("speaker", flags=InCall.IN_CALL)
            await ours.session.update("speaker")
            await asyncio.sleep(2)
            first, second = ours.session.requested_at
            assert first < left_at
            assert 1.0 <= second - left_at <= 1.4

    virtual_clock.run(run())


def test_publishers_without_a_stream_hold_no_resources_and_a_newcomer_is_asked_at_once() -> None:
    claimants = [f"claimant-{number}" for number in range(200)]

    async def run() -> None:
        async with Machine().watched() as capacity, FakeCall(sharing=capacity).joined(*claimants) as ours:
            session, loop = ours.session, asyncio.get_running_loop()

            def refuse(publisher: str) -> None:
                if publisher != "newcomer":
                    loop.call_later(10.0, session.emit, SubscribeFailed(publisher, "client_not_found"))

            for publisher in session.requests:
                refuse(publisher)
            session.on_request = refuse
            await asyncio.sleep(1)
            assert len(session.requests) == MOST_PENDING
            assert ours.call.speaker_count == 0
            await asyncio.sleep(120)
            repeated = len(claimants)  # a first request without an answer may be lost, and is repeated after 3 s
            assert len(session.requests) <= 120 * MOST_PENDING / 10 + 2 * MOST_PENDING + repeated
            assert set(session.requests) == set(claimants)
            await session.update("newcomer")
            await asyncio.sleep(0.1)
            assert "newcomer" in session.requests
            await session.offer("newcomer")
            assert ours.call.speaker_count == 1
            assert (capacity.slots, capacity.speakers_waiting) == (0, 0)

    virtual_clock.run(run())


def test_while_memory_is_short_no_publisher_is_added_and_all_are_when_it_is_free_again() -> None:
    machine = Machine()

    async def run() -> None:
        async with machine.watched() as capacity, FakeCall(sharing=capacity).joined("speaker-z") as ours:
            machine.used_mb = 900
            await asyncio.sleep(2)
            await ours.session.update("speaker-a")
            await asyncio.sleep(5)
            assert set(ours.session.requests) == {"speaker-z"}
            machine.used_mb = 100
            await asyncio.sleep(2)
            assert set(ours.session.requests) == {"speaker-z", "speaker-a"}

    virtual_clock.run(run())


def test_publishers_keep_their_places_in_a_new_session() -> None:
    """While memory is short, as many speakers as before the reconnect are transcribed after it, and no more."""
    machine, speakers = Machine(), Speakers()

    async def run() -> None:
        async with (
            machine.watched() as capacity,
            FakeCall(sharing=capacity, speakers=speakers).joined("speaker-1", "speaker-2") as ours,
        ):
            await asyncio.sleep(1)
            assert speakers.slot("speaker-1").speaking()
            assert speakers.slot("speaker-2").speaking()
            machine.used_mb = 950
            await asyncio.sleep(2)
            await ours.session.start("speaker-4", "speaker-5", "speaker-6")
            await asyncio.sleep(1)
            assert speakers.running.keys() == {"speaker-4", "speaker-6"}, "alternately the oldest and the newest"
            assert speakers.slot("speaker-4").speaking()
            assert speakers.slot("speaker-6").speaking()
            assert capacity.slots == 2
            await asyncio.sleep(60)
            await ours.session.start("speaker-7")
            await asyncio.sleep(45)
            await ours.session.update("speaker-8")
            await asyncio.sleep(1)
            assert "speaker-8" not in speakers.running, "a publisher that returns after a minute counts as new"

    virtual_clock.run(run())


def test_silent_publishers_give_their_subscription_to_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live_transcription.capacity.watch.MAX_SUBSCRIPTIONS", 2)
    machine, speakers = Machine(), Speakers()
    machine.capacity.limit(1, 0)

    async def run() -> None:
        async with (
            machine.watched() as capacity,
            FakeCall(sharing=capacity, speakers=speakers).joined("speaker-1", "speaker-2") as ours,
        ):
            await ours.session.offer("speaker-1")
            await ours.session.offer("speaker-2")
            assert speakers.slot("speaker-2").speaking()
            await ours.session.update("speaker-3")
            await asyncio.sleep(50)
            assert speakers.running.keys() == {"speaker-1", "speaker-2"}
            await asyncio.sleep(12)
            assert speakers.running.keys() == {"speaker-2", "speaker-3"}, "a publisher that speaks keeps it"
            await asyncio.sleep(70)
            assert speakers.running.keys() == {"speaker-1", "speaker-2"}, "they take turns"

    virtual_clock.run(run())


def test_a_call_that_is_started_again_gets_the_slots_of_the_one_that_failed() -> None:
    machine, before, after = Machine(), Speakers(), Speakers()

    async def run() -> None:
        async with machine.watched() as capacity:
            async with FakeCall(sharing=capacity, speakers=before).joined("speaker-1") as failed:
                await asyncio.sleep(1)
                assert before.slot("speaker-1").speaking()
            machine.used_mb = 950
            await asyncio.sleep(3)
            async with FakeCall(sharing=capacity, speakers=after).joined("speaker-1", "speaker-2") as ours:
                ours.call.take_over(failed.call)
                assert len(after.running) == 1
                assert after.slot("speaker-1").speaking()

    virtual_clock.run(run())


def test_a_call_that_is_told_to_end_asks_for_no_more_offers() -> None:
    """It would take a subscription that is reserved for the call that replaces it."""
    speakers = Speakers()

    async def run() -> None:
        async with FakeCall(speakers=speakers).joined(*(f"speaker-{number}" for number in range(MOST_PENDING + 1))) as ours:
            await asyncio.sleep(0.1)
            assert len(speakers.made) == MOST_PENDING
            ours.session.emit(OfferReceived("speaker-0", "video", "1", "not SDP"))
            ours.call.end()
            await asyncio.sleep(0.1)
            assert len(speakers.made) == MOST_PENDING

    virtual_clock.run(run())


def test_a_call_that_is_replaced_leaves_the_slots_to_its_successor_even_if_it_gets_a_new_session() -> None:
    """The HPB may restart while the old session still delivers its last words."""
    machine, before, after = Machine(), Speakers(lambda _: asyncio.sleep(100)), Speakers()

    async def run() -> None:
        async with (
            machine.watched() as capacity,
            FakeCall(sharing=capacity, speakers=before).joined("speaker-1") as old,
            FakeCall(sharing=capacity, speakers=after).joined() as ours,
        ):
            ours.call.take_over(old.call)
            old.call.end()
            await ours.session.update("speaker-2")
            await asyncio.sleep(0.1)
            assert after.slot("speaker-2").speaking()
            await old.session.deliver(SessionStarted("own", resumed=False, server_version="2.0.2", features=frozenset()))
            await asyncio.sleep(0.1)
            assert capacity.slots == 1

    virtual_clock.run(run())


def test_a_publisher_that_waits_for_a_subscription_claims_only_one() -> None:
    """A SIP bridge waits for memory when a phone joins, which makes its stream likely."""
    machine = Machine()

    async def run() -> None:
        async with machine.watched() as capacity, FakeCall(sharing=capacity).joined() as ours:
            await ours.session.update("bridge", internal=True)
            await asyncio.sleep(0.1)
            await ours.session.deliver(SubscribeFailed("bridge", "client_not_found"))
            machine.used_mb = 950
            await asyncio.sleep(600)
            assert capacity.waiting == 1
            await ours.session.update("phone", virtual=True)
            await asyncio.sleep(5)
            assert capacity.waiting == 1
            machine.used_mb = 100
            await asyncio.sleep(5)
            assert (capacity.waiting, capacity.subscribed) == (0, 1)
            await ours.session.deliver(ParticipantsLeft(("bridge", "phone")))
            await asyncio.sleep(1)
            assert (capacity.waiting, capacity.subscribed) == (0, 0)

    virtual_clock.run(run())


def test_a_call_that_is_cut_off_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other calls can use the subscriptions of its speakers, and those that its publishers wait for."""
    monkeypatch.setattr("live_transcription.capacity.watch.MAX_SUBSCRIPTIONS", 1)
    machine = Machine()
    machine.capacity.limit(1, 0)

    async def run() -> None:
        async with (
            machine.watched() as capacity,
            FakeCall(sharing=capacity, speakers=Speakers()).joined("speaker-1", "speaker-2") as ours,
        ):
            await asyncio.sleep(1)
            assert (capacity.subscribed, capacity.waiting) == (1, 1)
            await ours.session.deliver(SessionInterrupted("the websocket broke"))
            await asyncio.sleep(50)
            assert (capacity.subscribed, capacity.waiting) == (0, 0)
            await ours.session.start(resumed=True)
            await asyncio.sleep(1)
            assert (capacity.subscribed, capacity.waiting) == (1, 1)

    virtual_clock.run(run())


def test_a_subscription_that_is_granted_and_taken_in_one_moment_is_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live_transcription.capacity.watch.MAX_SUBSCRIPTIONS", 2)
    machine, of_large, of_small = Machine(), Speakers(), Speakers()
    machine.capacity.limit(1, 0)

    async def run() -> None:
        async with (
            machine.watched() as capacity,
            FakeCall(room="large", sharing=capacity, speakers=of_large).joined() as large,
            FakeCall(room="small", sharing=capacity, speakers=of_small).joined() as small,
        ):
            small.call.remove_target("nc1")
            await small.session.update("speaker-3")
            machine.used_mb = 950
            await asyncio.sleep(2)
            await large.session.update("speaker-1", "speaker-2")
            machine.used_mb = 100
            now = asyncio.get_running_loop().time()
            # What `watch` does once a second, but without giving the large call its turn.
            while capacity.subscribed < 2:
                capacity.observe(now)
                capacity.claimed[-1].subscribe()
            small.call.add_target("nc1", None)
            await asyncio.sleep(1)
            assert (len(of_large.running), len(of_small.running)) == (1, 1)
            await small.session.deliver(ParticipantsLeft(("speaker-3",)))
            await asyncio.sleep(1)
            assert of_large.running.keys() == {"speaker-1", "speaker-2"}

    virtual_clock.run(run())


# Interruptions and failures.


def test_speakers_end_after_a_long_interruption_of_signaling_and_start_again_after_it() -> None:
    speakers = Speakers()

    async def run() -> None:
        async with FakeCall(speakers=speakers).joined("speaker-1", "speaker-2") as ours:
            interrupted = SessionInterrupted("the websocket broke")
            before = dict(speakers.running)
            for _ in range(2):
                await ours.session.deliver(interrupted)
                await asyncio.sleep(30)
                assert speakers.running == before, "their audio may continue"
                await ours.session.start(resumed=True)
                await asyncio.sleep(100)
                assert speakers.running == before
            await ours.session.deliver(interrupted)
            await asyncio.sleep(50)
            assert not speakers.running
            await asyncio.sleep(3600)
            assert [target.nc_session_id for target in ours.call.targets()] == ["nc1"]
            await ours.session.start(resumed=True)
            assert speakers.running.keys() == {"speaker-1", "speaker-2"}
            await ours.session.deliver(interrupted)
            ours.call.remove_target("nc1")
            await asyncio.sleep(100)
            assert ours.call.ending, "nobody wants captions, and nobody can be seen to come back"

    virtual_clock.run(run())


def test_a_speaker_that_fails_again_and_again_is_started_less_and_less_often() -> None:
    began_at: list[float] = []
    machine = Machine()

    async def fail(_: FakeSpeaker) -> None:
        began_at.append(asyncio.get_running_loop().time())
        raise RuntimeError("unexpected")

    async def run() -> None:
        async with (
            machine.watched() as capacity,
            FakeCall(sharing=capacity, speakers=Speakers(fail)).joined("speaker-1") as ours,
        ):
            await asyncio.sleep(1000)
            waits = [later - earlier for earlier, later in pairwise(began_at)]
            assert all(2.5 <= wait <= 5.1 for wait in waits[:1])
            assert all(20 <= wait <= 41 for wait in waits[3:4])
            assert all(60 <= wait <= 121 for wait in waits[5:])
            assert len(waits) >= 10
            loop = asyncio.get_running_loop()
            ended_at = loop.time()
            ours.call.end()
            assert ours.running is not None
            await ours.running
            assert loop.time() == ended_at, "the end waits for no speaker that is to be started again"

    virtual_clock.run(run())


# Last words.


class SlowToFinish:
    """A speaker's `behaviour`: commits some words, and takes so many seconds for the last ones."""

    def __init__(self, seconds: float = 1e6) -> None:
        self.ended: list[tuple[str, float]] = []
        self._seconds = seconds

    async def __call__(self, speaker: FakeSpeaker) -> None:
        speaker.commit("a word or")
        try:
            await speaker.ending.wait()
            await asyncio.sleep(self._seconds)
            speaker.commit("two more")
            self._note("finished")
        except asyncio.CancelledError:
            self._note("given up" if speaker.given_up else "cancelled")
            raise

    def _note(self, how: str) -> None:
        self.ended.append((how, round(asyncio.get_running_loop().time(), 2)))


def test_a_speaker_that_leaves_has_time_for_its_last_words_until_the_call_ends() -> None:
    slow = SlowToFinish()

    async def run() -> None:
        async with FakeCall(speakers=Speakers(slow)).joined() as ours:
            await ours.session.update("speaker-1")
            await asyncio.sleep(1.9)
            await ours.session.deliver(ParticipantsLeft(("speaker-1",)))
            await asyncio.sleep(6)
            assert ours.session.sent == [(0.1, "listener", "a word or")]
            assert slow.ended == []
            assert ours.call.speaker_count == 0
            ours.call.end()
            await asyncio.sleep(2)
            assert slow.ended == [("given up", 9.3)], "the words that it has are committed first"

    virtual_clock.run(run())


def test_last_words_have_more_time_when_the_app_stops_than_within_a_request() -> None:
    """On a busy machine the last second of speech takes seconds to decode; stopping the app may take longer than Talk waits."""
    slow = SlowToFinish(4.0)

    async def run() -> None:
        async with FakeCall(speakers=Speakers(slow)).joined() as ours:
            await ours.session.update("speaker-1")
            await asyncio.sleep(1)
            ours.call.end(within_s=5.0)
            ours.call.end()  # a later request, such as Talk's, does not shorten it
            await asyncio.sleep(5)
            assert [text for _, _, text in ours.session.sent] == ["a word or", "two more"]
            assert slow.ended == [("finished", 5.1)]

    virtual_clock.run(run())


def test_a_speaker_that_is_back_before_its_last_words_are_sent_loses_none() -> None:
    slow = SlowToFinish(5.0)

    async def run() -> None:
        async with FakeCall(speakers=Speakers(slow)).joined() as ours:
            await ours.session.start("speaker-1")
            await asyncio.sleep(1.9)
            await ours.session.start("speaker-1")
            await asyncio.sleep(20)
            ours.call.add_target("nc1", None)
            assert [(at, text) for at, _, text in ours.session.sent] == [
                (0.1, "a word or"),
                (2.0, "a word or"),
                (7.0, "two more"),
            ]
            await ours.session.deliver(ParticipantsLeft(("speaker-1",)))
            await asyncio.sleep(20)
            assert [(at, text) for at, _, text in ours.session.sent][3:] == [(27.0, "two more")]

    virtual_clock.run(run())


@pytest.mark.parametrize("translation", [None, "fr"])
def test_last_words_are_sent_although_the_outbox_cannot_take_all_at_once(translation: str | None) -> None:
    """A thousand frames wait at most; the last words of several speakers to hundreds of readers are more."""
    speakers = ("speaker-1", "speaker-2", "speaker-3")

    async def say_goodbye(speaker: FakeSpeaker) -> None:
        await speaker.ending.wait()
        speaker.commit(f"Goodbye from {speaker.session_id}")

    async def run() -> None:
        async with FakeCall(speakers=Speakers(say_goodbye)).joined(*speakers) as ours:
            session, loop = ours.session, asyncio.get_running_loop()
            await session.deliver(ParticipantsJoined((Participant("another", nextcloud_session_id="nc2"),)))
            ours.call.add_target("nc2", None)
            for reader in ("nc1", "nc2"):
                assert ours.call.translate(reader, translation)
            began_at = loop.time()
            session.accepts = lambda: len(session.sent) < 2 + 50 * (loop.time() - began_at)
            ours.call.end()
            await asyncio.sleep(1)
            assert sorted((reader, text) for _, reader, text in session.sent) == [
                (reader, f"Goodbye from {speaker}") for reader in ("another", "listener") for speaker in speakers
            ]

    virtual_clock.run(run())


def test_last_words_without_a_translation_are_sent_although_the_outbox_cannot_take_all_at_once() -> None:
    """The provider does not answer, so readers get the words as they were said, before the call ends."""
    speakers = ("speaker-1", "speaker-2", "speaker-3")

    async def say_goodbye(speaker: FakeSpeaker) -> None:
        await speaker.ending.wait()
        speaker.commit(f"Goodbye from {speaker.session_id}.")

    async def run() -> None:
        translator = Translator()
        translator.hangs = True
        translations = Translations(translator)
        async with asyncio.TaskGroup() as tasks:
            translating = tasks.create_task(translations.run())
            async with FakeCall(speakers=Speakers(say_goodbye), translations=translations).joined(*speakers) as ours:
                session, loop = ours.session, asyncio.get_running_loop()
                accepted: list[float] = []

                def accepts() -> bool:
                    """The outbox holds two messages, and the websocket takes each of them after 20 ms."""
                    free = sum(at + 0.02 > loop.time() for at in accepted) < 2
                    if free:
                        accepted.append(loop.time())
                    return free

                session.accepts = accepts
                assert ours.call.translate("nc1", "fr")
                ours.call.end()
                await asyncio.sleep(2)
                assert sorted(text for _, _, text in session.sent) == [f"Goodbye from {speaker}." for speaker in speakers]
            translating.cancel()

    virtual_clock.run(run())


def test_a_resumed_session_keeps_the_speakers_and_a_new_one_starts_others() -> None:
    speakers = Speakers()

    async def run() -> None:
        async with FakeCall(speakers=speakers).joined("speaker-1") as ours:
            (first,) = speakers.made
            await ours.session.deliver(SessionStarted("own", resumed=True, server_version="2.0.2", features=frozenset()))
            assert speakers.running == {"speaker-1": first}
            await ours.session.start("speaker-9")
            assert first.ending.is_set()
            assert speakers.running.keys() == {"speaker-9"}

    virtual_clock.run(run())
