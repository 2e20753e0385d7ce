# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The proxy's session without I/O: time is passed in."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.session import CAPACITY, EXPIRED, IDLE, MODEL_LOST, Effects, ProxySession

FRAME = 1920


def session(**options: float) -> ProxySession:
    return ProxySession(0.0, idle_s=options.get("idle_s", 30.0), session_limit_s=options.get("session_limit_s", 1770.0))


def said(effects: Effects) -> list[dict[str, Any]]:
    """The messages without `audio_s`, which has a test of its own."""
    messages = [json.loads(text) for text in effects.to_client]
    return [{name: value for name, value in message.items() if name != "audio_s"} for message in messages]


def frames(effects: Effects) -> list[list[float]]:
    messages = [msgpack.unpackb(data) for data in effects.to_model]
    assert all(message["type"] == "Audio" for message in messages)
    return [message["pcm"] for message in messages]


def model(**message: Any) -> bytes:
    packed: bytes = msgpack.packb(message)
    return packed


def step(pause: float = 0.0, index: int = 0) -> bytes:
    return model(type="Step", step_idx=index, prs=[0.0, 0.0, pause, 0.0], buffered_pcm=0)


def audio(samples: int, value: float = 0.25) -> bytes:
    return np.full(samples, value, "<f4").tobytes()


@given(lengths=st.lists(st.integers(0, 6000), max_size=12))
def test_audio_of_any_length_comes_out_whole_in_frames_of_80_ms(lengths: list[int]) -> None:
    samples = np.arange(sum(lengths), dtype="<f4") / 100_000
    proxy = session()
    got: list[float] = []
    begin = 0
    for length in lengths:
        for frame in frames(proxy.audio(samples[begin : begin + length].tobytes(), 0.0)):
            assert len(frame) == FRAME
            got += frame
        begin += length
    got += [value for frame in frames(proxy.text('{"type":"end"}', 0.0)) for value in frame]
    assert got[: len(samples)] == samples.tolist()
    assert not any(got[len(samples) :])
    assert len(got) >= len(samples) + 8 * FRAME


def test_floats_go_to_the_model_in_single_precision() -> None:
    (data,) = session().audio(audio(FRAME), 0.0).to_model
    assert len(data) < FRAME * 5 + 40


def test_what_is_no_number_becomes_silence_and_what_is_too_loud_is_clipped() -> None:
    samples = np.array([np.nan, np.inf, -np.inf, 3.0, -3.0, 0.5] * 320, "<f4")
    (frame,) = frames(session().audio(samples.tobytes(), 0.0))
    assert frame[:6] == [0.0, 0.0, 0.0, 1.0, -1.0, 0.5]


def test_half_a_sample_costs_its_message_only() -> None:
    proxy = session()
    bad = proxy.audio(audio(FRAME) + b"\0", 0.0)
    assert not bad.to_model
    assert bad.close is None
    assert said(bad)[0]["code"] == "bad_audio"
    assert len(frames(proxy.audio(audio(FRAME), 0.0))) == 1


@pytest.mark.parametrize("text", ["", "hello", "[]", '{"type":"stop"}', "[" * 50_000])
def test_a_text_frame_does_not_end_the_session(text: str) -> None:
    effects = session().text(text, 0.0)
    assert effects.close is None
    assert not effects.to_model
    assert said(effects)[0]["type"] == "error"


def test_words_keep_their_text_and_get_their_times() -> None:
    proxy = session()
    assert said(proxy.from_model(model(type="Word", text="Où", start_time=1.2), 0.0)) == [
        {"type": "token", "text": "Où", "final": True, "vad_end": False, "start_time": 1.2}
    ]
    assert said(proxy.from_model(model(type="EndWord", stop_time=1.64), 0.0)) == [{"type": "word_end", "stop_time": 1.64}]
    assert said(proxy.from_model(model(type="Word", text="x", start_time=float("nan")), 0.0)) == [
        {"type": "token", "text": "x", "final": True, "vad_end": False}
    ]


def test_ready_tells_what_a_client_has_to_know() -> None:
    (ready,) = said(session().from_model(model(type="Ready"), 0.0))
    assert ready == {"type": "ready", "delay_s": pytest.approx(0.48), "sample_rate": 24_000}


