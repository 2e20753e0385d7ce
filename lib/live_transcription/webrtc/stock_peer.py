# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`Peer` on aiortc's public `RTCPeerConnection`: a reference for our own receive path, and a fallback if aiortc breaks that.

It decodes with FFmpeg in a thread per speaker, without FEC, audio levels or DTX, and takes several times as much CPU.

aiortc gets a separate offer with the audio only, so video is never decoded and an odd video section does no harm. The answer to
the SFU is built as for our own path. `StockPeer` also detects a decoder that has ended (an empty Opus payload is enough), which
aiortc does not notice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

import numpy as np
import numpy.typing as npt
from aioice import Candidate
from aiortc import (
    InvalidStateError,
    MediaStreamError,
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from av import AudioFrame

from live_transcription.errors import NoMediaPath, TransportLost, main_error
from live_transcription.types import OPUS_CLOCK_RATE, DecodedAudio, IceServer, TurnAnswer
from live_transcription.webrtc.audio_clock import AudioClock
from live_transcription.webrtc.audio_transport import TransportStatistics
from live_transcription.webrtc.peer import SubscriberChannel
from live_transcription.webrtc.sdp import MAX_CANDIDATES, Offer, build_answer
from live_transcription.webrtc.stock_description import (
    audio_only,
    local_transport,
    stock_candidate,
    stock_payload_types,
    stock_servers,
)

logger = logging.getLogger(__name__)

#: Called with each decoded frame and the time of its arrival. Must not raise.
DecodedSink = Callable[[DecodedAudio, float], None]

#: aiortc gathers before it answers, and gives a STUN or TURN server 5 s.
_GATHER_S = 8.0
#: A TURN server that does not confirm the end of a relay delays closing no longer than this.
_CLOSE_S = 2.0
_CHECK_S = 2.0
#: Packets without a decoded frame after which the decoder counts as ended; aiortc's jitter buffer holds 16.
_UNDECODED_PACKETS = 40
#: A hole in the timeline is filled up to one second, as in `JitterBuffer`.
_MAX_GAP_SAMPLES = OPUS_CLOCK_RATE


class StockPeer:
    """As `Peer`: `run` ends by TransportLost, NegotiationFailed or cancellation only."""

    def __init__(
        self,
        sid: str,
        offer: Offer,
        channel: SubscriberChannel,
        ice_servers: Sequence[IceServer],
        sink: DecodedSink,
        *,
        clock: Callable[[], float],
        connect_timeout_s: float,
        on_connected: Callable[[], None],
    ) -> None:
        self.sid = sid
        self.connected = False
        #: Up to date to `_CHECK_S` seconds. `discarded` is not known.
        self.statistics = TransportStatistics()
        #: aiortc does not report it.
        self.turn_answers: Mapping[str, TurnAnswer] = {}
        self._offer = offer
        self._channel = channel
        self._sink = sink
        self._clock = clock
        self._connect_timeout_s = connect_timeout_s
        self._on_connected = on_connected
        self._session_id = secrets.randbits(62)
        self._version = 0
        self._carrier = offer.m_line_index
        self._frames = 0
        self._next_sample: int | None = None
        self._audio_clock = AudioClock()
        self._candidates: deque[Candidate | None] = deque(offer.candidates, maxlen=MAX_CANDIDATES)
        if offer.candidates_complete:
            self._candidates.append(None)
        self._candidate_came = asyncio.Event()
        self._candidate_came.set()
        self._offer_came = asyncio.Event()
        self._state_changed = asyncio.Event()
        self._track: asyncio.Future[MediaStreamTrack] = asyncio.get_running_loop().create_future()
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=stock_servers(ice_servers)))
        self._connection.on("connectionstatechange", self._state_changed.set)
        self._connection.on("track", self._take_track)

    def continues(self, offer: Offer) -> bool:
        """Whether an offer with our `sid` is for this very transport. aiortc keeps the first payload types for ever."""
        return (offer.transport, stock_payload_types(offer)) == (self._offer.transport, stock_payload_types(self._offer))

    def renegotiate(self, offer: Offer) -> None:
        """Take a later offer over and answer it soon; media goes on."""
        self._offer = offer
        for candidate in offer.candidates:
            self.candidate(candidate)
        self._offer_came.set()

    def candidate(self, candidate: Candidate | None) -> None:
        self._candidates.append(candidate)
        self._candidate_came.set()

    async def run(self) -> None:
        try:
            await self._negotiate()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._take_candidates(), name="candidates")
                tasks.create_task(self._receive(), name="receive decoded audio")
        except BaseExceptionGroup as failures:
            raise main_error(failures) from failures
        except (OSError, ValueError, InvalidStateError) as error:
            raise TransportLost("The offer of the SFU could not be taken, or its transport broke.") from error
        finally:
            self.connected = False
            await self._close()

    async def _negotiate(self) -> None:
        """Answer the newest offer, the first one after gathering."""
        offer = None
        async with asyncio.timeout(_GATHER_S):
            while offer is not self._offer:
                offer = self._offer
                self._offer_came.clear()
                await self._connection.setRemoteDescription(RTCSessionDescription(audio_only(offer), "offer"))
                await self._connection.setLocalDescription(await self._connection.createAnswer())
        self._version += 1
        answer = build_answer(offer, local_transport(self._connection), self._session_id, self._version, carrier=self._carrier)
        self._channel.send_answer(self.sid, answer)

    async def _take_candidates(self) -> None:
        taken = 0
        while True:
            await self._candidate_came.wait()
            self._candidate_came.clear()
            while self._candidates:
                candidate = self._candidates.popleft()
                taken += candidate is not None
                if taken > MAX_CANDIDATES:
                    continue
                await self._connection.addIceCandidate(None if candidate is None else stock_candidate(candidate))

    async def _receive(self) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                while self._connection.connectionState != "connected":
                    await self._change()
        except TimeoutError:
            raise _no_path() from None
        self.connected = True
        self._on_connected()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_connection(), name="watch the connection")
            tasks.create_task(self._read(), name="read the track")
            tasks.create_task(self._watch_decoder(), name="watch the decoder")
            tasks.create_task(self._renegotiate(), name="renegotiate")

    async def _watch_connection(self) -> None:
        while True:
            await self._change()

    async def _change(self) -> None:
        """The next change of the connection's state. Raises TransportLost: no path, no DTLS, closed, consent expired."""
        state = self._connection.connectionState
        if state == "failed" and not self.connected:
            raise _no_path()
        if state in ("failed", "closed"):
            raise TransportLost("The SFU closed the transport, or the path to it broke.")
        await self._state_changed.wait()
        self._state_changed.clear()

    async def _renegotiate(self) -> None:
        while True:
            await self._offer_came.wait()
            await self._negotiate()

    async def _read(self) -> None:
        """The track is read as fast as frames come, whatever is behind the sink: aiortc's queue has no bound."""
        track = await self._track
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                raise TransportLost("The SFU closed the transport, or ended its audio.") from None
            assert isinstance(frame, AudioFrame)
            self._frames += 1
            samples: npt.NDArray[np.int16] = (
                frame.to_ndarray().reshape(-1, frame.layout.nb_channels).astype(np.int16, copy=False)
            )
            self._sink(DecodedAudio(self._in_time(frame, samples), frame.sample_rate), self._clock())

    def _in_time(self, frame: AudioFrame, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        """The samples, with silence before them where packets were lost or the sender was silent."""
        if frame.pts is None:
            return samples
        self._audio_clock.advance(self._clock())
        self._audio_clock.play(len(samples))
        missing = 0 if self._next_sample is None else frame.pts - self._next_sample
        self._next_sample = frame.pts + len(samples)
        if missing <= 0:
            return samples
        filled = self._audio_clock.fill(min(missing, _MAX_GAP_SAMPLES))
        return np.concatenate((np.zeros((filled, samples.shape[1]), dtype=np.int16), samples))

    async def _watch_decoder(self) -> None:
        """Packets but no frames: aiortc's decoder has ended, and says nothing."""
        packets, frames = 0, -1
        while True:
            await self._count()
            if self._frames != frames:
                packets, frames = self.statistics.packets, self._frames
            elif self.statistics.packets - packets >= _UNDECODED_PACKETS:
                raise TransportLost("The decoder of a participant's audio has stopped.", fix="It is subscribed again.")
            await asyncio.sleep(_CHECK_S)

    async def _count(self) -> None:
        for report in (await self._connection.getStats()).values():
            if report.type == "inbound-rtp":
                self.statistics.packets = report.packetsReceived
            elif report.type == "transport":
                self.statistics.octets = report.bytesReceived

    def _take_track(self, track: MediaStreamTrack) -> None:
        if not self._track.done():
            self._track.set_result(track)

    async def _close(self) -> None:
        """End the decoder's thread, the sockets, and the tasks that aiortc forgets. Only tasks that wait for a dead TURN server
        remain, for at most 40 s.
        """
        receivers = [transceiver.receiver for transceiver in self._connection.getTransceivers()]
        transports = [receiver.transport for receiver in receivers]
        # First what still connects: it would start the decoder of a connection that is closed.
        await _cancel_tasks_of(self._connection)
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._connection.close()
        except TimeoutError:
            logger.info("A TURN server did not confirm the end of a relay; it expires by itself")
        await _cancel_tasks_of(*receivers, *transports, *(transport.transport for transport in transports))


async def _cancel_tasks_of(*owners: object) -> None:
    """Tasks in a method of one of these, but for closing. Again, where a cancellation is forgotten (`wait_for` of 3.11)."""
    for _ in range(3):
        tasks = [task for task in asyncio.all_tasks() if any(_self_of(task) is owner for owner in owners)]
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=0.2)


def _self_of(task: asyncio.Task[object]) -> object:
    coroutine = task.get_coro()
    frame: FrameType | None = getattr(coroutine, "cr_frame", None)
    return None if frame is None or getattr(coroutine, "__name__", "") == "close" else frame.f_locals.get("self")


def _no_path() -> NoMediaPath:
    return NoMediaPath(
        "No network path to the SFU was found, or the DTLS handshake with it failed.",
        fix="Let UDP through between this host and the SFU, or set up a TURN server in Talk's settings. The stock receive "
        "path also needs an SFU whose certificate has an ECDSA key.",
    )
