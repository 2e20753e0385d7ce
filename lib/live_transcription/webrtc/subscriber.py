# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One publisher's audio at the SFU, from `requestoffer` until its peer is lost."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from live_transcription.errors import LiveTranscriptionError, NegotiationFailed, NoAudio, PublisherUnavailable
from live_transcription.observability import metrics
from live_transcription.types import AudioGap, AudioPacket, IceServer, TurnAnswer
from live_transcription.webrtc.jitter_buffer import JitterBuffer, JitterStatistics
from live_transcription.webrtc.offer_requests import OfferRequests
from live_transcription.webrtc.peer import Peer, SubscriberChannel
from live_transcription.webrtc.sdp import Offer, parse_candidate, parse_offer

__all__ = ["IceServers", "PacketSink", "Subscriber", "SubscriberChannel", "SubscriberStatistics"]

logger = logging.getLogger(__name__)

#: Gets packets and gaps in order; called from the datagram path. Must return soon and never raise.
PacketSink = Callable[[AudioPacket | AudioGap], None]

#: Called for each offer, since the credentials of TURN servers expire.
IceServers = Callable[[], Awaitable[Sequence[IceServer]]]

CONNECT_TIMEOUT_S = 10.0
#: Janus 0.x sends a new offer when the publisher adds audio. Janus 1.x does not, so only a new subscriber gets the audio.
WITHOUT_AUDIO_S = 2.5
_MAX_OFFERS = 8
_MAX_EARLY_CANDIDATES = 64


@dataclass(frozen=True, slots=True)
class SubscriberStatistics:
    """`packets`, `octets`: RTP of this publisher; `discarded`: datagrams that were none; `jitter` counts what order cost."""

    packets: int
    octets: int
    discarded: int
    peers: int
    jitter: JitterStatistics


