# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Limits of the frames that wait to be sent, and of the frames in flight; frames that are sent again after a break."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.observability import metrics
from live_transcription.signaling.outbox import MAX_FRAME_BYTES, MAX_WAITING_BYTES, Outbox, OutgoingFrame


def counted(name: str) -> float:
    return metrics.registry.get_sample_value(f"live_transcription_{name}_total") or 0.0


def test_waiting_frames_are_limited_in_octets() -> None:
    outbox = Outbox(10_000)
    fits = MAX_WAITING_BYTES // MAX_FRAME_BYTES
    before = counted("signaling_frames_dropped")
    assert all(outbox.put("x" * MAX_FRAME_BYTES) for _ in range(fits))
    assert not outbox.put("x" * MAX_FRAME_BYTES)
    assert counted("signaling_frames_dropped") == before + 1
    assert outbox.next(in_room=True) is not None
    assert outbox.put("x" * MAX_FRAME_BYTES), "a frame that was sent makes room"
    outbox.forget_session()
    assert all(outbox.put("x" * MAX_FRAME_BYTES) for _ in range(fits)), "so do frames that became void"


def test_frames_in_flight_are_limited_in_octets_and_the_newest_are_kept() -> None:
    outbox = Outbox(10_000)
    sent = 2 * MAX_WAITING_BYTES // MAX_FRAME_BYTES
    for number in range(sent):
        assert outbox.put(str(number).ljust(MAX_FRAME_BYTES))
        assert outbox.next(in_room=True) is not None
    assert outbox.in_flight == MAX_WAITING_BYTES // MAX_FRAME_BYTES
    last = outbox.last_in_flight
    assert last is not None
    outbox.acknowledge(last - 2)
    assert outbox.in_flight == 2
    outbox.requeue()
    again = [outbox.next(in_room=True) for _ in range(2)]
    assert [frame and frame.text.strip() for frame in again] == [str(sent - 2), str(sent - 1)]
    assert outbox.next(in_room=True) is None


def test_a_late_pong_acknowledges_no_frame_that_was_sent_again() -> None:
    outbox = Outbox(10)
    outbox.put("one", outlives_session=True)
    outbox.next(in_room=True)
    before_the_break = outbox.last_in_flight
    assert before_the_break is not None
    outbox.requeue()
    outbox.next(in_room=True)
    outbox.acknowledge(before_the_break)
    assert outbox.in_flight == 1


STEP = st.one_of(st.just("caption"), st.just("pong"), st.integers(0, 6))


@settings(deadline=None)
@given(st.lists(STEP, max_size=80))
def test_each_caption_arrives_and_at_most_those_in_flight_arrive_twice(steps: list[str | int]) -> None:
    outbox = Outbox(1000)
    before = counted("captions_repeated")
    arrived: list[str] = []
    written: list[OutgoingFrame] = []
    captions, allowed = 0, Counter[str]()

    def write() -> None:
        while (frame := outbox.next(in_room=True)) is not None:
            written.append(frame)

    for step in steps:
        if step == "caption":
            outbox.put(f"w{captions}", outlives_session=True)
            captions += 1
            write()
        elif step == "pong":
            # The server has read everything that was written before the ping.
            arrived += [frame.text for frame in written]
            written.clear()
            if (last := outbox.last_in_flight) is not None:
                outbox.acknowledge(last)
        else:
            # The websocket breaks. The server has read some of what was written, and the app cannot know how much.
            assert isinstance(step, int)
            read = written[:step]
            arrived += [frame.text for frame in read]
            allowed.update(frame.text for frame in read)
            written.clear()
            outbox.requeue()
            write()
    arrived += [frame.text for frame in written]
    times = Counter(arrived)
    assert set(times) == {f"w{number}" for number in range(captions)}
    assert all(count - 1 <= allowed[text] for text, count in times.items())
    assert sum(times.values()) - captions <= counted("captions_repeated") - before
    assert list(dict.fromkeys(arrived)) == [f"w{number}" for number in range(captions)]
