# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Random calls with readers of several languages: `python -m bench.acceptance.interleavings [--runs 10000] [--first 0]`.

Readers join, leave and change their language at any time; translations are fast, slow or fail; the outbox is full; the
signaling session breaks, and continues or starts again. Each call has a seed and runs in virtual time. Every reader has to get
each word once, in order for each speaker, in a language that they have chosen or in the original one.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections import defaultdict
from random import Random

from bench.acceptance import scenario
from bench.common.results import Target
from live_transcription.call.delivery import CaptionDelivery
from live_transcription.call.roster import Roster
from live_transcription.call.targets import Targets
from live_transcription.errors import TranslationError
from live_transcription.signaling.events import InCall, Participant, ParticipantsJoined
from live_transcription.signaling.requests import Recipient
from live_transcription.transcript import Utterance
from live_transcription.translation.translator import Translations
from live_transcription.types import Caption, Language, TranslationLanguages
from sandbox import virtual_clock

_LANGUAGES = ("fr", "de", "es", "it", "nl")
_SPOKEN = ("en", "de")
_SPEAKERS = ("a", "b", "c")
#: Seconds after the last word until all of it has reached its readers.
_SETTLE_S = 30.0


class _Translator:
    """Marks a text with the target language: at once, slowly, too late or not at all."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.works = False

    def languages(self) -> TranslationLanguages:
        offered = {code: Language(code, code, code) for code in ("en", *_LANGUAGES)}
        return TranslationLanguages(offered, offered)

    async def translate(self, text: str, origin: str, target: str) -> str:  # noqa: ARG002
        await asyncio.sleep(0.1 if self.works else self._random.choice((0.0, 0.1, 1.0, 3.9, 6.0)))
        if not self.works and self._random.random() < 0.2:
            raise TranslationError("The provider failed.")
        return f"{target}({text})"


class _Reader:
    def __init__(self, name: str, joined_at: dict[str, int]) -> None:
        self.name = name
        self.nc_session_id = f"nc-{name}"
        self.joined_at = joined_at
        self.left = False
        self.chosen: str | None = None
        self.ever_chosen: set[str] = set()
        self.read: list[Caption] = []


class _Call:
    """The call, and in place of its signaling session a wire that notes what each reader gets."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.translator = _Translator(self.random)
        self.translations = Translations(self.translator)
        self.in_room, self.full = True, False
        self.sessions: dict[str, _Reader] = {}
        self.readers: list[_Reader] = []
        self.said: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.problems: list[str] = []
        self._generation = self._words = 0
        self.targets = Targets(Roster())
        self._recipient_call = self.random.random() < 0.5
        self.targets.reset(0.0, recipient_call=self._recipient_call)
        self.delivery = CaptionDelivery(self, self.targets, translations=self.translations, on_sent=lambda _: None)
        self.languages = self.random.sample(_LANGUAGES, self.random.randint(2, 5))

    def send_caption(self, recipient: Recipient, caption: Caption) -> bool:
        if not self.in_room:
            self.problems.append("a caption was sent outside of the room")
        if self.full:
            return False
        to_all = recipient.session_id is None
        for reader in self.sessions.values() if to_all else (self.sessions.get(recipient.session_id or ""),):
            if reader is not None:
                reader.read.append(caption)
                if reader.left and not to_all:
                    self.problems.append(f"{reader.name} got a caption after leaving")
        return True

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def join(self) -> None:
        reader = _Reader(f"r{len(self.readers)}", {speaker: len(self.said[speaker]) for speaker in _SPEAKERS})
        self.readers.append(reader)
        self.list([reader])
        self.targets.add(reader.nc_session_id, None, self.now())
        self.delivery.flush()

    def list(self, readers: list[_Reader]) -> None:
        """The HPB says that these are in the call."""
        people = []
        for reader in readers:
            session_id = f"{reader.name}-{self._generation}"
            self.sessions[session_id] = reader
            people.append(Participant(session_id, nextcloud_session_id=reader.nc_session_id, in_call=InCall.IN_CALL))
        self.targets.apply(ParticipantsJoined(tuple(people)), self.now())

    def choose(self, reader: _Reader, language: str | None) -> None:
        reader.chosen = language
        if language is not None:
            reader.ever_chosen.add(language)
        self.delivery.translate(reader.nc_session_id, language)

    def leave(self, reader: _Reader) -> None:
        reader.left = True
        self.targets.remove(reader.nc_session_id, self.now())
        self.sessions = {session_id: each for session_id, each in self.sessions.items() if each is not reader}

    def say(self) -> None:
        speaker, language = self.random.choice(_SPEAKERS), self.random.choice((_SPOKEN[0], *_SPOKEN))
        word = f"w{self._words}" + self.random.choice(("", "", ",", "."))
        self._words += 1
        self.said[speaker].append((word, language))
        self.delivery.add(Caption(speaker, word, language))

    def pause(self, speaker: str) -> None:
        self.delivery.end_utterance(Utterance(1, speaker, "", "en", True, 0.0, 0.0))

    async def interrupt(self) -> None:
        self.in_room = False
        self.targets.suspend()
        for _ in range(self.random.randint(0, 5)):
            self.act(quiet=True)
            await asyncio.sleep(self.random.choice((0.0, 0.3, 2.0)))
        self.in_room = True
        self.targets.resume(self.now())
        if self.random.random() < 0.5:
            self._generation += 1
            self.sessions.clear()
            self.targets.reset(self.now(), recipient_call=self._recipient_call)
            self.delivery.flush()
            await asyncio.sleep(self.random.choice((0.0, 0.5)))
            self.list([reader for reader in self.readers if not reader.left])
        self.delivery.flush()

    def act(self, *, quiet: bool = False) -> None:
        here = [reader for reader in self.readers if not reader.left]
        match self.random.randint(0, 11):
            case 0 | 1 if here:
                self.choose(self.random.choice(here), self.random.choice((None, *self.languages)))
            case 2:
                self.pause(self.random.choice(_SPEAKERS))
            case 3 if not quiet and len(self.readers) < 8:
                self.join()
            case 4 if not quiet and len(here) > 1 and self.random.random() < 0.3:
                self.leave(self.random.choice(here))
            case 5:
                self.full = not self.full
            case _:
                self.say()

    async def play(self) -> None:
        for _ in range(self.random.randint(1, 6)):
            self.join()
        for _ in range(self.random.randint(5, 80)):
            if self.random.random() < 0.03:
                await self.interrupt()
            self.act()
            await asyncio.sleep(self.random.choice((0.0, 0.0, 0.05, 0.5, 2.0)))
        self.full, self.translator.works = False, True
        for speaker in _SPEAKERS:
            self.pause(speaker)
        await asyncio.sleep(_SETTLE_S)
        self.judge()
        # By now every choice is in effect, and the next sentence shows that the provider works again.
        self.delivery.add(Caption("a", "Next.", "en"))
        await asyncio.sleep(_SETTLE_S)
        before = {reader.name: len(reader.read) for reader in self.readers}
        self.delivery.add(Caption("a", "Last.", "en"))
        await asyncio.sleep(_SETTLE_S)
        for reader in self.readers:
            if not reader.left:
                expected = "Last." if reader.chosen is None else f"{reader.chosen}(Last.)"
                if [caption.text for caption in reader.read[before[reader.name] :]] != [expected]:
                    self.problems.append(f"{reader.name} did not get {expected}")

    def judge(self) -> None:
        for reader in self.readers:
            for speaker in _SPEAKERS:
                words: list[tuple[str, str | None]] = []
                for caption in reader.read:
                    if caption.speaker == speaker:
                        prefix = f"{caption.language}("
                        translated = caption.text.startswith(prefix)
                        if translated and caption.language not in reader.ever_chosen:
                            self.problems.append(f"{reader.name} never chose {caption.language}")
                        text = caption.text.removeprefix(prefix).removesuffix(")") if translated else caption.text
                        words += [(word, None if translated else caption.language) for word in text.split()]
                said = self.said[speaker]
                first = next((n for n, (word, _) in enumerate(said) if words and word == words[0][0]), len(said))
                run = said[first : first + len(words)]
                if [word for word, _ in run] != [word for word, _ in words]:
                    self.problems.append(f"{reader.name} got {words}, but {speaker} said {said}")
                elif any(language not in (None, spoken) for (_, language), (_, spoken) in zip(words, run, strict=True)):
                    self.problems.append(f"{reader.name} got words of {speaker} marked with a wrong language")
                elif not reader.left and (first + len(words) < len(said) or first > reader.joined_at[speaker]):
                    self.problems.append(
                        f"{reader.name} got {len(words)} words of {speaker} from {first}; {len(said)} were said"
                    )


