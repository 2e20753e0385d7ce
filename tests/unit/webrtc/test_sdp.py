# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import time

import pytest
from aioice import Candidate
from aiortc import sdp as aiortc_sdp
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.errors import NegotiationFailed
from live_transcription.webrtc.candidate import format_candidate, parse_candidate
from live_transcription.webrtc.sdp import LocalTransport, build_answer, parse_offer

FINGERPRINT = "AB:" * 31 + "CD"
LOCAL = LocalTransport("abcd", "p" * 22, ("sha-256", FINGERPRINT), (Candidate("1", 1, "udp", 7, "192.0.2.1", 9_000, "host"),))

#: As Janus' videoroom offers to a subscriber; audio second, so that nothing depends on its place.
JANUS = f"""v=0
o=- 1700000000000000 1 IN IP4 192.0.2.7
s=VideoRoom 1234
t=0 0
a=group:BUNDLE 0 1 2
a=ice-options:trickle
a=fingerprint:sha-256 {FINGERPRINT}
a=extmap-allow-mixed
a=msid-semantic: WMS *
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 192.0.2.7
a=sendonly
a=mid:0
a=rtcp-mux
a=ice-ufrag:uFrg
a=ice-pwd:0123456789abcdefghijkl
a=ice-options:trickle
a=setup:actpass
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=ssrc:5 cname:janus
a=candidate:1 1 udp 2015363327 192.0.2.7 20000 typ host
a=end-of-candidates
m=audio 9 UDP/TLS/RTP/SAVPF 109 8
c=IN IP4 192.0.2.7
a=sendonly
a=mid:1
a=rtcp-mux
a=ice-ufrag:uFrg
a=ice-pwd:0123456789abcdefghijkl
a=setup:actpass
a=rtpmap:109 opus/48000/2
a=fmtp:109 useinbandfec=1
a=rtpmap:8 PCMA/8000
a=extmap:3 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:7/sendonly urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:9 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=msid:janus janus1
a=ssrc:77 cname:janus
a=ssrc:77 msid:janus janus1
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 192.0.2.7
a=sendrecv
a=mid:2
a=sctp-port:5000
""".replace("\n", "\r\n")


def test_an_offer_is_parsed() -> None:
    offer = parse_offer(JANUS)
    assert (offer.mid, offer.m_line_index) == ("1", 1)
    assert offer.payload_types == {109}
    assert (offer.audio_level_id, offer.mid_id) == (3, 7)
    assert offer.ssrcs == {77}
    assert offer.active
    assert offer.transport.fingerprints == (("sha-256", FINGERPRINT),)
    assert (offer.transport.username_fragment, offer.transport.setup, offer.transport.lite) == ("uFrg", "actpass", False)
    assert [(candidate.host, candidate.port) for candidate in offer.candidates] == [("192.0.2.7", 20_000)]
    assert offer.candidates_complete
    assert "0123456789" not in repr(offer)


def test_the_answer_accepts_the_audio_and_rejects_the_rest() -> None:
    answer = build_answer(parse_offer(JANUS), LOCAL, 5, 2)
    parsed = aiortc_sdp.SessionDescription.parse(answer)
    video, audio, application = parsed.media
    assert [(media.kind, media.port, media.direction) for media in parsed.media] == [
        ("video", 0, "inactive"),
        ("audio", 9, "recvonly"),
        ("application", 0, "inactive"),
    ]
    assert [media.rtp.muxId for media in parsed.media] == ["0", "1", "2"]
    assert [group.items for group in parsed.group] == [["1"]]
    (opus,) = audio.rtp.codecs
    assert (opus.payloadType, opus.mimeType, opus.clockRate, opus.channels) == (109, "audio/opus", 48_000, 2)
    assert opus.parameters["useinbandfec"] == 1
    assert {(extension.id, extension.uri.rsplit(":", 1)[-1]) for extension in audio.rtp.headerExtensions} == {
        (3, "ssrc-audio-level"),
        (7, "mid"),
    }
    assert audio.dtls is not None
    assert audio.dtls.role == "client"
    assert audio.ice.usernameFragment == "abcd"
    assert [candidate.ip for candidate in audio.ice_candidates] == ["192.0.2.1"]
    assert audio.ice_candidates_complete
    assert audio.rtcp_mux
    assert not video.ice_candidates
    assert not application.ice_candidates
    assert "o=- 5 2 " in answer
    assert "8 PCMA" not in answer


