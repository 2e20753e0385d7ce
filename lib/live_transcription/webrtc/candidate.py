# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""ICE candidates in text form (RFC 8839, section 5.1): strict parsing of what the SFU sends, formatting of our own. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from aioice import Candidate

from live_transcription.errors import NegotiationFailed

#: Maximum number of remote candidates per peer, in the offer and trickled together. A host with five interfaces and two address
#: families has ten.
MAX_CANDIDATES = 32
MAX_CANDIDATE_CHARACTERS = 1_024

# `[0-9]`, not `\d`: `int` would also accept digits of other scripts.
_CANDIDATE = re.compile(
    r"[A-Za-z0-9+/]{1,32} +([0-9]{1,3}) +([A-Za-z]{1,8}) +[0-9]{1,10} +([0-9A-Fa-f.:]{2,45}) +([0-9]{1,5}) +typ +[a-z]{1,8}"
    r"(?: +raddr +[!-~]{1,64})?(?: +rport +[0-9]{1,5})?((?: +[!-~]+)*)"
)


def parse_candidate(text: str) -> Candidate | None:
    """Parse a candidate of the SFU (`candidate:…`, with or without `a=`). Return None for the end of candidates.

    Raises NegotiationFailed if the candidate is malformed or unusable: TCP, a second component, or a host name. An mDNS name
    is unusable, too, since an SFU is not found by multicast.
    """
    line = text.strip(" \t\r\n").removeprefix("a=").removeprefix("candidate:").strip(" ")
    if not line or line == "end-of-candidates":
        return None
    match = _CANDIDATE.fullmatch(line) if len(text) <= MAX_CANDIDATE_CHARACTERS else None
    if match is None:
        raise NegotiationFailed("A candidate of the SFU is malformed, or is not an IP address.")
    component, transport, host, port, extensions = match.groups()
    if transport.lower() != "udp" or int(component) != 1:
        raise NegotiationFailed("A candidate of the SFU is not for RTP over UDP.")
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise NegotiationFailed("A candidate of the SFU is malformed, or is not an IP address.") from error
    if not 0 < int(port) < 65_536 or not _reachable(address):
        raise NegotiationFailed("A candidate of the SFU has an address that cannot be reached.")
    return Candidate.from_sdp(line.removesuffix(extensions))


def parse_candidates(texts: Iterable[str]) -> tuple[Candidate, ...]:
    """Parse the candidates of an offer. Candidates that `parse_candidate` rejects are left out."""
    found: list[Candidate] = []
    for text in texts:
        try:
            candidate = parse_candidate(text)
        except NegotiationFailed:
            continue
        if candidate is not None:
            found.append(candidate)
    return tuple(found)


def format_candidate(candidate: Candidate) -> str:
    """Format a candidate for signaling: `candidate:…`."""
    return f"candidate:{candidate.to_sdp()}"


def _reachable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether an SFU can have this address. Private and loopback addresses are usual: it may run on the same host."""
    if isinstance(address, ipaddress.IPv4Address):
        unusable = address.is_reserved or address.packed[0] == 0
    else:
        unusable = address.is_unspecified or address.ipv4_mapped is not None
    return not (unusable or address.is_multicast)
