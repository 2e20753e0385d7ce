# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Bounds of the frames that wait to be sent, and of those that are kept for a resume."""

from __future__ import annotations

from live_transcription.signaling.outbox import MAX_FRAME_BYTES, MAX_WAITING_BYTES, Outbox


def test_waiting_frames_are_bounded_in_octets() -> None:
    outbox = Outbox(10_000)
    fits = MAX_WAITING_BYTES // MAX_FRAME_BYTES
    assert all(outbox.put("x" * MAX_FRAME_BYTES) for _ in range(fits))
    assert not outbox.put("x" * MAX_FRAME_BYTES)
    assert outbox.dropped == 1
    assert outbox.next(in_room=True) is not None
    assert outbox.put("x" * MAX_FRAME_BYTES), "a frame that was sent makes room"
    outbox.forget_session()
    assert all(outbox.put("x" * MAX_FRAME_BYTES) for _ in range(fits)), "so do frames that became void"


def test_unproved_frames_are_bounded_in_octets_and_the_newest_stay() -> None:
    outbox = Outbox(10_000)
    sent = 2 * MAX_WAITING_BYTES // MAX_FRAME_BYTES
    for number in range(sent):
        assert outbox.put(str(number).ljust(MAX_FRAME_BYTES))
        frame = outbox.next(in_room=True)
        assert frame is not None
        outbox.sent(frame)
    kept = MAX_WAITING_BYTES // MAX_FRAME_BYTES
    assert outbox.unproved_count == kept
    mark = outbox.unproved
    assert mark is not None
    outbox.proved(mark - 2)
    assert outbox.unproved_count == 2
    outbox.take_back()
    again = [outbox.next(in_room=True) for _ in range(2)]
    assert [frame and frame.text.strip() for frame in again] == [str(sent - 2), str(sent - 1)]
    assert outbox.next(in_room=True) is None
    outbox.proved(mark)
    assert outbox.unproved is None
