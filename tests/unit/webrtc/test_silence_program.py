# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The BPF program on real sockets: what it drops, and what it must pass."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from live_transcription.types import DIGITAL_SILENCE
from live_transcription.webrtc.bpf import digital_silence_program
from live_transcription.webrtc.rtp import parse_rtp
from live_transcription.webrtc.silence_filter import attach, detach

from .silence import LEVEL_ID, LOUD, PAYLOAD_TYPE, SILENT, SSRC, Path, rtp

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux filters sockets in this way")


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def path(request: pytest.FixtureRequest) -> Iterator[Path]:
    try:
        path = Path(request.param)
    except OSError:
        pytest.skip("this host has no such address")
    yield path
    path.close()


def program(like: bytes | None = None, phase: int = 0) -> bytes:
    datagram = rtp() if like is None else like
    built = digital_silence_program(datagram, len(datagram), LEVEL_ID, phase)
    assert built is not None
    return built


@pytest.mark.parametrize(
    "elements",
    [
        SILENT,
        b"\x50\xff\x00\x00",  # with the flag of voice activity
        b"\x31ab\x50\x7f\x00\x00\x00",
        b"\x12abc\x00\x00\x50\x7f\x00\x00\x00",
        b"\x50\x7f\x31ab\x00\x00\x00",
    ],
)
def test_one_packet_of_digital_silence_in_16_passes(path: Path, elements: bytes) -> None:
    attach(path.receiver, program(rtp(elements=elements), phase=3))
    came = [number for number in range(65_500, 65_700) if path.send(rtp(number, elements=elements))]
    assert came == [number for number in range(65_500, 65_700) if number % 16 == 3]
    detach(path.receiver)
    assert path.send(rtp(elements=elements))


#: What is not certainly this source's digital silence.
OTHERS = {
    "sound": rtp(elements=LOUD),
    "sound as soft as can be": rtp(elements=b"\x50\x7e\x00\x00"),
    "longer than silence": rtp(payload=bytes(40)),
    "another source": rtp(ssrc=SSRC + 1),
    "another payload type": rtp(second=PAYLOAD_TYPE + 1),
    "a marker": rtp(second=0x80 | PAYLOAD_TYPE),
    "padding": rtp(first=0xB0, payload=bytes(12) + b"\x02"),
    "a contributing source": rtp(first=0x91),
    "no extension": rtp(first=0x80),
    "a two-byte extension": rtp(profile=0x1000, elements=b"\x05\x01\x7f\x00"),
    "an extension nobody knows": rtp(profile=0x4711),
    "another element first": rtp(elements=b"\x40\x7f\x50\x7f"),
    "a longer element": rtp(elements=b"\x51\x7f\x00\x00"),
    "more elements": rtp(elements=SILENT + bytes(4)),
    "a header without its end": rtp()[:19],
    "one octet": b"\x90",
    "two octets": b"\x90\x6f",
    "a sender report": b"\x80\xc8" + bytes(50),
    "a compound report with the look of silence": b"\x90\xc9" + rtp()[2:],
    "STUN": b"\x01\x01\x00\x54" + rtp()[4:],
    "DTLS": b"\x17\xfe\xfd" + rtp()[3:],
    "a DTLS handshake": b"\x16\xfe\xfd" + bytes(1_200),
    "a channel of TURN": b"\x40\x00" + rtp()[2:],
}


@pytest.mark.parametrize("kind", OTHERS)
def test_every_other_packet_passes(path: Path, kind: str) -> None:
    attach(path.receiver, program())
    assert not path.send(rtp())
    assert path.send(OTHERS[kind])
    assert not path.send(rtp())


datagrams = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda first, rest: bytes((first,)) + rest, st.integers(0, 255), st.just(rtp()[1:])),
    st.builds(lambda second: rtp()[:1] + bytes((second,)) + rtp()[2:], st.integers(0, 255)),
    st.builds(
        lambda at, octet, length: (rtp()[:at] + bytes((octet,)) + rtp()[at + 1 :])[:length],
        st.integers(0, 25), st.integers(0, 255), st.integers(16, 80),
    ),
    st.builds(lambda elements: rtp(elements=elements), st.binary(min_size=4, max_size=4)),
    st.builds(lambda elements: rtp(elements=elements), st.binary(min_size=8, max_size=8)),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(datagrams, st.sampled_from([SILENT, b"\x31ab\x50\x7f\x00\x00\x00"]))
def test_only_digital_silence_is_dropped(datagram: bytes, elements: bytes) -> None:
    path = Path()
    attach(path.receiver, program(rtp(elements=elements)))
    passed = path.send(datagram)
    path.close()
    if passed:
        return
    assert datagram[0] == 0x90, "neither STUN nor DTLS"
    assert datagram[1] == PAYLOAD_TYPE, "no RTCP"
    parsed = parse_rtp(datagram, frozenset({PAYLOAD_TYPE}), LEVEL_ID)
    assert parsed is not None
    assert parsed[0] == SSRC
    assert parsed[1].audio_level == DIGITAL_SILENCE
    assert parsed[1].sequence_number % 16


@settings(max_examples=300, deadline=None)
@given(datagrams, st.integers(1, 14))
def test_a_program_is_built_only_for_digital_silence(datagram: bytes, level_id: int) -> None:
    if digital_silence_program(datagram, len(datagram), level_id, 0) is None:
        return
    parsed = parse_rtp(datagram, frozenset({datagram[1] & 0x7F}), level_id)
    assert parsed is not None
    assert parsed[1].audio_level == DIGITAL_SILENCE


def test_srtp_still_decrypts_after_its_counter_has_rolled_over() -> None:
    """The receiver infers from received packets how often the sequence number has wrapped (RFC 3711, section 3.3.1)."""
    key = bytes(range(30))
    sending = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    receiving = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND))
    path = Path()
    first = sending.protect(rtp(65_000))
    receiving.unprotect(first)
    attach(path.receiver, program(first))
    came = 0
    for number in range(65_001, 65_001 + 66_600):
        protected = sending.protect(rtp(number))
        if path.send(protected):
            assert receiving.unprotect(protected) == rtp(number)
            came += 1
    assert came == pytest.approx(66_600 / 16, abs=1)
    loud = sending.protect(rtp(65_001 + 66_600, elements=LOUD))
    assert path.send(loud)
    assert receiving.unprotect(loud) == rtp(65_001 + 66_600, elements=LOUD)
    path.close()