def test_more_candidates_to_come_are_announced() -> None:
    local = LocalTransport("abcd", "p" * 22, ("sha-256", FINGERPRINT), (), complete=False)
    answer = build_answer(parse_offer(JANUS), local, 5, 1)
    assert "a=ice-options:trickle" in answer
    assert "end-of-candidates" not in answer


@pytest.mark.parametrize(("offered", "answered"), [("actpass", "active"), ("active", "passive"), ("passive", "active")])
def test_dtls_roles(offered: str, answered: str) -> None:
    answer = build_answer(parse_offer(JANUS.replace("setup:actpass", f"setup:{offered}")), LOCAL, 1, 1)
    assert {line for line in answer.splitlines() if line.startswith("a=setup")} == {f"a=setup:{answered}"}


def test_an_inactive_publisher_is_accepted() -> None:
    audio = JANUS.index("m=audio")
    offer = parse_offer(JANUS[:audio] + JANUS[audio:].replace("a=sendonly", "a=inactive", 1))
    assert not offer.active
    assert "m=audio 9" in build_answer(offer, LOCAL, 1, 1)


@pytest.mark.parametrize("change", [("m=audio 9", "m=audio 0"), ("m=audio 9", "m=video 9")])
def test_an_offer_without_audio_is_answered_as_inactive(change: tuple[str, str]) -> None:
    """The SFU can add audio later."""
    offer = parse_offer(JANUS.replace(*change))
    assert not offer.has_audio
    assert not offer.active
    answer = build_answer(offer, LOCAL, 1, 1)
    accepted = [section for section in answer.split("m=")[1:] if section.split()[1] == "9"]
    assert len(accepted) == 1
    assert "a=inactive" in accepted[0]
    assert "a=candidate:" in accepted[0]
    assert "a=sendrecv" not in answer
    assert "a=recvonly" not in answer


def test_audio_that_is_added_behind_the_section_with_the_transport() -> None:
    """The section that carries a bundle's transport is not rejected, since the audio would lose its transport."""
    answer = build_answer(parse_offer(JANUS), LOCAL, 1, 2, carrier=0)
    sections = answer.split("m=")[1:]
    assert [section.split()[:2] for section in sections[:2]] == [["video", "9"], ["audio", "9"]]
    assert "a=inactive" in sections[0]
    assert "a=candidate:" in sections[0]
    assert "a=recvonly" in sections[1]
    assert "a=group:BUNDLE 0 1\r\n" in answer


def test_several_payload_types_of_opus() -> None:
    sdp = JANUS.replace("SAVPF 109 8", "SAVPF 109 111 8").replace("a=rtpmap:8", "a=rtpmap:111 OPUS/48000/2\r\na=rtpmap:8")
    offer = parse_offer(sdp)
    assert offer.payload_types == {109, 111}
    assert "m=audio 9 UDP/TLS/RTP/SAVPF 109 111\r\n" in build_answer(offer, LOCAL, 1, 1)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("opus/48000/2", "PCMU/8000"), "no Opus audio"),
        (("v=0", "v=1"), "cannot be read"),
        (("m=audio 9", "m=audio x"), "cannot be read"),
        (("a=ice-pwd:0123456789abcdefghijkl", "a=x"), "ICE credentials"),
        (("a=ice-ufrag:uFrg", "a=ice-ufrag:u\u00fc!"), "ICE credentials"),
        (("sha-256", "md5"), "fingerprint"),
        (("a=setup:actpass", "a=setup:holdconn"), "DTLS role"),
        (("a=mid:1", "a=mid:1\r\na=sframe"), "end-to-end encrypted"),
        (("a=mid:1", "garbage"), "not of the form"),
    ],
)
def test_offers_that_cannot_be_answered_are_refused(change: tuple[str, str], what: str) -> None:
    with pytest.raises(NegotiationFailed, match=what):
        parse_offer(JANUS.replace(*change))


@pytest.mark.parametrize("sdp", ["", "\0", "v=0", "v=0\r\n" + "a=x\r\n" * 20_000, "{}", JANUS[:40]])
def test_text_that_is_not_sdp_is_refused(sdp: str) -> None:
    with pytest.raises(NegotiationFailed):
        parse_offer(sdp)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(JANUS)), st.text(max_size=8), st.integers(0, 40)), max_size=4))
