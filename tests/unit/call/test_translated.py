# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Captions for readers of other languages: each word once, in order, and nobody else waits."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.acceptance.interleavings import interleave
from live_transcription.call.delivery import CaptionDelivery
from live_transcription.call.targets import LISTED_S, Targets
from live_transcription.call.translated import CUT_S
from live_transcription.errors import TranslationError
from live_transcription.signaling.events import Participant, ParticipantsJoined
from live_transcription.signaling.requests import Recipient
from live_transcription.transcript import Utterance
from live_transcription.translation.lane import DEADLINE_S
from live_transcription.translation.queue import RETRY_S
from live_transcription.translation.translator import Translations
from live_transcription.types import Caption, Language, TranslationLanguages
from sandbox import virtual_clock
from tests.unit.call.test_delivery import join, targets_of


class Translator:
    """Marks texts with the target language, after `seconds`. While set, `broken`, `hangs` and `garbage` prevent that."""

    def __init__(self, seconds: float = 0.5) -> None:
        self.seconds = seconds
        self.broken = self.hangs = self.garbage = False
        self.asked: list[tuple[str, str, str]] = []
        self.under_way = self.most_under_way = 0

    def languages(self) -> TranslationLanguages:
        codes = ("en", "de", "fr", "es", "it", "nl", "pl", "pt", "sv", "tr")
        offered = {code: Language(code, code, code) for code in codes}
        return TranslationLanguages(offered, offered)

    async def translate(self, text: str, origin: str, target: str) -> str:
        self.asked.append((text, origin, target))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(1e6 if self.hangs else self.seconds)
        finally:
            self.under_way -= 1
        if self.broken:
            raise TranslationError("The provider failed.")
        return "\0…\n" if self.garbage else f"{target}({text})"


class Wire:
    """A session that takes every caption, and notes when."""

    def __init__(self) -> None:
        self.in_room = True
        self.read: dict[str, list[tuple[float, Caption]]] = defaultdict(list)

    def send_caption(self, recipient: Recipient, caption: Caption) -> bool:
        assert recipient.session_id is not None, "everybody in the call would get the original"
        self.read[recipient.session_id].append((asyncio.get_running_loop().time(), caption))
        return True

    def texts(self, reader: str) -> list[str]:
        return [caption.text for _, caption in self.read[reader]]


class Room:
    """A call with readers, without its speakers."""

    def __init__(self, translator: Translator, readers: int, wire: Wire | None = None) -> None:
        self.translations = Translations(translator)
        self.wire = wire or Wire()
        self.targets: Targets = targets_of(readers, recipient_call=True)
        self.delivery = CaptionDelivery(self.wire, self.targets, translations=self.translations, on_sent=lambda caption: None)

    def say(self, text: str, speaker: str = "speaker", language: str = "en") -> None:
        self.delivery.add(Caption(speaker, text, language))

    def pause(self, speaker: str = "speaker") -> None:
        self.delivery.end_utterance(Utterance(1, speaker, "", "en", True, 0.0, 0.0))

    def choose(self, reader: str, language: str | None) -> bool:
        return self.delivery.translate(f"nc-{reader}", language)


@asynccontextmanager
async def room(translator: Translator, readers: int = 2, wire: Wire | None = None) -> AsyncIterator[Room]:
    ours = Room(translator, readers, wire)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(ours.translations.run())
        await asyncio.sleep(0)
        yield ours
        ours.delivery.close()
        running.cancel()


def test_one_reader_gets_the_original_and_the_other_one_a_translation() -> None:
    async def run() -> None:
        translator = Translator()
        async with room(translator) as call:
            assert call.choose("reader-1", "fr")
            call.say("Good morning,")
            call.say("everybody.")
            await asyncio.sleep(0.6)
            assert " ".join(call.wire.texts("reader-0")) == "Good morning, everybody."
            ((at, caption),) = call.wire.read["reader-1"]
            assert (caption.text, caption.language) == ("fr(Good morning, everybody.)", "fr")
            assert at <= 0.51
            assert translator.asked == [("Good morning, everybody.", "en", "fr")]

    virtual_clock.run(run())


def test_a_segment_is_translated_once_for_all_readers_of_a_language() -> None:
    async def run() -> None:
        translator = Translator()
        async with room(translator, readers=30) as call:
            for number in range(30):
                call.choose(f"reader-{number}", ["fr", "de", "es"][number % 3])
            call.say("Good morning.")
            await asyncio.sleep(1)
            assert sorted(target for _, _, target in translator.asked) == ["de", "es", "fr"]
            assert all(len(call.wire.texts(f"reader-{number}")) == 1 for number in range(30))

    virtual_clock.run(run())


