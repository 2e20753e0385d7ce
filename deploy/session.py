# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One client's session, sans-I/O: float32 and JSON towards the client, msgpack towards moshi-server.

The client's side is the dialect that clients of Kyutai on Modal know, with what that one swallowed:

    in   binary                          float32 little-endian, 24 kHz mono, any length that is a multiple of 4
         {"type":"end"}                  drain: send the words that the model has not emitted yet; the session continues
    out  {"type":"ready","delay_s":…}    the model has a place for this session
         {"type":"token","text":"word","final":true,"vad_end":false,"start_time":1.2}
         {"type":"word_end","stop_time":1.6}     of the last word; comes with the next one, if ever
         {"type":"vad_end","text":"","final":true,"vad_end":true}     a pause; all words before it have been sent
         {"type":"done"}                 the answer to "end"
         {"type":"ping"}                 nothing has been sent for a while
         {"type":"error","code":"…","message":"…"}

Times are seconds of the audio that was sent, the silence of drains included. `ready`, `token`, `vad_end`, `done` and `ping`
also have `audio_s`: the words of so much audio have been sent. Methods take `now`, seconds of a monotonic clock.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from deploy.moshi_config import DELAY_STEPS

FRAME_SAMPLES = 1920
FRAME_S = 0.08

#: Frames of silence that make the model emit all words of the audio so far.
DRAIN_FRAMES = 8
#: Seconds after the last step of a drain in which a word of the same step may follow. The model sends the step first.
LAST_WORD_S = 0.2

#: Seconds after which a model that has audio and makes no step of it is given up.
STALLED_S = 10.0

#: `prs[2]` above this is a pause; in a session's first steps it means nothing.
PAUSE_HEAD = 2
PAUSE_PROBABILITY = 0.6
UNSURE_STEPS = 12

#: Frames that the model may be behind before the client has to wait: 20 s.
BACKLOG_FRAMES = 250

#: A ping follows so many seconds without a message, or so many steps, since it reports how much audio is transcribed.
PING_S = 10.0
PING_STEPS = 12

_SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


@dataclass(frozen=True, slots=True)
class Close:
    """A WebSocket close code of RFC 6455 or its registry, and a reason for the developer of a client."""

    code: int
    reason: str


IDLE = Close(1000, "idle")
EXPIRED = Close(1000, "session limit")
CAPACITY = Close(1013, "no free channel")
MODEL_LOST = Close(1011, "model server lost")
CLIENT_GONE = Close(1001, "client gone")
TOO_SLOW = Close(1008, "client does not read")


@dataclass(slots=True)
class Effects:
    """The messages to send, in order, and whether the session ends after them."""

    to_model: list[bytes] = field(default_factory=list)
    to_client: list[str] = field(default_factory=list)
    close: Close | None = None


