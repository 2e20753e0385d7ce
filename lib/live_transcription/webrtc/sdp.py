# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Parse the SFU's offer and build the answer (SDP: RFC 8866, RFC 9429). Pure.

The answer accepts one Opus stream and rejects everything else. An offer without audio is answered, too: its first section is
accepted as inactive and carries the transport, so that the SFU can add audio later and notices when the app closes.

Only the lines that matter for audio are parsed, so an unusual video section does no harm. Payload types and header extension
ids are always those of the offer. Any fault in an offer raises `NegotiationFailed`. Parsing takes linear time, and the limits
below keep the answer from growing much longer than the offer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from aioice import Candidate

from live_transcription.errors import NegotiationFailed
from live_transcription.texts import Text
from live_transcription.webrtc.candidate import MAX_CANDIDATES, parse_candidates

AUDIO_LEVEL_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
#: Limits of an offer, at least twice the size of the largest real offers. Janus offers audio, video and a data channel in 2 to
#: 3 KB and about 70 lines. A browser that offers all its codecs takes 8 KB and 250 lines.
MAX_SDP_CHARACTERS = 16_384
MAX_LINES = 512
MAX_LINE_CHARACTERS = 1_024
MAX_SECTIONS = 16
#: Per m= section.
MAX_FORMATS = 64

_MEDIA = re.compile(r"m=([A-Za-z0-9_-]{1,32}) ([0-9]{1,5})(?:/[0-9]{1,5})? ([A-Za-z0-9/_-]{1,64})((?: [A-Za-z0-9_-]{1,64})+) *")
_RTPMAP = re.compile(r"([0-9]{1,3}) +([A-Za-z0-9._-]{1,32})/([0-9]{1,9})(?:/([0-9]{1,3}))? *")
_EXTMAP = re.compile(r"([0-9]{1,5})(?:/[a-z]{1,16})? +([!-~]+)(?: .*)?")
_FINGERPRINT = re.compile(r"([A-Za-z0-9-]{1,16}) +([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})+) *")
_TOKEN = re.compile(r"[A-Za-z0-9_.+{}^~!#$%&'*`|-]{1,64}")
_ICE = re.compile(r"[A-Za-z0-9+/=_-]{4,256}")
_SSRC = re.compile(r"([0-9]{1,10})(?: .*)?")
_EXTENSION_IDS = range(1, 256)
_DIRECTIONS = frozenset(("sendrecv", "sendonly", "recvonly", "inactive"))
_FINGERPRINTS = frozenset(("sha-256", "sha-384", "sha-512"))


