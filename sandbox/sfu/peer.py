# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One WebRTC transport of the SFU: ICE and DTLS from aiortc's ORTC objects, SRTP taken and put directly.

RTP goes around aiortc's receivers and senders (its private `_rx_srtp`, `_tx_srtp` and aioice's `data_received`), which is
what makes forwarding cheap; aiortc's version is pinned for that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pylibsrtp
from aiortc import RTCDtlsTransport, RTCIceCandidate, RTCIceGatherer, RTCIceTransport
from aiortc.rtp import is_rtcp
from aiortc.sdp import MediaDescription, candidate_from_sdp

from sandbox.sfu.certificate import SfuCertificate
from sandbox.sfu.sdp import SdpError, Transport


class Peer:
    """`on_rtp` gets each unprotected RTP datagram. `offering`: we made the offer, so we control ICE and are the DTLS server."""

    def __init__(self, certificate: SfuCertificate, *, offering: bool, on_rtp: Callable[[bytes], None] | None = None) -> None:
        self._gatherer = RTCIceGatherer(iceServers=[])
        self._ice = RTCIceTransport(self._gatherer)
        self._dtls = RTCDtlsTransport(self._ice, [certificate])
        self._dtls._set_role("server" if offering else "client")
        self._connection = self._gatherer._connection
        self._connection.ice_controlling = offering
        self._ice._role_set = True
        self._fingerprint = next(f.value for f in certificate.getFingerprints() if f.algorithm == "sha-256")
        self._on_rtp = on_rtp
        self._pass_on = self._connection.data_received
        self._connection.data_received = self._datagram_received  # type: ignore[method-assign, assignment]
        self._connecting: asyncio.Task[None] | None = None
        self._closed = False
        #: Seconds of the monotonic clock; None until ICE and DTLS are up.
        self.connected_at: float | None = None
        #: When the other end closed DTLS, by the event loop's clock; Janus calls this a hangup.
        self.hung_up_at: float | None = None
        self._dtls.on("statechange", self._state_changed)

    async def gather(self) -> Transport:
        await self._gatherer.gather()
        parameters = self._gatherer.getLocalParameters()
        candidates = self._gatherer.getLocalCandidates()
        return Transport(parameters.usernameFragment or "", parameters.password or "", candidates, self._fingerprint)

    @property
    def connected(self) -> bool:
        return self._dtls.state == "connected" and not self._closed

    @property
    def state(self) -> str:
        return "closed" if self._closed else str(self._dtls.state)

    def connect(self, media: MediaDescription, tasks: asyncio.TaskGroup) -> None:
        """Begin ICE and DTLS with the other end that `media` describes; returns at once, does nothing when called again."""
        if self._connecting is None and not self._closed:
            self._connecting = tasks.create_task(self._connect(media))

    async def _connect(self, media: MediaDescription) -> None:
        assert media.ice is not None
        assert media.dtls is not None
        for candidate in media.ice_candidates:
            await self._ice.addRemoteCandidate(candidate)
        if media.ice_candidates_complete:
            await self._ice.addRemoteCandidate(None)
        try:
            await self._ice.start(media.ice)
            if self._ice.state == "completed":
                await self._dtls.start(media.dtls)
                self.connected_at = time.monotonic() if self.connected else None
        except ConnectionError:
            return  # the other end went away meanwhile

    def _state_changed(self) -> None:
        if self._dtls.state == "closed" and not self._closed:
            self.hung_up_at = asyncio.get_running_loop().time()

    async def add_candidate(self, line: str, mid: str | None, index: int | None) -> None:
        """A trickled candidate (`candidate:…`); empty means that no more come. Raises SdpError."""
        if self._closed:
            return
        if not line:
            await self._ice.addRemoteCandidate(None)
            return
        try:
            candidate: RTCIceCandidate = candidate_from_sdp(line.removeprefix("candidate:"))
        except (AssertionError, ValueError, IndexError) as error:
            raise SdpError("not a candidate") from error
        candidate.sdpMid, candidate.sdpMLineIndex = mid, index
        await self._ice.addRemoteCandidate(candidate)

    def _datagram_received(self, datagram: bytes, component: int) -> None:
        if not datagram or not 127 < datagram[0] < 192 or is_rtcp(datagram):
            self._pass_on(datagram, component)
            return
        srtp = self._dtls._rx_srtp
        if srtp is None or self._on_rtp is None:
            return
        try:
            packet = srtp.unprotect(datagram)
        except (pylibsrtp.Error, ValueError):
            return
        self._on_rtp(packet)

    def send_rtp(self, packet: bytes) -> bool:
        """Protect and send one RTP packet; False where the transport is not up."""
        pair = self._connection._nominated.get(1)
        if pair is None or not self.connected:
            return False
        pair.protocol.transport.sendto(self._dtls._tx_srtp.protect(packet), pair.remote_addr)
        return True

    async def close(self, *, silently: bool = False) -> None:
        """End the transport; `silently` sends no DTLS close notify, as a killed server does."""
        if self._closed:
            return
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if silently and self._dtls._task is not None:
            self._dtls._task.cancel()
        elif not silently:
            await self._dtls.stop()
        await self._ice.stop()