async def _play(seed: int) -> list[str]:
    call = _Call(seed)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(call.translations.run())
        await asyncio.sleep(0)
        await call.play()
        call.delivery.close()
        running.cancel()
    return call.problems


def interleave(seed: int) -> list[str]:
    """Run one random call. Returns what was wrong."""
    return virtual_clock.run(_play(seed), limit_s=3600.0)


async def run(options: argparse.Namespace) -> scenario.Outcome:
    logging.getLogger("live_transcription").setLevel(logging.ERROR)  # the provider fails on purpose

    def all_seeds() -> dict[int, list[str]]:
        seeds = range(options.first, options.first + options.runs)
        return {seed: problems for seed in seeds if (problems := interleave(seed))}

    # A virtual clock belongs to a loop of its own.
    wrong = await asyncio.to_thread(all_seeds)
    found = {"first_seed": options.first, "runs": options.runs, "wrong": {seed: wrong[seed][:3] for seed in list(wrong)[:10]}}
    return scenario.Outcome((Target(f"calls with a wrong caption, of {options.runs}", len(wrong), 0),), found)


def main() -> int:
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--runs", type=int, default=10_000, help="number of calls")
        parser.add_argument("--first", type=int, default=0, help="seed of the first call; the others follow")

    return scenario.main("interleavings", run, description=__doc__ or "", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
