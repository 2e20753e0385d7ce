# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The queue of frames to the HPB: bounded, in order, and repeated if a websocket may have lost them. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from live_transcription.observability import metrics

#: Largest frame in octets. The HPB closes a websocket that sends one of 64 KiB or more.
MAX_FRAME_BYTES = 64 * 1024 - 1
#: Limit in octets of the waiting frames, and the same again for the frames in flight.
MAX_WAITING_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OutgoingFrame:
    """One text frame.

    A frame that `outlives_session` (a caption) is also valid in the next signaling session. A later frame with the same
    `subject` replaces this one while it waits.
    """

    text: str = field(repr=False)
    outlives_session: bool = False
    subject: str = ""


class _Frames:
    """A queue that knows its size in octets. The frames are ASCII, so characters are octets."""

    def __init__(self, frames: Iterable[OutgoingFrame] = ()) -> None:
        self.frames = deque(frames)
        self.octets = sum(len(frame.text) for frame in self.frames)

    def append(self, frame: OutgoingFrame) -> None:
        self.frames.append(frame)
        self.octets += len(frame.text)

    def popleft(self) -> OutgoingFrame:
        frame = self.frames.popleft()
        self.octets -= len(frame.text)
        return frame


class Outbox:
    """Sends control frames first (hello, join, bye), then the session's frames while the app is in the room.

    A frame is in flight from `next` until a pong shows that the server has read it, because a write to a dead connection
    succeeds and the frame is lost. `requeue` puts all frames in flight back to the front.

    At most `limit` session frames of `MAX_WAITING_BYTES` wait; a full outbox refuses and counts further ones.
    The same limits apply to the frames in flight, of which the oldest is forgotten.
    """

    def __init__(self, limit: int) -> None:
        #: Called when a frame is queued.
        self.on_frame: Callable[[], None] = lambda: None
        self._limit = limit
        self._control: deque[OutgoingFrame] = deque()
        self._waiting = _Frames()
        self._in_flight = _Frames()
        self._taken = 0

    def put_control(self, text: str) -> None:
        """Queue a frame for the current websocket."""
        self._control.append(OutgoingFrame(text))
        self.on_frame()

    def put(self, text: str, *, outlives_session: bool = False, subject: str = "") -> bool:
        """Queue a frame of the session. `text` must be ASCII. Returns False if the outbox is full or the frame too large."""
        if subject and any(frame.subject == subject for frame in self._waiting.frames):
            self._waiting = _Frames(frame for frame in self._waiting.frames if frame.subject != subject)
        full = len(self._waiting.frames) >= self._limit or self._waiting.octets + len(text) > MAX_WAITING_BYTES
        if full or len(text) > MAX_FRAME_BYTES:
            metrics.signaling_frames_dropped.inc()
            return False
        self._waiting.append(OutgoingFrame(text, outlives_session=outlives_session, subject=subject))
        self.on_frame()
        return True

    def next(self, *, in_room: bool) -> OutgoingFrame | None:
        """Take the next frame to write. A frame of the session is in flight from now on, even if the write fails."""
        if self._control:
            return self._control.popleft()
        if not in_room or not self._waiting.frames:
            return None
        frame = self._waiting.popleft()
        self._taken += 1
        self._in_flight.append(frame)
        while len(self._in_flight.frames) > self._limit or self._in_flight.octets > MAX_WAITING_BYTES:
            self._in_flight.popleft()
        return frame

    @property
    def in_flight(self) -> int:
        """Number of frames that were taken and that no pong has acknowledged."""
        return len(self._in_flight.frames)

    @property
    def last_in_flight(self) -> int | None:
        """Number of the last unacknowledged frame; pass it to `acknowledge` when a ping sent now is answered."""
        return self._taken if self._in_flight.frames else None

    def acknowledge(self, number: int) -> None:
        """A pong shows that the server has read all frames up to this number."""
        while self._in_flight.frames and self._taken - len(self._in_flight.frames) < number:
            self._in_flight.popleft()

    def requeue(self) -> None:
        """The websocket is gone: drop its control frames, and queue the frames that it may have lost again, in order."""
        self._control.clear()
        metrics.captions_repeated.inc(sum(frame.outlives_session for frame in self._in_flight.frames))
        self._waiting = _Frames([*self._in_flight.frames, *self._waiting.frames])
        self._in_flight = _Frames()

    def forget_session(self) -> None:
        """Drop the waiting frames that are void in the next session."""
        self._waiting = _Frames(frame for frame in self._waiting.frames if frame.outlives_session)

    def clear(self) -> None:
        """Drop everything."""
        self._control.clear()
        self._waiting, self._in_flight = _Frames(), _Frames()
