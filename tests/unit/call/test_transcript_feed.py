# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A call that keeps a transcript: who said what, what is missing, and how long the call lasts without readers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from live_transcription.errors import RoomRefused
from live_transcription.signaling.events import (
    CallEndedForAll,
    InCall,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    RemovedFromRoom,
    SessionInterrupted,
    SessionStarted,
)
from live_transcription.transcript import GapReason, SpeakerKind
from sandbox import virtual_clock
from tests.fakes.call import CONFIG, TALKING, FakeCall, FakeSpeaker, Speakers
from tests.fakes.transcripts import RecordingSink

LINGER_S = CONFIG.no_target_linger_s


class Meeting:
    """A call with a transcript and without readers."""

    def __init__(self, sink: RecordingSink, behaviour: Callable[[FakeSpeaker], Awaitable[None]] | None = None) -> None:
        self.sink = sink
        self.speakers = Speakers() if behaviour is None else Speakers(behaviour)
        self.fake = FakeCall(speakers=self.speakers, transcripts=sink)
        self.call, self.session = self.fake.call, self.fake.session

    @contextlib.asynccontextmanager
    async def running(self, *people: Participant) -> AsyncIterator[Meeting]:
        running = asyncio.create_task(self.call.run())
        await asyncio.sleep(0.1)
        await self.start()
        if people:
            await self.session.deliver(ParticipantsJoined(people))
        await asyncio.sleep(0.1)
        try:
            yield self
        finally:
            running.cancel()
            await asyncio.wait([running])
            if not running.cancelled():
                with contextlib.suppress(BaseException):
                    running.result()

    async def start(self, *, resumed: bool = False) -> None:
        await self.session.deliver(SessionStarted("own", resumed=resumed, server_version="2.0.2", features=frozenset()))

    def speaker(self, session_id: str) -> FakeSpeaker:
        return self.speakers.running[session_id]


def ada(session_id: str = "ada", flags: InCall = TALKING, name: str | None = "Ada") -> Participant:
    return Participant(session_id, "nc-ada", "ada", flags, display_name=name)


def played(scenario: Callable[[], Awaitable[None]]) -> None:
    virtual_clock.run(scenario(), loopback_s=0)  # type: ignore[arg-type]


def test_everybody_is_transcribed_although_nobody_reads() -> None:
    async def run() -> None:
        sink = RecordingSink("room")
        async with Meeting(sink).running(ada(), Participant("bob", in_call=TALKING, display_name="Bob")) as ours:
            await ours.session.offer("ada")
            await asyncio.sleep(0.5)
            ours.speaker("ada").say("Hello")
            ours.speaker("bob").say("Hi")
            assert sink.said == [("Ada", SpeakerKind.USER, "Hello"), ("Bob", SpeakerKind.GUEST, "Hi")]
            assert ours.session.sent == [], "no captions"
            await asyncio.sleep(10 * LINGER_S)
            assert not ours.call.ending

    played(run)


def test_nothing_is_passed_on_unless_the_room_keeps_a_transcript() -> None:
    async def run() -> None:
        sink = RecordingSink("another room")
        speakers = Speakers()
        async with FakeCall(speakers=speakers, transcripts=sink).joined("speaker") as ours:
            await ours.session.offer("speaker")
            await asyncio.sleep(0.5)
            speakers.running["speaker"].say("Hello")
            speakers.running["speaker"].miss(GapReason.NO_ENGINE)
            assert [text for _, _, text in ours.session.sent] == ["Hello"]
        assert (sink.said, sink.gaps, sink.over) == ([], [], [])

    played(run)


def test_the_transcript_begins_and_ends_while_the_call_lasts() -> None:
    async def run() -> None:
        sink = RecordingSink()
        async with Meeting(sink).running(ada()) as ours:
            assert not ours.speakers.running
            sink.rooms.add("room")
            ours.call.review_transcript()
            await asyncio.sleep(0.5)
            ours.speaker("ada").say("Hello")
            sink.rooms.clear()
            ours.call.review_transcript()
            await asyncio.sleep(0.5)
            assert not ours.speakers.running, "nobody is transcribed any more"
            await asyncio.sleep(LINGER_S)
            assert ours.call.ending
        assert sink.over == []
        assert [text for _, _, text in sink.said] == ["Hello"]

    played(run)


