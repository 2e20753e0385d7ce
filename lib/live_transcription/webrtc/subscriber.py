# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Receive one publisher's audio from the SFU: request an offer, answer it, and receive until the peer is lost."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from live_transcription.errors import NegotiationFailed, NoAudio, PublisherUnavailable, main_error
from live_transcription.observability import metrics
from live_transcription.runtime.timer import DeadlineTimer
from live_transcription.types import AudioGap, AudioPacket, IceServer, TurnAnswer
from live_transcription.webrtc.candidate import parse_candidate
from live_transcription.webrtc.jitter_buffer import JitterBuffer, JitterStatistics
from live_transcription.webrtc.offer_requests import OfferRequests
from live_transcription.webrtc.peer import Peer, SubscriberChannel
from live_transcription.webrtc.sdp import Offer, parse_offer

__all__ = ["IceServers", "PacketSink", "Subscriber", "SubscriberChannel"]

logger = logging.getLogger(__name__)

#: Called with packets and gaps in order, in the datagram path. Must return soon and never raise.
PacketSink = Callable[[AudioPacket | AudioGap], None]

#: Called for each offer, since the credentials of TURN servers expire.
IceServers = Callable[[], Awaitable[Sequence[IceServer]]]

CONNECT_TIMEOUT_S = 10.0
#: Seconds for which a peer without audio is kept. Janus 0.x sends a new offer when the publisher adds audio. Janus 1.x does
#: not, so only a new subscriber gets the audio.
WITHOUT_AUDIO_S = 2.5
_MAX_OFFERS = 8
_MAX_EARLY_CANDIDATES = 64


