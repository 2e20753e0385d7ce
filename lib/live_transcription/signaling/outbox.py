# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What waits to be sent to the HPB: bounded, in order, and aware of which session it belongs to."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

#: The HPB closes a websocket that sends a larger frame (its limit is 64 KiB).
MAX_FRAME_BYTES = 64 * 1024 - 1


@dataclass(frozen=True, slots=True)
class OutgoingFrame:
    """`control`: belongs to one websocket. Otherwise to the session, or to none if it `outlives_session` (a caption)."""

    text: str = field(repr=False)
    control: bool = False
    outlives_session: bool = False


class Outbox:
    """Control frames (hello, join, bye) go first and are few; the session's frames wait until we are in the room.

    Holds at most `limit` of the latter; a full outbox takes no more and counts what it did not take. They
    are kept until a pong proves that the server has read them: what is written into a connection that has died unnoticed is
    lost, and nobody says so.
    """

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        #: Captions that were queued again because nothing proved that the server had read them.
        self.repeated = 0
        self._limit = limit
        self._control: deque[OutgoingFrame] = deque()
        self._session: deque[OutgoingFrame] = deque()
        self._unproved: deque[tuple[int, OutgoingFrame]] = deque(maxlen=limit)
        self._sent = 0

    def __len__(self) -> int:
        return len(self._control) + len(self._session)

    def put_control(self, text: str) -> None:
        self._control.append(OutgoingFrame(text, control=True))

    def put(self, text: str, *, outlives_session: bool = False) -> bool:
        """`text` is ASCII, as `requests` makes it."""
        if len(self._session) >= self._limit or len(text) > MAX_FRAME_BYTES:
            self.dropped += 1
            return False
        self._session.append(OutgoingFrame(text, outlives_session=outlives_session))
        return True

    def next(self, *, in_room: bool) -> OutgoingFrame | None:
        if self._control:
            return self._control.popleft()
        if in_room and self._session:
            return self._session.popleft()
        return None

    def give_back(self, frame: OutgoingFrame) -> None:
        """A frame whose websocket broke; control frames died with it."""
        if not frame.control:
            self._session.appendleft(frame)

    def sent(self, frame: OutgoingFrame) -> None:
        """The frame was written to the websocket."""
        if not frame.control:
            self._sent += 1
            self._unproved.append((self._sent, frame))

    @property
    def unproved(self) -> int | None:
        """What `proved` wants to be told once a ping that is sent now is answered; None if all is proved."""
        return self._unproved[-1][0] if self._unproved else None

    @property
    def unproved_count(self) -> int:
        return len(self._unproved)

    def proved(self, mark: int) -> None:
        while self._unproved and self._unproved[0][0] <= mark:
            self._unproved.popleft()

    def take_back(self) -> None:
        """The websocket is gone: what it may have swallowed is sent again, in order."""
        self.repeated += sum(frame.outlives_session for _, frame in self._unproved)
        self._session.extendleft(frame for _, frame in reversed(self._unproved))
        self._unproved.clear()

    def clear_control(self) -> None:
        self._control.clear()

    def forget_session(self) -> None:
        self._session = deque(frame for frame in self._session if frame.outlives_session)

    def clear(self) -> None:
        self._control.clear()
        self._session.clear()
        self._unproved.clear()