def test_a_reader_is_served_beside_the_transcript() -> None:
    async def run() -> None:
        sink = RecordingSink("room")
        async with Meeting(sink).running(ada(), Participant("eve", "nc-eve", "eve", InCall.IN_CALL)) as ours:
            ours.call.add_target("nc-eve", "eve")
            await asyncio.sleep(0.5)
            ours.speaker("ada").say("Hello")
            assert [(to, text) for _, to, text in ours.session.sent] == [("eve", "Hello")]
            ours.call.remove_target("nc-eve")
            await asyncio.sleep(2 * LINGER_S)
            ours.speaker("ada").say("Still here")
        assert [text for _, _, text in sink.said] == ["Hello", "Still here"]

    played(run)


# Names.


def test_a_name_is_the_one_at_that_time_and_outlives_its_speaker() -> None:
    async def run() -> None:
        sink = RecordingSink("room")

        async def last_words(speaker: FakeSpeaker) -> None:
            await speaker.ending.wait()
            await asyncio.sleep(3)
            speaker.say("Bye")

        async with Meeting(sink, last_words).running(ada()) as ours:
            await asyncio.sleep(0.5)
            ours.speaker("ada").say("Hello")
            await ours.session.deliver(ParticipantsJoined((ada(name="Ada L."),)))
            ours.speaker("ada").say("I have married")
            await ours.session.deliver(ParticipantsLeft(("ada",)))
            await asyncio.sleep(4)
        assert [(name, text) for name, _, text in sink.said] == [
            ("Ada", "Hello"),
            ("Ada L.", "I have married"),
            ("Ada L.", "Bye"),
        ]

    played(run)


def test_kinds_of_speakers() -> None:
    async def run() -> None:
        sink = RecordingSink("room")
        people = (
            ada(),
            Participant("guest", in_call=TALKING, display_name="Gast"),
            Participant("far", user_id="far@example.com", in_call=TALKING, federated=True, display_name="Far"),
            Participant("bridge", in_call=TALKING, internal=True),
            Participant("phone", in_call=TALKING | InCall.WITH_PHONE, virtual=True, display_name="+49 30 1"),
        )
        async with Meeting(sink).running(*people) as ours:
            for session_id in ("ada", "guest", "far", "bridge"):
                await ours.session.offer(session_id)
            await asyncio.sleep(1)
            for session_id in ("ada", "guest", "far", "bridge"):
                ours.speaker(session_id).say("x")
            another = Participant("phone-2", in_call=TALKING, virtual=True, display_name="+49 30 2")
            await ours.session.deliver(ParticipantsJoined((another,)))
            ours.speaker("bridge").say("which phone?")
        assert [(name, kind) for name, kind, _ in sink.said] == [
            ("Ada", SpeakerKind.USER),
            ("Gast", SpeakerKind.GUEST),
            ("Far", SpeakerKind.FEDERATED),
            ("+49 30 1", SpeakerKind.PHONE),
            ("", SpeakerKind.PHONE),
        ]

    played(run)


# Gaps.


def test_a_gap_of_a_speaker_has_a_name() -> None:
    async def run() -> None:
        sink = RecordingSink("room")
        async with Meeting(sink).running(ada()) as ours:
            await asyncio.sleep(0.5)
            ours.speaker("ada").miss(GapReason.NO_ENGINE)
        assert sink.gaps == [(GapReason.NO_ENGINE, "Ada", 2.0)]

    played(run)


