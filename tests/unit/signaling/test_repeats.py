# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Captions across broken websockets: each arrives, and only those that nothing proved to be read may arrive twice."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.signaling.outbox import Outbox, OutgoingFrame

STEP = st.one_of(st.just("caption"), st.just("pong"), st.integers(0, 6))


@settings(deadline=None)
@given(st.lists(STEP, max_size=80))
def test_each_caption_arrives_and_at_most_the_unproved_ones_twice(steps: list[str | int]) -> None:
    outbox = Outbox(1000)
    arrived: list[str] = []
    written: list[OutgoingFrame] = []
    captions, allowed = 0, Counter[str]()

    def write() -> None:
        while (frame := outbox.next(in_room=True)) is not None:
            outbox.sent(frame)
            written.append(frame)

    for step in steps:
        if step == "caption":
            outbox.put(f"w{captions}", outlives_session=True)
            captions += 1
            write()
        elif step == "pong":
            # The server has read all that was written before the ping.
            arrived += [frame.text for frame in written]
            written.clear()
            if (mark := outbox.unproved) is not None:
                outbox.proved(mark)
        else:
            # The websocket breaks; the server has read some of what was written, and nobody knows how much.
            assert isinstance(step, int)
            read = written[:step]
            arrived += [frame.text for frame in read]
            allowed.update(frame.text for frame in read)
            written.clear()
            outbox.take_back()
            write()
    arrived += [frame.text for frame in written]
    times = Counter(arrived)
    assert set(times) == {f"w{number}" for number in range(captions)}
    assert all(count - 1 <= allowed[text] for text, count in times.items())
    assert sum(times.values()) - captions <= outbox.repeated
    firsts = list(dict.fromkeys(arrived))
    assert firsts == [f"w{number}" for number in range(captions)]