class ProxySession:
    def __init__(self, now: float, *, idle_s: float, session_limit_s: float) -> None:
        self._idle_s = idle_s
        self._last_audio_at = now
        self._last_reply_at = now
        self._expires_at = now + session_limit_s
        self._rest: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        self._frames = 0
        self._steps = 0
        self._replied_step = 0
        self._stepped_at = now
        self._words_pending = False
        self._quiet = False
        self._pause_due: int | None = None
        # The number of steps that completes the drain, and when it is answered after the last of them.
        self._drain_to: int | None = None
        self._drained_at = math.inf
        self._closing: Close | None = None

    @property
    def backlogged(self) -> bool:
        """The model is too far behind: take no more audio until it has caught up."""
        return self._frames - self._steps > BACKLOG_FRAMES

    @property
    def _working(self) -> bool:
        return self._frames > self._steps

    @property
    def _audio_s(self) -> float:
        # The model may still send words of its last step.
        return round(max(0, self._steps - DELAY_STEPS - 1) * FRAME_S, 2)

    def audio(self, data: bytes, now: float) -> Effects:
        """NaN becomes silence, since it would spoil the model's memory for the rest of the session."""
        self._last_audio_at = now
        if self._closing is not None:
            return Effects()
        if len(data) % 4:
            return Effects(
                to_client=[error("bad_audio", "The length of an audio message is no multiple of 4: it was dropped.")]
            )
        if not self._working:
            self._stepped_at = now
        samples = np.nan_to_num(np.frombuffer(data, "<f4").astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        return Effects(to_model=self._frame(np.clip(samples, -1.0, 1.0)))

    def text(self, text: str, now: float) -> Effects:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        if isinstance(message, dict) and message.get("type") == "end":
            return Effects(to_model=self._drain(now))
        return Effects(to_client=[error("unknown_message", 'A text message can be {"type":"end"} only.')])

    def from_model(self, data: bytes, now: float) -> Effects:
        message = unpacked(data)
        match message.get("type"):
            case "Ready":
                ready = _json(type="ready", delay_s=DELAY_STEPS * FRAME_S, sample_rate=24_000, audio_s=self._audio_s)
                return self._say([ready], now)
            case "Word" if isinstance(message.get("text"), str) and message["text"]:
                self._words_pending = True
                token = _json(
                    type="token",
                    text=message["text"],
                    final=True,
                    vad_end=False,
                    **_time("start_time", message),
                    audio_s=self._audio_s,
                )
                return self._say([token], now)
            case "EndWord" if _time("stop_time", message):
                return self._say([_json(type="word_end", **_time("stop_time", message))], now)
            case "Step":
                return self._step(message, now)
            case "Error":
                return self._failed(str(message.get("message", ""))[:200], now)
        return Effects()

    def model_closed(self, now: float) -> Effects:
        effects = self._say([error("model_lost", "The model server closed the session.")], now)
        effects.close = MODEL_LOST
        return effects

    def next_deadline(self) -> float:
        return min(
            self._last_audio_at + self._idle_s,
            self._last_reply_at + PING_S,
            self._expires_at,
            self._drained_at,
            self._stepped_at + STALLED_S if self._working else math.inf,
        )

    def tick(self, now: float) -> Effects:
        """Handle a deadline; call it at `next_deadline()`."""
        if now >= self._drained_at:
            return self._drained(now)
        if self._working and now >= self._stepped_at + STALLED_S:
            effects = self._say(
                [error("model_stalled", f"The model server makes nothing of the audio for {STALLED_S:g} s.")], now
            )
            effects.close = MODEL_LOST
            return effects
        if self._closing is None and now >= self._expires_at:
            self._closing = EXPIRED
            self._expires_at = math.inf
            return Effects(to_model=self._drain(now))
        if self._drain_to is None and now >= self._last_audio_at + self._idle_s:
            effects = self._say([error("idle", f"No audio for {self._idle_s:g} s.")], now)
            effects.close = IDLE
            return effects
        if now >= self._last_reply_at + PING_S:
            return self._say([self._ping()], now)
        return Effects()

    def _frame(self, samples: npt.NDArray[np.float32]) -> list[bytes]:
        audio = np.concatenate([self._rest, samples])
        whole = len(audio) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = audio[whole:]
        self._frames += whole // FRAME_SAMPLES
        return [_audio(audio[begin : begin + FRAME_SAMPLES]) for begin in range(0, whole, FRAME_SAMPLES)]

    def _drain(self, now: float) -> list[bytes]:
        """Fill the last frame up, push it through with silence, and wait for the model to step over all of it."""
        missing = -len(self._rest) % FRAME_SAMPLES
        if not self._working:
            self._stepped_at = now
        messages = self._frame(np.concatenate([_SILENCE[:missing], *[_SILENCE] * DRAIN_FRAMES]))
        self._drain_to = self._frames
        self._drained_at = math.inf
        return messages

    def _step(self, message: dict[str, Any], now: float) -> Effects:
        self._steps += 1
        self._stepped_at = now
        prs = message.get("prs")
        head = prs[PAUSE_HEAD] if isinstance(prs, list) and len(prs) > PAUSE_HEAD else None
        quiet = isinstance(head, float) and head > PAUSE_PROBABILITY and self._steps > UNSURE_STEPS
        if quiet and not self._quiet:
            # The heads hear the pause at once, the words before it come with the model's delay.
            self._pause_due = self._steps + DELAY_STEPS
        self._quiet = quiet
        # The words of the step before this one have been sent.
        effects = self._drained(now) if self._drained_at < math.inf else Effects()
        if effects.close is not None:
            return effects
        if self._pause_due is not None and self._steps > self._pause_due:
            self._pause_due = None
            if self._words_pending:
                self._words_pending = False
                effects.to_client += self._say(
                    [_json(type="vad_end", text="", final=True, vad_end=True, audio_s=self._audio_s)], now
                ).to_client
        if self._drain_to is not None and self._steps >= self._drain_to:
            self._drained_at = now + LAST_WORD_S
        elif self._steps >= self._replied_step + PING_STEPS:
            effects.to_client += self._say([self._ping()], now).to_client
        return effects

    def _drained(self, now: float) -> Effects:
        self._drain_to = None
        self._drained_at = math.inf
        self._last_audio_at = now
        effects = self._say([_json(type="done", audio_s=self._audio_s)], now)
        if self._closing is not None:
            effects.to_client.append(error("expired", "The session reached its age limit: open another one."))
            effects.close = self._closing
        return effects

    def _ping(self) -> str:
        return _json(type="ping", audio_s=self._audio_s)

    def _failed(self, said: str, now: float) -> Effects:
        code, close = ("capacity", CAPACITY) if is_full(said) else ("model_error", MODEL_LOST)
        effects = self._say([error(code, said or "The model server reported an error.")], now)
        effects.close = close
        return effects

    def _say(self, replies: list[str], now: float) -> Effects:
        self._last_reply_at = now
        self._replied_step = self._steps
        return Effects(to_client=replies)


def is_full(said: str) -> bool:
    """Whether an error message of moshi-server means that it has no free slot."""
    return "free channel" in said


def error(code: str, message: str) -> str:
    return _json(type="error", code=code, message=message)


def _json(**fields: Any) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _audio(frame: npt.NDArray[np.float32]) -> bytes:
    packed: bytes = msgpack.packb({"type": "Audio", "pcm": frame.tolist()}, use_single_float=True)
    return packed


def unpacked(data: bytes) -> dict[str, Any]:
    """A message of moshi-server; empty if it is malformed."""
    try:
        message = msgpack.unpackb(data)
    except (ValueError, msgpack.UnpackException, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _time(name: str, message: dict[str, Any]) -> dict[str, float]:
    """A time that JSON can carry; none if it is no number."""
    value = message.get(name)
    return {name: round(float(value), 3)} if isinstance(value, int | float) and math.isfinite(value) else {}
