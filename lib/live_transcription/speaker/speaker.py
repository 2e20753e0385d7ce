# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One publisher of a call: subscriber -> audio -> speech-to-text -> captions. Contains no signaling.

The speaker owns its transport and its transcriber. It subscribes again after a lost transport, and opens another stream after a
failed one, without involving the call. After `end()`, the words said so far are still committed.

A silent publisher is watched: its packets are decoded only if they may hold speech (`vad.speech_watch`). When voice activity
detection finds speech, the speaker requests a slot and opens a stream.

End-to-end encrypted audio is dropped before that (`webrtc.frame_encryption`). It opens no stream, and ends the open one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from live_transcription.audio.frame_queue import FrameQueue
from live_transcription.audio.pipeline import AudioPipeline
from live_transcription.captions.masking import Masks
from live_transcription.config import EngineConfig
from live_transcription.errors import NoAudio, NoMediaPath, SttError, TransportLost, WebrtcError
from live_transcription.observability import metrics
from live_transcription.runtime.tasks import end_if_cancelled
from live_transcription.speaker.captioner import Captioner
from live_transcription.speaker.metrics import collector
from live_transcription.speaker.slot import FreeSlot, Slot
from live_transcription.speaker.transcriber import Transcriber
from live_transcription.stt.base import SttBackend
from live_transcription.transcript import Gap, Utterance
from live_transcription.types import OPUS_CLOCK_RATE, AudioGap, AudioPacket, Caption, TurnAnswer
from live_transcription.vad.detector import speech_sample, voice_activity_detector
from live_transcription.vad.gate import AlwaysSpeech, SilenceGate
from live_transcription.vad.speech_watch import SpeechWatch
from live_transcription.webrtc.frame_encryption import EncryptionFilter
from live_transcription.webrtc.offer_requests import OfferRequests
from live_transcription.webrtc.subscriber import WITHOUT_AUDIO_S, IceServers, Subscriber, SubscriberChannel

__all__ = ["IceServers", "Speaker"]

logger = logging.getLogger(__name__)

#: Seconds until the connection to the SFU must be up, at first and after failed attempts. It nearly always takes less than one.
#: If the SFU has dropped our peer meanwhile, it does not say so, and only another attempt helps.
CONNECT_S = (4.0, 16.0)
#: Seconds for which a peer without audio is kept: in the first minutes, when a microphone is most likely added, and after a
#: quarter of an hour. In between it is `_WITHOUT_AUDIO_SHARE` of the time without audio.
WITHOUT_AUDIO_RANGE_S = (WITHOUT_AUDIO_S, 15.0)
_WITHOUT_AUDIO_SHARE = 1 / 60
#: Seconds between two streams that end at once because the audio becomes encrypted. A guest may switch encryption on and off
#: every second. So within this time, encrypted audio is a pause to the open stream.
ENCRYPTED_END_S = 10.0
#: Seconds for the last packets of a transport that closes; a TURN server may keep it open for longer.
LAST_PACKETS_S = 0.15


