# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""RTP headers, RTCP reports, the choice of the source, and server URIs."""

from __future__ import annotations

import pytest
from aiortc import rtp
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.types import IceServer, Secret
from live_transcription.webrtc.ice_servers import StunServer, TurnServer, parse_servers
from live_transcription.webrtc.rtcp import ReceptionReporter
from live_transcription.webrtc.rtp import MalformedRtp, SourceLatch, parse_rtp

LEVEL_ID = 5


def serialized(**changes: object) -> bytes:
    packet = rtp.RtpPacket(payload_type=111, sequence_number=7, timestamp=9, ssrc=42, payload=b"opus")
    for name, value in changes.items():
        setattr(packet, name, value)
    return packet.serialize()


def with_extension(profile: int, extension: bytes) -> bytes:
    extension += bytes(-len(extension) % 4)
    header = bytes((0x90, 111)) + (7).to_bytes(2) + (9).to_bytes(4) + (42).to_bytes(4)
    return header + profile.to_bytes(2) + (len(extension) // 4).to_bytes(2) + extension + b"opus"


def test_a_plain_packet() -> None:
    parsed = parse_rtp(serialized(), frozenset({111}), LEVEL_ID)
    assert parsed is not None
    ssrc, packet = parsed
    assert (ssrc, packet.sequence_number, packet.timestamp, packet.payload, packet.audio_level) == (42, 7, 9, b"opus", None)


def test_padding_and_csrcs_are_stripped() -> None:
    parsed = parse_rtp(serialized(padding_size=9, csrc=[1, 2, 3]), frozenset({111}), None)
    assert parsed is not None
    assert parsed[1].payload == b"opus"


def test_a_packet_may_have_only_padding() -> None:
    parsed = parse_rtp(serialized(payload=b"", padding_size=200), frozenset({111}), None)
    assert parsed is not None
    assert parsed[1].payload == b""


@pytest.mark.parametrize(
    ("profile", "extension", "level"),
    [
        (0xBEDE, b"\x50\x85", 5),  # voice activity bit set
        (0xBEDE, b"\x50\x7f", 127),
        (0xBEDE, b"\x12abc\x00\x00\x50\x11", 17),
        (0xBEDE, b"\x12abc", None),
        (0xBEDE, b"\xf0\x00\x50\x11", None),  # 15 ends the list
        (0x1000, b"\x09\x02ab\x05\x01\x11", 17),
        (0x100F, b"\x05\x01\x8b", 11),
        (0x4711, b"\x50\x11", None),
    ],
)
def test_the_audio_level_is_found_by_its_negotiated_id(profile: int, extension: bytes, level: int | None) -> None:
    parsed = parse_rtp(with_extension(profile, extension), frozenset({111}), LEVEL_ID)
    assert parsed is not None
    assert parsed[1].audio_level == level
    assert parsed[1].payload == b"opus"


def test_other_payload_types_are_ignored() -> None:
    assert parse_rtp(serialized(payload_type=96), frozenset({111}), None) is None


@given(st.binary(max_size=80))
def test_any_datagram_is_parsed_or_malformed(data: bytes) -> None:
    for candidate in (data, b"\x90\x6f" + data, b"\xbf\x6f" + data):
        try:
            parse_rtp(candidate, frozenset({111}), LEVEL_ID)
        except MalformedRtp:
            continue


def test_a_report_describes_the_reception() -> None:
    reporter = ReceptionReporter()
    for number in range(100):
        if number % 10 != 5:
            reporter.received(42, (65_500 + number) & 0xFFFF, number * 960, number * 0.02)
    sender_report = rtp.RtcpSrPacket(42, rtp.RtcpSenderInfo(0x1111_2222_3333_4444, 0, 0, 0))
    reporter.sender_report(bytes(sender_report), 2.0)
    report, description = rtp.RtcpPacket.parse(reporter.report(2.5))
    assert isinstance(report, rtp.RtcpRrPacket)
    assert isinstance(description, rtp.RtcpSdesPacket)
    (block,) = report.reports
    assert (block.ssrc, block.packets_lost, block.highest_sequence) == (42, 10, 65_536 + 63)
    assert block.fraction_lost == 10 * 256 // 100
    assert (block.lsr, block.dlsr) == (0x2222_3333, 32_768)
    assert block.jitter == 0
    assert description.chunks[0].ssrc == report.ssrc == reporter.ssrc
    again, _ = rtp.RtcpPacket.parse(reporter.report(3.0))
    assert isinstance(again, rtp.RtcpRrPacket)
    assert again.reports[0].fraction_lost == 0


def test_jitter_is_reported_in_ticks() -> None:
    reporter = ReceptionReporter()
    for number in range(500):
        reporter.received(42, number, number * 960, number * 0.02 + 0.005 * (number % 2))
    report, _ = rtp.RtcpPacket.parse(reporter.report(10.0))
    assert isinstance(report, rtp.RtcpRrPacket)
    assert report.reports[0].jitter == pytest.approx(240, abs=5)


def test_skipped_packets_are_neither_loss_nor_jitter() -> None:
    reporter = ReceptionReporter()
    for number in range(0, 65_536 * 2, 16):
        reporter.received(42, number & 0xFFFF, number * 960 & 0xFFFF_FFFF, number * 0.02, 15 if number else 0)
    report, _ = rtp.RtcpPacket.parse(reporter.report(3_000.0))
    assert isinstance(report, rtp.RtcpRrPacket)
    (block,) = report.reports
    assert (block.packets_lost, block.fraction_lost, block.highest_sequence) == (0, 0, 65_536 * 2 - 16)
    assert block.jitter == 0


def test_before_the_first_packet_the_report_is_empty() -> None:
    report, _ = rtp.RtcpPacket.parse(ReceptionReporter().report(0.0))
    assert isinstance(report, rtp.RtcpRrPacket)
    assert report.reports == []


@given(st.binary(max_size=120))
def test_no_rtcp_raises(data: bytes) -> None:
    ReceptionReporter().sender_report(data, 0.0)


def test_a_second_source_is_accepted_when_the_first_is_silent() -> None:
    latch = SourceLatch()
    assert latch.accepts(1, 10.0)
    assert not latch.accepts(2, 10.5)
    assert latch.accepts(1, 10.6)
    assert not latch.accepts(2, 11.5)
    assert latch.accepts(2, 11.7)
    assert not latch.accepts(1, 11.8)


def test_a_newly_announced_source_replaces_an_unannounced_one_at_once() -> None:
    latch = SourceLatch()
    assert latch.accepts(1, 10.0)
    latch.announced = frozenset({2})
    assert latch.accepts(2, 10.1)
    assert not latch.accepts(1, 10.2)


def test_servers_of_every_kind() -> None:
    secret = Secret("hidden-word")
    servers = [
        IceServer(("stun:stun.example.com", "stun:[2001:db8::1]:3479")),
        IceServer(
            (
                "turn:turn.example.com:3478?transport=udp",
                "turn:turn.example.com:3478?transport=tcp",
                "turns:turn.example.com",
                "turn:192.0.2.9",
            ),
            "user",
            secret,
        ),
        IceServer(("stun:stun.example.com:3478",)),
    ]
    usable, refused = parse_servers(servers)
    assert refused == 0
    assert usable == [
        StunServer("stun.example.com", 3478),
        StunServer("2001:db8::1", 3479),
        TurnServer("turn.example.com", 3478, "udp", False, "user", secret),
        TurnServer("turn.example.com", 3478, "tcp", False, "user", secret),
        TurnServer("turn.example.com", 5349, "tcp", True, "user", secret),
        TurnServer("192.0.2.9", 3478, "udp", False, "user", secret),
    ]
    assert "hidden-word" not in repr(usable)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "http://example.com",
        "stun:",
        "turn:host:99999",
        "turn:host:0",
        "stuns:host",
        "turns:host?transport=udp",
        "turn:a b",
        "turn:host?x=1",
    ],
)
def test_unusable_uris_are_counted(uri: str) -> None:
    assert parse_servers([IceServer((uri,))]) == ([], 1)
