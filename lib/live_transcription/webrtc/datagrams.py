# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""UDP sockets for media, read in batches, and all together while many people talk.

Fifty people who talk send 2,500 datagrams/s. If each one woke the event loop, an iteration of the loop would cost more than the
datagram, and the speaker's objects would have left the CPU cache since the last one. So the event loop watches a socket only
until media arrives. Then the socket moves to a separate epoll set (`ReadScheduler`). The loop watches this set while few people
talk and polls it at intervals while many do, as network drivers do with interrupts. Nothing but media waits for that.
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

#: Datagrams per second from which on sockets are polled: about eight people who talk.
POLL_FROM_PER_S = 400
#: The interval between two polls in seconds, and the longest one, which applies from `MANY_PER_S` on. A frame is 80 ms long.
MIN_INTERVAL_S = 0.01
MAX_INTERVAL_S = 0.04
MANY_PER_S = 1_200
_WINDOW_S = 0.1
#: Sockets that are read in a row before the event loop's other tasks run.
_SOCKETS_IN_A_ROW = 8


log_limit = LogLimit(INTERVAL_S, time.monotonic)


def report_rejected(reason: str) -> None:
    """Count a dropped datagram, and log at most one line per minute. `reason` is a constant, the label of the metric."""
    metrics.datagrams_rejected.labels(reason).inc()
    if (left_out := log_limit.permit(reason)) is not None:
        logger.info("Dropped %d datagrams that did not come from the SFU", left_out + 1, extra={"reason": reason})


def report_failure(error: Exception) -> None:
    """Count a datagram whose handling failed, which is a defect, and log its traceback at most once per minute."""
    metrics.datagrams_rejected.labels("failure").inc()
    if (left_out := log_limit.permit("failure")) is not None:
        logger.error("Handling a datagram failed (%d times since the last message)", left_out + 1, exc_info=error)


class MediaProtocol(asyncio.DatagramProtocol):
    """A datagram protocol whose `media_received` is called for RTP and RTCP (RFC 7983).

    The datagram's buffer is valid until `media_received` returns. All other datagrams go to `datagram_received`.
    """

    media_received: Callable[[Datagram], None]


async def open_socket(address: str, protocol: MediaProtocol) -> None:
    """Bind a UDP socket to a local address and any port. Raises OSError."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    buffers = batch(family)
    if buffers is None:
        transport, _ = await loop.create_datagram_endpoint(lambda: protocol, local_addr=(address, 0))
        limit_read_size(transport)
        return
    bound = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        bound.bind((address, 0))
    except OSError:
        bound.close()
        raise
    MediaSocket(loop, bound, protocol, buffers)


def limit_read_size(transport: asyncio.BaseTransport) -> None:
    """Read at most `MAX_OCTETS` at a time.

    For asyncio's default of 256 KiB, the C library maps and unmaps memory with each datagram, which takes 20 us.
    """
    if hasattr(transport, "max_size"):  # only asyncio's own transports have it, not those of TLS or of other event loops
        transport.max_size = MAX_OCTETS


class MediaSocket(asyncio.DatagramTransport):
    """The transport of a UDP socket that is bound but not connected. A datagram that cannot be sent at once is dropped."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bound: socket.socket, protocol: MediaProtocol, buffers: Batch) -> None:
        super().__init__({"sockname": bound.getsockname(), "socket": bound})
        self._loop = loop
        self._socket = bound
        self._descriptor = bound.fileno()
        self._protocol = protocol
        self._media_received = protocol.media_received
        self._batch = buffers
        self._scheduler: ReadScheduler | None = None
        self._closing = False
        loop.add_reader(self._descriptor, self.read)
        protocol.connection_made(self)

    def read(self) -> int:
        """Read the waiting datagrams, at most `MAX_DATAGRAMS`. Returns their number."""
        if self._closing:  # the descriptor may belong to another socket by now
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
                if datagram.size > 0 and 127 < datagram.octet(0) < 192:
                    if self._scheduler is None:
                        self._join_scheduler()
                    self._media_received(datagram)
                else:
                    self._protocol.datagram_received(datagram.copy(), self._batch.source(index))
            except Exception as error:  # noqa: BLE001  a failure must not affect the next datagram
                report_failure(error)
            if self._closing:
                return

    def _join_scheduler(self) -> None:
        scheduler = ReadScheduler.of(self._loop)
        scheduler.join(self._descriptor, self.read)
        self._scheduler = scheduler
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
        if self._scheduler is None:
            self._loop.remove_reader(self._descriptor)
        else:
            self._scheduler.leave(self._descriptor)
        self._loop.call_soon(self._closed)

    abort = close

    def _closed(self) -> None:
        self._socket.close()
        self._protocol.connection_lost(None)