def test_a_damaged_offer_is_answered_or_refused(damages: list[tuple[int, str, int]]) -> None:
    sdp = JANUS
    for position, text, cut in damages:
        sdp = sdp[:position] + text + sdp[position + cut :]
    try:
        answer = build_answer(parse_offer(sdp), LOCAL, 1, 1)
    except NegotiationFailed:
        return
    assert sum(line.startswith("m=") and " 0 " not in line for line in answer.split("\r\n")) == 1
    assert "a=sendrecv" not in answer


@pytest.mark.parametrize(
    ("offer", "what"),
    [
        (JANUS + ("a=x:" + "y" * 1_000 + "\r\n") * 17, "it has .* characters"),
        (JANUS + "a=x\r\n" * 512, "lines"),
        (JANUS + "a=x:" + "y" * 1_024 + "\r\n", "a line"),
        (JANUS + "m=x 9 y 0\r\n" * 14, "sections"),
        (JANUS + f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, range(65)))}\r\n", "formats"),
    ],
)
def test_an_offer_beyond_a_limit_is_refused(offer: str, what: str) -> None:
    with pytest.raises(NegotiationFailed, match=what):
        parse_offer(offer)


def test_an_offer_with_many_codecs_and_sections_is_within_the_limits() -> None:
    """A browser's offer of audio, video, a screen and a data channel, with all its codecs."""
    codecs = "".join(f"a=rtpmap:{n} VP8/90000\r\na=rtcp-fb:{n} nack pli\r\na=fmtp:{n} apt=96\r\n" for n in range(35, 64))
    video = f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, range(35, 64)))}\r\n{codecs}a=mid:{{}}\r\n"
    offer = parse_offer(JANUS + video.format(3) + video.format(4))
    assert offer.payload_types == {109}
    assert build_answer(offer, LOCAL, 1, 1).count("m=video 0 ") == 3


#: Offers that are within the limits and made to be dear, or to have a long answer.
DEAR = {
    "an Opus format again and again": JANUS.replace("SAVPF 109 8", "SAVPF 109 8" + " 109" * 60),
    "all sections in the bundle": JANUS.replace("BUNDLE 0 1 2", "BUNDLE 0 1 2" + " 3" * 480) + "m=a 0 b c\r\na=mid:3\r\n" * 12,
    "formats with codecs again and again": JANUS
    + f"m=v 9 x {' '.join(map(str, range(64)))}\r\n"
    + "".join(f"a=rtpmap:{n % 64} x/1\r\n" for n in range(400)),
    "short sections": JANUS + "m=a 0 b c\r\n" * 13,
    "candidates": JANUS + "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" * 300,
    "extensions": JANUS.replace("a=msid:janus janus1", "\r\n".join(f"a=extmap:{n} x{n}" for n in range(400))),
    "fingerprints": JANUS + f"a=fingerprint:sha-256 {FINGERPRINT}\r\n" * 100,
    "spaces": JANUS.replace("a=rtpmap:109 opus", "a=rtpmap:109" + " " * 900 + "opus"),
    "a word without end": JANUS + ("a=rtpmap:8 " + "x" * 1_000 + "\r\n") * 13,
}


@pytest.mark.parametrize("name", DEAR)
def test_parsing_is_cheap_and_an_answer_is_not_much_longer_than_its_offer(name: str) -> None:
    sdp = DEAR[name]
    began = time.process_time()
    try:
        answer = build_answer(parse_offer(sdp), LOCAL, 1, 1)
    except NegotiationFailed:
        answer = ""
    assert time.process_time() - began < 0.05, "seconds of CPU; about 1 ms usually"
    assert len(answer) < 2 * len(sdp)


def test_the_number_of_candidates_is_limited() -> None:
    lines = "".join(f"a=candidate:1 1 udp 1 192.0.2.{n} 9 typ host\r\n" for n in range(1, 200))
    assert len(parse_offer(JANUS + lines).candidates) <= 32