def run_steps(proxy: ProxySession, pauses: list[float], words_at: dict[int, str]) -> list[str]:
    """Types of the sent messages, with the number of the step."""
    got: list[str] = []
    for index, pause in enumerate(pauses, start=1):
        effects = said(proxy.from_model(step(pause, index), 0.0))
        if index in words_at:
            effects += said(proxy.from_model(model(type="Word", text=words_at[index], start_time=0.0), 0.0))
        got += [f"{index} {reply.get('text') or reply['type']}" for reply in effects if reply["type"] != "ping"]
    return got


def test_a_pause_is_told_after_the_words_before_it_and_once() -> None:
    # The heads hear the pause at step 20; the last word before it comes with the model's delay, at step 24.
    pauses = [0.9] * 12 + [0.1] * 7 + [0.8] * 30
    assert run_steps(session(), pauses, {15: "good", 24: "morning."}) == ["15 good", "24 morning.", "27 vad_end"]


def test_a_short_pause_is_told_although_speech_goes_on_meanwhile() -> None:
    pauses = [0.1] * 19 + [0.8] * 2 + [0.1] * 20
    assert run_steps(session(), pauses, {24: "morning.", 33: "shall"}) == ["24 morning.", "27 vad_end", "33 shall"]


def test_silence_without_words_is_no_pause_and_the_first_steps_mean_nothing() -> None:
    assert run_steps(session(), [0.9] * 40, {}) == []
    assert run_steps(session(), [0.9] * 12 + [0.1] * 20, {5: "oh"}) == ["5 oh"]


def test_a_pause_also_carries_the_keys_of_the_specified_format() -> None:
    proxy = session()
    proxy.from_model(model(type="Word", text="so", start_time=0.0), 0.0)
    replies = [reply for index in range(1, 40) for reply in said(proxy.from_model(step(0.9, index), 0.0)) if len(reply) > 1]
    assert replies == [{"type": "vad_end", "text": "", "final": True, "vad_end": True}]


def test_end_drains_and_the_session_goes_on() -> None:
    proxy = session()
    proxy.audio(audio(FRAME + 100), 0.0)
    drained = frames(proxy.text('{"type":"end"}', 0.0))
    assert len(drained) == 9
    for index in range(1, 11):
        effects = proxy.from_model(step(index=index), 0.1)
        assert effects.close is None
        assert said(effects) == []
    assert proxy.next_deadline() == pytest.approx(0.3)
    assert said(proxy.tick(0.31)) == [{"type": "done"}]
    assert len(frames(proxy.audio(audio(FRAME), 1.0))) == 1


def test_a_word_of_the_last_step_of_a_drain_comes_before_done() -> None:
    # The model sends the step first, then its word.
    proxy = session()
    proxy.text('{"type":"end"}', 0.0)
    for index in range(1, 9):
        assert said(proxy.from_model(step(index=index), 0.1)) == []
    assert said(proxy.from_model(model(type="Word", text="last", start_time=1.0), 0.1))[0]["text"] == "last"
    assert said(proxy.tick(0.31)) == [{"type": "done"}]


def test_messages_tell_how_much_audio_their_words_cover() -> None:
    proxy = session()
    assert json.loads(proxy.from_model(model(type="Ready"), 0.0).to_client[0])["audio_s"] == 0.0
    proxy.audio(audio(FRAME * 20), 0.0)
    for index in range(1, 21):
        proxy.from_model(step(index=index), 0.1)
    # The model is 6 steps behind the audio, and may still send words of its last step.
    token = json.loads(proxy.from_model(model(type="Word", text="x", start_time=1.0), 0.1).to_client[0])
    assert token["audio_s"] == pytest.approx(13 * 0.08)
    proxy.text('{"type":"end"}', 0.2)
    for index in range(21, 29):
        proxy.from_model(step(index=index), 0.3)
    done = json.loads(proxy.tick(0.51).to_client[0])
    assert done["type"] == "done"
    assert done["audio_s"] >= 20 * 0.08


def test_a_ping_tells_every_second_of_audio_what_is_transcribed() -> None:
    proxy = session()
    proxy.audio(audio(FRAME * 40), 0.0)
    pings = [json.loads(text) for _ in range(40) for text in proxy.from_model(step(), 0.1).to_client]
    assert pings == [{"type": "ping", "audio_s": pytest.approx((count - 7) * 0.08)} for count in (12, 24, 36)]


