# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The frames that wait to be sent to the HPB: bounded, in order, and each bound to its session."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

#: The HPB closes a websocket that sends a larger frame (its limit is 64 KiB).
MAX_FRAME_BYTES = 64 * 1024 - 1
#: Limit of the waiting frames, and of the sent frames that no pong has proved to be read.
MAX_WAITING_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OutgoingFrame:
    """`control`: belongs to one websocket. Other frames belong to the session, unless they `outlives_session` (captions).

    `subject`: a waiting frame is replaced by a later frame with the same subject.
    """

    text: str = field(repr=False)
    control: bool = False
    outlives_session: bool = False
    subject: str = ""


class _Frames:
    """A queue of frames, with their total size."""

    def __init__(self) -> None:
        self.octets = 0
        self._frames: deque[OutgoingFrame] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[OutgoingFrame]:
        return iter(self._frames)

    def append(self, frame: OutgoingFrame) -> None:
        self._frames.append(frame)
        self.octets += len(frame.text)

    def push_front(self, frame: OutgoingFrame) -> None:
        self._frames.appendleft(frame)
        self.octets += len(frame.text)

    def drop(self, subject: str) -> None:
        """Remove the frames with this subject."""
        for frame in [frame for frame in self._frames if frame.subject == subject]:
            self._frames.remove(frame)
            self.octets -= len(frame.text)

    def pop_front(self) -> OutgoingFrame:
        frame = self._frames.popleft()
        self.octets -= len(frame.text)
        return frame


class Outbox:
    """Control frames (hello, join, bye) are few and go first; the session's frames wait until the app is in the room.

    At most `limit` session frames wait, of `MAX_WAITING_BYTES` in total; a full outbox refuses and counts further ones. After
    sending, a frame is kept until a pong proves that the server has read it, since frames written into a dead connection are
    lost without an error. The same limits apply to kept frames; beyond them the oldest is forgotten.
    """

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        #: Captions that were queued again because nothing proved that the server had read them.
        self.repeated = 0
        self._limit = limit
        self._control: deque[OutgoingFrame] = deque()
        self._session = _Frames()
        self._unproved = _Frames()
        self._sent = 0

    def __len__(self) -> int:
        return len(self._control) + len(self._session)

    def put_control(self, text: str) -> None:
        self._control.append(OutgoingFrame(text, control=True))

    def put(self, text: str, *, outlives_session: bool = False, subject: str = "") -> bool:
        """`text` is ASCII, as `requests` makes it."""
        if subject and self._session:
            self._session.drop(subject)
        full = len(self._session) >= self._limit or self._session.octets + len(text) > MAX_WAITING_BYTES
        if full or len(text) > MAX_FRAME_BYTES:
            self.dropped += 1
            return False
        self._session.append(OutgoingFrame(text, outlives_session=outlives_session, subject=subject))
        return True

    def next(self, *, in_room: bool) -> OutgoingFrame | None:
        if self._control:
            return self._control.popleft()
        if in_room and self._session:
            return self._session.pop_front()
        return None

    def give_back(self, frame: OutgoingFrame) -> None:
        """Requeue a frame that was not sent because its websocket broke. Control frames are void then."""
        if not frame.control:
            self._session.push_front(frame)

    def sent(self, frame: OutgoingFrame) -> None:
        """The frame was written to the websocket."""
        if not frame.control:
            self._sent += 1
            self._unproved.append(frame)
            while len(self._unproved) > self._limit or self._unproved.octets > MAX_WAITING_BYTES:
                self._unproved.pop_front()

    @property
    def unproved(self) -> int | None:
        """The mark to pass to `proved` when a ping sent now is answered; None if all frames are proved."""
        return self._sent if self._unproved else None

    @property
    def unproved_count(self) -> int:
        return len(self._unproved)

    def proved(self, mark: int) -> None:
        """The server has read the first `mark` frames."""
        while self._unproved and self._sent - len(self._unproved) < mark:
            self._unproved.pop_front()

    def take_back(self) -> None:
        """The websocket is gone: requeue the frames that it may have lost, in order."""
        self.repeated += sum(frame.outlives_session for frame in self._unproved)
        for frame in reversed([*self._unproved]):
            self._session.push_front(frame)
        self._unproved = _Frames()

    def clear_control(self) -> None:
        self._control.clear()

    def forget_session(self) -> None:
        frames, self._session = self._session, _Frames()
        for frame in frames:
            if frame.outlives_session:
                self._session.append(frame)

    def clear(self) -> None:
        self._control.clear()
        self._session, self._unproved = _Frames(), _Frames()