def test_captions_in_the_readers_language_are_not_sent_to_the_provider() -> None:
    async def run() -> None:
        translator = Translator()
        async with room(translator) as call:
            call.choose("reader-0", "pt_BR")
            call.say("Bom dia.", language="pt")
            assert call.wire.texts("reader-0") == ["Bom dia."]
            assert translator.asked == []

    virtual_clock.run(run())


def test_a_speaker_does_not_get_their_own_words() -> None:
    async def run() -> None:
        async with room(Translator()) as call:
            call.choose("reader-0", "fr")
            call.choose("reader-1", "fr")
            call.say("Good morning.", speaker="reader-0")
            await asyncio.sleep(1)
            assert call.wire.texts("reader-0") == []
            assert call.wire.texts("reader-1") == ["fr(Good morning.)"]

    virtual_clock.run(run())


def test_a_session_that_is_no_target_cannot_choose() -> None:
    async def run() -> None:
        async with room(Translator()) as call:
            assert not call.choose("stranger", "fr")

    virtual_clock.run(run())


@pytest.mark.parametrize("trouble", ["hangs", "broken", "garbage"])
def test_a_provider_in_trouble_for_two_minutes_delays_nobody_for_long_and_is_used_again_soon(trouble: str) -> None:
    async def run() -> None:
        translator = Translator()
        setattr(translator, trouble, True)
        async with room(translator) as call:
            call.choose("reader-1", "fr")
            spoken_at: list[float] = []
            loop = asyncio.get_running_loop()
            for number in range(65):
                if number == 60:
                    setattr(translator, trouble, False)
                    recovered_at = loop.time()
                spoken_at.append(loop.time())
                call.say(f"Sentence {number}.")
                await asyncio.sleep(2)
            await asyncio.sleep(DEADLINE_S)
            originals = [at for at, _ in call.wire.read["reader-0"]]
            assert all(at - spoken <= 0.31 for at, spoken in zip(originals, spoken_at, strict=True))
            read = call.wire.read["reader-1"]
            assert [caption.text.removeprefix("fr(").removesuffix(")") for _, caption in read] == [
                f"Sentence {number}." for number in range(65)
            ]
            assert all(at - spoken <= DEADLINE_S + 0.01 for (at, _), spoken in zip(read, spoken_at, strict=True))
            # After a few failures nobody waits for the provider.
            delays = [at - spoken for (at, _), spoken in zip(read, spoken_at, strict=True)]
            assert sum(delay < (0.51 if trouble == "garbage" else 0.01) for delay in delays) > 50
            assert next(at for at, caption in read if caption.language == "fr") <= recovered_at + 2 * RETRY_S

    virtual_clock.run(run())


def test_translations_are_bounded_and_fair_between_calls() -> None:
    async def run() -> None:
        translator = Translator(seconds=1.0)
        async with room(translator, readers=8) as busy:
            quiet = Room(translator, 1)
            quiet.delivery.translated._translations = busy.translations
            languages = ["fr", "de", "es", "it", "nl", "pl", "sv", "tr"]
            for number, language in enumerate(languages):
                busy.choose(f"reader-{number}", language)
            quiet.choose("reader-0", "fr")
            for speaker in range(4):
                busy.say("Sentence.", speaker=f"speaker-{speaker}")
            quiet.say("Quiet.")
            await asyncio.sleep(2.1)
            assert quiet.wire.texts("reader-0") == ["fr(Quiet.)"]
            assert translator.most_under_way == 16
            quiet.delivery.close()

    virtual_clock.run(run())


def test_when_the_call_ends_the_rest_is_sent_as_it_was_said() -> None:
    async def run() -> None:
        async with room(Translator(seconds=3.0)) as call:
            call.choose("reader-0", "fr")
            call.say("Good morning. And good")
            assert call.delivery.translated.waiting
            call.delivery.translated.give_up()
            assert call.wire.texts("reader-0") == ["Good morning.", "And good"]
            assert not call.delivery.translated.waiting

    virtual_clock.run(run())


@pytest.mark.parametrize("seed", range(100))
def test_each_reader_gets_each_word_once_and_in_order_whatever_happens(seed: int) -> None:
    """Readers come, go and change their language; translations fail or are late; the outbox is full; the session breaks."""
    assert interleave(seed) == []


def test_a_guest_who_changes_languages_all_the_time_does_not_cut_the_sentences_of_others() -> None:
    async def run() -> None:
        async with room(Translator()) as call:
            call.choose("reader-0", "fr")
            for _ in range(10):  # one sentence takes 4 s
                for word in ("This", "is", "said", "slowly."):
                    call.say(word)
                    for language in ("de", None, "es", "de", None) * 2:
                        call.choose("reader-1", language)
                        await asyncio.sleep(0.1)
            await asyncio.sleep(2)
            assert call.wire.texts("reader-0") == ["fr(This is said slowly.)"] * 10

    virtual_clock.run(run())


