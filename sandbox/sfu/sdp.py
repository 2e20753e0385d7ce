# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Session descriptions like Janus's (RFC 8866, RFC 8829): answers to publishers, offers to subscribers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiortc.sdp import MediaDescription, SessionDescription, candidate_to_sdp

AUDIO_LEVEL_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"

#: What the offers to subscribers use; publishers choose their own, so nobody can rely on the numbers being the same.
OFFERED_AUDIO_TYPE = 111
OFFERED_VIDEO_TYPE = 96
OFFERED_LEVEL_ID = 3


class SdpError(ValueError):
    """The description cannot be read, or holds nothing that this SFU can take."""


@dataclass(frozen=True, slots=True)
class Transport:
    """Our end of a peer's transport: ICE credentials and candidates, and the certificate's fingerprint."""

    username: str
    password: str
    candidates: Sequence[Any]
    fingerprint: str


def parse(text: str) -> SessionDescription:
    """Raises SdpError; aiortc's parser raises whatever a broken line makes it stumble over."""
    try:
        description = SessionDescription.parse(text)
    except (ValueError, AssertionError, KeyError, IndexError, StopIteration, AttributeError, TypeError) as error:
        raise SdpError("not a session description") from error
    if not description.media:
        raise SdpError("no media section")
    return description


def transport_section(description: SessionDescription) -> MediaDescription:
    """The first section that was not rejected and has a transport."""
    for media in description.media:
        if (
            media.kind in ("audio", "video")
            and media.port
            and media.dtls
            and media.dtls.fingerprints
            and media.ice
            and media.ice.usernameFragment
        ):
            return media
    raise SdpError("no usable section")


def opus_payload_type(media: MediaDescription) -> int:
    for codec in media.rtp.codecs:
        if codec.mimeType.lower() == "audio/opus":
            return int(codec.payloadType or 0)
    raise SdpError("no Opus")


def extension_id(media: MediaDescription, uri: str) -> int | None:
    return next((int(extension.id) for extension in media.rtp.headerExtensions if extension.uri == uri), None)


def _session(transport: Transport, name: str, version: int, mids: Sequence[str]) -> list[str]:
    return [
        "v=0",
        f"o=- 1715000000000001 {version} IN IP4 127.0.0.1",
        f"s={name}",
        "t=0 0",
        f"a=group:BUNDLE {' '.join(mids)}",
        "a=ice-options:trickle",
        f"a=fingerprint:sha-256 {transport.fingerprint}",
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS *",
    ]


def _transport(transport: Transport, setup: str) -> list[str]:
    lines = [
        f"a=ice-ufrag:{transport.username}",
        f"a=ice-pwd:{transport.password}",
        "a=ice-options:trickle",
        f"a=setup:{setup}",
    ]
    lines += [f"a=candidate:{candidate_to_sdp(candidate)}" for candidate in transport.candidates]
    return lines


def answer_publisher(offer: SessionDescription, transport: Transport) -> str:
    """Take Opus with audio levels and, as a decoy for the subscribers' sake, VP8; reject everything else."""
    audio = next((media for media in offer.media if media.kind == "audio" and media.port), None)
    accepted: list[str] = []
    sections: list[str] = []
    for media in offer.media:
        mid = media.rtp.muxId
        if media is audio:
            opus = opus_payload_type(media)
            level = extension_id(media, AUDIO_LEVEL_URI)
            sections += [
                f"m=audio 9 UDP/TLS/RTP/SAVPF {opus}",
                "c=IN IP4 127.0.0.1",
                "a=recvonly",
                f"a=mid:{mid}",
                "a=rtcp-mux",
            ]
            sections += _transport(transport, "active")
            sections += [f"a=rtpmap:{opus} opus/48000/2", f"a=fmtp:{opus} useinbandfec=1"]
            sections += [f"a=extmap:{level} {AUDIO_LEVEL_URI}"] if level is not None else []
            sections += ["a=end-of-candidates"]
            accepted.append(mid)
            continue
        vp8 = next((codec for codec in media.rtp.codecs if codec.mimeType.lower() == "video/vp8"), None)
        if media.kind == "video" and media.port and vp8 is not None:
            sections += [f"m=video 9 UDP/TLS/RTP/SAVPF {vp8.payloadType}", "c=IN IP4 127.0.0.1", "a=recvonly", f"a=mid:{mid}"]
            sections += ["a=rtcp-mux", *_transport(transport, "active"), f"a=rtpmap:{vp8.payloadType} VP8/90000"]
            accepted.append(mid)
        else:
            sections += [
                f"m={media.kind} 0 {media.profile} {media.fmt[0] if media.fmt else 0}",
                "c=IN IP4 127.0.0.1",
                "a=inactive",
            ]
            sections += [f"a=mid:{mid}"] if mid else []
    return "\r\n".join([*_session(transport, "VideoRoom", 1, accepted), *sections]) + "\r\n"


def offer_subscriber(
    transport: Transport, *, version: int, streams: Sequence[str], audio_ssrc: int, video_ssrc: int, trickle: bool
) -> str:
    """The offer of Janus's videoroom to a subscriber of these `streams`; with `trickle` without the candidates."""
    if trickle:
        transport = Transport(transport.username, transport.password, (), transport.fingerprint)
    lines = _session(transport, "VideoRoom", version, [str(mid) for mid in range(len(streams))])
    for mid, kind in enumerate(streams):
        payload_type = OFFERED_AUDIO_TYPE if kind == "audio" else OFFERED_VIDEO_TYPE
        lines += [f"m={kind} 9 UDP/TLS/RTP/SAVPF {payload_type}", "c=IN IP4 127.0.0.1", "a=sendonly", f"a=mid:{mid}"]
        lines += ["a=rtcp-mux", *_transport(transport, "actpass")]
        if kind == "audio":
            lines += [
                f"a=rtpmap:{payload_type} opus/48000/2",
                f"a=fmtp:{payload_type} useinbandfec=1",
                f"a=extmap:{OFFERED_LEVEL_ID} {AUDIO_LEVEL_URI}",
            ]
        else:
            lines += [f"a=rtpmap:{payload_type} VP8/90000", f"a=rtcp-fb:{payload_type} nack pli"]
        ssrc = audio_ssrc if kind == "audio" else video_ssrc
        lines += [f"a=msid:janus janus{mid}", f"a=ssrc:{ssrc} cname:janus"]
        lines += [] if trickle else ["a=end-of-candidates"]
    return "\r\n".join(lines) + "\r\n"
