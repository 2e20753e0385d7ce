# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One publisher's audio at the SFU, from `requestoffer` until it is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from live_transcription.config import ReceivePath
from live_transcription.errors import LiveTranscriptionError, NegotiationFailed, PublisherUnavailable
from live_transcription.types import AudioGap, AudioPacket, DecodedAudio, IceServer
from live_transcription.webrtc.jitter_buffer import JitterBuffer, JitterStatistics
from live_transcription.webrtc.peer import Peer, SubscriberChannel
from live_transcription.webrtc.sdp import Offer, parse_candidate, parse_offer
from live_transcription.webrtc.stock_peer import StockPeer

__all__ = ["PacketSink", "Subscriber", "SubscriberChannel", "SubscriberStatistics"]

logger = logging.getLogger(__name__)

#: Gets packets and gaps in order, or decoded audio on the stock path; called from the datagram path. Must return soon and
#: never raise.
PacketSink = Callable[[AudioPacket | AudioGap | DecodedAudio], None]

#: The HPB waits up to 10 s for a publisher before it says `client_not_found`.
OFFER_TIMEOUT_S = 12.0
CONNECT_TIMEOUT_S = 10.0
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
    """One publisher's audio: asks for an offer, answers it, receives until cancelled or lost.

    One instance per subscription attempt. `offer`, `candidate` and `refused` are for signaling and may be called at any time.
    `ice_servers` are the only STUN and TURN servers that are ever asked. `silence_timeout_s`: after so long without RTP on a
    connected peer the transport counts as lost; None waits for ever. `receive_path="stock"`: by aiortc's own receiver; the
    jitter statistics stay at zero then.
    """

    def __init__(
        self,
        channel: SubscriberChannel,
        ice_servers: Sequence[IceServer],
        sink: PacketSink,
        *,
        clock: Callable[[], float] = time.monotonic,
        offer_timeout_s: float = OFFER_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        silence_timeout_s: float | None = 12.0,
        receive_path: ReceivePath = "direct",
    ) -> None:
        self._receive_path = receive_path
        self._levels_ignored = False
        self._channel = channel
        self._ice_servers = tuple(ice_servers)
        self._sink = sink
        self._clock = clock
        self._offer_timeout_s = offer_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._silence_timeout_s = silence_timeout_s
        self._jitter_buffer = JitterBuffer()
        self._timer: asyncio.TimerHandle | None = None
        self._offers: deque[tuple[str, str]] = deque(maxlen=_MAX_OFFERS)
        self._last_offer: tuple[str, str] | None = None
        self._early: deque[tuple[str, str | None]] = deque(maxlen=_MAX_EARLY_CANDIDATES)
        self._refusal: str | None = None
        self._changed = asyncio.Event()
        self._peer: Peer | StockPeer | None = None
        self._peers = 0
        self._ended = [0, 0, 0]
        self._first_packet_at: float | None = None
        self._last_packet_at: float | None = None

    @property
    def connected(self) -> bool:
        """Whether ICE and DTLS are up, so that RTP can come."""
        return self._peer is not None and self._peer.connected

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
        """Receive until cancelled; then no task, socket or thread is left, and what the jitter buffer held is given out.

        Raises PublisherUnavailable (refused, or no offer came), NegotiationFailed (an offer that cannot be answered) and
        TransportLost (no path, closed by the SFU, or silent for too long).
        """
        if self._peers or self._last_offer is not None:
            raise RuntimeError("A subscriber runs once.")
        self._channel.request_offer()
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._negotiate(tasks)
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        finally:
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
        """Packets come without audio levels from now on, as the publisher's are wrong."""
        self._levels_ignored = True
        if isinstance(self._peer, Peer):
            self._peer.ignore_audio_levels()

    def refused(self, reason: str) -> None:
        """The HPB has no stream for us (`client_not_found`, …); `run` ends. A peer that already receives is left alone."""
        if not self.connected:
            self._refusal = reason
            self._changed.set()

    async def _negotiate(self, tasks: asyncio.TaskGroup) -> None:
        running: asyncio.Task[None] | None = None
        while True:
            await self._wait(None if self._peers else self._offer_timeout_s)
            if self._refusal is not None:
                raise PublisherUnavailable(f"The signaling server has no audio of this participant ({self._refusal[:100]}).")
            while self._offers:
                sid, sdp = self._last_offer = self._offers.popleft()
                try:
                    offer = parse_offer(sdp)
                except NegotiationFailed as error:
                    if not self.connected:
                        raise
                    logger.warning("An offer for a live peer is left out: %s", error)
                    continue
                if self._peer is not None and self._peer.sid == sid and self._peer.continues(offer):
                    self._peer.renegotiate(offer)
                    continue
                if running is not None:
                    running.cancel()
                    await asyncio.wait([running])
                self._peer = self._new_peer(sid, offer)
                running = tasks.create_task(self._peer.run(), name="peer")

    async def _wait(self, timeout_s: float | None) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            raise PublisherUnavailable("The signaling server sent no offer for this participant in time.") from None
        self._changed.clear()

    def _new_peer(self, sid: str, offer: Offer) -> Peer | StockPeer:
        if self._peer is not None:
            ended = self._peer.statistics
            self._ended = [a + b for a, b in zip(self._ended, (ended.packets, ended.octets, ended.discarded), strict=True)]
        self._peers += 1
        peer = self._peer_on_path(sid, offer)
        early, self._early = self._early, deque(maxlen=_MAX_EARLY_CANDIDATES)
        for candidate_sid, candidate in early:
            if candidate_sid == sid:
                self._add_candidate(peer, candidate)
        return peer

    def _peer_on_path(self, sid: str, offer: Offer) -> Peer | StockPeer:
        clock, connect_s, silence_s = self._clock, self._connect_timeout_s, self._silence_timeout_s
        channel, servers = self._channel, self._ice_servers
        if self._receive_path == "stock":
            return StockPeer(
                sid, offer, channel, servers, self._receive_decoded,
                clock=clock, connect_timeout_s=connect_s, silence_timeout_s=silence_s,
            )  # fmt: skip
        peer = Peer(
            sid, offer, channel, servers, self._receive,
            clock=clock, connect_timeout_s=connect_s, silence_timeout_s=silence_s,
        )  # fmt: skip
        if self._levels_ignored:
            peer.ignore_audio_levels()
        return peer

    def _add_candidate(self, peer: Peer | StockPeer, candidate: str | None) -> None:
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

    def _receive_decoded(self, audio: DecodedAudio, now: float) -> None:
        self._heard(now)
        self._sink(audio)

    def _heard(self, now: float) -> None:
        if self._first_packet_at is None:
            self._first_packet_at = now
        self._last_packet_at = now
        if self._peer is not None:
            self._peer.heard_at = now

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
        if isinstance(self._peer, Peer):
            self._peer.read_now()
        self._release(self._jitter_buffer.poll(self._clock()))


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that says most: one of ours, else the first."""
    leaves = [_first(failure) if isinstance(failure, BaseExceptionGroup) else failure for failure in failures.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, LiveTranscriptionError)), leaves[0])
