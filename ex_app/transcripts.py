# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Keeps transcripts, and delivers each as Markdown, WebVTT and JSON to the files of its owner.

An utterance is in the encrypted journal before anything else happens to it. The files follow once a minute, and one of them is
shared in the conversation at the end; then the journal is deleted. While that is not possible, the journal stays for a day.
Neither words nor names are logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ex_app.nextcloud.files import Etag, Failure
from ex_app.transcript_bot import TranscriptBot
from live_transcription.errors import LiveTranscriptionError
from live_transcription.texts import Text
from live_transcription.transcripts.consent import Consent, Person, plain_name
from live_transcription.transcripts.file_names import file_stem
from live_transcription.transcripts.json_document import json_document
from live_transcription.transcripts.kept import KeptTranscript
from live_transcription.transcripts.markdown import markdown
from live_transcription.transcripts.model import Snapshot, TranscriptInfo
from live_transcription.transcripts.sink import Gap, TranscriptSink, Utterance
from live_transcription.transcripts.storage import JournalFolder
from live_transcription.transcripts.webvtt import webvtt

logger = logging.getLogger(__name__)

#: Where the journals are, in the app's storage.
FOLDER = "transcripts"
#: Seconds between two updates of the files of a transcript, and between two looks at what is due.
UPDATE_S, LOOK_S = 60.0, 5.0
#: How many transcripts are delivered at the same time, so that a slow answer for one does not delay all others.
AT_ONCE = 4
#: Seconds after the end of a call in which its last words may still arrive.
LAST_WORDS_S = 10.0
#: How many names are tried for a file, since there may be others of the same name.
MAX_NAMES = 100
_SHARED_FORMAT = ".md"
_ENDINGS = (_SHARED_FORMAT, ".vtt", ".json")
#: What the chat says about a failure that somebody can do something about.
_SAID = {
    Failure.NO_SPACE: Text("The transcript cannot be stored: {owner} has no space left. I try again for 24 hours."),
    Failure.NO_OWNER: Text("The transcript cannot be stored: the account of {owner} does not exist any more."),
    Failure.REFUSED: Text("The transcript cannot be stored: {owner} may not store attachments. I try again for 24 hours."),
    Failure.NOT_IN_ROOM: Text("The transcript is in the files of {owner}, but could not be shared here."),
}


class Transcriber(Protocol):
    """The engine, as far as transcripts need it."""

    async def keep_transcribing(self, room_token: str, *, language: str | None = None) -> None: ...
    async def stop_keeping(self, room_token: str) -> None: ...


class Files(Protocol):
    """`UserFiles`."""

    async def attachment_folder(self, user: str) -> str | Failure: ...
    async def make_folder(self, user: str, path: str) -> Failure | None: ...
    async def create(self, user: str, path: str, content: bytes) -> Etag | Failure: ...
    async def find(self, user: str, path: str, content: bytes) -> Etag | Failure: ...
    async def update(self, user: str, path: str, content: bytes, etag: Etag) -> Etag | Failure: ...
    async def share(self, user: str, path: str, room: str, caption: str, *, silent: bool = False) -> Failure | None: ...
    async def is_shared(self, user: str, path: str, room: str) -> bool | Failure: ...


