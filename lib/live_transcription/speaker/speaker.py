# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One publisher of a call: subscriber -> audio -> speech-to-text -> captions. Knows no signaling.

The speaker owns its transport and its transcriber. A lost transport is subscribed again; a failed stream is opened again;
neither reaches the call. `end()` is the graceful way out: the words of what was said so far are still committed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from live_transcription.audio.frame_queue import FrameQueue
from live_transcription.audio.pipeline import AudioPipeline
from live_transcription.audio.vad import voice_activity_detector
from live_transcription.config import EngineConfig
from live_transcription.errors import SttError, TransportLost, TransportSilent, WebrtcError
from live_transcription.observability import metrics
from live_transcription.speaker.captioner import Captioner
from live_transcription.speaker.exposition import collector
from live_transcription.speaker.transcriber import Transcriber
from live_transcription.stt.base import SttBackend
from live_transcription.stt.gate import AlwaysSpeech, SilenceGate
from live_transcription.stt.owned_task import end_if_cancelled
from live_transcription.types import AudioGap, AudioPacket, Caption, DecodedAudio, IceServer, Utterance
from live_transcription.webrtc.subscriber import Subscriber, SubscriberChannel

logger = logging.getLogger(__name__)

IceServers = Callable[[], Awaitable[Sequence[IceServer]]]

#: First and longest wait before asking for the publisher again, in seconds.
RESUBSCRIBE_S = (1.0, 10.0)
#: How long the way to the SFU may take, in seconds, at first and after fruitless attempts. Nearly always it is less than one.
#: Where the SFU has dropped our peer meanwhile nobody says so: only another attempt helps.
CONNECT_S = (4.0, 16.0)
#: First and longest silence of RTP after which the transport is doubted, in seconds. A muted speaker may send nothing
#: at all, so each fruitless doubt doubles the patience.
SILENCE_S = (12.0, 120.0)
#: How long the last packets may take to come out of a transport that closes, in seconds; a TURN server may keep it longer.
LAST_PACKETS_S = 0.15


class Speaker:
    """Runs until `end()` or cancellation. The methods for signaling may be called at any time."""

    def __init__(
        self,
        session_id: str,
        language: str,
        config: EngineConfig,
        backend: SttBackend,
        *,
        channel: SubscriberChannel,
        ice_servers: IceServers,
        on_caption: Callable[[Caption], None],
        on_utterance: Callable[[Utterance], None],
        on_error: Callable[[SttError], None],
    ) -> None:
        self.session_id = session_id
        #: In force from the next subscription on; may be set at any time.
        self.receive_path = config.receive_path
        self._channel = channel
        self._ice_servers = ice_servers
        self._frames = FrameQueue(config.audio.queue_s)
        self._pipeline = AudioPipeline(self._frames, frame_ms=config.audio.frame_ms)
        self._captioner = Captioner(session_id, language, on_caption, on_utterance)
        gate = SilenceGate(voice_activity_detector() if config.audio.gate else AlwaysSpeech())
        self._transcriber = Transcriber(self._frames, gate, backend, self._captioner, language, on_error=on_error)
        self._subscriber: Subscriber | None = None
        self._ending = asyncio.Event()
        self._heard_since_subscribing = False
        self._heard = False
        self._began_at = self._now()

    async def run(self) -> None:
        try:
            with collector.counting(self._pipeline.statistics):
                await self._run()
        finally:
            self._captioner.close()
            metrics.packets_undecodable.inc(self._pipeline.statistics.malformed)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(self._receive(), name="receive")
            transcribing = tasks.create_task(self._transcriber.run(), name="transcribe")
            await self._ending.wait()
            receiving.cancel()
            await asyncio.wait([receiving], timeout=LAST_PACKETS_S)
            self._pipeline.drain()
            self._transcriber.close()
            await transcribing

    def end(self) -> None:
        """No more audio; `run` returns when the last words are out (`transcriber.DRAIN_S` at most)."""
        self._ending.set()

    def give_up(self) -> None:
        """The last words take too long: commit those that are known, before `run` is cancelled."""
        self._captioner.finalise()

    def set_language(self, language: str) -> None:
        """What is open is finished in the old language; what comes next is heard in the new one."""
        self._transcriber.language = language

    @property
    def hears_audio(self) -> bool:
        return self._subscriber is not None and self._subscriber.last_packet_at is not None

    def offer(self, sid: str, sdp: str) -> None:
        if self._subscriber is not None:
            self._subscriber.offer(sid, sdp)

    def candidate(self, sid: str, candidate: str | None, sdp_mid: str | None, sdp_m_line_index: int | None) -> None:
        if self._subscriber is not None:
            self._subscriber.candidate(sid, candidate, sdp_mid, sdp_m_line_index)

    def refused(self, reason: str) -> None:
        if self._subscriber is not None:
            self._subscriber.refused(reason)

    async def _receive(self) -> None:
        """Subscribe, again and again, with patience that grows while nothing comes of it."""
        wait_s, silence_s, connect_s = RESUBSCRIBE_S[0], SILENCE_S[0], CONNECT_S[0]
        while True:
            self._heard_since_subscribing = silent = lost = False
            try:
                subscriber = Subscriber(
                    self._channel,
                    await self._ice_servers(),
                    self._hear,
                    connect_timeout_s=connect_s,
                    silence_timeout_s=silence_s,
                    receive_path=self.receive_path,
                )
                self._subscriber = subscriber
                await subscriber.run()
            except WebrtcError as failure:
                end_if_cancelled()
                silent, lost = isinstance(failure, TransportSilent), isinstance(failure, TransportLost)
                metrics.speaker_reconnects.labels(failure.code).inc()
                level = logging.INFO if failure.retryable else logging.WARNING
                logger.log(
                    level, "Lost a speaker's audio: %s", failure, extra={"code": failure.code, "speaker": self.session_id}
                )
            finally:
                self._count_packets()
                self._subscriber = None
            if self._heard_since_subscribing:
                wait_s, silence_s, connect_s = RESUBSCRIBE_S[0], SILENCE_S[0], CONNECT_S[0]
            elif silent:
                wait_s, silence_s, connect_s = RESUBSCRIBE_S[0], min(SILENCE_S[1], silence_s * 2), CONNECT_S[0]
            elif lost:
                connect_s = min(CONNECT_S[1], connect_s * 2)
            if silent:  # it was up until now, so it is opened again at once: who is muted may speak at any moment
                continue
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(RESUBSCRIBE_S[1], wait_s * 2)

    def _count_packets(self) -> None:
        if self._subscriber is not None:
            jitter = self._subscriber.statistics.jitter
            metrics.packets_lost.inc(jitter.lost)
            metrics.packets_late.inc(jitter.late)

    def _hear(self, item: AudioPacket | AudioGap | DecodedAudio) -> None:
        if not self._heard:
            self._heard = True
            metrics.join_seconds.observe(self._now() - self._began_at)
        self._heard_since_subscribing = True
        self._pipeline.feed(item)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
