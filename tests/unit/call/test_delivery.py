# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Delivery of captions while the session accepts only some of them."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.call.delivery import CaptionDelivery
from live_transcription.call.roster import Roster
from live_transcription.call.targets import Targets
from live_transcription.captions.floor import LONGEST_WAIT_S
from live_transcription.observability import metrics
from live_transcription.signaling.events import InCall, Participant, ParticipantsJoined
from live_transcription.signaling.requests import Recipient
from live_transcription.transcript import Utterance
from live_transcription.types import Caption
from sandbox import virtual_clock

IN_CALL = InCall.IN_CALL


class Wire:
    """A session that accepts `room_for` more captions."""

    def __init__(self, room_for: int = 0) -> None:
        self.in_room = True
        self.room_for = room_for
        self.sent: list[tuple[str | None, str]] = []

    def send_caption(self, recipient: Recipient, caption: Caption) -> bool:
        taken = self.room_for > 0
        if taken:
            self.room_for -= 1
            self.sent.append((recipient.session_id, caption.text))
        return taken

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.sent]

    def read_by(self, reader: str) -> str:
        return " ".join(text for to, text in self.sent if to in (None, reader))


def targets_of(readers: int, *, recipient_call: bool = False) -> Targets:
    targets = Targets(Roster())
    targets.reset(0.0, recipient_call=recipient_call)
    join(targets, *(f"reader-{number}" for number in range(readers)))
    return targets


def join(targets: Targets, *readers: str) -> None:
    for reader in readers:
        targets.apply(ParticipantsJoined((Participant(reader, nextcloud_session_id=f"nc-{reader}", in_call=IN_CALL),)), 0.0)
        targets.add(f"nc-{reader}", None, 0.0)


def say(delivery: CaptionDelivery, text: str, speaker: str = "speaker") -> None:
    delivery.add(Caption(speaker, text, "en"))


def counted(name: str) -> float:
    return metrics.registry.get_sample_value(f"live_transcription_{name}") or 0.0


def test_words_that_the_outbox_refuses_wait_and_are_sent_in_one_message() -> None:
    async def run() -> None:
        wire, sent = Wire(), Counter[str]()
        delivery = CaptionDelivery(wire, targets_of(1), on_sent=lambda caption: sent.update([caption.text]))
        for word in ("one", "two", "three"):
            say(delivery, word)
        await asyncio.sleep(10)
        assert wire.sent == []
        assert counted("captions_waiting_bytes") > 0
        wire.room_for = 10
        await asyncio.sleep(1)
        assert wire.texts == ["one", "two three"]
        assert sent == {"one": 1, "two three": 1}
        assert counted("captions_waiting_bytes") == 0
        delivery.close()

    virtual_clock.run(run())


def test_after_an_outage_the_words_of_each_speaker_are_sent_in_one_message() -> None:
    async def run() -> None:
        wire = Wire(100)
        wire.in_room = False
        delivery = CaptionDelivery(wire, targets_of(1), on_sent=lambda caption: None)
        for number in range(40):
            say(delivery, f"a{number}", "a")
            say(delivery, f"b{number}", "b")
            await asyncio.sleep(1)
        assert wire.sent == []
        wire.in_room = True
        delivery.flush()
        await asyncio.sleep(10)
        assert wire.texts == [" ".join(f"{speaker}{number}" for number in range(40)) for speaker in "ab"]
        delivery.close()

    virtual_clock.run(run())


def test_an_outbox_that_fills_up_half_way_gets_no_message_twice() -> None:
    async def run() -> None:
        wire, sent = Wire(2), Counter[str]()
        targets = targets_of(3)
        delivery = CaptionDelivery(wire, targets, on_sent=lambda caption: sent.update([caption.text]))
        say(delivery, "one")
        assert [reader for reader, _ in wire.sent] == ["reader-0", "reader-1"]
        assert not sent
        join(targets, "reader-3")
        wire.room_for = 10
        say(delivery, "two")
        await asyncio.sleep(1)
        assert Counter(wire.sent).most_common(1)[0][1] == 1
        assert [reader for reader, text in wire.sent if text == "one"] == ["reader-0", "reader-1", "reader-2", "reader-3"]
        assert sent == {"one": 1, "two": 1}
        delivery.close()

    virtual_clock.run(run())