@dataclass(slots=True)
class _Section:
    """One m= section. `attributes` are names (without `a=`) and values, in order."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    attributes: list[tuple[str, str]] = field(default_factory=list)

    def first(self, name: str) -> str | None:
        return next((value for key, value in self.attributes if key == name), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


@dataclass(frozen=True, slots=True)
class RemoteTransport:
    """The SFU's transport: ICE credentials and DTLS identity. `setup` is actpass, active or passive, as in the offer."""

    username_fragment: str
    password: str = field(repr=False)
    lite: bool
    fingerprints: tuple[tuple[str, str], ...]
    setup: str


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """The app's transport, for the answer. `complete=False` means that more candidates will be trickled."""

    username_fragment: str
    password: str = field(repr=False)
    fingerprint: tuple[str, str]
    candidates: tuple[Candidate, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Offer:
    """The parts of an offer that the receiver and the answer need.

    `mid` and `m_line_index` identify the audio section. If there is none, they identify the first section, and `payload_types`
    (of Opus) is empty. `active=False` means that the publisher sends no audio at present. `audio_level_id` and `mid_id` are the
    negotiated ids of RTP header extensions, None if the offer has none.
    """

    transport: RemoteTransport
    candidates: tuple[Candidate, ...]
    candidates_complete: bool
    mid: str | None
    m_line_index: int
    payload_types: frozenset[int]
    audio_level_id: int | None
    mid_id: int | None
    ssrcs: frozenset[int]
    active: bool
    bundled: bool
    sections: tuple[_Section, ...] = field(repr=False)

    @property
    def has_audio(self) -> bool:
        """Whether the offer has an audio section, active or not."""
        return bool(self.payload_types)


def parse_offer(sdp: str) -> Offer:
    """Parse an offer.

    Raises NegotiationFailed if the SDP is broken, has no media, has audio but no Opus, or is end-to-end encrypted.
    """
    if len(sdp) > MAX_SDP_CHARACTERS:
        raise _broken(Text("it has {count} characters, more than {limit}", count=len(sdp), limit=MAX_SDP_CHARACTERS))
    session, sections = _sections(sdp)
    usable = [section for section in sections if _usable(section)]
    if not usable:
        raise NegotiationFailed("The offer has no media.", fix="Nothing to do: the participant does not publish anything yet.")
    if any(section.first("sframe") is not None for section in (session, *sections)):
        raise NegotiationFailed(
            "The call is end-to-end encrypted, so its audio cannot be transcribed.",
            fix="Turn end-to-end encryption off for calls that need captions.",
        )
    audio = [section for section in usable if section.kind == "audio"]
    if not audio:
        return _read(session, sections, usable[0])
    chosen = next((section for section in audio if _opus(section)), None)
    if chosen is None:
        codecs = sorted({match[2] for section in audio for match in _rtpmaps(section)}) or ["none"]
        raise NegotiationFailed(
            "The offer has no Opus audio (codecs: {codecs}).",
            fix="Allow Opus in the SFU's configuration.",
            codecs=", ".join(codecs)[:200],
        )
    return _read(session, sections, chosen)


def _read(session: _Section, sections: list[_Section], chosen: _Section) -> Offer:
    mid = chosen.first("mid")
    groups = (frozenset(value.split(" ")[1:]) for value in session.all("group") if value.startswith("BUNDLE"))
    bundle = next((group for group in groups if mid in group), frozenset())
    family = [section for section in sections if section is not chosen and section.first("mid") in bundle]
    # The section itself comes first. A bundled one may leave its transport to the section that carries the bundle (RFC 9143).
    places = (chosen, session, *family)
    extensions = {match[2]: int(match[1]) for value in chosen.all("extmap") if (match := _EXTMAP.fullmatch(value))}
    candidates = (value for section in (chosen, *family) for value in section.all("candidate"))
    directions = [name for name, _ in (*session.attributes, *chosen.attributes) if name in _DIRECTIONS]
    return Offer(
        transport=_transport(places),
        candidates=parse_candidates(islice(candidates, MAX_CANDIDATES)),
        candidates_complete=any(section.first("end-of-candidates") is not None for section in places),
        mid=mid if mid is not None and _TOKEN.fullmatch(mid) else None,
        m_line_index=next(index for index, section in enumerate(sections) if section is chosen),
        payload_types=_opus(chosen) if chosen.kind == "audio" else frozenset(),
        audio_level_id=_extension_id(extensions, AUDIO_LEVEL_URI),
        mid_id=_extension_id(extensions, MID_URI),
        ssrcs=frozenset(int(match[1]) for value in chosen.all("ssrc") if (match := _SSRC.fullmatch(value))),
        active=chosen.kind == "audio" and (not directions or directions[-1] in ("sendrecv", "sendonly")),
        bundled=bool(bundle),
        sections=tuple(sections),
    )


def build_answer(offer: Offer, local: LocalTransport, session_id: int, version: int, *, carrier: int | None = None) -> str:
    """Build the answer to `offer`: receive the audio, reject everything else (port 0, inactive).

    `session_id` identifies the peer, and `version` grows with each answer (RFC 8866, section 5.2). `carrier` is the index of
    the section that carries the transport since the first answer, by default the audio section. Rejecting that section would
    take the transport from the bundle (RFC 9143), so it is accepted as inactive.
    """
    setup = "active" if offer.transport.setup in ("actpass", "passive") else "passive"
    algorithm, digest = local.fingerprint
    transport = [
        f"a=ice-ufrag:{local.username_fragment}",
        f"a=ice-pwd:{local.password}",
        *(() if local.complete else ("a=ice-options:trickle",)),
        f"a=fingerprint:{algorithm} {digest}",
        f"a=setup:{setup}",
    ]
    lines = ["v=0", f"o=- {session_id} {version} IN IP4 127.0.0.1", "s=-", "t=0 0"]
    if carrier is None or carrier >= len(offer.sections):
        carrier = offer.m_line_index
    if offer.bundled and offer.mid is not None:
        mids = [offer.sections[index].first("mid") for index in dict.fromkeys((carrier, offer.m_line_index))]
        lines.append(f"a=group:BUNDLE {' '.join(mid for mid in mids if mid is not None and _TOKEN.fullmatch(mid))}")
    lines += transport
    for index, section in enumerate(offer.sections):
        if index == offer.m_line_index and offer.has_audio:
            lines += _accepted(offer, section)
        else:
            lines += _inactive(section, port=9 if index == carrier else 0)
        if index == carrier:
            lines += transport
            lines += (f"a=candidate:{candidate.to_sdp()}" for candidate in local.candidates)
            if local.complete:
                lines.append("a=end-of-candidates")
    return "\r\n".join(lines) + "\r\n"


def _sections(sdp: str) -> tuple[_Section, list[_Section]]:
    """Return the session level, as a section without media, and the m= sections."""
    lines = [line for each in sdp.split("\n") if (line := each.rstrip(" \t\r"))]
    if not lines or lines[0] != "v=0":
        raise _broken(Text("it does not begin with v=0"))
    if len(lines) > MAX_LINES:
        raise _broken(Text("it has {count} lines, more than {limit}", count=len(lines), limit=MAX_LINES))
    if any(len(line) > MAX_LINE_CHARACTERS for line in lines):
        raise _broken(Text("a line has more than {limit} characters", limit=MAX_LINE_CHARACTERS))
    session = _Section("session", 0, "", ())
    sections: list[_Section] = []
    current = session
    for line in lines[1:]:
        if line.startswith("m="):
            match = _MEDIA.fullmatch(line)
            if match is None:
                raise _broken(Text("an m= line is malformed"))
            current = _Section(match[1], int(match[2]), match[3], tuple(match[4].split()))
            sections.append(current)
            if len(sections) > MAX_SECTIONS or len(current.formats) > MAX_FORMATS:
                raise _broken(
                    Text(
                        "it has more than {sections} sections, or one of them more than {formats} formats",
                        sections=MAX_SECTIONS,
                        formats=MAX_FORMATS,
                    )
                )
        elif line.startswith("a="):
            name, _, value = line[2:].partition(":")
            current.attributes.append((name, value.strip(" \t")))
        elif line[1:2] != "=":
            raise _broken(Text("a line is not of the form x=…"))
    return session, sections


def _transport(places: Iterable[_Section]) -> RemoteTransport:
    sections = list(places)
    ufrag = next((value for section in sections if (value := section.first("ice-ufrag"))), "")
    password = next((value for section in sections if (value := section.first("ice-pwd"))), "")
    if not _ICE.fullmatch(ufrag) or not _ICE.fullmatch(password):
        raise _broken(Text("it has no ICE credentials"))
    prints = next((values for section in sections if (values := section.all("fingerprint"))), [])
    matches = [match for value in prints if (match := _FINGERPRINT.fullmatch(value))]
    fingerprints = tuple((match[1].lower(), match[2].upper()) for match in matches if match[1].lower() in _FINGERPRINTS)
    if not fingerprints:
        raise _broken(Text("it has no SHA-256, SHA-384 or SHA-512 certificate fingerprint"))
    setup = next((value for section in sections if (value := section.first("setup"))), "actpass")
    if setup not in ("actpass", "active", "passive"):
        raise _broken(Text("its DTLS role is unknown"))
    lite = any(section.first("ice-lite") is not None for section in sections)
    return RemoteTransport(ufrag, password, lite, fingerprints, setup)


def _accepted(offer: Offer, section: _Section) -> list[str]:
    opus = {str(number) for number in offer.payload_types}
    payload_types = list(dict.fromkeys(name for name in section.formats if name in opus))
    lines = [
        f"m=audio 9 {section.protocol} {' '.join(payload_types)}",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        "a=recvonly" if offer.active else "a=inactive",
        *(() if offer.mid is None else (f"a=mid:{offer.mid}",)),
        "a=rtcp-mux",
    ]
    if offer.mid_id is not None:
        lines.append(f"a=extmap:{offer.mid_id} {MID_URI}")
    if offer.audio_level_id is not None:
        lines.append(f"a=extmap:{offer.audio_level_id} {AUDIO_LEVEL_URI}")
    for payload_type in payload_types:
        lines += (f"a=rtpmap:{payload_type} opus/48000/2", f"a=fmtp:{payload_type} minptime=10;useinbandfec=1")
    return lines


def _inactive(section: _Section, *, port: int) -> list[str]:
    """Describe a section from which no media is received: rejected with port 0, else accepted as inactive."""
    mid, sctp_port = section.first("mid"), section.first("sctp-port")
    formats = frozenset(section.formats)
    return [
        f"m={section.kind} {port} {section.protocol} {' '.join(section.formats)}",
        "c=IN IP4 0.0.0.0",
        "a=inactive",
        *((f"a=sctp-port:{sctp_port}",) if port and sctp_port is not None and _SSRC.fullmatch(sctp_port) else ()),
        *(f"a=mid:{mid}" for mid in [mid] if mid is not None and _TOKEN.fullmatch(mid)),
        *(("a=rtcp-mux",) if section.kind in ("audio", "video") else ()),
        # RFC 3264 does not require it, but some peers look for a common codec even if the port is 0.
        *(f"a=rtpmap:{match[0].strip()}" for match in _rtpmaps(section) if match[1] in formats),
    ]


def _rtpmaps(section: _Section) -> list[re.Match[str]]:
    return [match for value in section.all("rtpmap") if (match := _RTPMAP.fullmatch(value))]


def _opus(section: _Section) -> frozenset[int]:
    """Return the payload types of Opus (RFC 7587: always 48000/2), without those that look like RTCP (RFC 5761)."""
    found = {int(match[1]) for match in _rtpmaps(section) if match[2].lower() == "opus" and match[3] == "48000"}
    formats = frozenset(section.formats)
    return frozenset(number for number in found if str(number) in formats and number < 128 and not 64 <= number < 96)


def _extension_id(extensions: dict[str, int], uri: str) -> int | None:
    """Return the id of a header extension, None if it is missing or invalid (RFC 8285)."""
    found = extensions.get(uri)
    return found if found in _EXTENSION_IDS else None


def _usable(section: _Section) -> bool:
    return section.port != 0 or section.first("bundle-only") is not None


def _broken(why: Text) -> NegotiationFailed:
    return NegotiationFailed("The SFU's offer cannot be read: {reason}.", reason=why)
