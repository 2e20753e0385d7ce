# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The packets of a caller's microphone and their order; the pace is not tested."""

from __future__ import annotations

import numpy as np
import pytest

from sandbox import recording
from sandbox.caller import Mute, OpusPacket, Speech, from_recording, tone
from sandbox.caller.microphone import Microphone
from sandbox.caller.speech import FRAME_S, SILENT, level_of

LOUD = Speech("loud", tuple(OpusPacket(bytes([8, number]), 20) for number in range(4)))
QUIET = Speech("quiet", tuple(OpusPacket(bytes([8, number]), 90) for number in range(50)))


def payloads(microphone: Microphone, count: int) -> list[bytes | None]:
    packets = [microphone.next_packet() for _ in range(count)]
    return [None if packet is None else packet.payload for packet in packets]


async def test_speech_comes_in_order_and_silence_after_it() -> None:
    microphone = Microphone()
    first, second = microphone.play(LOUD), microphone.play(LOUD)
    sent = payloads(microphone, 9)
    assert sent[:8] == [packet.payload for packet in LOUD.packets] * 2
    assert sent[8] == b"\xf8\xff\xfe"
    assert first.over
    assert second.over
    assert second.left_at(3 * FRAME_S) >= first.left_at(0)


@pytest.mark.parametrize(("kind", "expected"), [(Mute.SILENCE, b"\xf8\xff\xfe"), (Mute.NO_PACKETS, None)])
async def test_a_mute_pauses_the_speech(kind: Mute, expected: bytes | None) -> None:
    microphone = Microphone()
    playback = microphone.play(LOUD)
    payloads(microphone, 2)
    microphone.muted = kind
    assert payloads(microphone, 3) == [expected] * 3
    assert playback.position_s == pytest.approx(2 * FRAME_S)
    with pytest.raises(ValueError, match="not been played"):
        playback.left_at(2 * FRAME_S)
    microphone.muted = None
    assert payloads(microphone, 2) == [packet.payload for packet in LOUD.packets[2:]]


async def test_discontinuous_transmission_sends_little_in_a_pause_and_all_speech() -> None:
    microphone = Microphone(dtx=True)
    microphone.play(QUIET)
    microphone.play(LOUD)
    sent = payloads(microphone, 54)
    assert len([payload for payload in sent[:50] if payload is not None]) < 15
    assert sent[50:] == [packet.payload for packet in LOUD.packets]


async def test_malformed_payloads_go_out_as_they_are() -> None:
    microphone = Microphone()
    microphone.play(LOUD)
    microphone.injected.append(b"\xff\xff")
    assert payloads(microphone, 2) == [b"\xff\xff", LOUD.packets[0].payload]


def test_a_recording_is_sent_as_it_was_encoded_with_its_levels() -> None:
    spoken = recording.load("en-short")
    speech = from_recording(spoken)
    assert speech.duration_s == pytest.approx(spoken.duration_s, abs=0.05)
    said = spoken.utterances[0]
    inside = [packet.level for packet in speech.part(said.start_s + 0.1, said.end_s - 0.1).packets]
    before = [packet.level for packet in speech.part(0, said.start_s - 0.1).packets]
    assert np.mean(inside) < 45 < np.mean(before)
    assert speech.text == spoken.text


def test_levels_are_those_of_rfc_6464() -> None:
    assert level_of(np.zeros(960, np.float32)) == SILENT
    assert level_of(np.ones(960, np.float32)) == 0
    assert level_of(np.full(960, 0.1, np.float32)) == 20
    assert all(packet.level < 20 for packet in tone(0.2).packets[2:])
