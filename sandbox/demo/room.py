# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One call of the demo: one or more participants talk, another one reads captions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack

from sandbox.caller import Caller, Playback, ReceivedCaption, from_recording
from sandbox.demo.evaluation import Judgement, complete, judge_under_all, median_of
from sandbox.demo.programme import Turn
from sandbox.demo.report import PRINTED
from sandbox.demo.setup import Stage
from sandbox.demo.view import DemoView, Line, Participant, RoomView, Sound
from sandbox.talk_renderer import Style

#: RFC 6464 level below which a participant counts as speaking.
_SPEAKING = 45
#: Seconds after the end of a recording for which its last words are awaited.
_LAST_WORD_S = 12.0
_FIRST_AUDIO_S = 15.0
#: The position of the sound that the page knows may differ by this much from the real one.
_DRIFT_S = 0.15


class CaptionsRefused(Exception):
    """The app did not take the request for captions."""


class DemoRoom:
    """`talkers`: names of those who talk. `reader`: name of the one who reads."""

    def __init__(
        self,
        stage: Stage,
        view: DemoView,
        room: RoomView,
        talkers: Sequence[str],
        reader: str,
        on_lines: Callable[[RoomView, list[Line]], None],
    ) -> None:
        self.view = room
        self.join_to_audio_s: float | None = None
        self._stage = stage
        self._demo = view
        self._on_lines = on_lines
        self._reader = reader
        self._stack = AsyncExitStack()
        self._playing: dict[str, tuple[Turn, Playback]] = {}
        self._screens: list[list[tuple[str, list[str]]]] = []
        stage.nextcloud.talk.rooms.create(room.token, name=room.name, language=room.language)
        url, nextcloud = stage.signaling.websocket_url, stage.nextcloud
        self.talkers = {
            name: Caller(url, nextcloud, room.token, f"{room.token}-{number}", name) for number, name in enumerate(talkers, 1)
        }
        self.listener = Caller(
            url, nextcloud, room.token, f"{room.token}-reader", reader, publishes=False, on_caption=self._captioned
        )

    async def __aenter__(self) -> DemoRoom:
        """All are in the call, and captions are on. Raises CaptionsRefused."""
        async with AsyncExitStack() as stack:
            for name, caller in [*self.talkers.items(), (self._reader, self.listener)]:
                await stack.enter_async_context(caller)
                role = "reads captions" if caller is self.listener else "talks"
                self.view.participants[caller.session_id] = Participant(caller.session_id, name, role)
            self.view.status = "in the call"
            self._demo.changed()
            asked = time.time()
            answer = await self.listener.enable_captions(self.view.language)
            if not answer.ok:
                said = answer.body.get("error") if isinstance(answer.body, dict) else answer.body
                raise CaptionsRefused(f"the app answered {answer.status}: {said}")
            first = next(iter(self.talkers.values()))
            heard = await self._stage.signaling.first_audio(first.session_id, _FIRST_AUDIO_S)
            self.join_to_audio_s = None if heard is None else round(heard - asked, 3)
            self.view.status = "captions on"
            self._show_figures(None, None, None)
            self._demo.changed()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *details: object) -> None:
        self._on_lines(self.view, self.view.end_lines())
        self.view.status = "over"
        await self._stack.aclose()

    async def perform(self, turn: Turn) -> Mapping[str, Judgement] | None:
        """Play a turn, wait for its last word, and judge its captions under each renderer. None for a part of a recording."""
        begun = time.time()
        talker, recording = self.talkers[turn.speaker], turn.recording
        speech = from_recording(recording)
        if not turn.whole:
            speech = speech.part(turn.start_s, turn.end_s if turn.end_s is not None else speech.duration_s)
        playback = talker.play(speech)
        self._playing[talker.session_id] = (turn, playback)
        await playback.wait()
        del self._playing[talker.session_id]
        if not turn.whole:
            return None
        ended = playback.left_at(recording.utterances[-1].end_s)
        while time.time() < ended + _LAST_WORD_S:
            captions = self.listener.captions.of(talker.session_id, since=begun)
            if complete(recording, captions, playback.left_at, time.time()):
                break
            await asyncio.sleep(0.1)
        # On a screen of their own, which the aims are for. On a shared one, Talk shows a new line every 2 s at most.
        captions = self.listener.captions.of(talker.session_id, since=begun)
        judgements = judge_under_all(recording, captions, playback.left_at)
        judgement = judgements[PRINTED]
        first = median_of([timing.first_word_s for timing in judgement.timings])
        last = median_of([timing.last_word_s for timing in judgement.timings])
        self._show_figures(judgement.errors.rate, first, last)
        return judgements

    def _show_figures(self, wer: float | None, first_word_s: float | None, last_word_s: float | None) -> None:
        figures = {
            "wer": wer,
            "first_word_p50_s": first_word_s,
            "last_word_p50_s": last_word_s,
            "join_to_audio_s": self.join_to_audio_s,
        }
        self.view.figures = {name: value for name, value in figures.items() if value is not None}
        self._demo.changed()

    async def show_speaking(self) -> None:
        """Keeps the speaking marks, the sound and the caption box up to date, for as long as it runs."""
        while True:
            for caller in self.talkers.values():
                if self._show_sound(caller.session_id, time.time()):
                    self._demo.changed()
            if lines := self.view.end_lines(time.time()):
                self._on_lines(self.view, lines)
            screens = [self.view.screen(style, time.time()) for style in Style]
            if screens != self._screens:
                # A line scrolls in without a message.
                self._screens = screens
                self._demo.changed()
            await asyncio.sleep(0.1)

    def _show_sound(self, session_id: str, now: float) -> bool:
        """Note what a talker says now. Returns whether the page has to know."""
        participant = self.view.participants.get(session_id)
        if participant is None:
            return False
        speaking, sound = False, None
        if session_id in self._playing:
            turn, playback = self._playing[session_id]
            index = min(int(playback.position_s / 0.02), len(playback.speech.packets) - 1)
            speaking = playback.speech.packets[index].level < _SPEAKING
            sound = Sound(turn.recording.name, turn.start_s + playback.position_s, now)
        before = participant.sound
        if before is not None and sound is not None and before.recording == sound.recording:
            jumped = abs(before.position_s + now - before.at - sound.position_s) > _DRIFT_S
        else:
            jumped = before != sound
        if jumped or sound is None:
            participant.sound = sound
        changed = jumped or participant.speaking != speaking
        participant.speaking = speaking
        return changed

    def _captioned(self, caption: ReceivedCaption) -> None:
        lines = self.view.caption(caption)
        self._demo.changed()
        self._on_lines(self.view, lines)
