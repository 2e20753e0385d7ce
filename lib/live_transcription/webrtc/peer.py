# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One peer of the SFU, identified by the `sid` of its offers: negotiation and transport.

A peer ends when ICE consent expires (RFC 7675) or DTLS ends. Silence does not end it: a muted participant may send no RTP at
all for as long as the mute lasts.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from aioice import Candidate

from live_transcription.errors import main_error
from live_transcription.types import IceServer
from live_transcription.webrtc.audio_transport import AudioTransport, RtpSink
from live_transcription.webrtc.candidate import format_candidate
from live_transcription.webrtc.sdp import Offer, build_answer


class SubscriberChannel(Protocol):
    """Sends messages to one publisher through signaling. Implemented by the call. Its methods return at once."""

    def request_offer(self) -> None:
        """Ask the SFU for an offer of the publisher's stream."""

    def send_answer(self, sid: str, sdp: str) -> None:
        """Send our answer to the offer with this `sid`."""

    def send_candidate(self, sid: str, candidate: str, sdp_mid: str | None, sdp_m_line_index: int | None) -> None:
        """Send another candidate of ours (`candidate:…`)."""


class Peer:
    """A peer of the SFU. `connected` is true while RTP can arrive; `on_connected` is called when it becomes true."""

    def __init__(
        self,
        sid: str,
        offer: Offer,
        channel: SubscriberChannel,
        ice_servers: Sequence[IceServer],
        sink: RtpSink,
        *,
        connect_timeout_s: float,
        on_connected: Callable[[], None],
    ) -> None:
        self.sid = sid
        self.connected = False
        self._offer = offer
        self._channel = channel
        self._ice_servers = ice_servers
        self._connect_timeout_s = connect_timeout_s
        self._on_connected = on_connected
        #: ICE, DTLS and SRTP of this peer.
        self.transport = AudioTransport(offer, sink)
        self._session_id = secrets.randbits(62)
        self._version = 0
        self._carrier = offer.m_line_index

    def renegotiate(self, offer: Offer) -> None:
        """Apply a later offer and answer it. Media continues."""
        self._offer = offer
        self.transport.configure(offer)
        if self._version > 0:  # else `run` answers the newest offer
            self._answer()

    async def run(self) -> None:
        """Answer, connect and receive until cancelled. Raises TransportLost."""
        try:
            await self.transport.open()
            self._answer()
            await self._connect()
            self.connected = True
            self._on_connected()
            await self.transport.keep_alive()
        except BaseExceptionGroup as failures:
            raise main_error(failures) from failures
        finally:
            self.connected = False
            await self.transport.aclose()

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self.transport.connect(self._ice_servers, self._trickle)
        except TimeoutError:
            raise self.transport.no_path() from None

    def _answer(self) -> None:
        self._version += 1
        local = self.transport.local(self._ice_servers)
        answer = build_answer(self._offer, local, self._session_id, self._version, carrier=self._carrier)
        self._channel.send_answer(self.sid, answer)

    def _trickle(self, candidate: Candidate) -> None:
        self._channel.send_candidate(self.sid, format_candidate(candidate), self._offer.mid, self._offer.m_line_index)
