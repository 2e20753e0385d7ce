# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Breaks while a proxy catches up after a cold start: one with the specified format, whose words have no times, and our own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError
from websockets.protocol import State

from live_transcription.errors import SttStarting
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.stt.kyutai.modal.protocol import ModalSession
from live_transcription.stt.kyutai.websocket_stream import WebsocketStream
from live_transcription.transcript import Flushed, Pause
from sandbox.virtual_clock import run
from tests.unit.stt.resilient.test_outage_captions import Reader, Sentence, spoken

STEP_S = 0.08
#: Steps by which words lag behind the audio, and steps of silence after which the model reports a pause.
DELAY, PAUSE = 6, 8


class Server(SttBackend):
    """A container that is up from `up_at` on, and a model that transcribes `speed` times as fast as the speaker speaks.

    All connections break at the times in `breaks`, and none can be opened for `outage_s` after that. What the network carries
    then, `latency_s` each way, is lost. `ours`: the proxy sends times, tells how much audio it has
    transcribed, and answers `end`.
    """

    name = "modal"
    languages = frozenset({"en", "fr"})

    def __init__(
        self, up_at: float, speed: float, latency_s: float, breaks: Sequence[float], outage_s: float, *, ours: bool
    ) -> None:
        self.ours = ours
        self.up_at = up_at
        self.speed = speed
        self.latency_s = latency_s
        self.breaks = breaks
        self.outage_s = outage_s
        self.opened = 0

    @asynccontextmanager
    async def open_stream(self, language: str) -> AsyncIterator[SttStream]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.2, self.up_at - loop.time()))
        if any(at <= loop.time() < at + self.outage_s for at in self.breaks):
            raise SttStarting("It is down.")
        self.opened += 1
        wire = _Wire(self)
        handles = [loop.call_at(at, wire.cut) for at in self.breaks if at > loop.time()]
        try:
            yield WebsocketStream(cast("ClientConnection", wire), ModalSession(loop.time()))
        finally:
            wire.cut()
            for handle in handles:
                handle.cancel()


class _Wire:
    """The connection, with the parts of websockets' that `WebsocketStream` uses."""

    def __init__(self, server: Server) -> None:
        self.protocol = self
        self.transport = self
        self.state = State.OPEN
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._replies: asyncio.Queue[str | None] = asyncio.Queue()
        self._busy_until = self._loop.time()
        self._steps: list[list[int]] = []
        self._silent = PAUSE
        if server.ours:
            self._reply(type="ready", delay_s=0.48, audio_s=0.0)

    def get_write_buffer_size(self) -> int:
        return 1  # so that `send` is used

    def cut(self) -> None:
        if self.state is State.OPEN:
            self.state = State.CLOSED
            self._replies.put_nowait(None)

    async def send(self, message: Any) -> None:
        await asyncio.sleep(0)
        if self.state is not State.OPEN:
            raise ConnectionClosedError(None, None)
        if isinstance(message, str):
            for _ in range(8):
                self._work([])
            self._loop.call_at(self._busy_until, self._reply_done)
            return
        samples = np.frombuffer(message, "<f4")
        assert len(samples) == 1920
        self._work([round(float(x) * 1000) - 1 for x in samples[samples != 0]])

    def _work(self, words: list[int]) -> None:
        self._busy_until = max(self._busy_until, self._loop.time() + self._server.latency_s) + STEP_S / self._server.speed
        self._loop.call_at(self._busy_until, self._step, words)

    def _step(self, words: list[int]) -> None:
        if self.state is not State.OPEN:
            return
        self._steps.append(words)
        if len(self._steps) <= DELAY:
            return
        spoken_now = self._steps[-DELAY - 1]
        self._silent = 0 if spoken_now else self._silent + 1
        for word in spoken_now:
            times = {"type": "token", "start_time": (len(self._steps) - DELAY - 1) * STEP_S} if self._server.ours else {}
            self._reply(text=f"w{word}", final=True, vad_end=False, **times, **self._progress)
        if self._silent == PAUSE:
            self._reply(text="", final=True, vad_end=True, **self._progress)

    def _reply_done(self) -> None:
        if self.state is State.OPEN:
            self._reply(type="done", **self._progress)

    @property
    def _progress(self) -> dict[str, float]:
        return {"audio_s": (len(self._steps) - DELAY - 1) * STEP_S} if self._server.ours else {}

    def _reply(self, **fields: object) -> None:
        self._loop.call_later(self._server.latency_s, self._arrive, json.dumps(fields))

    def _arrive(self, reply: str) -> None:
        if self.state is State.OPEN:
            self._replies.put_nowait(reply)

    async def recv(self) -> str:
        reply = await self._replies.get()
        if reply is None:
            raise ConnectionClosedError(None, None)
        return reply


SENTENCES = st.lists(st.tuples(st.integers(1, 45), st.sampled_from([0.1, 0.5, 1.0, 3.0])), min_size=2, max_size=6)