class Subscriber:
    """Receives one publisher's audio until cancelled or lost.

    Signaling calls `offer`, `candidate` and `refused` at any time. Silence does not end a subscriber, however long it lasts: a
    muted participant may send no RTP at all.
    """

    def __init__(
        self,
        channel: SubscriberChannel,
        ice_servers: IceServers,
        sink: PacketSink,
        *,
        requests: OfferRequests | None = None,
        on_unavailable: Callable[[], None] = lambda: None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        without_audio_s: float = WITHOUT_AUDIO_S,
        make_peer: Callable[..., Peer] | None = None,
    ) -> None:
        """Create a subscriber within a running event loop.

        `channel` leads to the publisher through signaling. `ice_servers` returns the only STUN and TURN servers that are ever
        used. `requests` decides when to request an offer and knows the results of earlier subscribers of this publisher.
        `on_unavailable` is called when the HPB has refused every request and no other is pending; the owner may end the
        subscriber then. `make_peer` replaces `Peer` in tests.
        """
        self._channel = channel
        self._ice_servers = ice_servers
        self._sink = sink
        self._now = asyncio.get_running_loop().time
        self._requests = requests or OfferRequests()
        self._on_unavailable = on_unavailable
        self._connect_timeout_s = connect_timeout_s
        self._without_audio_s = without_audio_s
        self._make_peer = make_peer or Peer
        self._levels_ignored = False
        #: When a peer without audio is replaced.
        self._without_audio_until: float | None = None
        #: Whether the publisher sends audio, according to the last offer.
        self._active = True
        self._running = False
        self._refusal_logged = False
        self._jitter_buffer = JitterBuffer()
        self._timer = DeadlineTimer(self._give_up_missing)
        self._offers: deque[tuple[str, str]] = deque(maxlen=_MAX_OFFERS)
        self._last_offer: tuple[str, str] | None = None
        self._early_candidates: deque[tuple[str, str | None]] = deque(maxlen=_MAX_EARLY_CANDIDATES)
        self._refusal: str | None = None
        self._changed = asyncio.Event()
        self._peer: Peer | None = None
        #: When the first packet arrived, in the event loop's time; None before.
        self.first_packet_at: float | None = None

    @property
    def connected(self) -> bool:
        """Whether ICE and DTLS are established, so that RTP can arrive."""
        return self._peer is not None and self._peer.connected

    @property
    def turn_answers(self) -> Mapping[str, TurnAnswer]:
        """The last answer of each TURN server, by the server's address."""
        return {} if self._peer is None else self._peer.transport.turn_answers

    @property
    def jitter(self) -> JitterStatistics:
        """Counts of received, lost and reordered packets up to now."""
        return self._jitter_buffer.statistics

    async def run(self) -> None:
        """Receive until cancelled. Afterwards no task or socket remains, and the jitter buffer is flushed.

        Raises TransportLost (no path, closed by the SFU, or consent expired), NoAudio, NegotiationFailed (an offer that cannot
        be answered) and PublisherUnavailable (the HPB dropped the peer while it connected).
        """
        if self._running:
            raise RuntimeError("A subscriber runs once.")
        self._running = True
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._negotiate(tasks)
        except BaseExceptionGroup as failures:
            raise main_error(failures) from None
        finally:
            if self._last_offer is not None:
                self._requests.closed(self._now())
            for item in self._jitter_buffer.flush():
                self._sink(item)
            self._timer.cancel()

    def offer(self, sid: str, sdp: str) -> None:
        """Take an offer of the SFU. The same `sid` renegotiates, another starts a new peer. A repeated offer is ignored."""
        if (sid, sdp) not in (self._last_offer, *self._offers):
            self._offers.append((sid, sdp))
            self._changed.set()

    def candidate(self, sid: str, candidate: str | None, sdp_mid: str | None, sdp_m_line_index: int | None) -> None:  # noqa: ARG002
        """Take a candidate of the SFU; None or an empty one means that there are no more. May come before our answer."""
        if self._peer is not None and self._peer.sid == sid:
            self._add_candidate(self._peer, candidate)
        else:
            self._early_candidates.append((sid, candidate))

    def ignore_audio_levels(self) -> None:
        """Strip audio levels from packets from now on, since the publisher's levels are wrong."""
        self._levels_ignored = True
        if self._peer is not None:
            self._peer.transport.ignore_audio_levels()

    def refused(self, reason: str) -> None:
        """Take a refusal of the HPB (`client_not_found`, …) and request again. A connected peer is not affected."""
        if not self.connected:
            self._refusal = reason
            self._changed.set()

    def expect(self, expected: bool) -> None:
        """Set whether this publisher is expected to have a stream; see `OfferRequests`."""
        if self._requests.expect(expected, self._now()):
            self._changed.set()

    async def _negotiate(self, tasks: asyncio.TaskGroup) -> None:
        running: asyncio.Task[None] | None = None
        while True:
            await self._wait()
            if self._refusal is not None:
                self._handle_refusal()
            while self._offers:
                sid, sdp = self._last_offer = self._offers.popleft()
                self._requests.offered()
                try:
                    offer = parse_offer(sdp)
                except NegotiationFailed as error:
                    if not self.connected:
                        raise
                    logger.warning("An offer for a connected peer was ignored: %s", error)
                    continue
                if self._peer is not None and self._peer.sid == sid and self._peer.transport.is_for(offer.transport):
                    self._peer.renegotiate(offer)
                else:
                    servers = await self._ice_servers()
                    if self._offers:
                        continue  # a newer offer has come meanwhile: the SFU has dropped the peer of this one
                    if running is not None:
                        running.cancel()
                        await asyncio.wait([running])
                    self._peer = self._new_peer(sid, offer, servers)
                    running = tasks.create_task(self._peer.run(), name="peer")
                self._active = offer.active
                self._limit_time_without_audio()
            if self._peer is None and self._requests.due <= self._now():
                self._requests.asked(self._now())
                self._channel.request_offer()

    async def _wait(self) -> None:
        """Wait for a signaling message or the next deadline."""
        deadline = self._requests.due if self._peer is None else self._without_audio_until
        try:
            async with asyncio.timeout_at(None if deadline == math.inf else deadline):
                await self._changed.wait()
        except TimeoutError:
            if self._peer is not None and not self._changed.is_set():
                raise NoAudio("The participant publishes no audio, although their flags announce it.") from None
        self._changed.clear()

    def _handle_refusal(self) -> None:
        reason, self._refusal = (self._refusal or "")[:100], None
        refusal = PublisherUnavailable("The signaling server has no audio of this participant ({reason}).", reason=reason)
        if self._peer is not None:
            raise refusal  # the HPB refuses our answer, since it has dropped the peer in the meantime
        self._requests.refused(self._now())
        metrics.speaker_reconnects.labels(refusal.code).inc()
        level = logging.INFO if self._requests.likely and not self._refusal_logged else logging.DEBUG
        self._refusal_logged = True
        logger.log(level, "%s The app tries again.", refusal, extra={"code": refusal.code})
        if not self._requests.waits(self._now()):
            self._on_unavailable()

    def _peer_connected(self) -> None:
        self._requests.connected()
        self._limit_time_without_audio()

    def _limit_time_without_audio(self) -> None:
        """Keep a connected peer without audio for a while, since the SFU may offer audio on it."""
        if self._active or not self.connected:
            self._without_audio_until = None
        elif self._without_audio_until is None:
            self._without_audio_until = self._now() + self._without_audio_s
            self._changed.set()

    def _new_peer(self, sid: str, offer: Offer, servers: Sequence[IceServer]) -> Peer:
        peer = self._make_peer(
            sid,
            offer,
            self._channel,
            servers,
            self._receive,
            connect_timeout_s=self._connect_timeout_s,
            on_connected=self._peer_connected,
        )
        if self._levels_ignored:
            peer.transport.ignore_audio_levels()
        early, self._early_candidates = self._early_candidates, deque(maxlen=_MAX_EARLY_CANDIDATES)
        for candidate_sid, candidate in early:
            if candidate_sid == sid:
                self._add_candidate(peer, candidate)
        return peer

    def _add_candidate(self, peer: Peer, candidate: str | None) -> None:
        try:
            peer.transport.add_remote_candidate(parse_candidate(candidate or ""))
        except NegotiationFailed as error:
            logger.debug("A candidate is left out: %s", error)

    def _receive(self, packet: AudioPacket, ssrc: int, skipped: int, now: float) -> None:
        if self.first_packet_at is None:
            self.first_packet_at = now
        buffer = self._jitter_buffer
        waiting = buffer.deadline is not None
        for item in buffer.push(packet, ssrc, now, skipped):
            self._sink(item)
        if waiting or buffer.deadline is not None:
            self._timer.set(buffer.deadline)

    def _give_up_missing(self) -> None:
        """Release what waits for a missing packet, unless the packet is in the socket by now."""
        if self._peer is not None:
            self._peer.transport.read_now()
        for item in self._jitter_buffer.poll(self._now()):
            self._sink(item)
        self._timer.set(self._jitter_buffer.deadline)