def test_where_sentences_never_end_together_a_change_cuts_them_at_most_once_in_a_while() -> None:
    async def run() -> None:
        async with room(Translator()) as call:
            call.choose("reader-0", "fr")
            call.say("Again", speaker="a")
            for second in range(2 * int(CUT_S)):  # a or b has an open sentence at any time
                for toggle in range(10):
                    call.choose("reader-1", "de" if toggle % 2 else None)
                    await asyncio.sleep(0.1)
                call.say("Again", speaker="ba"[second % 2])
                call.say("again.", speaker="ab"[second % 2])
            await asyncio.sleep(2)
            read = call.wire.texts("reader-0")
            assert sum(text != "fr(Again again.)" for text in read) <= 2 * 3 + 1

            changed_at = asyncio.get_running_loop().time()
            call.choose("reader-1", "es")
            while not any(caption.language == "es" for _, caption in call.wire.read["reader-1"]):
                call.say("more")
                call.say("Enough.", speaker="b")
                await asyncio.sleep(0.5)
            assert asyncio.get_running_loop().time() - changed_at <= CUT_S + 2

    virtual_clock.run(run())


def test_a_reader_who_comes_later_gets_the_next_words() -> None:
    async def run() -> None:
        async with room(Translator(), readers=1) as call:
            call.choose("reader-0", "fr")
            call.say("This has been")
            join(call.targets, "late")
            call.choose("late", "fr")
            call.say("said.")
            call.say("Goodbye.")
            await asyncio.sleep(1)
            assert call.wire.texts("late") == ["said.", "fr(Goodbye.)"]
            assert call.wire.texts("reader-0") == ["fr(This has been said.)", "fr(Goodbye.)"]

    virtual_clock.run(run())


class FullWire(Wire):
    """Takes `room_for` more captions."""

    def __init__(self, room_for: int) -> None:
        super().__init__()
        self.room_for = room_for

    def send_caption(self, recipient: Recipient, caption: Caption) -> bool:
        if self.room_for <= 0:
            return False
        self.room_for -= 1
        return super().send_caption(recipient, caption)


def test_a_pair_of_languages_that_the_provider_lacks_stops_no_other_pair() -> None:
    async def run() -> None:
        translator = Translator()
        async with room(translator) as call:
            call.choose("reader-0", "fr")
            call.choose("reader-1", "de")
            for number in range(5):
                call.say(f"Zin {number}.", language="xx")
            await asyncio.sleep(1)
            assert not call.translations.failing
            call.say("Good morning.")
            await asyncio.sleep(1)
            assert call.wire.texts("reader-0") == [*(f"Zin {number}." for number in range(5)), "fr(Good morning.)"]
            assert {origin for _, origin, _ in translator.asked} == {"en"}

    virtual_clock.run(run())


def test_words_of_an_outage_reach_all_readers_in_the_next_session() -> None:
    """The signaling server was restarted: the app is back before it knows who is in the room."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        async with room(Translator(1.0)) as call:
            call.choose("reader-1", "fr")
            call.say("Before.")
            await asyncio.sleep(2)
            call.wire.in_room = False
            call.targets.suspend()
            call.say("One.")
            await asyncio.sleep(2)
            call.wire.in_room = True
            call.targets.resume(loop.time())
            call.targets.reset(loop.time())
            call.delivery.flush()
            call.say("Two.")
            await asyncio.sleep(1.5)
            people = [Participant(f"new-{number}", nextcloud_session_id=f"nc-reader-{number}") for number in range(2)]
            call.targets.apply(ParticipantsJoined(tuple(people)), loop.time())
            await asyncio.sleep(2)
            assert " ".join(call.wire.texts("new-0")) == "One. Two."
            assert call.wire.texts("new-1") == ["fr(One.)", "fr(Two.)"]

    virtual_clock.run(run())


def test_words_for_readers_that_never_come_back_are_not_kept_for_long() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        async with room(Translator(1.0), readers=1) as call:
            call.targets.reset(loop.time())
            call.say("Nobody is here.")
            await asyncio.sleep(LISTED_S + 2)
            join(call.targets, "late")
            call.say("Now.")
            await asyncio.sleep(2)
            assert call.wire.texts("late") == ["Now."]

    virtual_clock.run(run())


def test_last_words_wait_for_a_full_outbox_and_are_not_sent_to_the_provider() -> None:
    async def run() -> None:
        translator, wire = Translator(seconds=3.0), FullWire(0)
        async with room(translator, 3, wire) as call:
            for number in range(3):
                call.choose(f"reader-{number}", "fr")
            call.say("And good")
            call.delivery.translated.give_up()
            await asyncio.sleep(1)
            assert call.delivery.translated.waiting, "the outbox has refused them"
            assert translator.asked == []
            wire.room_for = 100
            call.delivery.flush()
            assert not call.delivery.translated.waiting
            assert all(wire.texts(f"reader-{number}") == ["And good"] for number in range(3))

    virtual_clock.run(run())
