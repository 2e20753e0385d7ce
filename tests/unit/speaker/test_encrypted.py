# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A speaker whose audio is end-to-end encrypted: nothing of it is decoded, and no stream is open."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from dataclasses import replace

import pytest

from sandbox import virtual_clock
from sandbox.caller import FrameEncryption, OpusPacket
from sandbox.caller.speech import FRAME_TICKS
from tests.unit.speaker import test_watching
from tests.unit.speaker.test_watching import SPEECH, Publisher, publisher


def encrypted(packets: Iterable[OpusPacket], encryption: FrameEncryption) -> list[OpusPacket]:
    return [
        OpusPacket(encryption.encrypt(packet.payload, number * FRAME_TICKS), packet.level)
        for number, packet in enumerate(packets)
    ]


def open_streams(ours: Publisher) -> int:
    return sum(not stream.closed for stream in ours.backend.streams)


@pytest.mark.parametrize("level", ["right", None, 0], ids=["levels", "no levels", "always loud"])
@pytest.mark.parametrize("plain_share", [0.0, 0.01])
def test_encrypted_speech_is_not_decoded_and_opens_no_stream(
    monkeypatch: pytest.MonkeyPatch, level: int | str | None, plain_share: float
) -> None:
    async def run() -> None:
        async with publisher(monkeypatch, level) as ours:
            for _ in range(10):
                await ours.send(encrypted(SPEECH, FrameEncryption(plain_share=plain_share)))
            assert ours.speaker.encrypted
            assert ours.backend.streams == []
            assert ours.decoded_s == 0

    virtual_clock.run(run())


def test_the_stream_ends_with_its_last_words_when_the_audio_becomes_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with publisher(monkeypatch) as ours:
            await ours.send(SPEECH)
            assert open_streams(ours) == 1
            said_s = ours.decoded_s
            await ours.send(encrypted(SPEECH[:25], FrameEncryption()))
            assert ours.speaker.encrypted
            assert open_streams(ours) == 0, "half a second later"
            assert said_s <= ours.decoded_s <= said_s + 0.08, "only plain packets were decoded"
            await ours.send(encrypted(SPEECH, FrameEncryption()))
            assert len(ours.backend.streams) == 1

    virtual_clock.run(run())


def test_without_a_silence_gate_the_stream_ends_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(test_watching.CONFIG, audio=replace(test_watching.CONFIG.audio, gate=False))
    monkeypatch.setattr(test_watching, "CONFIG", config)

    async def run() -> None:
        async with publisher(monkeypatch) as ours:
            await ours.send(SPEECH)
            assert open_streams(ours) == 1
            await ours.send(encrypted(SPEECH, FrameEncryption()))
            assert open_streams(ours) == 0
            await ours.send(SPEECH)
            assert open_streams(ours) == 1

    virtual_clock.run(run())


def test_plain_speech_after_encrypted_speech_is_transcribed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with publisher(monkeypatch) as ours:
            await ours.send(encrypted(SPEECH, FrameEncryption()))
            assert ours.backend.streams == []
            await ours.send(SPEECH)
            assert not ours.speaker.encrypted
            assert len(ours.backend.streams) == 1
            assert ours.backend.streams[0].acknowledged_s > 0.5 * len(SPEECH) * 0.02

    virtual_clock.run(run())


def test_speech_that_becomes_encrypted_while_the_stream_opens_does_not_keep_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with publisher(monkeypatch) as ours:
            for packet in SPEECH:
                await ours.send([packet])
                if ours.backend.streams:
                    break
            await ours.send(encrypted(SPEECH, FrameEncryption()))
            assert open_streams(ours) == 0
            await asyncio.sleep(60)
            assert len(ours.backend.streams) == 1

    virtual_clock.run(run())


@pytest.mark.parametrize("plain", [26, 30, 60])
def test_a_guest_who_switches_encryption_on_and_off_opens_few_streams(monkeypatch: pytest.MonkeyPatch, plain: int) -> None:
    async def run() -> None:
        async with publisher(monkeypatch) as ours:
            encryption, speech = FrameEncryption(), itertools.cycle(SPEECH)
            for _ in range(3000 // plain):
                await ours.send(itertools.islice(speech, plain))
                await ours.send(encrypted(itertools.islice(speech, 3), encryption))
            assert 1 <= len(ours.backend.streams) <= 8, "in a minute"
            await ours.send(encrypted(SPEECH, encryption))
            await asyncio.sleep(60)
            assert open_streams(ours) == 0

    virtual_clock.run(run())
