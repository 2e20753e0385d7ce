# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One speaker's transport and transcriber together: when to subscribe again, and the last words with a slow transport."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from live_transcription.config import EngineConfig, HpbConfig
from live_transcription.errors import NoAudio, NoMediaPath, TransportLost, WebrtcError
from live_transcription.speaker import speaker as module
from live_transcription.speaker.speaker import Speaker
from live_transcription.types import AudioPacket, Caption, Frame, IceServer, Secret, TurnAnswer
from live_transcription.webrtc.jitter_buffer import JitterStatistics
from live_transcription.webrtc.offer_requests import OfferRequests
from sandbox import virtual_clock
from sandbox.caller.opus_encoder import OpusEncoder
from tests.fakes.stt import FakeBackend

CONFIG = EngineConfig(hpb=HpbConfig("wss://signaling.example.com", Secret("secret"), "https://cloud.example.com"))


class AlwaysSpeech:
    def probability(self, frame: Frame) -> float:
        return 1.0

    def reset(self) -> None:
        pass


class AlwaysSuspicious:
    def may_be_speech(self, frame: Frame) -> bool:
        return True


class FakeTransport:
    """Replaces `Subscriber`: controlled by the test, and may be slow to close."""

    made: list[FakeTransport]
    closing_s = 0.0
    fails_with: Callable[[FakeTransport], WebrtcError | None] = staticmethod(lambda transport: None)

    def __init__(
        self,
        channel: Any,
        servers: Any,
        sink: Callable[[AudioPacket], None],
        *,
        requests: OfferRequests,
        on_unavailable: Callable[[], None],
        connect_timeout_s: float,
        without_audio_s: float,
    ) -> None:
        self.sink = sink
        self.connect_timeout_s = connect_timeout_s
        self.without_audio_s = without_audio_s
        self.requests = requests
        self.asked_at = math.nan
        self.first_packet_at: float | None = None
        self.last_packet_at: float | None = None
        self.connected = False
        self.turn_answers: dict[str, TurnAnswer] = {}
        self.jitter = JitterStatistics()
        self.made.append(self)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self.requests.due - loop.time()))
        self.asked_at = loop.time()
        self.requests.asked(loop.time())
        self.requests.offered()
        try:
            failure = type(self).fails_with(self)
            if isinstance(failure, NoAudio):
                self.requests.connected()
                await asyncio.sleep(self.without_audio_s)
            if failure is not None:
                raise failure
            await asyncio.Event().wait()
        finally:
            self.requests.closed(loop.time())
            await asyncio.sleep(self.closing_s)

    def speak(self, seconds: float) -> None:
        encoder = OpusEncoder()
        noise = np.random.default_rng(1).normal(0.0, 0.2, 960).astype(np.float32)
        for number in range(round(seconds / 0.02)):
            self.sink(AudioPacket(encoder.encode(noise), number, number * 960))


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> type[FakeTransport]:
    class Transport(FakeTransport):
        made: list[FakeTransport] = []  # noqa: RUF012  one list per test

    monkeypatch.setattr(module, "Subscriber", Transport)
    monkeypatch.setattr(module, "voice_activity_detector", AlwaysSpeech)
    monkeypatch.setattr(module, "speech_sample", AlwaysSuspicious)
    return Transport


async def no_servers() -> Sequence[IceServer]:
    return ()


def new_speaker(backend: FakeBackend, captions: list[Caption], *, requests: OfferRequests | None = None) -> Speaker:
    return Speaker(
        "speaker-1",
        "en",
        CONFIG,
        backend,
        channel=None,  # type: ignore[arg-type]  only the transport would use it
        ice_servers=no_servers,
        on_caption=captions.append,
        on_utterance=lambda utterance: None,
        on_error=lambda error: None,
        requests=requests,
    )


def test_a_transport_that_closes_slowly_loses_no_last_words(transport: type[FakeTransport]) -> None:
    """Without a TURN server's confirmation a transport closes after a second; the call waits 1.3 s for the last words."""
    transport.closing_s = 1.0
    captions: list[Caption] = []

    async def run() -> float:
        running = asyncio.create_task((speaker := new_speaker(FakeBackend(), captions)).run())
        await asyncio.sleep(0.1)
        transport.made[0].speak(2.0)
        await asyncio.sleep(0.1)
        ended_at = asyncio.get_running_loop().time()
        speaker.end()
        while len(captions) < 2:  # noqa: ASYNC110  the clock is virtual
            await asyncio.sleep(0.01)
        waited_s = asyncio.get_running_loop().time() - ended_at
        await running
        return waited_s

    assert virtual_clock.run(run(), limit_s=10) < 0.5


