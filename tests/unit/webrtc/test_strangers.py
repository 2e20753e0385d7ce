# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Datagrams of strangers at the media sockets do not affect handshake or audio, and do not fill the log."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aioice import Candidate
from aioice.stun import Class, Message, Method
from aiortc import RTCSessionDescription

from live_transcription.observability import metrics
from live_transcription.observability.log_limit import LogLimit
from live_transcription.webrtc import datagrams
from live_transcription.webrtc.dtls import DtlsLink, handshake_failure
from live_transcription.webrtc.ice_connection import IceConnection

from .publisher import Publisher, addresses, stranger
from .test_subscriber import subscribed

FATAL_ALERT = bytes.fromhex("15feff0000000000000000000202") + b"\x28"
DTLS = {
    "an alert": FATAL_ALERT,
    "a ClientHello": bytes.fromhex("16feff000000000000000000100100000400000000000000040102") + bytes(4),
    "a ServerHello": bytes.fromhex("16fefd0000000000000001000c020000000000000000000000"),
    "a HelloVerifyRequest": bytes.fromhex("16feff00000000000000000013030000070000000000000007feff0401020304"),
    "application data": bytes.fromhex("17fefd000100000000000100080102030405060708"),
    "a ChangeCipherSpec": bytes.fromhex("14fefd000000000000000200010101")[:14],
    "a lone octet": b"\x16",
}
#: PRIORITY of length 0: aioice's parser raises struct.error.
BROKEN_ATTRIBUTE = bytes.fromhex("00240000")


def stun(attributes: bytes, kind: bytes = b"\x00\x01", transaction: bytes = bytes(12)) -> bytes:
    return kind + len(attributes).to_bytes(2) + bytes.fromhex("2112a442") + transaction + attributes


def username(text: str) -> bytes:
    octets = text.encode()
    return b"\x00\x06" + len(octets).to_bytes(2) + octets + bytes(-len(octets) % 4)


@pytest.fixture(autouse=True)
def fresh_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "log_limit", LogLimit(60.0, time.monotonic))


def rejected(reason: str) -> float:
    return metrics.registry.get_sample_value("live_transcription_datagrams_rejected_total", {"reason": reason}) or 0.0


@pytest.mark.parametrize("name", DTLS)
async def test_dtls_of_a_stranger_does_not_end_a_handshake(name: str) -> None:
    publisher = Publisher()
    dropped = rejected("DTLS of a stranger")
    async with subscribed(publisher):
        publisher.subscriber.offer("1", await publisher.offer())
        async with asyncio.timeout(5):
            await publisher.answered.wait()
        with stranger(addresses(publisher.answers[0])) as sockets:
            for _ in range(3):
                for sending, target in sockets:
                    sending.sendto(DTLS[name], target)
            async with asyncio.timeout(5):
                while rejected("DTLS of a stranger") < dropped + 3 * len(sockets):  # noqa: ASYNC110  until they were read
                    await asyncio.sleep(0.001)
            await publisher.peer.setRemoteDescription(RTCSessionDescription(publisher.answers[0], "answer"))
            await publisher.receive(1)
            for sending, target in sockets:
                sending.sendto(DTLS[name], target)
            await publisher.receive(10)
        assert len(publisher.peers) == 1


async def test_malformed_stun_is_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.receive(3)
        prefix = publisher.answers[0].split("a=ice-ufrag:")[1].split()[0] + ":"
        sent = 0
        with caplog.at_level(logging.INFO, "live_transcription"), stranger(addresses(publisher.answers[0])) as sockets:
            before = rejected("malformed STUN") + rejected("STUN of a stranger")
            for _ in range(100):
                for sending, target in sockets:
                    for data in (
                        stun(BROKEN_ATTRIBUTE),
                        stun(username(prefix) + BROKEN_ATTRIBUTE),
                        stun(b"", b"\x03\xff"),
                        b"\0",
                    ):
                        sending.sendto(data, target)
                        sent += 1
                await asyncio.sleep(0.001)
            async with asyncio.timeout(5):
                while rejected("malformed STUN") + rejected("STUN of a stranger") < before + sent:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            for sending, _ in sockets:
                with pytest.raises(BlockingIOError):
                    sending.recv(2048)  # nothing is answered: no amplifier, and no sign that somebody is there
        assert not failures
        lines = [record for record in caplog.records if record.name.startswith("live_transcription.webrtc")]
        assert len(lines) <= 2, "one for each reason"
        assert not any(record.exc_info for record in lines)
        await publisher.receive(10)