def test_a_new_session_leaves_a_gap_and_a_resumed_one_does_not() -> None:
    async def run() -> None:
        sink = RecordingSink("room")
        async with Meeting(sink).running(ada()) as ours:
            await ours.session.deliver(SessionInterrupted("closed"))
            await asyncio.sleep(20)
            await ours.start(resumed=True)
            assert sink.gaps == []
            await ours.session.deliver(SessionInterrupted("closed"))
            await asyncio.sleep(15)
            await ours.session.deliver(SessionInterrupted("closed again"))
            await asyncio.sleep(15)
            await ours.start()
            await ours.session.deliver(ParticipantsJoined((ada("ada-2"),)))
            await asyncio.sleep(10 * LINGER_S)
            assert not ours.call.ending
            assert list(ours.speakers.running) == ["ada-2"]
        assert sink.gaps == [(GapReason.OUTAGE, "", 30.0)]

    played(run)


def test_a_long_outage_of_signaling_does_not_end_the_call() -> None:
    async def run() -> None:
        sink = RecordingSink("room")
        async with Meeting(sink).running(ada()) as ours:
            await ours.session.deliver(SessionInterrupted("closed"))
            await asyncio.sleep(20 * LINGER_S)
            assert not ours.call.ending
            await ours.start()
            await ours.session.deliver(ParticipantsJoined((ada("ada-2"),)))
            await asyncio.sleep(1)
            assert list(ours.speakers.running) == ["ada-2"]

    played(run)


# The end.


@pytest.mark.parametrize("event", [CallEndedForAll(), RemovedFromRoom(), RemovedFromRoom("breakout")])
def test_the_end_for_all_is_the_end_of_the_transcript_after_the_last_words(event: CallEndedForAll | RemovedFromRoom) -> None:
    async def run() -> None:
        sink = RecordingSink("room")

        async def last_words(speaker: FakeSpeaker) -> None:
            await speaker.ending.wait()
            assert sink.over == []
            speaker.say("Bye")

        async with Meeting(sink, last_words).running(ada()) as ours:
            await asyncio.sleep(0.5)
            ours.session.emit(event)
            await asyncio.sleep(3)
        assert [text for _, _, text in sink.said] == ["Bye"]
        assert sink.over == ["room"]

    played(run)


def test_a_call_that_everybody_has_left_ends_with_its_transcript() -> None:
    async def run() -> None:
        sink = RecordingSink("room")
        people = (ada(), Participant("recorder", in_call=TALKING, internal=True))
        async with Meeting(sink).running(*people) as ours:
            await ours.session.update("ada", flags=InCall.DISCONNECTED)
            await asyncio.sleep(LINGER_S - 1)
            await ours.session.update("ada")
            await asyncio.sleep(2 * LINGER_S)
            assert not ours.call.ending
            await ours.session.update("ada", flags=InCall.DISCONNECTED)
            await asyncio.sleep(LINGER_S + 3)
            assert ours.call.ending
        assert sink.over == ["room"]

    played(run)


def test_a_refused_room_ends_the_transcript() -> None:
    async def run() -> None:
        sink = RecordingSink("room")
        async with Meeting(sink).running(ada()) as ours:
            ours.session.failure.set_exception(RoomRefused("There is no such room."))
            await asyncio.sleep(3)
        assert sink.over == ["room"]

    played(run)


def test_the_app_that_stops_does_not_end_the_transcript() -> None:
    async def run() -> None:
        sink = RecordingSink("room")
        async with Meeting(sink).running(ada()) as ours:
            ours.call.end()
            await asyncio.sleep(3)
        assert sink.over == []

    played(run)


def test_a_failing_sink_does_not_affect_captions_and_its_failure_repeats_no_words(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        sink = RecordingSink("room")
        sink.failure = ValueError("confidential words")
        async with Meeting(sink).running(ada(), Participant("eve", "nc-eve", "eve", InCall.IN_CALL)) as ours:
            ours.call.add_target("nc-eve", "eve")
            await asyncio.sleep(0.5)
            ours.speaker("ada").say("confidential words")
            assert [text for _, _, text in ours.session.sent] == ["confidential words"]

    with caplog.at_level(logging.DEBUG):
        played(run)
    assert "A transcript failed (ValueError)" in caplog.text
    assert "confidential" not in caplog.text
    assert "Ada" not in caplog.text
