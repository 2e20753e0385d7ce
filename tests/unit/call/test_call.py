# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One room's call beside its signaling: when it is over, and the order of what waits. With media: `tests/integration`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from live_transcription.call.call import Call
from live_transcription.config import EngineConfig, HpbConfig
from live_transcription.errors import SignalingRefused
from live_transcription.signaling.auth import HelloGuard
from live_transcription.signaling.connection import SignalingConnection
from live_transcription.signaling.events import InCall, Participant, ParticipantsJoined, ParticipantsUpdated, SessionStarted
from live_transcription.signaling.requests import Recipient
from live_transcription.types import Caption, IceServer, Secret
from sandbox import virtual_clock
from tests.fakes.stt import FakeBackend

CONFIG = EngineConfig(hpb=HpbConfig("wss://signaling.example.com", Secret("secret"), "https://cloud.example.com"))


def call(backend: FakeBackend | None = None, *, admit: Callable[[], bool] = lambda: True) -> Call:
    async def no_servers() -> Sequence[IceServer]:
        return ()

    return Call(
        "room",
        "en",
        CONFIG,
        backend or FakeBackend(),
        guard=HelloGuard(),
        ice_servers=no_servers,
        admit=admit,
        on_caption_sent=lambda caption: None,
        on_stt_error=lambda error: None,
    )


async def test_a_call_that_the_hpb_refuses_is_over_before_all_of_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    warming, refused, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def refuse(connection: SignalingConnection) -> None:
        await refused.wait()
        raise SignalingRefused("The secret has changed.")

    class SlowToEnd(FakeBackend):
        async def warm(self) -> None:
            warming.set()
            try:
                await asyncio.Event().wait()
            finally:
                await closed.wait()

    monkeypatch.setattr(SignalingConnection, "run", refuse)
    ours = call(SlowToEnd())
    running = asyncio.create_task(ours.run())
    async with asyncio.timeout(10):
        await warming.wait()
    assert not ours.ending
    refused.set()
    await asyncio.sleep(0.05)
    assert not running.done()
    assert ours.ending, "who asks for captions now needs another call"
    closed.set()
    with pytest.raises(ExceptionGroup) as failure:
        await running
    assert failure.group_contains(SignalingRefused, depth=1)


class Wire:
    """What the session takes: as much as the test says."""

    def __init__(self) -> None:
        self.room_for = 0
        self.sent: list[str] = []

    def send(self, recipient: Recipient, caption: Caption) -> bool:
        taken = self.room_for > 0
        if taken:
            self.room_for -= 1
            self.sent.append(caption.text)
        return taken


async def test_finals_that_nobody_takes_wait_and_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session's queue may be full although we are in the room."""
    wire = Wire()
    monkeypatch.setattr(SignalingConnection, "in_room", True)
    ours = call()
    monkeypatch.setattr(ours._connection, "send_caption", wire.send)
    ours._take(SessionStarted("own", resumed=False, server_version="2.0.2", features=frozenset()))
    ours._take(ParticipantsJoined((Participant("listener", nextcloud_session_id="nc1"),)))
    ours.add_target("nc1", None)

    def say(text: str) -> None:
        ours._deliver(Caption("speaker", text, "en", final=True))

    say("one")
    say("two")
    assert wire.sent == []
    wire.room_for = 10
    say("three")
    assert wire.sent == ["one", "two", "three"]
    say("four")
    assert wire.sent[3:] == ["four"]


def test_a_speaker_beyond_the_limit_is_taken_when_there_is_room_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The room may come from another call, of which this one hears nothing."""
    admits = False

    async def stay(connection: SignalingConnection) -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        nonlocal admits
        monkeypatch.setattr(SignalingConnection, "run", stay)
        ours = call(admit=lambda: admits)
        running = asyncio.create_task(ours.run())
        await asyncio.sleep(0.1)
        ours._take(SessionStarted("own", resumed=False, server_version="2.0.2", features=frozenset()))
        ours._take(ParticipantsJoined((Participant("listener", nextcloud_session_id="nc1"),)))
        ours.add_target("nc1", None)
        talking = InCall.IN_CALL | InCall.WITH_AUDIO
        ours._take(ParticipantsUpdated((Participant("speaker", in_call=talking),)))
        await asyncio.sleep(60)
        assert ours.speaker_count == 0
        admits = True
        await asyncio.sleep(10)
        assert ours.speaker_count == 1
        running.cancel()
        await asyncio.wait([running])

    virtual_clock.run(run())
    assert caplog.text.count("the limit is reached") == 1
