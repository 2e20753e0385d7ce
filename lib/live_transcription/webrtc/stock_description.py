# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Translates between `RTCPeerConnection` and our own SDP and ICE: the SFU's offer, and the app's answer."""

from __future__ import annotations

from collections.abc import Iterable

from aioice import Candidate
from aiortc import RTCIceCandidate, RTCIceServer, RTCPeerConnection

from live_transcription.errors import NegotiationFailed
from live_transcription.types import IceServer
from live_transcription.webrtc.ice_uri import StunServer, parse_servers
from live_transcription.webrtc.sdp import AUDIO_LEVEL_URI, LocalTransport, Offer

#: Payload types that aiortc takes over from an offer.
_PAYLOAD_TYPES = range(96, 128)
#: Placeholder for an offer without audio: Janus's payload type of Opus, in case audio is added later.
_PLACEHOLDER = frozenset((111,))
#: aiortc gets only one section, whose position in the SFU's offers may change.
_MID = "0"


def audio_only(offer: Offer) -> str:
    """The SFU's offer for aiortc: one audio section, inactive if the offer has no audio.

    Raises NegotiationFailed if aiortc would mistake the payload type.
    """
    payload_types = sorted(number for number in stock_payload_types(offer) if number in _PAYLOAD_TYPES)
    if not payload_types:
        raise NegotiationFailed(
            "The offer's payload type of Opus is not one of 96 to 127.", fix="Use the direct receive path (LT_RECEIVE_PATH)."
        )
    remote = offer.transport
    lines = [
        "v=0", "o=- 0 0 IN IP4 0.0.0.0", "s=-", "t=0 0", f"a=group:BUNDLE {_MID}",
        *(("a=ice-lite",) if remote.lite else ()),
        f"m=audio 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, payload_types))}",
        "c=IN IP4 0.0.0.0",
        "a=sendonly" if offer.active else "a=inactive",
        f"a=mid:{_MID}",
        "a=rtcp-mux",
        *(f"a=rtpmap:{number} opus/48000/2" for number in payload_types),
        *(() if offer.audio_level_id is None else (f"a=extmap:{offer.audio_level_id} {AUDIO_LEVEL_URI}",)),
        f"a=ice-ufrag:{remote.username_fragment}",
        f"a=ice-pwd:{remote.password}",
        *(f"a=fingerprint:{algorithm} {digest}" for algorithm, digest in remote.fingerprints),
        f"a=setup:{remote.setup}",
    ]  # fmt: skip
    return "\r\n".join(lines) + "\r\n"


def stock_payload_types(offer: Offer) -> frozenset[int]:
    """Payload types of Opus, a placeholder where the offer has no audio."""
    return offer.payload_types or _PLACEHOLDER


def local_transport(connection: RTCPeerConnection) -> LocalTransport:
    """The app's transport, for the answer; call it once candidates are gathered."""
    transport = connection.getTransceivers()[0].receiver.transport
    gatherer = transport.transport.iceGatherer
    parameters = gatherer.getLocalParameters()
    fingerprint = next(each for each in transport.getLocalParameters().fingerprints if each.algorithm == "sha-256")
    return LocalTransport(
        username_fragment=parameters.usernameFragment or "",
        password=parameters.password or "",
        fingerprint=(fingerprint.algorithm, fingerprint.value),
        candidates=tuple(map(_from_aiortc, gatherer.getLocalCandidates())),
    )


def stock_servers(servers: Iterable[IceServer]) -> list[RTCIceServer]:
    """Those that aiortc can use, of which it asks the first STUN and the first TURN server. None means none, not Google's."""
    usable: list[RTCIceServer] = []
    for server in parse_servers(servers)[0]:
        if ":" in server.host:  # aiortc reads no IPv6 address in a URI
            continue
        if isinstance(server, StunServer):
            usable.append(RTCIceServer(f"stun:{server.host}:{server.port}"))
            continue
        uri = f"{'turns' if server.tls else 'turn'}:{server.host}:{server.port}?transport={server.transport}"
        credential = None if server.credential is None else server.credential.reveal()
        usable.append(RTCIceServer(uri, server.username, credential))
    return usable


def _from_aiortc(candidate: RTCIceCandidate) -> Candidate:
    return Candidate(
        candidate.foundation, candidate.component, candidate.protocol, candidate.priority, candidate.ip, candidate.port,
        candidate.type, candidate.relatedAddress, candidate.relatedPort,
    )  # fmt: skip


def stock_candidate(candidate: Candidate) -> RTCIceCandidate:
    return RTCIceCandidate(
        candidate.component, candidate.foundation, candidate.host, candidate.port, candidate.priority, candidate.transport,
        candidate.type, sdpMLineIndex=0,
    )  # fmt: skip
