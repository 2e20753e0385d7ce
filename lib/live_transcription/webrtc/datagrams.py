# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""UDP sockets for media: several datagrams per call, and all sockets of the process together while datagrams come fast.

Fifty people who talk send 2,500 datagrams per second. If each one wakes the event loop, a turn of the loop costs more than the
datagram, and the speaker's objects have left the CPU cache since the last one. So the event loop watches a socket only until
media comes. Then the socket moves to a separate epoll set. The loop watches this set while few people speak, and polls it at
intervals while many do, as network drivers do with interrupts. Nothing else waits for that.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from live_transcription.observability import metrics
from live_transcription.observability.log_limit import INTERVAL_S, LogLimit
from live_transcription.webrtc.recvmmsg import MAX_DATAGRAMS, MAX_OCTETS, Batch, Datagram, batch

logger = logging.getLogger(__name__)

#: Datagrams per second from which on they come fast: some eight people who talk.
FAST_PER_S = 400
#: Time between two turns there, in seconds, and the longest, from `MANY_PER_S` on. Frames are 80 ms long.
SHORT_TURN_S = 0.01
LONG_TURN_S = 0.04
MANY_PER_S = 1_200
_WINDOW_S = 0.1
#: Sockets that are read in a row before the tasks of the loop have their turn.
_AT_ONCE = 8


_log_limit = LogLimit(INTERVAL_S, time.monotonic)


def report_rejected(reason: str) -> None:
    """Count a dropped datagram, and log at most one line per minute. `reason`: a constant, the label of the metric."""
    metrics.datagrams_rejected.labels(reason).inc()
    if (left_out := _log_limit.permit(reason)) is not None:
        logger.info("Dropped %d datagrams that are not the SFU's", left_out + 1, extra={"reason": reason})


def report_failure(error: Exception) -> None:
    """Count a datagram whose handling failed, which is a defect; log its traceback at most once per minute."""
    metrics.datagrams_rejected.labels("failure").inc()
    if (left_out := _log_limit.permit("failure")) is not None:
        logger.error("Handling a datagram failed (%d times since the last line)", left_out + 1, exc_info=error)


class MediaProtocol(asyncio.DatagramProtocol):
    """`media_received` gets RTP and RTCP (RFC 7983) in the buffer they were read into, until it returns."""

    media_received: Callable[[Datagram], None]


async def open_socket(address: str, protocol: MediaProtocol) -> None:
    """Bind a UDP socket to a local address, with any port. Raises OSError."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    buffers = batch(family)
    if buffers is None:
        transport, _ = await loop.create_datagram_endpoint(lambda: protocol, local_addr=(address, 0))
        read_little(transport)
        return
    bound = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        bound.bind((address, 0))
    except OSError:
        bound.close()
        raise
    MediaSocket(loop, bound, protocol, buffers)


def read_little(transport: asyncio.BaseTransport) -> None:
    """For asyncio's default of 256 KiB the C library maps and unmaps memory with each datagram, which takes 20 us."""
    if hasattr(transport, "max_size"):  # asyncio's own; that of TLS and of other event loops have none
        transport.max_size = MAX_OCTETS


