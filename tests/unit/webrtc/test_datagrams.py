# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Media sockets: delivery, errors, closing, and scheduling of reads."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest

from live_transcription.webrtc import datagrams, recvmmsg
from live_transcription.webrtc.datagrams import (
    MANY_PER_S,
    MAX_INTERVAL_S,
    MIN_INTERVAL_S,
    POLL_FROM_PER_S,
    MediaProtocol,
    MediaSocket,
    ReadInterval,
    ReadScheduler,
    open_socket,
)
from live_transcription.webrtc.recvmmsg import MAX_DATAGRAMS, MAX_OCTETS, Datagram
from sandbox.ports import has_ipv6

pytestmark = pytest.mark.skipif(recvmmsg.batch(socket.AF_INET) is None, reason="this system has no recvmmsg")

MEDIA, STUN = b"\x80media", b"\x00stun"


class Receiver(MediaProtocol):
    """Remembers what arrived; `on_media` is called for each media datagram."""

    def __init__(self, on_media: Callable[[], None] = lambda: None) -> None:
        self.media: list[bytes] = []
        self.others: list[tuple[bytes, Any]] = []
        self.errors: list[Exception] = []
        self.lost = False
        self.media_received = self._media_received
        self._on_media = on_media

    def _media_received(self, datagram: Datagram) -> None:
        self.media.append(datagram.copy())
        self._on_media()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.others.append((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


async def opened(on_media: Callable[[], None] = lambda: None, address: str = "127.0.0.1") -> Receiver:
    receiver = Receiver(on_media)
    await open_socket(address, receiver)
    return receiver


def sender(receiver: Receiver) -> socket.socket:
    family = socket.AF_INET6 if ":" in receiver.address[0] else socket.AF_INET
    sending = socket.socket(family, socket.SOCK_DGRAM)
    sending.bind((receiver.address[0], 0))
    sending.connect(receiver.address)
    return sending


def epoll_sets() -> set[str]:
    """Return this process's descriptors of epoll sets: one for each open event loop, and one for each `ReadScheduler`."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            if os.readlink(f"/proc/self/fd/{descriptor}") == "anon_inode:[eventpoll]":
                found.add(descriptor)
    return found


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  the condition has no event
            await asyncio.sleep(0.001)


async def closed(*receivers: Receiver) -> None:
    for receiver in receivers:
        receiver.transport.close()
    await until(lambda: all(receiver.lost for receiver in receivers))


@pytest.mark.parametrize(
    "address", ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6"))]
)
async def test_media_and_other_datagrams_are_delivered_in_order(address: str) -> None:
    receiver = await opened(address=address)
    with sender(receiver) as sending:
        for number in range(20):
            sending.send(MEDIA + bytes([number]))
            sending.send(STUN + bytes([number]))
        sending.send(b"")
        await until(lambda: len(receiver.others) == 21)
        came_from = sending.getsockname()[:2]
    assert receiver.media == [MEDIA + bytes([number]) for number in range(20)]
    assert [data for data, _ in receiver.others] == [*(STUN + bytes([number]) for number in range(20)), b""]
    assert {source for _, source in receiver.others} == {came_from}
    await closed(receiver)


async def test_sent_datagrams_arrive() -> None:
    receiver = await opened()
    with sender(receiver) as other:
        receiver.transport.sendto(b"hello", other.getsockname())
        assert other.recv(100) == b"hello"
        await closed(receiver)
        receiver.transport.sendto(b"too late", other.getsockname())
    assert receiver.errors == []


async def test_a_send_error_is_reported_to_the_protocol() -> None:
    receiver = await opened()
    receiver.transport.sendto(bytes(70_000), ("127.0.0.1", 9))
    assert [getattr(error, "errno", None) for error in receiver.errors] == [errno.EMSGSIZE]
    await closed(receiver)


async def test_a_read_error_is_reported_to_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = await opened()

    def refuse(self: object, descriptor: int) -> int:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    with monkeypatch.context() as patched, sender(receiver) as sending:
        patched.setattr(recvmmsg.Batch, "receive", refuse)
        sending.send(MEDIA)
        await until(lambda: receiver.errors)
    assert isinstance(receiver.errors[0], ConnectionRefusedError)
    await until(lambda: receiver.media == [MEDIA])
    await closed(receiver)


def test_an_error_of_recvmmsg_raises_os_error() -> None:
    batch = recvmmsg.batch(socket.AF_INET)
    assert batch is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as idle:
        assert batch.receive(idle.fileno()) == 0
    with pytest.raises(OSError, match="descriptor") as caught:
        batch.receive(999_999)
    assert caught.value.errno == errno.EBADF


async def test_binding_a_foreign_address_raises_os_error() -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EADDRNOTAVAIL)):
        await open_socket("192.0.2.1", Receiver())


async def test_a_socket_can_be_closed_in_the_middle_of_a_batch() -> None:
    before = set(os.listdir("/proc/self/fd"))

    def close() -> None:
        receiver.transport.close()

    receiver = await opened(close)
    with sender(receiver) as sending:
        for _ in range(5):
            sending.send(MEDIA)
        await until(lambda: receiver.lost)
    assert len(receiver.media) == 1
    assert receiver.transport.is_closing()
    assert set(os.listdir("/proc/self/fd")) <= before


async def test_a_socket_can_be_closed_before_media_arrives() -> None:
    before = set(os.listdir("/proc/self/fd"))
    receiver = await opened()
    await closed(receiver)
    receiver.transport.close()
    await asyncio.sleep(0)
    assert set(os.listdir("/proc/self/fd")) <= before


async def test_a_callback_can_close_another_socket() -> None:
    before = epoll_sets()

    def close() -> None:
        second.transport.close()

    first = await opened(close)
    second = await opened()
    with sender(first) as to_first, sender(second) as to_second:
        for socket_ in (to_first, to_second):
            socket_.send(MEDIA)
        await until(lambda: second.lost)
        to_first.send(MEDIA)
        await until(lambda: len(first.media) == 2)
    third = await opened()
    with sender(third) as to_third:
        to_third.send(MEDIA)
        await until(lambda: third.media)
    await closed(first, third)
    assert epoll_sets() <= before


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """The exceptions that were raised while datagrams were handled."""
    found: list[Exception] = []
    monkeypatch.setattr(datagrams, "report_failure", found.append)
    return found


async def test_a_failure_with_one_datagram_does_not_affect_the_next(failures: list[Exception]) -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    broken, sound = await opened(fail), await opened()
    with sender(broken) as to_broken, sender(sound) as to_sound:
        for _ in range(3):
            to_broken.send(MEDIA)
            to_sound.send(MEDIA)
        await until(lambda: len(broken.media) == len(sound.media) == 3)
    assert [type(failure) for failure in failures] == [RuntimeError] * 3
    await closed(broken, sound)


async def test_media_arrives_even_if_no_descriptor_is_left_for_epoll(
    monkeypatch: pytest.MonkeyPatch, failures: list[Exception]
) -> None:
    before = epoll_sets()
    receiver = await opened()

    def none_left() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with sender(receiver) as sending:
        with monkeypatch.context() as patched:
            patched.setattr("select.epoll", none_left)
            sending.send(MEDIA)
            await until(lambda: failures)
        sending.send(MEDIA)
        await until(lambda: receiver.media)
    await closed(receiver)
    assert epoll_sets() <= before


async def test_a_closing_socket_is_not_read() -> None:
    """Its descriptor may soon belong to another socket."""
    receiver = await opened()
    transport = receiver.transport
    assert isinstance(transport, MediaSocket)
    with sender(receiver) as sending:
        sending.send(MEDIA)
        transport.close()
        assert transport.read() == 0
    await until(lambda: receiver.lost)
    assert receiver.media == []


async def test_one_read_takes_a_limited_number_of_datagrams() -> None:
    """A flood at one socket does not delay the others."""
    receiver = await opened()
    with sender(receiver) as sending:
        for _ in range(200):
            sending.send(MEDIA)
        assert isinstance(receiver.transport, MediaSocket)
        assert receiver.transport.read() == MAX_DATAGRAMS
        await until(lambda: len(receiver.media) == 200)
    await closed(receiver)


async def test_long_datagrams_are_truncated() -> None:
    receiver = await opened()
    with sender(receiver) as sending:
        sending.send(b"\x80" * (MAX_OCTETS + 1))
        await until(lambda: receiver.media)
    assert receiver.media == [b"\x80" * MAX_OCTETS]
    relayed = Datagram()
    relayed.load(b"\x80" * (MAX_OCTETS + 1))
    assert relayed.copy() == receiver.media[0]
    await closed(receiver)


async def test_media_arrives_on_a_system_without_recvmmsg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "batch", lambda family: None)
    receiver = await opened()
    with sender(receiver) as sending:
        sending.send(MEDIA)
        await until(lambda: receiver.others)
    assert receiver.others[0][0] == MEDIA
    await closed(receiver)


class Loop:
    """The part of an event loop that `ReadScheduler` uses, with a manual clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.reader: Callable[[], None] | None = None
        self.timers: list[float] = []
        self.timer: Callable[[], None] = lambda: None

    def time(self) -> float:
        return self.now

    def add_reader(self, descriptor: int, callback: Callable[[], None]) -> None:
        self.reader = callback

    def remove_reader(self, descriptor: int) -> None:
        self.reader = None

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.Handle:
        self.timers.append(when)
        self.timer = callback
        return asyncio.Handle(callback, (), asyncio.get_running_loop())

    def run_once(self) -> None:
        (self.reader or self.timer)()


async def test_sockets_are_watched_at_a_low_rate_and_polled_at_a_high_rate() -> None:
    before = epoll_sets()
    loop = Loop()
    scheduler = ReadScheduler.of(loop)  # type: ignore[arg-type]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving:
        receiving.bind(("127.0.0.1", 0))
        receiving.sendto(MEDIA, receiving.getsockname())
        counts = iter([1] * 20 + [100] * 20 + [MAX_DATAGRAMS] + [0] * 20)
        scheduler.join(receiving.fileno(), lambda: next(counts))

        def run(times: int) -> None:
            for _ in range(times):
                loop.run_once()
                loop.now = loop.timers[-1] if loop.reader is None else loop.now + 0.02

        run(20)
        assert loop.reader is not None
        assert loop.timers == []
        run(20)
        assert loop.reader is None
        assert loop.timers[-1] - loop.timers[-2] == pytest.approx(MAX_INTERVAL_S)
        run(1)
        assert loop.timers[-1] == loop.timers[-2]  # more waits: the next turn comes at once
        run(20)
        assert loop.reader is not None
        scheduler.leave(receiving.fileno())
    assert loop.reader is None
    assert epoll_sets() <= before


def interval_at(per_s: float, seconds: float = 1.0) -> float:
    """Return the interval after some time at this rate."""
    interval, now = ReadInterval(), 1_000.0
    for _ in range(int(seconds / 0.01)):
        now += 0.01
        interval.count(round(per_s * 0.01), now)
    return interval.seconds


def test_the_interval_grows_with_the_rate() -> None:
    assert interval_at(0) == interval_at(POLL_FROM_PER_S - 100) == 0.0
    assert interval_at(POLL_FROM_PER_S) == pytest.approx(MIN_INTERVAL_S, rel=0.2)
    assert MIN_INTERVAL_S < interval_at((POLL_FROM_PER_S + MANY_PER_S) / 2) < MAX_INTERVAL_S
    assert interval_at(2 * MANY_PER_S) == interval_at(20 * MANY_PER_S) == MAX_INTERVAL_S


def test_a_burst_after_a_pause_is_read_at_once() -> None:
    assert ReadInterval().count(300, 1_000.0) == 0.0