class Subscriber:
    """Receives one publisher's audio: requests an offer, answers it, and receives until cancelled or lost.

    `offer`, `candidate` and `refused` are for signaling and may be called at any time. `ice_servers` returns the only STUN and
    TURN servers that are ever used. `requests` decides when to request an offer, and knows the results of earlier subscribers
    of this publisher. `on_unavailable` is called when the HPB has refused every request and no other is pending; the owner may
    end the subscriber then. `without_audio_s`: how long a peer is kept whose offers have no audio.

    Silence does not end a subscriber, however long it lasts: a muted participant may send no RTP at all.
    """

    def __init__(
        self,
        channel: SubscriberChannel,
        ice_servers: IceServers,
        sink: PacketSink,
        *,
        requests: OfferRequests | None = None,
        on_unavailable: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        without_audio_s: float = WITHOUT_AUDIO_S,
    ) -> None:
        self._levels_ignored = False
        self._channel = channel
        self._ice_servers = ice_servers
        self._sink = sink
        self._clock = clock
        self._requests = requests or OfferRequests()
        self._on_unavailable = on_unavailable
        self._connect_timeout_s = connect_timeout_s
        self._without_audio_s = without_audio_s
        #: When a peer without audio is replaced, in the event loop's time.
        self._without_audio_until: float | None = None
        #: Whether the publisher sends audio, according to the last offer.
        self._active = True
        self._running = False
        self._reported = False
        self._jitter_buffer = JitterBuffer()
        self._timer: asyncio.TimerHandle | None = None
        self._offers: deque[tuple[str, str]] = deque(maxlen=_MAX_OFFERS)
        self._last_offer: tuple[str, str] | None = None
        self._early: deque[tuple[str, str | None]] = deque(maxlen=_MAX_EARLY_CANDIDATES)
        self._refusal: str | None = None
        self._changed = asyncio.Event()
        self._peer: Peer | None = None
        self._peers = 0
        self._ended = [0, 0, 0]
        self._first_packet_at: float | None = None
        self._last_packet_at: float | None = None

    @property
    def connected(self) -> bool:
        """Whether ICE and DTLS are up, so that RTP can come."""
        return self._peer is not None and self._peer.connected

    @property
    def turn_answers(self) -> Mapping[str, TurnAnswer]:
        """As `Peer.turn_answers`."""
        return {} if self._peer is None else self._peer.turn_answers

    @property
    def first_packet_at(self) -> float | None:
        """When the first packet came, in `clock`'s time."""
        return self._first_packet_at

    @property
    def last_packet_at(self) -> float | None:
        """When the last packet came, in `clock`'s time."""
        return self._last_packet_at

    @property
    def statistics(self) -> SubscriberStatistics:
        packets, octets, discarded = self._ended
        if self._peer is not None:
            now = self._peer.statistics
            packets, octets, discarded = packets + now.packets, octets + now.octets, discarded + now.discarded
        return SubscriberStatistics(packets, octets, discarded, self._peers, self._jitter_buffer.statistics)

    async def run(self) -> None:
        """Receive until cancelled; then no task, socket or thread is left, and the jitter buffer is flushed.

        Raises TransportLost (no path, closed by the SFU, consent expired), NoAudio, NegotiationFailed (an offer that cannot be
        answered), and PublisherUnavailable (the HPB has dropped the peer while it connected).
        """
        if self._running:
            raise RuntimeError("A subscriber runs once.")
        self._running = True
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._negotiate(tasks)
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        finally:
            if self._last_offer is not None:
                self._requests.closed(_now())
            self._release(self._jitter_buffer.flush())

    def offer(self, sid: str, sdp: str) -> None:
        """An offer of the SFU. The same `sid` renegotiates, another one starts a new peer; a repeated offer is ignored."""
        if (sid, sdp) not in (self._last_offer, *self._offers):
            self._offers.append((sid, sdp))
            self._changed.set()

    def candidate(self, sid: str, candidate: str | None, sdp_mid: str | None, sdp_m_line_index: int | None) -> None:  # noqa: ARG002
        """A candidate of the SFU (None or empty: their end), which may come before our answer; all media share a transport."""
        if self._peer is not None and self._peer.sid == sid:
            self._add_candidate(self._peer, candidate)
        else:
            self._early.append((sid, candidate))

    def ignore_audio_levels(self) -> None:
        """Strip audio levels from packets from now on, since the publisher's levels are wrong."""
        self._levels_ignored = True
        if self._peer is not None:
            self._peer.ignore_audio_levels()

    def refused(self, reason: str) -> None:
        """The HPB has refused the request (`client_not_found`, …): request again. A connected peer is not affected."""
        if not self.connected:
            self._refusal = reason
            self._changed.set()

    def expect(self, expected: bool) -> None:
        """Whether this publisher is expected to have a stream; see `OfferRequests`."""
        if self._requests.expect(expected, _now()):
            self._changed.set()

    async def _negotiate(self, tasks: asyncio.TaskGroup) -> None:
        running: asyncio.Task[None] | None = None
        while True:
            await self._wait()
            if self._refusal is not None:
                self._take_refusal()
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
                if self._peer is not None and self._peer.sid == sid and self._peer.continues(offer):
                    self._peer.renegotiate(offer)
                else:
                    servers = await self._ice_servers()
                    if running is not None:
                        running.cancel()
                        await asyncio.wait([running])
                    self._peer = self._new_peer(sid, offer, servers)
                    running = tasks.create_task(self._peer.run(), name="peer")
                self._active = offer.active
                self._await_audio()
            if self._peer is None and self._requests.due <= _now():
                self._requests.asked(_now())
                self._channel.request_offer()

    async def _wait(self) -> None:
        """Wait for a signaling message or the next deadline."""
        deadline = self._requests.due if self._peer is None else self._without_audio_until
        try:
            async with asyncio.timeout_at(None if deadline == math.inf else deadline):
                await self._changed.wait()
        except TimeoutError:
            if self._peer is not None and not self._changed.is_set():
                raise NoAudio("The participant publishes no audio, though their flags say so.") from None
        self._changed.clear()

    def _take_refusal(self) -> None:
        reason, self._refusal = (self._refusal or "")[:100], None
        refusal = PublisherUnavailable(f"The signaling server has no audio of this participant ({reason}).")
        if self._peer is not None:
            raise refusal  # the HPB refuses our answer, since it has dropped the peer meanwhile
        self._requests.refused(_now())
        metrics.speaker_reconnects.labels(refusal.code).inc()
        level = logging.INFO if self._requests.likely and not self._reported else logging.DEBUG
        self._reported = True
        logger.log(level, "%s The app tries again.", refusal, extra={"code": refusal.code})
        if not self._requests.waits(_now()):
            self._on_unavailable()

    def _peer_connected(self) -> None:
        self._requests.connected()
        self._await_audio()

    def _await_audio(self) -> None:
        """Keep a connected peer without audio for a while, since the SFU may offer audio on it."""
        if self._active or not self.connected:
            self._without_audio_until = None
        elif self._without_audio_until is None:
            self._without_audio_until = _now() + self._without_audio_s
            self._changed.set()

    def _new_peer(self, sid: str, offer: Offer, servers: Sequence[IceServer]) -> Peer:
        if self._peer is not None:
            ended = self._peer.statistics
            self._ended = [a + b for a, b in zip(self._ended, (ended.packets, ended.octets, ended.discarded), strict=True)]
        self._peers += 1
        peer = self._peer_on_path(sid, offer, servers)
        early, self._early = self._early, deque(maxlen=_MAX_EARLY_CANDIDATES)
        for candidate_sid, candidate in early:
            if candidate_sid == sid:
                self._add_candidate(peer, candidate)
        return peer

    def _peer_on_path(self, sid: str, offer: Offer, servers: Sequence[IceServer]) -> Peer:
        peer = Peer(
            sid, offer, self._channel, servers, self._receive,
            clock=self._clock, connect_timeout_s=self._connect_timeout_s, on_connected=self._peer_connected,
        )  # fmt: skip
        if self._levels_ignored:
            peer.ignore_audio_levels()
        return peer

    def _add_candidate(self, peer: Peer, candidate: str | None) -> None:
        try:
            peer.candidate(parse_candidate(candidate or ""))
        except NegotiationFailed as error:
            logger.debug("A candidate is left out: %s", error)

    def _receive(self, packet: AudioPacket, ssrc: int, now: float) -> None:
        self._heard(now)
        for item in self._jitter_buffer.push(packet, ssrc, now):
            self._sink(item)
        if self._timer is not None or self._jitter_buffer.deadline is not None:
            self._wait_for_missing()

    def _heard(self, now: float) -> None:
        if self._first_packet_at is None:
            self._first_packet_at = now
        self._last_packet_at = now

    def _release(self, items: Sequence[AudioPacket | AudioGap]) -> None:
        for item in items:
            self._sink(item)
        self._wait_for_missing()

    def _wait_for_missing(self) -> None:
        deadline = self._jitter_buffer.deadline
        if deadline is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, deadline - self._clock()), self._poll)

    def _poll(self) -> None:
        self._timer = None
        if self._peer is not None:
            self._peer.read_now()
        self._release(self._jitter_buffer.poll(self._clock()))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that says most: one of ours, else the first."""
    leaves = [_first(failure) if isinstance(failure, BaseExceptionGroup) else failure for failure in failures.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, LiveTranscriptionError)), leaves[0])