@pytest.mark.parametrize(
    "change",
    [
        ("a=rtpmap:109 opus/48000", "a=rtpmap:109 opus/\u0664\u0668\u0660\u0660\u0660"),
        ("a=rtpmap:109 ", "a=rtpmap:\u0661\u0660\u0669 "),
        ("m=audio 9 ", "m=audio \u0669 "),
        ("m=audio 9 ", "m=audio 1_0 "),
    ],
)
def test_only_ascii_digits_are_digits(change: tuple[str, str]) -> None:
    with pytest.raises(NegotiationFailed):
        parse_offer(JANUS.replace(*change))


def test_lines_end_where_the_rfc_says() -> None:
    """`str.splitlines` knows eight more line ends."""
    smuggled = JANUS.replace("a=msid:janus janus1", "a=x:\x0b\x0c\x1c\x85\u2028a=inactive\u2029a=mid:9")
    offer = parse_offer(smuggled)
    assert offer.active
    assert offer.mid == "1"


def test_the_ids_of_header_extensions_are_those_that_packets_can_have() -> None:
    for number in ("0", "256", "99999"):
        offer = parse_offer(JANUS.replace("a=extmap:3 ", f"a=extmap:{number} "))
        assert offer.audio_level_id is None
        assert number + " urn" not in build_answer(offer, LOCAL, 1, 1)


def test_candidates_of_the_sfu() -> None:
    line = "candidate:4 1 udp 2015363327 192.0.2.7 20000 typ srflx raddr 10.0.0.1 rport 9 generation 0"
    for text in (line, f"a={line}", line.removeprefix("candidate:"), f" {line}\r\n"):
        candidate = parse_candidate(text)
        assert candidate is not None
        assert (candidate.host, candidate.port, candidate.type, candidate.related_address) == (
            "192.0.2.7",
            20_000,
            "srflx",
            "10.0.0.1",
        )
    six = parse_candidate("candidate:4 1 UDP 1 2001:db8::7 20000 typ host")
    assert six is not None
    assert parse_candidate(format_candidate(six)) is not None


@pytest.mark.parametrize("text", ["", "  ", "candidate:", "a=end-of-candidates", "end-of-candidates"])
def test_the_end_of_candidates(text: str) -> None:
    assert parse_candidate(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "candidate:1 1 udp 1 0a1b.local 20000 typ host",
        "candidate:1 1 udp 1 sfu.example.com 20000 typ host",
        "candidate:1 1 tcp 1 192.0.2.7 20000 typ host tcptype passive",
        "candidate:1 2 udp 1 192.0.2.7 20000 typ host",
        "candidate:1 1 udp 1 192.0.2.7 0 typ host",
        "candidate:1 1 udp 1 192.0.2.7 70000 typ host",
        "candidate:1 1 udp 1 0.0.0.0 7000 typ host",
        "candidate:1 1 udp 1 224.0.0.251 7000 typ host",
        "candidate:1 x udp 1 192.0.2.7 7000 typ host",
        "candidate:1 1 udp",
        "candidate:1 1 udp 1 240.0.0.1 7000 typ host",
        "candidate:1 1 udp 1 255.255.255.255 7000 typ host",
        "candidate:1 1 udp 1 0.1.2.3 7000 typ host",
        "candidate:1 1 udp 1 ::ffff:192.0.2.7 7000 typ host",
        "candidate:1 1 udp 1 fe80::1%eth0 7000 typ host",
        "candidate:1 1 udp 1 :: 7000 typ host",
        "candidate:1 1 udp 1 ff02::fb 7000 typ host",
        "candidate:1 1 udp 1 192.0.2.7 7_000 typ host",
        "candidate:1 1 udp 1 192.0.2.7 \u0667\u0660\u0660\u0660 typ host",
        "candidate:1 +1 udp 1 192.0.2.7 7000 typ host",
        "candidate:1 1 udp 1 192.0.2.7 7000 typ host raddr \u2028 rport 9",
        "candidate:1 1 udp 1 192.0.2.7 7000 typ host" + " x y" * 400,
        "candidate:" + "9" * 5_000,
        "{}",
    ],
)
def test_unusable_candidates_are_refused(text: str) -> None:
    with pytest.raises(NegotiationFailed):
        parse_candidate(text)


@given(st.text(max_size=100))
def test_no_candidate_raises_another_error(text: str) -> None:
    try:
        parse_candidate(text)
    except NegotiationFailed:
        return
