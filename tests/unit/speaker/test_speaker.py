# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One speaker's transport and transcriber together: when to subscribe again, and the last words when the transport is slow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from live_transcription.audio.opus import OpusEncoder
from live_transcription.config import EngineConfig, HpbConfig
from live_transcription.errors import PublisherUnavailable, TransportLost, TransportSilent, WebrtcError
from live_transcription.speaker import speaker as module
from live_transcription.speaker.speaker import Speaker
from live_transcription.types import AudioPacket, Caption, Frame, IceServer, Secret
from live_transcription.webrtc.jitter_buffer import JitterStatistics
from live_transcription.webrtc.subscriber import SubscriberStatistics
from sandbox import virtual_clock
from tests.fakes.stt import FakeBackend

CONFIG = EngineConfig(hpb=HpbConfig("wss://signaling.example.com", Secret("secret"), "https://cloud.example.com"))


class AlwaysSpeech:
    def probability(self, frame: Frame) -> float:
        return 1.0

    def reset(self) -> None:
        pass


class FakeTransport:
    """In place of `Subscriber`: says what the test wants, and may take its time to close."""

    made: list[FakeTransport]
    closing_s = 0.0
    fails_with: Callable[[FakeTransport], WebrtcError | None] = staticmethod(lambda transport: None)

    def __init__(
        self,
        channel: Any,
        servers: Any,
        sink: Callable[[AudioPacket], None],
        *,
        connect_timeout_s: float,
        silence_timeout_s: float,
        receive_path: str,
    ) -> None:
        self.sink = sink
        self.connect_timeout_s = connect_timeout_s
        self.silence_timeout_s = silence_timeout_s
        self.began_at = asyncio.get_running_loop().time()
        self.last_packet_at: float | None = None
        self.statistics = SubscriberStatistics(0, 0, 0, 1, JitterStatistics())
        self.made.append(self)

    async def run(self) -> None:
        try:
            failure = type(self).fails_with(self)
            if isinstance(failure, TransportSilent):
                await asyncio.sleep(self.silence_timeout_s)
            if failure is not None:
                raise failure
            await asyncio.Event().wait()
        finally:
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
    return Transport


async def no_servers() -> Sequence[IceServer]:
    return ()


def new_speaker(backend: FakeBackend, captions: list[Caption]) -> Speaker:
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
    )


def test_a_transport_that_is_slow_to_close_costs_no_last_words(transport: type[FakeTransport]) -> None:
    """A TURN server that does not confirm keeps a transport for a second; the call waits 1.3 s for the last words."""
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


def test_a_transport_that_fails_in_the_moment_of_the_end_is_not_opened_again(
    transport: type[FakeTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TaskGroup that has a failure to tell forgets that it was cancelled."""

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


def test_the_words_so_far_are_committed_when_the_rest_takes_too_long(transport: type[FakeTransport]) -> None:
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


def test_a_muted_speaker_is_subscribed_again_without_a_deaf_moment(transport: type[FakeTransport]) -> None:
    transport.fails_with = staticmethod(lambda made: TransportSilent("No audio came."))

    async def run() -> None:
        running = asyncio.create_task((speaker := new_speaker(FakeBackend(), [])).run())
        await asyncio.sleep(1000)
        speaker.end()
        await running

    virtual_clock.run(run())
    began = [made.began_at for made in transport.made]
    patience = [made.silence_timeout_s for made in transport.made]
    assert patience[:6] == [12, 24, 48, 96, 120, 120]
    waits = [after - before - waited for before, after, waited in zip(began, began[1:], patience, strict=False)]
    assert max(waits) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("failure", [PublisherUnavailable("No audio."), TransportLost("No path.")])
def test_failures_to_connect_are_retried_ever_more_slowly_and_cost_no_attention(
    transport: type[FakeTransport], failure: WebrtcError
) -> None:
    transport.fails_with = staticmethod(lambda made: failure)

    async def run() -> None:
        running = asyncio.create_task((speaker := new_speaker(FakeBackend(), [])).run())
        await asyncio.sleep(100)
        speaker.end()
        await running

    virtual_clock.run(run())
    assert 8 <= len(transport.made) <= 25
    assert {made.silence_timeout_s for made in transport.made} == {12.0}, "silence is another matter"
    patience = [made.connect_timeout_s for made in transport.made]
    if isinstance(failure, TransportLost):
        assert patience[:4] == [4, 8, 16, 16]
    else:
        assert set(patience) == {4}, "no path was tried"