class MediaSocket(asyncio.DatagramTransport):
    """The transport of a socket that is bound, not connected. What cannot be sent at once is lost, as on any network."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bound: socket.socket, protocol: MediaProtocol, buffers: Batch) -> None:
        super().__init__({"sockname": bound.getsockname(), "socket": bound})
        self._loop = loop
        self._socket = bound
        self._descriptor = bound.fileno()
        self._protocol = protocol
        self._media_received = protocol.media_received
        self._batch = buffers
        self._turns: Turns | None = None
        self._closing = False
        loop.add_reader(self._descriptor, self.read)
        protocol.connection_made(self)

    def read(self) -> int:
        """Read the waiting datagrams, at most `MAX_DATAGRAMS`. Returns their number."""
        if self._closing:  # the descriptor may be another's by now
            return 0
        try:
            count = self._batch.receive(self._descriptor)
        except OSError as error:
            self._protocol.error_received(error)
            return 0
        self._deliver(count)
        return count

    def _deliver(self, count: int) -> None:
        for index in range(count):
            datagram = self._batch.datagrams[index]
            try:
                if datagram.length[0] > 0 and 127 < datagram.octets[0] < 192:
                    if self._turns is None:
                        self._watch_with_others()
                    self._media_received(datagram)
                else:
                    self._protocol.datagram_received(datagram.copy(), self._batch.source(index))
            except Exception as error:  # noqa: BLE001  as the loop does with each callback: the next datagram is another one
                report_failure(error)
            if self._closing:
                return

    def _watch_with_others(self) -> None:
        turns = Turns.of(self._loop)
        turns.join(self._descriptor, self.read)
        self._turns = turns
        self._loop.remove_reader(self._descriptor)

    def sendto(self, data: Any, addr: Any = None) -> None:
        if self._closing:
            return
        try:
            self._socket.sendto(data, addr)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._protocol.error_received(error)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if self._turns is None:
            self._loop.remove_reader(self._descriptor)
        else:
            self._turns.leave(self._descriptor)
        self._loop.call_soon(self._closed)

    abort = close

    def _closed(self) -> None:
        self._socket.close()
        self._protocol.connection_lost(None)


class Pace:
    """How long datagrams may lie in their sockets, from how many came lately. Pure."""

    def __init__(self) -> None:
        self.turn_s = 0.0
        self._count = 0
        self._since = 0.0

    def took(self, count: int, now: float) -> float:
        """Count the datagrams of one turn; the time until the next, in seconds: 0 while few come."""
        self._count += count
        elapsed = now - self._since
        if elapsed >= _WINDOW_S:
            rate = self._count / elapsed
            grown = (rate - FAST_PER_S) / (MANY_PER_S - FAST_PER_S)
            self.turn_s = 0.0 if grown < 0 else SHORT_TURN_S + min(1.0, grown) * (LONG_TURN_S - SHORT_TURN_S)
            self._count = 0
            self._since = now
        return self.turn_s


class Turns:
    """The sockets of an event loop to which media comes. `join` each once, `leave` before it is closed."""

    _of: ClassVar[dict[asyncio.AbstractEventLoop, Turns]] = {}

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reads: dict[int, Callable[[], int]] = {}
        self._ready = select.epoll()
        #: Descriptors that were ready when the present turn began and are still to be read.
        self._due: deque[int] = deque()
        self._began = 0.0
        self._more = False
        self._pace = Pace()
        self._next: asyncio.TimerHandle | None = None
        loop.add_reader(self._ready.fileno(), self._take)

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Turns:
        turns = cls._of.get(loop)
        if turns is None:
            for closed in [other for other in cls._of if other.is_closed()]:
                cls._of.pop(closed)._ready.close()
            turns = cls._of[loop] = cls(loop)
        return turns

    def join(self, descriptor: int, read: Callable[[], int]) -> None:
        self._ready.register(descriptor, select.EPOLLIN)
        self._reads[descriptor] = read

    def leave(self, descriptor: int) -> None:
        del self._reads[descriptor]
        self._ready.unregister(descriptor)
        if not self._reads:
            del self._of[self._loop]
            if self._next is None:
                self._loop.remove_reader(self._ready.fileno())
            else:
                self._next.cancel()
            self._ready.close()

    def _take(self) -> None:
        """Do a part of a turn. The rest, and datagrams left in a socket, follow after the loop's other tasks have run."""
        now = self._loop.time()
        if not self._due:
            self._due.extend(descriptor for descriptor, _ in self._ready.poll(0))
            self._began, self._more = now, False
        count = 0
        try:
            for _ in range(min(_AT_ONCE, len(self._due))):
                read = self._reads.get(self._due.popleft())  # None: closed meanwhile
                if read is not None:
                    taken = read()
                    count += taken
                    self._more |= taken == MAX_DATAGRAMS
        finally:
            if self._reads:
                turn_s = self._pace.took(count, now)
                self._wait(turn_s, now if self._due or self._more else self._began + turn_s)

    def _wait(self, turn_s: float, until: float) -> None:
        if turn_s > 0:
            if self._next is None:
                self._loop.remove_reader(self._ready.fileno())
            self._next = self._loop.call_at(until, self._take)
        elif self._next is not None:
            self._next = None
            self._loop.add_reader(self._ready.fileno(), self._take)