@dataclass(slots=True)
class _File:
    """One file of a transcript. `number`: distinguishes it from others of the same name."""

    path: str = ""
    etag: Etag = field(default_factory=Etag)
    number: int = 1
    #: What a `create` has sent to `path` whose answer is missing.
    unanswered: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class _Delivery:
    """A transcript and its files. `over`: nothing is added any more. `written`: the version that the files have.

    `call_ended_at`: the call is over, and its last words are awaited. `sharing`: the file whose sharing has begun and may have
    succeeded; `shared`: nothing is left to share.
    """

    kept: KeptTranscript
    owner: Person
    over: bool = False
    folder: str | None = None
    files: dict[str, _File] = field(default_factory=lambda: {ending: _File() for ending in _ENDINGS})
    written: int = 0
    due_at: float = 0.0
    call_ended_at: float | None = None
    said: set[Failure] = field(default_factory=set)
    sharing: str = ""
    shared: bool = False

    @property
    def room(self) -> str:
        return self.kept.info.room_token

    def store(self, consent: Consent | None = None) -> None:
        """Note what a restart needs. The journal encrypts it."""
        state = {
            "owner": [self.owner.kind, self.owner.id, self.owner.name, self.owner.role],
            "over": self.over,
            "sharing": self.sharing,
            "shared": self.shared,
            "files": {ending: [each.path, str(each.etag), each.number] for ending, each in self.files.items()},
        }
        if consent is not None:
            self.kept.note("numbers", json.dumps([consent.call_number, consent.command_number]))
        self.kept.note("state", json.dumps(state))

    @classmethod
    def restored(cls, kept: KeptTranscript) -> _Delivery | None:
        try:
            state = json.loads(kept.notes["state"])
            found = cls(kept, Person(*state["owner"]), bool(state["over"]), written=-1)
            found.sharing, found.shared = str(state.get("sharing", "")), bool(state.get("shared"))
            for ending, (path, etag, number) in state["files"].items():
                found.files[ending] = _File(path, Etag(etag), number)
        except (KeyError, ValueError, TypeError, AttributeError):
            return None
        return found

    def consent(self) -> Consent:
        call_number, command_number = json.loads(self.kept.notes.get("numbers", "[0, 0]"))
        return Consent(self.room, self.owner, call_number, command_number)


