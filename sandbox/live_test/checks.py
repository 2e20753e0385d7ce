# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The checks of the call, in their order."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from sandbox.caller import Playback, ReceivedCaption, RemoteCaller, from_recording
from sandbox.demo.evaluation import QUIET_S, Judgement, complete, judge_under_all, median_of
from sandbox.demo.report import AIMS_S, FIRST_WORD_AIMS_S, MAX_WER, PRINTED
from sandbox.live_test.advice import SELF_TEST, refused_captions
from sandbox.live_test.checklist import CannotCheck, CheckFailed, Checklist
from sandbox.live_test.talk_client import TalkClient, TalkRefused
from sandbox.recording import Recording, load
from sandbox.word_error_rate import normalise, word_errors

NEXTCLOUD = "Nextcloud answers"
OFFERED = "Talk offers captions"
ROOM = "The conversation lets us in"
CALL = "The call can be joined"
AUDIO = "Audio gets to the media server"
ON = "Captions can be turned on"
FIRST = "A first caption comes"
RIGHT = "Speech is captioned right"
TIMELY = "Captions come in time"
MUTE = "Captions stop on mute and resume"
RELOAD = "A reloaded page has captions again"
LANGUAGE = "Another language can be chosen"
OFF = "Turned off, no more captions come"
LAST = "The last words arrive"
TITLES = (NEXTCLOUD, OFFERED, ROOM, CALL, AUDIO, ON, FIRST, RIGHT, TIMELY, MUTE, RELOAD, LANGUAGE, OFF, LAST)

#: A stopped GPU takes up to two minutes to start; speech is kept meanwhile.
_FIRST_S = 150.0
_LAST_WORD_S = 15.0
#: Word error rate that a single sentence may have, or one in another language.
_SENTENCE_WER = 0.5
_NO_CAPTIONS = (
    f"{SELF_TEST} If it is green, the app gets no audio: its machine needs UDP to Janus, or a TURN server in Talk's "
    "settings. Its log says: Lost a speaker's audio."
)