def test_a_transport_that_fails_at_the_moment_of_the_end_is_not_opened_again(
    transport: type[FakeTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TaskGroup that raises a failure drops a cancellation at the same moment."""

    async def fail_when_cancelled(made: FakeTransport) -> None:
        async def lose() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise TransportLost("The SFU closed the transport.")

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(lose())
                await asyncio.Event().wait()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    monkeypatch.setattr(transport, "run", fail_when_cancelled)

    async def run() -> None:
        running = asyncio.create_task((speaker := new_speaker(FakeBackend(), [])).run())
        await asyncio.sleep(1)
        speaker.end()
        await running

    virtual_clock.run(run(), limit_s=100)
    assert len(transport.made) == 1


def test_the_known_words_are_committed_when_the_last_ones_take_too_long(transport: type[FakeTransport]) -> None:
    captions: list[Caption] = []
    backend = FakeBackend()
    backend.prepare = lambda stream: setattr(stream, "never_ends", True)

    async def run() -> None:
        running = asyncio.create_task((speaker := new_speaker(backend, captions)).run())
        await asyncio.sleep(0.1)
        transport.made[0].speak(2.0)
        await asyncio.sleep(0.1)
        assert [caption.text for caption in captions] == ["speech 1"]
        speaker.give_up()
        running.cancel()
        await asyncio.wait([running])

    virtual_clock.run(run(), limit_s=10)
    assert [caption.text for caption in captions] == ["speech 1", "begins"]


def test_attempts_without_a_path_become_rarer_and_longer(transport: type[FakeTransport]) -> None:
    transport.fails_with = staticmethod(lambda made: TransportLost("No path."))

    async def run() -> None:
        running = asyncio.create_task((speaker := new_speaker(FakeBackend(), [])).run())
        await asyncio.sleep(100)
        speaker.end()
        await running

    virtual_clock.run(run())
    assert 8 <= len(transport.made) <= 25
    assert [made.connect_timeout_s for made in transport.made][:4] == [4, 8, 16, 16]
    asked = [made.asked_at for made in transport.made if not math.isnan(made.asked_at)]
    assert min(after - before for before, after in itertools.pairwise(asked)) >= 1.0, "the HPB must notice the last end"


def test_requests_for_a_publisher_without_a_microphone_become_rarer(
    transport: type[FakeTransport], caplog: pytest.LogCaptureFixture
) -> None:
    """If the SFU does not renegotiate, only another subscriber notices a new microphone."""
    transport.fails_with = staticmethod(lambda made: NoAudio("No audio."))

    async def run() -> None:
        running = asyncio.create_task((speaker := new_speaker(FakeBackend(), [])).run())
        await asyncio.sleep(2000)
        speaker.end()
        await running

    with caplog.at_level(logging.INFO):
        virtual_clock.run(run())
    asked = [made.asked_at for made in transport.made if not math.isnan(made.asked_at)]
    gaps = [after - before for before, after in itertools.pairwise(asked)]
    assert all(gap <= 4 for gap, at in zip(gaps, asked, strict=False) if at < 140), "received within 5 s"
    assert all(gap >= 15 for gap, at in zip(gaps, asked, strict=False) if at > 1_000)
    assert len([record for record in caplog.records if "No audio" in record.getMessage()]) == 1


def test_the_first_request_waits_after_a_peer_was_closed(transport: type[FakeTransport]) -> None:
    async def run() -> float:
        speaker = new_speaker(FakeBackend(), [], requests=OfferRequests(ask_from=5.0))
        running = asyncio.create_task(speaker.run())
        await asyncio.sleep(10)
        speaker.end()
        await running
        return transport.made[0].asked_at

    assert virtual_clock.run(run()) == 5.0


def test_a_missing_path_and_a_refusal_by_turn_are_remembered_between_attempts(transport: type[FakeTransport]) -> None:
    failures: list[WebrtcError] = [NoMediaPath("No path.") for _ in range(3)]

    def fail(made: FakeTransport) -> WebrtcError | None:
        if failures:
            made.turn_answers = {"turn.example.com:3478": TurnAnswer(401, made.asked_at)}
            return failures.pop()
        made.connected = True
        return None

    transport.fails_with = staticmethod(fail)

    async def run() -> None:
        running = asyncio.create_task((speaker := new_speaker(FakeBackend(), [])).run())
        assert speaker.path_failure is None
        await asyncio.sleep(0.01)
        while not transport.made[-1].connected:
            assert isinstance(speaker.path_failure, NoMediaPath)
            assert speaker.turn_answers["turn.example.com:3478"].code == 401
            await asyncio.sleep(0.1)
        assert speaker.path_failure is None
        transport.made[-1].turn_answers = {"turn.example.com:3478": TurnAnswer(0, 100.0)}
        assert speaker.turn_answers["turn.example.com:3478"].code == 0
        speaker.end()
        await running

    virtual_clock.run(run())