async def test_after_a_message_to_the_whole_call_the_others_get_their_own() -> None:
    wire, targets = Wire(1), targets_of(4, recipient_call=True)
    targets.apply(ParticipantsJoined((Participant("outside", nextcloud_session_id="nc-outside"),)), 0.0)
    targets.add("nc-outside", None, 0.0)
    delivery = CaptionDelivery(wire, targets, on_sent=lambda caption: None)
    say(delivery, "one")
    assert wire.sent == [(None, "one")]
    wire.room_for = 10
    delivery.flush()
    assert wire.sent == [(None, "one"), ("outside", "one")]
    delivery.close()


def test_dropped_words_are_counted() -> None:
    async def run() -> None:
        wire = Wire(1)
        wire.in_room = False
        delivery = CaptionDelivery(wire, targets_of(1), on_sent=lambda caption: None)
        before = counted("words_dropped_total")
        for number in range(int(LONGEST_WAIT_S) + 30):
            say(delivery, f"{number}")
            await asyncio.sleep(1)
        wire.in_room = True
        delivery.flush()
        assert wire.texts[0].split()[0] == "30"
        assert counted("words_dropped_total") == before + 30
        wire.in_room = False
        say(delivery, "never sent")
        delivery.close()
        assert counted("words_dropped_total") == before + 32

    virtual_clock.run(run())


def test_the_wait_for_the_floor_is_measured() -> None:
    async def run() -> None:
        wire = Wire(100)
        delivery = CaptionDelivery(wire, targets_of(1), on_sent=lambda caption: None)
        before = counted("floor_wait_seconds_count"), counted("floor_wait_seconds_sum")
        say(delivery, "I was saying", "a")
        await asyncio.sleep(0.5)
        say(delivery, "Let me", "b")
        await asyncio.sleep(5)
        say(delivery, "No", "a")
        delivery.end_utterance(Utterance(1, "b", "Let me", "en", final=True, started_at=0.0, ended_at=5.0))
        assert counted("floor_wait_seconds_count") == before[0] + 2
        assert counted("floor_wait_seconds_sum") - before[1] < 0.51
        delivery.close()

    virtual_clock.run(run())


def test_the_last_words_of_a_speaker_who_left_do_not_wait() -> None:
    async def run() -> None:
        wire = Wire(100)
        delivery = CaptionDelivery(wire, targets_of(1), on_sent=lambda caption: None)
        say(delivery, "I was saying", "a")
        delivery.leave("b")
        for word in ("good", "bye"):
            say(delivery, word, "b")
        assert wire.texts == ["I was saying", "good", "bye"]
        delivery.forget("b")
        delivery.close()

    virtual_clock.run(run())


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.sampled_from("ab")), min_size=1, max_size=30),
    st.integers(1, 6),
    st.booleans(),
)
def test_every_reader_gets_every_word_once_and_in_order(
    steps: list[tuple[int, bool, str]], readers: int, recipient_call: bool
) -> None:
    async def run() -> None:
        wire = Wire()
        delivery = CaptionDelivery(wire, targets_of(readers, recipient_call=recipient_call), on_sent=lambda caption: None)
        for number, (room, in_room, speaker) in enumerate(steps):
            wire.room_for, wire.in_room = room, in_room
            say(delivery, f"{speaker}{number}", speaker)
            await asyncio.sleep(0.2)
        wire.room_for, wire.in_room = 10_000, True
        delivery.flush()
        await asyncio.sleep(30)
        for reader in range(readers):
            read = wire.read_by(f"reader-{reader}").split()
            for speaker in "ab":
                said = [f"{speaker}{number}" for number, (_, _, who) in enumerate(steps) if who == speaker]
                assert [word for word in read if word[0] == speaker] == said
        delivery.close()

    virtual_clock.run(run())
