# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which tracks count as end-to-end encrypted, with frames that are encrypted as Talk encrypts them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.opus.packet import packet_ticks
from live_transcription.types import AudioGap, AudioPacket
from live_transcription.webrtc.frame_encryption import ENCRYPTED_AFTER, PLAIN_AFTER, REFUTED_AFTER, EncryptionFilter, Item
from sandbox import recording
from sandbox.caller import FrameEncryption, from_recording
from sandbox.caller.opus_encoder import OpusEncoder
from sandbox.caller.speech import DTX, FRAME_TICKS, SILENCE

SPEECH = from_recording(recording.load("en-short"))
RECORDINGS = ("en-short", "fr-short", "en-novel", "en-conference", "fr-conference")


def packets(payloads: Iterable[bytes], begin: int = 0) -> Iterator[AudioPacket]:
    for number, payload in enumerate(payloads, begin):
        yield AudioPacket(payload, number & 0xFFFF, number * FRAME_TICKS & 0xFFFF_FFFF)


def encrypted(payloads: Iterable[bytes], encryption: FrameEncryption | None = None, begin: int = 0) -> list[AudioPacket]:
    encryption = encryption or FrameEncryption()
    numbered = enumerate(payloads, begin)
    return list(packets((encryption.encrypt(payload, number * FRAME_TICKS) for number, payload in numbered), begin))


def speech(count: int) -> list[bytes]:
    payloads = [packet.payload for packet in SPEECH.packets]
    return [payloads[number % len(payloads)] for number in range(count)]


def passed(filter_: EncryptionFilter, items: Iterable[Item]) -> list[Item]:
    return [found for item in items for found in filter_.push(item)]


def runs(filter_: EncryptionFilter, items: Iterable[Item]) -> list[bool]:
    """The states of the track in order, without repetitions."""
    states = [filter_.encrypted]
    for item in items:
        filter_.push(item)
        if filter_.encrypted is not states[-1]:
            states.append(filter_.encrypted)
    return states


@pytest.mark.parametrize(
    "encryption",
    [FrameEncryption(seed=1), FrameEncryption(seed=2, key_index=15), FrameEncryption(seed=3, native=True)],
    ids=["web", "key 15", "native"],
)
def test_three_packets_decide_and_none_of_them_is_passed_on(encryption: FrameEncryption) -> None:
    ours = EncryptionFilter()
    items = encrypted(speech(500), encryption)
    assert passed(ours, items[: ENCRYPTED_AFTER - 1]) == []
    assert not ours.encrypted
    assert passed(ours, items[ENCRYPTED_AFTER - 1 :]) == []
    assert ours.encrypted
    assert ours.flush() == ()


@pytest.mark.parametrize("payload", [DTX.payload, SILENCE.payload, b"\x78", b"\x7b\x83" + bytes(9)])
def test_the_shortest_packets_are_recognised(payload: bytes) -> None:
    ours = EncryptionFilter()
    assert passed(ours, encrypted([payload] * 3)) == []
    assert ours.encrypted


def test_plain_packets_of_any_length_pass_at_once() -> None:
    ours = EncryptionFilter()
    for payload in (b"", b"\xf8", b"\xf8\xff", SILENCE.payload, bytes(30), bytes(31), *speech(200)):
        (packet,) = packets([payload])
        assert list(ours.push(packet)) == [packet]


def test_one_plain_packet_in_a_hundred_changes_nothing_in_an_hour() -> None:
    ours = EncryptionFilter()
    items = encrypted(speech(3600 * 50), FrameEncryption(plain_share=0.01, seed=5))
    assert runs(ours, items) == [False, True]
    assert passed(EncryptionFilter(), items) == []


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_more_plain_packets_do_not_make_the_state_flap(share: float) -> None:
    assert runs(EncryptionFilter(), encrypted(speech(30_000), FrameEncryption(plain_share=share, seed=6))) == [False, True]


def test_a_track_that_becomes_plain_again_loses_no_packet() -> None:
    ours = EncryptionFilter()
    passed(ours, encrypted(speech(100)))
    plain = list(packets(speech(PLAIN_AFTER + 10), 100))
    assert passed(ours, plain[: PLAIN_AFTER - 1]) == []
    assert ours.encrypted
    assert passed(ours, plain[PLAIN_AFTER - 1 :]) == plain
    assert not ours.encrypted


def test_a_track_that_becomes_encrypted_later_is_recognised_and_its_plain_packets_pass() -> None:
    ours = EncryptionFilter()
    plain = list(packets(speech(200)))
    assert passed(ours, [*plain, *encrypted(speech(100), begin=200)]) == plain
    assert ours.encrypted


def test_lost_packets_muted_time_and_new_keys_change_nothing() -> None:
    ours = EncryptionFilter()
    encryption = FrameEncryption(seed=7)
    lossy = random.Random(7)
    items: list[Item] = []
    for number, packet in enumerate(encrypted(speech(20_000), encryption)):
        if lossy.random() < 0.3:
            items.append(AudioGap(FRAME_TICKS, lost=True, fec_payload=packet.payload if number % 2 else None))
        else:
            items.append(packet)
    encryption.change_key(9)
    items += [AudioGap(48_000, lost=False), *encrypted(speech(100), encryption, 20_000)]
    assert passed(ours, items) == []
    assert runs(EncryptionFilter(), items) == [False, True]


