# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One room of the demo: one participant talks, another one reads captions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from sandbox.caller import Caller, Playback, ReceivedCaption, from_recording
from sandbox.demo.evaluation import Judgement, judge_under_all, median_of
from sandbox.demo.report import PRINTED
from sandbox.demo.setup import Stage
from sandbox.demo.view import DemoView, Participant, RoomView
from sandbox.recording import Recording
from sandbox.talk_renderer import Style

#: RFC 6464 level below which somebody counts as speaking.
_SPEAKING = 45
#: Seconds without news after the last word until we believe that nothing more comes.
_QUIET_S = 3.0
_LAST_WORD_S = 12.0
_FIRST_AUDIO_S = 15.0


class CaptionsRefused(Exception):
    """The app did not take the request for captions."""


class DemoRoom:
    """`names`: of the one who talks and of the one who reads."""

    def __init__(
        self,
        stage: Stage,
        view: DemoView,
        room: RoomView,
        names: tuple[str, str],
        on_caption: Callable[[RoomView, str, list[str]], None],
    ) -> None:
        self.view = room
        self.join_to_audio_s: float | None = None
        self._stage = stage
        self._demo = view
        self._on_caption = on_caption
        self._names = names
        self._stack = AsyncExitStack()
        self._playback: Playback | None = None
        self._screens: list[list[str]] = []
        stage.nextcloud.talk.rooms.create(room.token, name=room.name, language=room.language)
        url, nextcloud = stage.signaling.websocket_url, stage.nextcloud
        self.talker = Caller(url, nextcloud, room.token, f"{room.token}-1", names[0])
        self.listener = Caller(
            url, nextcloud, room.token, f"{room.token}-2", names[1], publishes=False, on_caption=self._captioned
        )

    async def __aenter__(self) -> DemoRoom:
        """Both are in the call, and captions are on. Raises CaptionsRefused."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.talker)
            await stack.enter_async_context(self.listener)
            for caller, name, role in (
                (self.talker, self._names[0], "talks"),
                (self.listener, self._names[1], "reads captions"),
            ):
                self.view.participants[caller.session_id] = Participant(caller.session_id, name, role)
            self.view.status = "in the call"
            self._demo.changed()
            asked = time.time()
            answer = await self.listener.enable_captions(self.view.language)
            if not answer.ok:
                said = answer.body.get("error") if isinstance(answer.body, dict) else answer.body
                raise CaptionsRefused(f"the app answered {answer.status}: {said}")
            heard = await self._stage.signaling.first_audio(self.talker.session_id, _FIRST_AUDIO_S)
            self.join_to_audio_s = None if heard is None else round(heard - asked, 3)
            self.view.status = "captions on"
            self._show_figures(None, None, None)
            self._demo.changed()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *details: object) -> None:
        if lines := self.view.end_line():
            self._on_caption(self.view, self.talker.session_id, lines)
        self.view.status = "over"
        await self._stack.aclose()

    async def perform(self, recording: Recording) -> Mapping[str, Judgement]:
        """Talk through one recording, wait for its last word, judge under each renderer."""
        begun = time.time()
        playback = self._playback = self.talker.play(from_recording(recording))
        await playback.wait()
        ended = playback.left_at(recording.utterances[-1].end_s)
        while time.time() < ended + _LAST_WORD_S:
            captions = self.listener.captions.of(self.talker.session_id, since=begun)
            latest = captions[-1] if captions else None
            settled = latest is not None and latest.at > ended
            if settled and latest is not None and time.time() - latest.at > _QUIET_S:
                break
            await asyncio.sleep(0.1)
        captions = self.listener.captions.of(self.talker.session_id, since=begun)
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
        """Keeps the talker's speaking mark and the caption box up to date, for as long as it runs."""
        while True:
            playback, speaking = self._playback, False
            if playback is not None and not playback.over:
                index = min(int(playback.position_s / 0.02), len(playback.speech.packets) - 1)
                speaking = playback.speech.packets[index].level < _SPEAKING
            participant = self.view.participants.get(self.talker.session_id)
            if participant is not None and participant.speaking != speaking:
                participant.speaking = speaking
                self._demo.changed()
            if lines := self.view.end_line(time.time()):
                self._on_caption(self.view, self.talker.session_id, lines)
            screens = [self.view.screen(style, time.time()) for style in Style]
            if screens != self._screens:
                # A line scrolls in without a message.
                self._screens = screens
                self._demo.changed()
            await asyncio.sleep(0.1)

    def _captioned(self, caption: ReceivedCaption) -> None:
        lines = self.view.caption(caption)
        self._demo.changed()
        self._on_caption(self.view, caption.speaker, lines)