@given(
    sentences=SENTENCES,
    cold_s=st.floats(10, 50),
    speed=st.floats(1.25, 8),
    latency_s=st.sampled_from([0.0, 0.05, 0.2]),
    breaks_after_s=st.lists(st.floats(0.3, 30), min_size=1, max_size=3),
    outage_s=st.floats(0, 8),
    ours=st.booleans(),
)
@example(  # a model as fast as speech breaks when the replay is over and most of its words are still to come
    sentences=[(23, 1.0), (19, 0.5), (36, 0.5), (21, 1.0), (19, 0.1)],
    cold_s=45.8,
    speed=1.5,
    latency_s=0.05,
    breaks_after_s=[27.64],
    outage_s=4.0,
    ours=False,
)
@example(sentences=[(1, 0.1), (1, 0.1)], cold_s=10.0, speed=1.0, latency_s=0.0, breaks_after_s=[0.3], outage_s=0.0, ours=False)
@example(  # a model as fast as speech behind a slow network, at the end of the stream
    sentences=[(1, 0.1), (1, 0.1)],
    cold_s=10.0,
    speed=1.0,
    latency_s=0.2,
    breaks_after_s=[0.3],
    outage_s=0.0,
    ours=False,
)
@example(  # a pause before the last word, when most of a second is still to be transcribed
    sentences=[(1, 0.1), (1, 0.1)],
    cold_s=10.0,
    speed=1.25,
    latency_s=0.0,
    breaks_after_s=[1.25],
    outage_s=0.0,
    ours=False,
)
@example(  # a pause in the repetition, before the last word that is shown already
    sentences=[(20, 0.1), (33, 0.1), (22, 3.0), (12, 0.1), (30, 0.1), (11, 0.1)],
    cold_s=10.0,
    speed=5.98,
    latency_s=0.0,
    breaks_after_s=[0.3, 20.0, 17.5],
    outage_s=0.0,
    ours=False,
)
@example(  # flushes that are answered late, after words of the audio behind them
    sentences=[(18, 0.1), (3, 0.1), (8, 3.0), (22, 0.1), (3, 3.0), (3, 3.0)],
    cold_s=11.0,
    speed=1.2207155527875955,
    latency_s=0.05,
    breaks_after_s=[18.35607009999436, 3.1637168017264012],
    outage_s=0.0,
    ours=True,
)
@settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_no_break_during_the_catch_up_loses_or_repeats_a_word(
    sentences: list[Sentence],
    cold_s: float,
    speed: float,
    latency_s: float,
    breaks_after_s: list[float],
    outage_s: float,
    ours: bool,
) -> None:
    async def scenario() -> None:
        server = Server(cold_s, speed, latency_s, [cold_s + after for after in breaks_after_s], outage_s, ours=ours)
        reader = Reader(server)
        await reader.listen(sentences)
        assert reader.text == spoken(sentences)
        assert " ".join(utterance.text for utterance in reader.utterances).split() == spoken(sentences)

    run(scenario())


@given(sentences=SENTENCES, speed=st.floats(1.0, 8), latency_s=st.sampled_from([0.0, 0.2]), ours=st.booleans())
@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_a_cold_start_alone_loses_no_word(sentences: list[Sentence], speed: float, latency_s: float, ours: bool) -> None:
    async def scenario() -> None:
        server = Server(40.0, speed, latency_s, [], 0.0, ours=ours)
        reader = Reader(server)
        await reader.listen(sentences)
        assert reader.text == spoken(sentences)
        assert server.opened == 1

    run(scenario())


def test_a_server_that_has_caught_up_reports_pauses_and_answers_flushes_as_usual() -> None:
    session = ModalSession(0.0)
    frame = np.full(1920, 0.1, np.float32)
    for _ in range(250):
        session.send(frame, 0.0)
    session.receive('{"text": "a", "final": false}', 1.0)
    assert session.behind_s(1.0) == pytest.approx(19.0)
    session.flush(1.0)
    assert session.receive('{"vad_end": true}', 1.1) == []
    # No word and no audio for 3 s: there is nothing left to transcribe.
    assert session.next_deadline() == pytest.approx(4.0)
    assert session.tick(4.0) == [Flushed()]
    assert session.behind_s(4.0) == 0.0
    session.receive('{"text": "b", "final": false}', 5.0)
    assert session.receive('{"vad_end": true}', 5.1) == [Pause()]
    session.send(frame, 6.0)
    session.flush(6.0)
    assert session.next_deadline() == pytest.approx(6.48)


def test_a_session_at_the_pace_of_speech_is_never_behind() -> None:
    session = ModalSession(0.0)
    for number in range(1000):
        now = 0.2 * number
        session.send(np.full(4800, 0.1, np.float32), now)
        session.receive('{"text": "a", "final": true}', now)
        if number % 50 == 0:
            session.flush(now)
        assert session.behind_s(now) == 0.0