def test_the_counter_restarts_within_the_decision() -> None:
    encryption = FrameEncryption()
    encryption.counter = 0xFFFF - 1
    ours = EncryptionFilter()
    assert passed(ours, encrypted(speech(3), encryption)) == []
    assert ours.encrypted


def test_no_copy_of_a_lost_frame_is_taken_from_an_encrypted_packet() -> None:
    ours = EncryptionFilter()
    first, *rest = encrypted(speech(3))
    assert passed(ours, [AudioGap(FRAME_TICKS, lost=True, fec_payload=first.payload), first, *rest]) == []


def test_a_packet_that_only_ends_like_a_trailer_waits_for_three_more_and_keeps_its_place() -> None:
    ours = EncryptionFilter()
    alike = AudioPacket(SPEECH.packets[0].payload[:40] + bytes(20) + b"\x0c\x03", 0, 0)
    plain = list(packets(speech(20), 1))
    gap = AudioGap(FRAME_TICKS, lost=True)
    items = [alike, gap, *plain]
    assert passed(ours, items[: 1 + REFUTED_AFTER]) == []
    assert passed(ours, items[1 + REFUTED_AFTER :])[: len(items)] == items
    assert not ours.encrypted


def test_what_waits_for_a_decision_at_the_end_is_passed_on() -> None:
    ours = EncryptionFilter()
    alike = AudioPacket(bytes(40) + b"\x0c\x03", 0, 0)
    assert passed(ours, [alike]) == []
    assert list(ours.flush()) == [alike]


def test_equal_packets_that_end_like_a_trailer_are_no_encryption() -> None:
    ours = EncryptionFilter()
    alike = list(packets([bytes(40) + b"\x0c\x03"] * 500))
    assert [*passed(ours, alike), *ours.flush()] == alike
    assert not ours.encrypted


ITEM = st.one_of(
    st.builds(AudioPacket, st.binary(max_size=80), st.just(0), st.just(0)),
    st.builds(AudioPacket, st.binary(min_size=29, max_size=60).map(lambda body: body + b"\x0c\x01"), st.just(0), st.just(0)),
    st.builds(AudioGap, st.integers(1, 48_000), st.booleans(), st.none() | st.binary(max_size=50)),
)


@given(items=st.lists(ITEM, max_size=300))
def test_without_following_trailers_every_item_passes_in_order(items: list[Item]) -> None:
    # Trailers of arbitrary octets have the same counter only if they are equal, and then the counter does not increase.
    unlike = [
        AudioPacket(item.payload[:-14] + number.to_bytes(4) + item.payload[-10:], 0, 0)
        if isinstance(item, AudioPacket) and len(item.payload) > 30
        else item
        for number, item in enumerate(items)
    ]
    ours = EncryptionFilter()
    assert [*passed(ours, unlike), *ours.flush()] == unlike
    assert not ours.encrypted


@given(items=st.lists(ITEM, max_size=300), start=st.booleans())
def test_the_number_of_waiting_items_is_bounded(items: list[Item], start: bool) -> None:
    ours = EncryptionFilter()
    if start:
        passed(ours, encrypted(speech(3)))
    for item in items * 3:
        assert len(ours.push(item)) <= 4 * PLAIN_AFTER
    assert len(ours.flush()) <= 4 * PLAIN_AFTER


@pytest.mark.parametrize("fec", [False, True])
@pytest.mark.parametrize("dtx", [False, True])
@pytest.mark.parametrize(
    ("bitrate", "complexity"), [(6_000, 0), (12_000, 5), (24_000, 9), (32_000, 10), (64_000, 1), (128_000, 5)]
)
def test_recorded_speech_is_never_taken_for_encrypted(bitrate: int, complexity: int, dtx: bool, fec: bool) -> None:
    """A few seconds for each setting of the encoder; `make bench NAME=encryption` encodes half an hour."""
    samples = recording.load("en-short").pcm()
    check_plain(samples, OpusEncoder(bitrate=bitrate, complexity=complexity, dtx=dtx, fec=fec, expected_loss_percent=20 * fec))


def check_plain(samples: np.ndarray, encoder: OpusEncoder) -> None:
    ours = EncryptionFilter()
    payloads = [encoder.encode(samples[at : at + FRAME_TICKS]) for at in range(0, len(samples) - FRAME_TICKS + 1, FRAME_TICKS)]
    sent = list(packets(payload for payload in payloads if packet_ticks(payload)))
    assert [*passed(ours, sent), *ours.flush()] == sent
    assert not ours.encrypted


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings_as_they_are_are_never_taken_for_encrypted(name: str) -> None:
    sent = list(packets(packet.payload for packet in from_recording(recording.load(name)).packets))
    ours = EncryptionFilter()
    assert [*passed(ours, sent), *ours.flush()] == sent


def test_half_an_hour_of_random_payloads_is_never_taken_for_encrypted() -> None:
    sent = list(packets(os.urandom(80) for _ in range(90_000)))
    ours = EncryptionFilter()
    assert [*passed(ours, sent), *ours.flush()] == sent