class Speaker:
    """Runs until `end()` or cancellation. The methods for signaling may be called at any time.

    `on_unavailable` is called when the signaling server has no stream of this publisher; the owner may end the speaker then.
    """

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
        on_gap: Callable[[Gap], None] = lambda gap: None,  # noqa: ARG005
        masks: Callable[[], Masks] = Masks,
        requests: OfferRequests | None = None,
        slot: Slot | None = None,
        on_unavailable: Callable[[], None] = lambda: None,
    ) -> None:
        """`requests`: the history of earlier requests for this publisher, if there were any."""
        self.session_id = session_id
        self._channel = channel
        self._ice_servers = ice_servers
        self._frames = FrameQueue(config.audio.queue_s)
        self._pipeline = AudioPipeline(self._frames, frame_ms=config.audio.frame_ms)
        self._captioner = Captioner(session_id, language, on_caption, on_utterance, on_gap=on_gap, masks=masks)
        self._slot = slot or FreeSlot()
        self._on_unavailable = on_unavailable
        activity = SilenceGate(voice_activity_detector())
        self._transcriber = Transcriber(
            self._frames,
            activity if config.audio.gate else SilenceGate(AlwaysSpeech()),
            backend,
            self._captioner,
            language,
            on_error=on_error,
            slot=self._slot,
            activity=None if config.audio.gate else activity,
            on_quiet=self._rest if config.audio.gate else None,
        )
        self._watch = SpeechWatch(self._pipeline.statistics, speech_sample(), self._ignore_levels)
        self._levels_are_wrong = False
        self._spoke = False
        #: Processes packets and gaps: the pipeline or the watch. Without a gate there is no watch: silence is transcribed, too.
        self._feed: Callable[[AudioPacket | AudioGap], None] = (
            self._watch_for_speech if config.audio.gate else self._pipeline.feed
        )
        self._encryption = EncryptionFilter()
        #: Whether the publisher's audio is end-to-end encrypted, so that it cannot be transcribed.
        self.encrypted = False
        self._may_end_stream_at = float("-inf")
        self._subscriber: Subscriber | None = None
        #: The requests for this publisher's offers, for the speaker that replaces this one.
        self.requests = requests or OfferRequests()
        self._without_audio_since: float | None = None
        self._path_failure: NoMediaPath | None = None
        self._turn_answers: Mapping[str, TurnAnswer] = {}
        self._ending = asyncio.Event()
        self._received_audio = False
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
            for item in self._encryption.flush():
                self._feed(item)
            self._pipeline.drain()
            self._transcriber.close()
            await transcribing

    def end(self) -> None:
        """No more audio: `run` returns after the last words, within `transcriber.DRAIN_S`."""
        self._ending.set()

    def give_up(self) -> None:
        """Commit the known words before `run` is cancelled, since the last ones take too long."""
        self._captioner.finalise(cut_short=True)

    def set_language(self, language: str) -> None:
        """The open utterance is finished in the old language; later speech is transcribed in the new one."""
        self._transcriber.language = language

    def expect(self, expected: bool) -> None:
        """Whether this publisher is expected to have a stream. If not, requests are rare and refusals are logged as debug."""
        if self._subscriber is not None:
            self._subscriber.expect(expected)
        else:
            self.requests.expect(expected, self._now())

    @property
    def connected(self) -> bool:
        """Whether the path to the SFU works now."""
        return self._subscriber is not None and self._subscriber.connected

    @property
    def path_failure(self) -> NoMediaPath | None:
        """The failure of the path to the SFU; None while a subscription is connected, and before one has failed."""
        return None if self.connected else self._path_failure

    @property
    def turn_answers(self) -> Mapping[str, TurnAnswer]:
        """The last answer of each TURN server, by the server's address."""
        return self._turn_answers if self._subscriber is None else {**self._turn_answers, **self._subscriber.turn_answers}

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
        """Subscribe again whenever a peer is lost; `OfferRequests` decides when to request an offer."""
        connect_s = CONNECT_S[0]
        while True:
            subscriber = self._subscriber = Subscriber(
                self._channel,
                self._ice_servers,
                self._take,
                requests=self.requests,
                on_unavailable=self._on_unavailable,
                connect_timeout_s=connect_s,
                without_audio_s=self._without_audio_s(),
            )
            lost = False
            try:
                if self._levels_are_wrong:
                    subscriber.ignore_audio_levels()
                await subscriber.run()
            except WebrtcError as failure:
                end_if_cancelled()
                self._slot.lost()
                lost = isinstance(failure, TransportLost)
                self._path_failure = failure if isinstance(failure, NoMediaPath) else None
                self._lost(failure)
            finally:
                self._count_packets()
                self._turn_answers = self.turn_answers
            fruitless = lost and subscriber.first_packet_at is None
            connect_s = min(CONNECT_S[1], connect_s * 2) if fruitless else CONNECT_S[0]

    def _lost(self, failure: WebrtcError) -> None:
        metrics.speaker_reconnects.labels(failure.code).inc()
        level = logging.INFO if failure.retryable else logging.WARNING
        if isinstance(failure, NoAudio):
            if self._without_audio_since is None:
                self._without_audio_since = self._now()
            else:
                level = logging.DEBUG  # one line for the whole time without audio
        logger.log(level, "Lost a speaker's audio: %s", failure, extra={"code": failure.code, "speaker": self.session_id})

    def _without_audio_s(self) -> float:
        least, most = WITHOUT_AUDIO_RANGE_S
        since = self._without_audio_since
        return least if since is None else min(most, max(least, (self._now() - since) * _WITHOUT_AUDIO_SHARE))

    def _count_packets(self) -> None:
        if self._subscriber is not None:
            jitter = self._subscriber.jitter
            metrics.packets_lost.inc(jitter.lost)
            metrics.packets_late.inc(jitter.late)

    def _take(self, item: AudioPacket | AudioGap) -> None:
        if not self._received_audio:
            self._received_audio = True
            metrics.join_seconds.observe(self._now() - self._began_at)
        self._without_audio_since = None
        items = self._encryption.push(item)
        if self._encryption.encrypted is not self.encrypted:
            self._encryption_changed()
        for each in items:
            self._feed(each)

    def _encryption_changed(self) -> None:
        self.encrypted = self._encryption.encrypted
        if self.encrypted:
            # The plain audio up to here is transcribed to its last word, at the latest after `gated_frames.STALL_S`.
            self._pipeline.drain()
            if (now := self._now()) >= self._may_end_stream_at:
                self._may_end_stream_at = now + ENCRYPTED_END_S
                self._transcriber.finish()
                self._slot.lost()
        else:
            # As after a long mute: the audio does not continue what was decoded before.
            self._feed(AudioGap(OPUS_CLOCK_RATE, lost=False))
        what = "is end-to-end encrypted and not transcribed" if self.encrypted else "is no longer encrypted"
        logger.debug("A speaker's audio %s", what, extra={"speaker": self.session_id})

    def _rest(self, spoke: bool) -> None:
        """The publisher is silent and no stream is open: watch its packets from the next one on, without decoding them."""
        self._spoke = spoke
        if self._feed == self._pipeline.feed:
            self._feed = self._start_watching

    def _start_watching(self, item: AudioPacket | AudioGap) -> None:
        if not self._transcriber.quiet:  # speech has begun meanwhile
            self._feed = self._pipeline.feed
            self._pipeline.feed(item)
            return
        self._pipeline.reset()
        self._transcriber.forget()
        self._watch.begin(spoke=self._spoke)
        self._feed = self._watch_for_speech
        self._watch_for_speech(item)

    def _watch_for_speech(self, item: AudioPacket | AudioGap) -> None:
        if suspicious := self._watch.push(item):
            self._feed = self._pipeline.feed
            self._transcriber.expect_past(self._watch.released_s)
            for each in suspicious:
                self._pipeline.feed(each)

    def _ignore_levels(self) -> None:
        """The publisher's audio levels say digital silence although there is sound."""
        self._levels_are_wrong = True
        if self._subscriber is not None:
            self._subscriber.ignore_audio_levels()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
