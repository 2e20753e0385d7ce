# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Captions on their way out while the session takes only some of them."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.call.delivery import KEPT_FINALS, CaptionDelivery
from live_transcription.call.roster import Roster
from live_transcription.call.targets import Targets
from live_transcription.observability import metrics
from live_transcription.signaling.events import InCall, Participant, ParticipantsJoined
from live_transcription.signaling.requests import Recipient
from live_transcription.types import Caption
from sandbox import virtual_clock

IN_CALL = InCall.IN_CALL


class Wire:
    """What the session takes: as much as the test says."""

    def __init__(self) -> None:
        self.in_room = True
        self.room_for = 0
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


def targets_of(readers: int, *, recipient_call: bool = False) -> Targets:
    targets = Targets(Roster())
    targets.reset(0.0, recipient_call=recipient_call)
    join(targets, *(f"reader-{number}" for number in range(readers)))
    return targets


def join(targets: Targets, *readers: str) -> None:
    for reader in readers:
        targets.apply(ParticipantsJoined((Participant(reader, nextcloud_session_id=f"nc-{reader}", in_call=IN_CALL),)), 0.0)
        targets.add(f"nc-{reader}", None, 0.0)


def say(delivery: CaptionDelivery, text: str, *, final: bool = True) -> None:
    delivery.offer(Caption("speaker", text, "en", final=final))


def dropped() -> float:
    return metrics.registry.get_sample_value("live_transcription_finals_dropped_total") or 0.0


async def test_finals_that_nobody_takes_wait_and_go_first() -> None:
    """The session's queue may be full although we are in the room."""
    wire, counted = Wire(), Counter[str]()
    delivery = CaptionDelivery(wire, targets_of(1), on_sent=lambda caption: counted.update([caption.text]))
    say(delivery, "one")
    say(delivery, "two")
    assert wire.sent == []
    wire.room_for = 10
    say(delivery, "three")
    assert wire.texts == ["one", "two", "three"]
    say(delivery, "four")
    assert wire.texts[3:] == ["four"]
    assert set(counted.values()) == {1}
    delivery.close()


def test_what_a_full_queue_did_not_take_goes_out_by_itself_once_it_does() -> None:
    async def run() -> None:
        wire = Wire()
        delivery = CaptionDelivery(wire, targets_of(1), on_sent=lambda caption: None)
        say(delivery, "last words")
        await asyncio.sleep(10)
        wire.room_for = 1
        await asyncio.sleep(1)
        assert wire.texts == ["last words"]
        delivery.close()

    virtual_clock.run(run())


async def test_a_queue_that_fills_half_way_gives_nobody_a_final_twice() -> None:
    wire, counted = Wire(), Counter[str]()
    targets = targets_of(3)
    delivery = CaptionDelivery(wire, targets, on_sent=lambda caption: counted.update([caption.text]))
    wire.room_for = 2
    say(delivery, "one")
    assert [reader for reader, _ in wire.sent] == ["reader-0", "reader-1"]
    assert not counted
    join(targets, "reader-3")
    wire.room_for = 10
    say(delivery, "two")
    assert Counter(wire.sent).most_common(1)[0][1] == 1
    assert [reader for reader, text in wire.sent if text == "one"] == ["reader-0", "reader-1", "reader-2", "reader-3"]
    assert counted == {"one": 1, "two": 1}
    delivery.close()


async def test_after_a_message_to_the_whole_call_the_rest_are_served_one_by_one() -> None:
    wire, targets = Wire(), targets_of(4, recipient_call=True)
    targets.apply(ParticipantsJoined((Participant("outside", nextcloud_session_id="nc-outside"),)), 0.0)
    targets.add("nc-outside", None, 0.0)
    delivery = CaptionDelivery(wire, targets, on_sent=lambda caption: None)
    wire.room_for = 1
    say(delivery, "one")
    assert wire.sent == [(None, "one")]
    wire.room_for = 10
    delivery.flush()
    assert wire.sent == [(None, "one"), ("outside", "one")]
    delivery.close()


async def test_what_is_given_up_is_counted() -> None:
    wire = Wire()
    wire.in_room = False
    delivery = CaptionDelivery(wire, targets_of(1), on_sent=lambda caption: None)
    before = dropped()
    for number in range(KEPT_FINALS + 3):
        say(delivery, f"{number}")
    assert dropped() == before + 3
    wire.in_room, wire.room_for = True, 1
    delivery.flush()
    assert wire.texts == ["3"]
    delivery.close()
    assert dropped() == before + 3 + KEPT_FINALS - 1


def test_cuts_are_counted() -> None:
    async def run() -> None:
        wire = Wire()
        wire.room_for = 100
        delivery = CaptionDelivery(wire, targets_of(1), on_sent=lambda caption: None)
        before = metrics.registry.get_sample_value("live_transcription_caption_cuts_total") or 0.0
        delivery.offer(Caption("speaker-1", "I was saying", "en", final=False))
        delivery.offer(Caption("speaker-2", "Let me", "en", final=False))
        await asyncio.sleep(5)
        assert metrics.registry.get_sample_value("live_transcription_caption_cuts_total") == before + 1
        delivery.close()

    virtual_clock.run(run())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=30), st.integers(1, 6), st.booleans())
def test_whatever_the_queue_takes_everybody_gets_every_final_once_and_in_order(
    rooms: list[int], readers: int, recipient_call: bool
) -> None:
    async def run() -> None:
        wire = Wire()
        delivery = CaptionDelivery(wire, targets_of(readers, recipient_call=recipient_call), on_sent=lambda caption: None)
        for number, room in enumerate(rooms):
            wire.room_for = room
            say(delivery, f"{number}")
        wire.room_for = 10_000
        delivery.flush()
        for reader in range(readers):
            read = [text for to, text in wire.sent if to in (None, f"reader-{reader}")]
            assert read == [f"{number}" for number in range(len(rooms))]
        delivery.close()

    asyncio.run(run())
