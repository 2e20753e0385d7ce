# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The private names of aiortc and aioice that `webrtc.dtls` and `webrtc.ice_connection` use.

If an update breaks one of these tests, read how the library has changed before you adapt the two files.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable
from typing import Any

import aioice
import aiortc
import pylibsrtp
import pytest
from aioice import ice, turn
from aiortc.rtcdtlstransport import SRTP_PROFILES, RTCDtlsTransport
from aiortc.rtp import RtcpByePacket, RtpPacket
from pylibsrtp._binding import lib as srtp

from live_transcription.webrtc.datagrams import limit_read_size
from live_transcription.webrtc.dtls import Certificate, DtlsLink
from live_transcription.webrtc.ice_connection import IceConnection
from live_transcription.webrtc.recvmmsg import Datagram


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (ice.Connection._add_remote_candidate, ["self", "remote_candidate", "network_host"]),
        (ice.Connection._end_remote_candidates, ["self"]),
        (ice.Connection._pair_remote_candidate, ["self", "remote_candidate"]),
        (ice.Connection.sort_check_list, ["self"]),
        (ice.Connection.data_received, ["self", "data", "component"]),
        (ice.Connection.protocol_lost, ["self", "protocol"]),
        (ice.Connection.connect, ["self"]),
        (ice.Connection.close, ["self"]),
        (ice.Connection.send, ["self", "data"]),
        (ice.Connection.query_consent, ["self"]),
        (ice.Connection.build_request, ["self", "pair", "nominate"]),
        (ice.StunProtocol.__init__, ["self", "receiver"]),
        (ice.StunProtocol.datagram_received, ["self", "data", "addr"]),
        (ice.StunProtocol.close, ["self"]),
        (ice.StunProtocol.request, ["self", "request", "addr", "integrity_key", "retransmissions"]),
        (ice.get_host_addresses, ["use_ipv4", "use_ipv6"]),
        (
            ice.relayed_candidate,
            [
                "component",
                "hide_related_address",
                "protocol_factory",
                "turn_server",
                "turn_username",
                "turn_password",
                "turn_ssl",
                "turn_transport",
            ],
        ),
        (RTCDtlsTransport.__init__, ["self", "transport", "certificates"]),
        (RTCDtlsTransport.start, ["self", "remoteParameters"]),
        (RTCDtlsTransport.stop, ["self"]),
        (RTCDtlsTransport._set_role, ["self", "role"]),
        (aiortc.RTCCertificate._create_ssl_context, ["self", "srtp_profiles"]),
    ],
)
def test_signatures(function: Callable[..., Any], parameters: list[str]) -> None:
    assert list(inspect.signature(function).parameters) == parameters


async def test_attributes_of_an_ice_connection() -> None:
    connection = IceConnection(lambda data: None, lambda data: None)
    assert (
        connection._protocols == connection._local_candidates == connection._remote_candidates == connection._check_list == []
    )
    assert connection._nominated == {}
    assert (connection._closing, connection._remote_candidates_end, connection.ice_controlling) == (False, False, False)
    assert connection.remote_username is connection.remote_password is None
    assert not connection.remote_is_lite
    assert connection._query_consent_task is None
    await connection.bind("127.0.0.1")
    (protocol,) = connection._protocols
    assert protocol.receiver is connection
    assert protocol.transactions == {}
    assert connection.username_prefix == connection.local_username.encode() + b":"
    assert connection.local_candidates == [protocol.local_candidate]
    await connection.close()


async def test_the_read_size_of_asyncio_can_be_limited() -> None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    limit_read_size(transport)
    assert vars(transport)["max_size"] < type(transport).max_size  # type: ignore[attr-defined]
    transport.close()
    await asyncio.sleep(0)


def test_libsrtp_decrypts_in_place() -> None:
    """`pylibsrtp.Session` would copy each packet twice."""
    policies = [
        pylibsrtp.Policy(bytes(30), kind) for kind in (pylibsrtp.Policy.SSRC_ANY_OUTBOUND, pylibsrtp.Policy.SSRC_ANY_INBOUND)
    ]
    sender, receiver = (pylibsrtp.Session(policy) for policy in policies)
    for plain, protect, unprotect in (
        (RtpPacket(111, 1, 2, 3, 4, b"opus").serialize(), sender.protect, srtp.srtp_unprotect),
        (bytes(RtcpByePacket([42])), sender.protect_rtcp, srtp.srtp_unprotect_rtcp),
    ):
        datagram = Datagram()
        datagram.load(protect(plain))
        assert datagram.copy() != plain
        assert datagram.decrypt(unprotect, receiver._srtp[0])
        assert datagram.copy() == plain
        datagram.load(bytes(40))
        assert not datagram.decrypt(unprotect, receiver._srtp[0])


def test_attributes_of_a_relay() -> None:
    names = vars(turn.TurnTransport(object()))  # type: ignore[arg-type]
    assert {"_TurnTransport__close_task", "_TurnTransport__send_tasks", "_TurnTransport__inner_protocol"} <= set(names)


async def test_attributes_of_a_dtls_transport() -> None:
    transport = RTCDtlsTransport(DtlsLink(IceConnection(lambda data: None, lambda data: None)), [Certificate.current()])  # type: ignore[arg-type]
    assert transport._rx_srtp is transport._tx_srtp is None
    assert transport._task is None
    assert transport.state == "new"
    # All that it asks of an ICE transport is what `DtlsLink` has.
    source = inspect.getsource(RTCDtlsTransport)
    used = set(re.findall(r"self\.transport\.(\w+)", source))
    assert used <= {name for name in dir(DtlsLink) if not name.startswith("__")}


def test_one_certificate_and_one_ssl_context_serve_all_peers() -> None:
    certificate = Certificate.current()
    assert Certificate.current() is certificate
    assert certificate._create_ssl_context(SRTP_PROFILES) is certificate._create_ssl_context(SRTP_PROFILES)


def test_the_verified_versions() -> None:
    assert aiortc.__version__.split(".")[:2] == ["1", "16"]
    assert aioice.__version__.split(".")[:2] == ["0", "13"]