class Transcripts(TranscriptSink):
    """The transcripts that are kept or wait for delivery. `attach` completes it before it is used."""

    def __init__(self, folder: JournalFolder, files: Files, now: Callable[[], float] = time.time) -> None:
        self._folder, self._files, self._now = folder, files, now
        self._keeping: dict[str, _Delivery] = {}
        self._all: list[_Delivery] = []
        self._ended: set[str] = set()
        self._wake = asyncio.Event()
        self._bot: TranscriptBot | None = None
        self._engine: Transcriber | None = None

    def attach(self, bot: TranscriptBot, engine: Transcriber) -> None:
        self._bot, self._engine = bot, engine

    @property
    def waiting(self) -> int:
        """Number of transcripts that are over and not delivered yet."""
        return sum(each.over for each in self._all)

    # The bot decides.

    def begin(self, room: str, owner: Person, title: str) -> None:
        assert self._bot is not None
        self.end(room, last_words=False)
        try:
            kept = KeptTranscript.create(self._folder, TranscriptInfo(room, title, self._now()))
        except OSError as error:
            logger.error("A transcript cannot be kept: %s. Check the app's storage.", error.strerror or type(error).__name__)
            self._bot.end_call(room, Text("The transcript cannot be kept: the app cannot store it."))
            return
        delivery = _Delivery(kept, owner, due_at=self._now() + UPDATE_S)
        delivery.store(next((each for each in self._bot.book.consents() if each.room == room), None))
        self._keeping[room] = delivery
        self._all.append(delivery)
        self._ended.discard(room)
        self._changed()

    def end(self, room: str, *, last_words: bool) -> None:
        delivery = self._keeping.get(room)
        if delivery is None:
            return
        if last_words:
            delivery.call_ended_at = self._now()
        else:
            del self._keeping[room]
            delivery.over, delivery.due_at = True, 0.0
            delivery.store()
            self._ended.add(room)
            self._changed()

    # The engine reports.

    def keeps(self, room_token: str) -> bool:
        return room_token in self._keeping

    def on_utterance(self, room_token: str, utterance: Utterance, display_name: str) -> None:
        delivery = self._keeping.get(room_token)
        if delivery is None or (delivery.call_ended_at is not None and utterance.started_at > delivery.call_ended_at):
            return
        delivery.kept.on_utterance(utterance, display_name)

    def on_gap(self, room_token: str, gap: Gap, display_name: str) -> None:
        if (delivery := self._keeping.get(room_token)) is not None:
            delivery.kept.on_gap(gap, display_name)

    def on_call_over(self, room_token: str) -> None:
        assert self._bot is not None
        self._bot.end_call(room_token)
        self.end(room_token, last_words=False)

    # Delivery.

    async def run(self, ready: Callable[[], Awaitable[object]]) -> None:
        """Continue what a former process has left, and deliver, until cancelled. `ready`: waits for the enabled app."""
        try:
            await ready()
            await self.restore()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(self.tell_engine, UPDATE_S), name="calls whose transcript is kept")
                tasks.create_task(self._follow(self.deliver_due, LOOK_S), name="deliver transcripts")
        finally:
            for delivery in self._all:
                delivery.kept.close()
            self._all.clear()
            self._keeping.clear()

    async def restore(self) -> None:
        assert self._bot is not None
        for kept in await asyncio.to_thread(KeptTranscript.continue_all, self._folder, self._now()):
            delivery = _Delivery.restored(kept)
            if delivery is None:
                kept.delete()
                continue
            self._all.append(delivery)
            if delivery.over or not self._bot.allowed or delivery.room in self._keeping:
                delivery.over = True
                continue
            self._keeping[delivery.room] = delivery
            self._bot.book.restore(delivery.consent())
            kept.resume(self._now())

    async def _follow(self, work: Callable[[], Awaitable[None]], every_s: float) -> None:
        """Do it whenever something has changed, and regularly."""
        while True:
            wake = self._wake
            await work()
            try:
                async with asyncio.timeout(every_s):
                    await wake.wait()
            except TimeoutError:
                pass

    def _changed(self) -> None:
        self._wake.set()
        self._wake = asyncio.Event()

    async def deliver_due(self) -> None:
        """Update the files that are due, and finish the transcripts that are over."""
        for room, delivery in list(self._keeping.items()):
            if delivery.call_ended_at is not None and self._now() - delivery.call_ended_at >= LAST_WORDS_S:
                self.end(room, last_words=False)
        limit = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for delivery in list(self._all):
                tasks.create_task(self._visit(delivery, limit), name="deliver a transcript")

    async def _visit(self, delivery: _Delivery, limit: asyncio.Semaphore) -> None:
        async with limit:
            now = self._now()
            try:
                await asyncio.to_thread(delivery.kept.sync)
            except OSError:
                logger.warning("A transcript's journal cannot be written. Check the app's storage.")
            if now < delivery.due_at:
                return
            delivery.due_at = now + UPDATE_S
            if delivery.over and delivery.kept.expired(now):
                logger.warning("A transcript could not be delivered for a day and is deleted", extra={"room": delivery.room})
                self._forget(delivery)
            elif await self._deliver(delivery) and delivery.over:
                self._forget(delivery)

    async def tell_engine(self) -> None:
        """Have the calls transcribed whose transcripts are kept, and no others for that reason."""
        assert self._engine is not None
        while self._ended:
            room = self._ended.pop()
            if room not in self._keeping:
                await self._engine.stop_keeping(room)
        for room in list(self._keeping):
            try:
                await self._engine.keep_transcribing(room)
            except LiveTranscriptionError as error:
                logger.warning("A call whose transcript is kept cannot be transcribed: %s", error, extra={"room": room})

    def _forget(self, delivery: _Delivery) -> None:
        self._all.remove(delivery)
        try:
            delivery.kept.delete()
        except OSError as error:
            logger.error("A delivered transcript's journal cannot be deleted: %s", error.strerror or type(error).__name__)

    async def _deliver(self, delivery: _Delivery) -> bool:
        """Bring the files up to date, and share one at the end. Whether everything is done."""
        over, version, snapshot = delivery.over, delivery.kept.version, delivery.kept.snapshot()
        if not snapshot.entries:
            if over:
                self._say(delivery, Text("Nothing was said, so there is no transcript."))
            return over
        failure = None
        if delivery.sharing and not delivery.shared and not await self._find_share(delivery):
            return False
        if delivery.shared:
            # A former process was killed, or the journal could not be deleted, after the files were complete.
            return over
        if version != delivery.written:
            failure = await self._write(delivery, snapshot)
        if failure is None:
            delivery.written = version
            failure = await self._share(delivery) if over else None
        if failure is None:
            return over and version == delivery.kept.version
        if not failure.passes and failure not in delivery.said:
            delivery.said.add(failure)
            logger.warning("A transcript could not be delivered", extra={"room": delivery.room, "reason": str(failure)})
            if failure in _SAID:
                self._say(delivery, Text(_SAID[failure].template, owner=plain_name(delivery.owner)))
        # The file is where its owner finds it.
        return failure is Failure.NOT_IN_ROOM

    async def _write(self, delivery: _Delivery, snapshot: Snapshot) -> Failure | None:
        contents = await asyncio.to_thread(_render, snapshot)
        if delivery.folder is None:
            folder = await self._files.attachment_folder(delivery.owner.id)
            if isinstance(folder, Failure):
                return folder
            delivery.folder = folder
        try:
            for ending, content in contents.items():
                if (failure := await self._write_one(delivery, snapshot.info, ending, content)) is not None:
                    return failure
        finally:
            delivery.store()
        return None

    async def _write_one(self, delivery: _Delivery, info: TranscriptInfo, ending: str, content: bytes) -> Failure | None:
        user, file, folder = delivery.owner.id, delivery.files[ending], delivery.folder or ""
        if file.unanswered:
            found = await self._files.find(user, file.path, file.unanswered)
            if isinstance(found, Failure) and found.passes:
                return found
            file.unanswered = b""
            if isinstance(found, Etag):
                file.etag = found
        if file.etag:
            changed = await self._files.update(user, file.path, content, file.etag)
            if changed is not Failure.CHANGED:
                return self._note(file, file.path, changed)
            # Somebody has changed, moved or deleted it: leave theirs alone, and begin another one.
            file.etag, file.number = Etag(), file.number + 1
        while file.number <= MAX_NAMES:
            stem = file_stem(info.title, info.local_time(info.started_at), number=file.number)
            path = f"{folder}/{stem}{ending}".lstrip("/")
            created = await self._files.create(user, path, content)
            if created is Failure.NO_FOLDER and folder:
                if (failure := await self._files.make_folder(user, folder)) is not None:
                    return failure
                created = await self._files.create(user, path, content)
            if created is Failure.AWAY:
                file.path, file.unanswered = path, content
            if created is not Failure.EXISTS:
                return self._note(file, path, created)
            file.number += 1
        return Failure.REFUSED

    def _note(self, file: _File, path: str, outcome: Etag | Failure) -> Failure | None:
        if isinstance(outcome, Failure):
            return outcome
        file.path, file.etag = path, outcome
        return None

    async def _share(self, delivery: _Delivery) -> Failure | None:
        assert self._bot is not None
        caption = self._bot.text_for(delivery.room, Text("The transcript of this call"))
        path = delivery.files[_SHARED_FORMAT].path
        delivery.sharing = path
        delivery.store()
        failure = await self._files.share(delivery.owner.id, path, delivery.room, caption)
        if failure is None:
            delivery.shared = True
            delivery.store()
        # Moved since it was written.
        return Failure.NOT_IN_ROOM if failure is Failure.CHANGED else failure

    async def _find_share(self, delivery: _Delivery) -> bool:
        """An answer was lost, or the process was killed: sharing again could post a second message, so look first.

        False while Nextcloud does not say.
        """
        found = await self._files.is_shared(delivery.owner.id, delivery.sharing, delivery.room)
        if isinstance(found, Failure):
            return not found.passes
        delivery.sharing, delivery.shared = "", found
        delivery.store()
        return True

    def _say(self, delivery: _Delivery, text: Text) -> None:
        assert self._bot is not None
        self._bot.say(delivery.room, text)


def _render(snapshot: Snapshot) -> Mapping[str, bytes]:
    formats: dict[str, Callable[[Snapshot], str]] = {".md": markdown, ".vtt": webvtt, ".json": json_document}
    return {ending: formats[ending](snapshot).encode() for ending in _ENDINGS}