async def test_a_check_that_makes_aioice_raise_counts_as_malformed() -> None:
    connection = await bound()
    before = rejected("malformed STUN")
    request = Message(Method.BINDING, Class.REQUEST)
    request.attributes["USERNAME"] = f"{connection.local_username}:peer"
    request.add_message_integrity(connection.local_password.encode())
    connection.remote_username, connection.remote_password = "peer", "p" * 22
    connection._early_checks_done = True
    (protocol, *_) = connection._protocols
    protocol.datagram_received(bytes(request), ("127.0.0.1", 9))  # authentic, but without PRIORITY
    assert rejected("malformed STUN") == before + 1
    await connection.close()


async def bound() -> IceConnection:
    connection = IceConnection(lambda datagram: None, lambda data: None)
    await connection.bind("127.0.0.1")
    return connection


@pytest_asyncio.fixture
async def paired() -> AsyncIterator[tuple[IceConnection, list[bytes | None]]]:
    """A connection with one candidate of the SFU, before any check."""
    received: list[bytes | None] = []
    connection = IceConnection(lambda datagram: None, received.append)
    await connection.bind("127.0.0.1")
    connection.add_remote(Candidate("1", 1, "udp", 1, "127.0.0.1", 20_000, "host"))
    yield connection, received
    await connection.close()


async def test_dtls_is_accepted_only_from_the_address_of_a_pair(paired: tuple[IceConnection, list[bytes | None]]) -> None:
    """Also before our own check of the pair is answered, since the SFU may have nominated it already."""
    connection, received = paired
    (protocol,) = connection._protocols
    for source in (("127.0.0.1", 20_001), ("127.0.0.2", 20_000)):
        protocol.datagram_received(FATAL_ALERT, source)
    assert received == []
    protocol.datagram_received(FATAL_ALERT, ("127.0.0.1", 20_000, 0, 0))
    assert received == [FATAL_ALERT]


@pytest.mark.parametrize("seed", range(3))
async def test_no_datagram_escapes_as_an_exception(seed: int, paired: tuple[IceConnection, list[bytes | None]]) -> None:
    connection, _ = paired
    (protocol,) = connection._protocols
    prefix, chance = username(f"{connection.local_username}:x"), random.Random(seed)
    for number in range(2_000):
        body = chance.randbytes(number % 50)
        for data in (body, stun(prefix + body), stun(body, b"\x01\x01"), bytes([number % 256]) + body):
            protocol.datagram_received(data, ("127.0.0.1", 20_000 + number % 2))


def test_a_defect_in_the_datagram_path_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(1_000):
        datagrams.report_failure(RuntimeError("broken"))
    (line,) = caplog.records
    assert line.exc_info is not None


@pytest.mark.parametrize(
    ("alert", "encrypted", "closed", "what"),
    [
        (40, False, False, "ECDSA key"),
        (48, False, False, "ECDSA key"),
        (50, False, False, "tries again"),
        (None, False, False, "tries again"),
        (None, False, True, "path"),
        (40, True, False, "does not match its offer"),
    ],
)
def test_the_error_of_a_failed_handshake_names_its_cause(alert: int | None, encrypted: bool, closed: bool, what: str) -> None:
    assert what in str(handshake_failure(alert, closed=closed, encrypted=encrypted))


@pytest.mark.parametrize(
    ("data", "alert"), [(FATAL_ALERT, 0x28), (FATAL_ALERT[:-1], None), (b"\x16" + FATAL_ALERT[1:], None), (None, None)]
)
async def test_the_link_remembers_the_sfus_alert(data: bytes | None, alert: int | None) -> None:
    connection = await bound()
    link = DtlsLink(connection)
    link.put(data)
    assert link.alert == alert
    assert link.closed == (data is None)
    await connection.close()