class TestCall:
    """`reader` gets the captions of what `speaker` says; `tab` is the reader's."""

    __test__ = False

    def __init__(
        self,
        reader: RemoteCaller,
        speaker: RemoteCaller,
        tab: TalkClient,
        checklist: Checklist,
        *,
        moderator: bool,
        room_language: str,
        quick: bool,
    ) -> None:
        self._reader, self._speaker, self._tab = reader, speaker, tab
        self._checklist = checklist
        self._moderator = moderator
        self._room_language = room_language
        self._language = room_language or "en"
        self._quick = quick
        self._began = time.time()
        self._changed_language = False

    def show(self, caption: ReceivedCaption) -> None:
        """Prints what our own speaker said; others' words are nobody's business."""
        if caption.speaker == self._speaker.session_id:
            self._checklist.say(f"    {caption.at - self._began:6.1f} s  [{caption.language}] {caption.text}")

    async def run(self) -> None:
        await self._turn_on()
        await self._first_caption()
        await self._measure()
        await self._mute()
        await self._reload()
        await self._other_language()
        await self._turn_off()
        await self._last_words()

    async def clean_up(self) -> None:
        """Leaves the conversation as it was."""
        with suppress(TalkRefused):
            if self._changed_language:
                await self._tab.set_language(self._room_language)
        with suppress(TalkRefused):
            await self._tab.captions_off()

    async def _turn_on(self) -> None:
        with self._checklist.check(ON, needed=True) as check:
            try:
                offered = await self._tab.languages()
                if self._moderator and self._language != "en" and "en" in offered:
                    await self._choose("en")
                began = time.monotonic()
                await self._tab.captions_on()
            except TalkRefused as error:
                raise refused_captions(error) from None
            check.seen = f"{len(offered)} languages, answered after {time.monotonic() - began:.1f} s"

    async def _first_caption(self) -> None:
        with self._checklist.check(FIRST, needed=True) as check:
            said = self._say("short")
            caption = await self._caption(said, _FIRST_S)
            if caption is None:
                raise CheckFailed(f"None within {_FIRST_S:.0f} s.", _NO_CAPTIONS)
            self._language = caption.language
            await said.wait()
            lag_s = caption.at - said.left_at(_end_of(self._recording("short")))
            if lag_s > AIMS_S["last_word_p50_s"]:
                check.seen = f"{lag_s:.0f} s after the sentence: the engine had to start first" if lag_s > 5 else ""
            await self._settle(said, self._recording("short"))

    async def _measure(self) -> None:
        recording = self._recording("short" if self._quick else "conference")
        judgement: Judgement | None = None
        with self._checklist.check(RIGHT) as check:
            said = self._say("short" if self._quick else "conference")
            await said.wait()
            captions = await self._settle(said, recording)
            judgements = judge_under_all(recording, captions, said.left_at)
            judgement = judgements[PRINTED]
            if recording.language != self._language:
                raise CannotCheck(f"the conversation's language is {self._language}; there is no recording in it")
            most = MAX_WER[recording.language] if not self._quick else _SENTENCE_WER
            check.seen = f"word error rate {judgement.errors.rate:.1%} of {judgement.errors.words} words"
            if judgement.errors.rate > most or judgement.missing:
                raise CheckFailed(
                    f"{check.seen}; {judgement.missing} of {len(judgement.timings)} utterances are missing.",
                    "Look at the status on the settings page: lost audio and engines that failed are shown there.",
                )
            if len({each.text for each in judgements.values()}) > 1:
                raise CheckFailed("Captions depend on how Talk shows them.", "Please report this with the app's log.")
        if judgement is not None:
            self._judge_times(judgement)

    def _judge_times(self, judgement: Judgement) -> None:
        with self._checklist.check(TIMELY) as check:
            first = median_of([timing.first_word_s for timing in judgement.timings])
            last = median_of([timing.last_word_s for timing in judgement.timings])
            if first is None or last is None:
                raise CannotCheck("no utterance was captioned")
            for number, timing in enumerate(judgement.timings, 1):
                shown = [f"{s:.2f} s" if s is not None else "never" for s in (timing.first_word_s, timing.last_word_s)]
                self._checklist.say(
                    f"    utterance {number}: first word {shown[0]} after its start, last word {shown[1]} after its end"
                )
            check.seen = f"first word after {first:.2f} s, last word {last:.2f} s after the end (medians)"
            alone_s, _ = FIRST_WORD_AIMS_S[1]
            if first > alone_s or last > AIMS_S["last_word_p50_s"]:
                check.slow(check.seen, "With the embedded engine: give the app two free cores. With Modal: pick a near region.")

    async def _mute(self) -> None:
        recording = self._recording("short")
        begin, end = recording.utterances[0].start_s, _end_of(recording)
        with self._checklist.check(MUTE):
            said = self._say("short")
            await self._until(said, (begin + end) / 2)
            self._speaker.mute()
            muted_at = time.time()
            if await self._caption(said, 8.0) is None:
                raise CheckFailed("The speech before the mute got no caption.", _NO_CAPTIONS)
            await asyncio.sleep(max(0.0, muted_at + 5.0 - time.time()))
            if self._captions(since=muted_at + 3.5):
                raise CheckFailed("Captions came while the microphone was muted.", "Please report this with the app's log.")
            self._speaker.unmute()
            unmuted_at = time.time()
            await said.wait()
            if await self._caption(said, _LAST_WORD_S, since=unmuted_at) is None:
                raise CheckFailed("Nothing came after unmuting.", "Please report this with the app's log.")
        self._speaker.unmute()
        await self._settle(said, recording)

    async def _reload(self) -> None:
        with self._checklist.check(RELOAD) as check:
            await self._reader.reload()
            if not self._tab.user:
                # Nothing ties a guest's new session to the old one.
                try:
                    await self._tab.captions_on()
                except TalkRefused as error:
                    raise refused_captions(error) from None
                check.seen = "guests have to press CC again"
            said = self._say("short")
            await said.wait()
            if await self._caption(said, _LAST_WORD_S) is None:
                raise CheckFailed("No captions after the reload.", "Please report this with the app's log.")
            await self._settle(said, self._recording("short"))

    async def _other_language(self) -> None:
        with self._checklist.check(LANGUAGE) as check:
            if not self._moderator:
                raise CannotCheck("only moderators may; set NEXTCLOUD_USER to one")
            other = "fr" if self._language == "en" else "en"
            before = self._language
            try:
                if other not in await self._tab.languages():
                    raise CannotCheck(f"{other} is not among the languages that the app offers")
                await self._choose(other)
                recording = self._recording("short")
                said = self._say("short")
                await said.wait()
                captions = await self._settle(said, recording)
                text = " ".join(caption.text for caption in captions)
                rate = word_errors(recording.text, text, other).rate
                check.seen = f"{other}: word error rate {rate:.0%} of one sentence"
                if {caption.language for caption in captions} != {other} or rate > _SENTENCE_WER:
                    raise CheckFailed(f"{check.seen}, or captions of another language.", SELF_TEST)
            except TalkRefused as error:
                raise refused_captions(error) from None
            finally:
                with suppress(TalkRefused):
                    await self._choose(before)

    async def _turn_off(self) -> None:
        with self._checklist.check(OFF):
            try:
                await self._tab.captions_off()
                off_at = time.time() + 1.0
                said = self._say("short")
                await said.wait()
                await asyncio.sleep(QUIET_S)
                if self._captions(since=off_at):
                    raise CheckFailed("Captions came after they were turned off.", "Please report this with the app's log.")
                await self._tab.captions_on()
            except TalkRefused as error:
                raise refused_captions(error) from None

    async def _last_words(self) -> None:
        recording = self._recording("short")
        last_word = normalise(recording.text, recording.language)[-1]
        with self._checklist.check(LAST):
            said = self._say("short")
            await self._until(said, _end_of(recording) + 0.1)
            await self._speaker.leave_call()
            hung_up_at = time.time()
            while time.time() < hung_up_at + _LAST_WORD_S:
                text = " ".join(each.text for each in self._captions(since=self._begun(said)))
                if last_word in normalise(text, recording.language):
                    return
                await asyncio.sleep(0.1)
            raise CheckFailed(
                "The speaker hung up right after the last word, and it never came.", "Please report this with the app's log."
            )

    # Tools.

    def _recording(self, kind: str) -> Recording:
        """A recording in the current language of the captions, or in English if there is none."""
        return load(f"{self._language if self._language in MAX_WER else 'en'}-{kind}")

    def _say(self, kind: str) -> Playback:
        return self._speaker.play(from_recording(self._recording(kind)))

    async def _choose(self, language: str) -> None:
        await self._tab.set_language(language)
        self._language, self._changed_language = language, True

    def _begun(self, said: Playback) -> float:
        return said.left_at(0.0) if said.position_s else time.time()

    def _captions(self, *, since: float) -> list[ReceivedCaption]:
        return self._reader.captions.of(self._speaker.session_id, since=since)

    async def _until(self, said: Playback, position_s: float) -> None:
        while said.position_s < position_s and not said.over:  # noqa: ASYNC110  the microphone tells no one
            await asyncio.sleep(0.02)

    async def _caption(self, said: Playback, timeout_s: float, *, since: float | None = None) -> ReceivedCaption | None:
        """The first caption since the speech began, or since the given time; None if none comes in time."""
        await self._until(said, 0.02)
        begun = self._begun(said) if since is None else since
        try:
            return await self._reader.captions.wait(speaker=self._speaker.session_id, since=begun, timeout_s=timeout_s)
        except TimeoutError:
            return None

    async def _settle(self, said: Playback, recording: Recording) -> list[ReceivedCaption]:
        """All captions of the speech, once no more arrive."""
        ended = said.left_at(_end_of(recording))
        begun = self._begun(said)
        while time.time() < ended + _LAST_WORD_S:
            if complete(recording, self._captions(since=begun), said.left_at, time.time()):
                break
            await asyncio.sleep(0.1)
        return self._captions(since=begun)


def _end_of(recording: Recording) -> float:
    return recording.utterances[-1].end_s