class ReadInterval:
    """The time between two polls, from the rate of datagrams. Pure."""

    def __init__(self) -> None:
        #: The present interval in seconds. 0: few datagrams come, so the event loop should watch the sockets.
        self.seconds = 0.0
        self._count = 0
        self._since = 0.0

    def count(self, datagrams: int, now: float) -> float:
        """Count the datagrams of one poll and return the interval until the next one in seconds."""
        self._count += datagrams
        elapsed = now - self._since
        if elapsed >= _WINDOW_S:
            rate = self._count / elapsed
            share = (rate - POLL_FROM_PER_S) / (MANY_PER_S - POLL_FROM_PER_S)
            self.seconds = 0.0 if share < 0 else MIN_INTERVAL_S + min(1.0, share) * (MAX_INTERVAL_S - MIN_INTERVAL_S)
            self._count = 0
            self._since = now
        return self.seconds


class ReadScheduler:
    """Reads all sockets of an event loop that receive media. `join` each socket once, and `leave` before it is closed."""

    _schedulers: ClassVar[dict[asyncio.AbstractEventLoop, ReadScheduler]] = {}

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reads: dict[int, Callable[[], int]] = {}
        self._epoll = select.epoll()
        #: Descriptors that were ready at the last poll and are still to be read.
        self._due: deque[int] = deque()
        self._polled_at = 0.0
        self._unread = False
        self._interval = ReadInterval()
        self._timer: asyncio.TimerHandle | None = None
        loop.add_reader(self._epoll.fileno(), self._poll)

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> ReadScheduler:
        """Return the scheduler of an event loop. It is made for the first socket and closed with the last one."""
        scheduler = cls._schedulers.get(loop)
        if scheduler is None:
            for closed in [other for other in cls._schedulers if other.is_closed()]:
                cls._schedulers.pop(closed)._epoll.close()
            scheduler = cls._schedulers[loop] = cls(loop)
        return scheduler

    def join(self, descriptor: int, read: Callable[[], int]) -> None:
        """Add a socket. `read` reads up to `MAX_DATAGRAMS` datagrams and returns their number."""
        self._epoll.register(descriptor, select.EPOLLIN)
        self._reads[descriptor] = read

    def leave(self, descriptor: int) -> None:
        """Remove a socket."""
        del self._reads[descriptor]
        self._epoll.unregister(descriptor)
        if not self._reads:
            del self._schedulers[self._loop]
            if self._timer is None:
                self._loop.remove_reader(self._epoll.fileno())
            else:
                self._timer.cancel()
            self._epoll.close()

    def _poll(self) -> None:
        """Read some of the ready sockets.

        The others, and datagrams that are left in a socket, follow after the loop's other tasks have run.
        """
        now = self._loop.time()
        if not self._due:
            self._due.extend(descriptor for descriptor, _ in self._epoll.poll(0))
            self._polled_at, self._unread = now, False
        count = 0
        try:
            for _ in range(min(_SOCKETS_IN_A_ROW, len(self._due))):
                read = self._reads.get(self._due.popleft())
                if read is None:  # closed since the poll
                    continue
                datagrams = read()
                count += datagrams
                self._unread |= datagrams == MAX_DATAGRAMS
        finally:
            # Also after an exception: without the next poll, all sockets would be deaf.
            if self._reads:
                interval_s = self._interval.count(count, now)
                self._schedule(interval_s, now if self._due or self._unread else self._polled_at + interval_s)

    def _schedule(self, interval_s: float, when: float) -> None:
        if interval_s > 0:
            if self._timer is None:
                self._loop.remove_reader(self._epoll.fileno())
            self._timer = self._loop.call_at(when, self._poll)
        elif self._timer is not None:
            self._timer = None
            self._loop.add_reader(self._epoll.fileno(), self._poll)
