# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One peer of the SFU, named by the `sid` of its offers: negotiation and transport.

A peer ends with the loss of ICE consent (RFC 7675) or with the end of DTLS. Silence does not end it: a muted participant sends
no RTP at all, for as long as the mute lasts.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from aioice import Candidate

from live_transcription.errors import main_error
from live_transcription.types import IceServer, TurnAnswer
from live_transcription.webrtc.audio_transport import AudioTransport, RtpSink, TransportStatistics
from live_transcription.webrtc.sdp import Offer, build_answer, format_candidate


class SubscriberChannel(Protocol):
    """The way to one publisher through signaling; the call implements it. Returns at once."""

    def request_offer(self) -> None:
        """Ask the SFU for an offer of the publisher's stream."""

    def send_answer(self, sid: str, sdp: str) -> None:
        """Send our answer to the offer with this `sid`."""

    def send_candidate(self, sid: str, candidate: str, sdp_mid: str | None, sdp_m_line_index: int | None) -> None:
        """Send one more candidate of ours (`candidate:…`)."""


class Peer:
    """`run` ends by TransportLost or cancellation only. `connected` while RTP can come; `on_connected` is called with it."""

    def __init__(
        self,
        sid: str,
        offer: Offer,
        channel: SubscriberChannel,
        ice_servers: Sequence[IceServer],
        sink: RtpSink,
        *,
        clock: Callable[[], float],
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
        self._transport = AudioTransport(offer, sink, clock=clock)
        self._session_id = secrets.randbits(62)
        self._version = 0
        self._carrier = offer.m_line_index

    @property
    def statistics(self) -> TransportStatistics:
        return self._transport.statistics

    @property
    def turn_answers(self) -> Mapping[str, TurnAnswer]:
        """The last answer of each TURN server, by the server's address."""
        return self._transport.turn_answers

    def continues(self, offer: Offer) -> bool:
        """Whether an offer with our `sid` is for this very transport; not if it restarts ICE."""
        return self._transport.is_for(offer.transport)

    def renegotiate(self, offer: Offer) -> None:
        """Take a later offer over and answer it; media goes on."""
        self._offer = offer
        self._transport.configure(offer)
        if self._version > 0:  # else `run` answers the newest
            self._answer()

    def candidate(self, candidate: Candidate | None) -> None:
        self._transport.add_remote_candidate(candidate)

    def ignore_audio_levels(self) -> None:
        self._transport.ignore_audio_levels()

    def read_now(self) -> None:
        """Pass received packets to the sink now, before their turn."""
        self._transport.read_now()

    async def run(self) -> None:
        try:
            await self._transport.open()
            self._answer()
            await self._connect()
            self.connected = True
            self._on_connected()
            await self._transport.keep_alive()
        except BaseExceptionGroup as failures:
            raise main_error(failures) from failures
        finally:
            self.connected = False
            await self._transport.aclose()

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._transport.connect(self._ice_servers, self._trickle)
        except TimeoutError:
            raise self._transport.no_path() from None

    def _answer(self) -> None:
        self._version += 1
        local = self._transport.local(self._ice_servers)
        answer = build_answer(self._offer, local, self._session_id, self._version, carrier=self._carrier)
        self._channel.send_answer(self.sid, answer)

    def _trickle(self, candidate: Candidate) -> None:
        self._channel.send_candidate(self.sid, format_candidate(candidate), self._offer.mid, self._offer.m_line_index)