def test_the_next_step_answers_a_drain_at_once() -> None:
    proxy = session()
    proxy.text('{"type":"end"}', 0.0)
    proxy.audio(audio(FRAME), 0.0)
    for index in range(1, 9):
        proxy.from_model(step(index=index), 0.1)
    assert said(proxy.from_model(step(index=9), 0.15)) == [{"type": "done"}]
    assert said(proxy.tick(0.4)) == []


def test_a_drain_waits_for_a_model_that_pauses() -> None:
    proxy = session()
    proxy.text('{"type":"end"}', 5.0)
    assert said(proxy.tick(14.9)) == [{"type": "ping"}]
    for _ in range(8):
        assert said(proxy.from_model(step(), 14.9)) == []
    assert said(proxy.tick(15.1)) == [{"type": "done"}]


def test_a_drain_is_never_called_done_by_a_model_that_stalls() -> None:
    proxy = session()
    proxy.text('{"type":"end"}', 5.0)
    assert proxy.next_deadline() == pytest.approx(10.0)  # a ping
    proxy.tick(10.0)
    ended = proxy.tick(15.0)
    assert (ended.close, said(ended)[0]["code"]) == (MODEL_LOST, "model_stalled")


def test_no_free_channel_is_capacity_and_other_errors_are_the_models() -> None:
    full = session().from_model(model(type="Error", message="no free channels"), 0.0)
    assert full.close == CAPACITY
    assert said(full)[0]["code"] == "capacity"
    broken = session().from_model(model(type="Error", message="cuda"), 0.0)
    assert broken.close == MODEL_LOST
    assert said(broken)[0]["code"] == "model_error"
    lost = session().model_closed(0.0)
    assert (lost.close, said(lost)[0]["code"]) == (MODEL_LOST, "model_lost")


def test_idle_is_without_audio_however_much_the_model_says() -> None:
    proxy = session()
    proxy.audio(audio(FRAME), 10.0)
    proxy.from_model(step(), 10.1)
    assert proxy.tick(39.0).close is None
    ended = proxy.tick(40.0)
    assert ended.close == IDLE
    assert said(ended)[0]["code"] == "idle"


def test_pings_when_nothing_else_is_said() -> None:
    proxy = session()
    assert proxy.next_deadline() == pytest.approx(10.0)
    assert said(proxy.tick(10.0)) == [{"type": "ping"}]
    assert proxy.next_deadline() == pytest.approx(20.0)


def test_a_model_that_makes_no_step_of_its_audio_is_given_up() -> None:
    proxy = session()
    for second in range(20):
        proxy.audio(audio(FRAME), float(second))
    assert proxy.next_deadline() == pytest.approx(10.0)
    ended = proxy.tick(19.0)
    assert (ended.close, said(ended)[0]["code"]) == (MODEL_LOST, "model_stalled")


def test_the_age_limit_drains_first_and_takes_no_more_audio() -> None:
    proxy = session(session_limit_s=100.0)
    proxy.audio(audio(FRAME), 99.9)
    assert len(frames(proxy.tick(100.0))) == 8
    assert not proxy.audio(audio(FRAME), 100.1).to_model
    proxy.from_model(model(type="Word", text="late", start_time=1.0), 100.2)
    for _ in range(9):
        assert proxy.from_model(step(), 100.3).close is None
    ended = proxy.tick(100.5)
    assert ended.close == EXPIRED
    assert [reply["type"] for reply in said(ended)] == ["done", "error"]
    assert said(ended)[1]["code"] == "expired"


def test_a_model_that_is_far_behind_holds_the_client_back() -> None:
    proxy = session()
    proxy.audio(audio(FRAME * 250), 0.0)
    assert not proxy.backlogged
    proxy.audio(audio(FRAME), 0.0)
    assert proxy.backlogged
    proxy.from_model(step(), 0.0)
    assert not proxy.backlogged


@given(st.binary(max_size=60))
def test_garbage_from_the_model_is_passed_over(data: bytes) -> None:
    effects = session().from_model(data, 0.0)
    assert all(json.loads(text) for text in effects.to_client)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "Step", "prs": [float("nan")] * 4},
        {"type": "Step", "prs": []},
        {"type": "Step"},
        {"type": "Word", "text": 7},
        {"type": "Word", "text": ""},
        {"type": "EndWord", "stop_time": "soon"},
        {"type": "Marker", "id": 1},
        {"type": ["x"]},
        {},
    ],
)
def test_broken_messages_of_the_model_say_nothing(message: dict[str, Any]) -> None:
    assert session().from_model(model(**message), 0.0) == Effects()
