# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.audio.opus import (
    MAX_PACKET_SAMPLES,
    Decoder,
    OpusDecoder,
    PyavDecoder,
    decoder,
    packet_samples,
)
from live_transcription.errors import OpusError
from live_transcription.opus import libopus
from live_transcription.types import Frame
from sandbox.caller.opus_encoder import OpusEncoder


def tone(seconds: float, rate: int = 48_000, hertz: float = 440.0) -> Frame:
    time = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def packets(audio: Frame, encoder: OpusEncoder | None = None, frame: int = 960) -> list[bytes]:
    encoder = encoder or OpusEncoder()
    return [encoder.encode(audio[start : start + frame]) for start in range(0, len(audio) - frame + 1, frame)]


def decoded(opus: Decoder, payload: bytes) -> Frame:
    out = np.full(packet_samples(payload) or 480, np.nan, dtype=np.float32)
    opus.decode(payload, out)
    return out


def loudest_hertz(audio: Frame) -> float:
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    return float(np.argmax(spectrum)) * 24_000 / len(audio)


@pytest.mark.parametrize("make", [OpusDecoder, PyavDecoder])
def test_48_khz_is_decoded_at_24_khz(make: type[Decoder]) -> None:
    opus = make()
    audio = np.concatenate([decoded(opus, payload) for payload in packets(tone(1.0))])
    assert audio.dtype == np.float32
    assert len(audio) == 24_000
    assert loudest_hertz(audio[4_800:]) == pytest.approx(440, abs=3)
    assert np.abs(audio[4_800:]).max() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("frame", [120, 240, 480, 960, 1920, 2880])
def test_every_packet_length_of_opus_is_decoded(frame: int) -> None:
    opus = OpusDecoder()
    assert {len(decoded(opus, payload)) for payload in packets(tone(0.3), frame=frame)} == {frame // 2}


def test_stereo_is_mixed_down() -> None:
    stereo = np.repeat(tone(0.2)[:, None], 2, axis=1)
    encoder = OpusEncoder(channels=2)
    opus = OpusDecoder()
    audio = [decoded(opus, encoder.encode(stereo[start : start + 960])) for start in range(0, len(stereo), 960)]
    assert loudest_hertz(np.concatenate(audio)[960:]) == pytest.approx(440, abs=10)


def test_a_lost_packet_is_recovered_from_the_one_after_it() -> None:
    encoder = OpusEncoder(bitrate=24_000, expected_loss_percent=25)
    sent = packets(tone(1.0), encoder)
    opus = OpusDecoder()
    for payload in sent[:20]:
        decoded(opus, payload)
    recovered = np.zeros(480, dtype=np.float32)
    assert opus.recover(sent[21], recovered)
    assert np.abs(recovered).max() > 0.2
    assert np.isfinite(decoded(opus, sent[21])).all()


def test_a_packet_without_fec_recovers_nothing() -> None:
    sent = packets(tone(0.2), OpusEncoder(bitrate=128_000, fec=False))
    opus = OpusDecoder()
    decoded(opus, sent[0])
    assert not opus.recover(sent[2], np.zeros(480, dtype=np.float32))


@pytest.mark.parametrize("samples", [1, 60, 61, 480, 500, MAX_PACKET_SAMPLES])
def test_audio_of_any_length_can_be_concealed(samples: int) -> None:
    opus = OpusDecoder()
    for payload in packets(tone(0.2)):
        last = decoded(opus, payload)
    concealed = np.full(samples, np.nan, dtype=np.float32)
    opus.conceal(concealed)
    steps = np.abs(np.diff(np.concatenate([last, concealed])))
    assert steps.max() < 0.2  # a tone of 440 Hz has 0.06


@pytest.mark.parametrize("make", [OpusDecoder, PyavDecoder])
@pytest.mark.parametrize("payload", [b"", b"\xff\xff\xff\x00\x01", b"\x03", b"\x03\x00", b"\xfb\x3f", b"\x82\xff\xff"])
def test_a_malformed_packet_is_refused_and_the_next_is_decoded(make: type[Decoder], payload: bytes) -> None:
    opus = make()
    good = packets(tone(0.3))
    for one in good[:5]:
        decoded(opus, one)
    with pytest.raises(OpusError):
        decoded(opus, payload)
    assert np.abs(np.concatenate([decoded(opus, one) for one in good[5:]])).max() > 0.1


@settings(max_examples=600, deadline=None)
@given(st.binary(min_size=0, max_size=1500))
def test_no_payload_breaks_a_decoder(payload: bytes) -> None:
    opus = decoder()
    with suppress(OpusError):
        assert np.isfinite(decoded(opus, payload)).all()
    opus.recover(payload, np.zeros(480, dtype=np.float32))
    assert np.isfinite(decoded(opus, packets(tone(0.02))[0])).all()


@pytest.mark.parametrize("wrong", [240, 960])
def test_a_packet_of_another_length_than_out_is_refused(wrong: int) -> None:
    with pytest.raises(OpusError):
        OpusDecoder().decode(packets(tone(0.02))[0], np.zeros(wrong, dtype=np.float32))


def test_without_libopus_ffmpeg_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libopus, "candidates", lambda: iter(["/nonexistent/libopus.so"]))
    libopus.load.cache_clear()
    try:
        assert isinstance(decoder(), PyavDecoder)
        with pytest.raises(OpusError):
            OpusDecoder()
    finally:
        monkeypatch.undo()
        libopus.load.cache_clear()
    assert isinstance(decoder(), OpusDecoder)
