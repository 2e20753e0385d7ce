# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The bot that asks in Talk's conversations whether to keep a transcript: decisions at once, messages in its own task.

`live_transcription.transcripts.consent` decides. A transcript that ends does so before the request is answered; one that begins
waits until the chat says so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from ex_app.errors import BotRefused, NextcloudError, NextcloudRefused
from ex_app.nextcloud.bot import DESCRIPTION, NAME, ROUTE
from ex_app.translation import language_of, translated
from live_transcription.observability.log_limit import LogLimit
from live_transcription.texts import Text
from live_transcription.transcripts.consent import Action, Begin, BotDisabled, ChatEvent, ConsentBook, End, Person, Say
from live_transcription.types import Secret

logger = logging.getLogger(__name__)

#: Maximum number of messages that wait to be sent. Beyond it, further ones are dropped, and their transcripts do not begin.
MAX_WAITING = 256
#: Seconds after which a message that waits, because Nextcloud does not answer, is out of date and dropped.
EXPIRED_S = 60.0
#: Delays in seconds before a message is sent again, unless the bot was refused.
RESEND_S = (1.0, 4.0)
#: Delays in seconds between attempts to register the bot; the last one is repeated.
REGISTER_S = (1.0, 4.0, 15.0, 60.0)
_NOT_ALLOWED = Text("The transcript has ended, because the administrator no longer allows any.")
_APP_STOPS = Text("The transcript has ended, because the app was disabled.")


class Keeper(Protocol):
    """Keeps and delivers transcripts. Both methods return at once and raise nothing."""

    def begin(self, room: str, owner: Person, title: str) -> None:
        """Keep the words of this conversation from now on, for the owner's files. `title`: the conversation's name."""

    def end(self, room: str, *, last_words: bool) -> None:
        """Keep nothing more, and deliver the transcript. `last_words`: the call is over, so its last words may still arrive.

        Idempotent.
        """


class Messages(Protocol):
    """`BotMessages`."""

    secret: Secret

    async def send(self, room: str, text: str, *, silent: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message, or the announcement of a transcript."""

    room: str
    text: Text
    since: float
    begin: Begin | None = None


class TranscriptBot:
    """`register`: the gateway's `put_bot`. `room_language`: the id of a conversation's language.

    `confidential` is called with the bot's secret, which must not be logged.
    """

    def __init__(
        self,
        register: Callable[[str, str, str], Awaitable[Secret]],
        messages: Messages,
        keeper: Keeper,
        room_language: Callable[[str], str],
        *,
        confidential: Callable[[Secret], None] = lambda _secret: None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._register, self._messages, self._keeper = register, messages, keeper
        self._room_language, self._confidential = room_language, confidential
        self._now, self._sleep = now, sleep
        self.book = ConsentBook()
        #: Whether the administrator allows transcripts.
        self.allowed = False
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(MAX_WAITING)
        self._to_register = asyncio.Event()
        self._log_limit = LogLimit(60.0, now, lines=10)

    def apply(self, *, allowed: bool) -> None:
        """Follow the administrator's setting. The bot stays registered, so that Talk remembers where it is enabled."""
        if allowed and not self.allowed:
            self._to_register.set()
        elif self.allowed and not allowed:
            self._do(self.book.end_all(_NOT_ALLOWED))
        self.allowed = allowed

    def app_enabled(self) -> None:
        if self.allowed:
            self._to_register.set()

    def app_disabled(self) -> None:
        self._do(self.book.end_all(_APP_STOPS))

    def handle(self, event: ChatEvent) -> None:
        """Decide at once. Messages are sent later."""
        if self.allowed:
            self._do(self.book.handle(event, self._now()))

    def end_call(self, room: str, reason: Text | None = None) -> None:
        """The call is over, or its transcript cannot be kept for this reason, which the bot says."""
        self._do(self.book.end_call(room))
        if reason is not None:
            self.say(room, reason)

    def say(self, room: str, text: Text) -> None:
        """Write into a conversation, in its language."""
        self._enqueue(_Waiting(room, text, self._now()))

    def text_for(self, room: str, text: Text) -> str:
        """A text in the conversation's language."""
        found: str = translated(text, language_of(self._room_language(room)))
        return found

    async def run(self, ready: Callable[[], Awaitable[object]]) -> None:
        """Register the bot when it is needed, and send its messages, until cancelled. `ready`: waits for the enabled app."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_registered(ready), name="register the bot")
            tasks.create_task(self._send_all(), name="send the bot's messages")

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case End():
                    self._keeper.end(action.room, last_words=action.last_words)
                case Say():
                    self.say(action.room, action.text)
                case Begin():
                    if not self._enqueue(_Waiting(action.room, action.text, self._now(), action)):
                        self.book.withdraw(action.room, action.consent)

    def _enqueue(self, message: _Waiting) -> bool:
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            self._log("The bot has too many messages to send, so some are left out", None)
            return False
        return True

    async def _keep_registered(self, ready: Callable[[], Awaitable[object]]) -> None:
        failures = 0
        while True:
            await self._to_register.wait()
            await ready()
            self._to_register.clear()
            try:
                secret = await self._register(NAME, ROUTE, DESCRIPTION)
            except NextcloudError as error:
                self._to_register.set()
                delay = error.retry_after_s if isinstance(error, NextcloudRefused) else REGISTER_S[min(failures, 3)]
                failures += 1
                logger.warning("Could not register the bot for transcripts; next attempt in %.0f s. %s", delay, error)
                await self._sleep(delay)
                continue
            failures = 0
            self._confidential(secret)
            self._messages.secret = secret
            # A message that was refused asks for another registration, but not again and again.
            await self._sleep(REGISTER_S[-1])

    async def _send_all(self) -> None:
        while True:
            message = await self._waiting.get()
            sent = await self._send(message)
            if (begin := message.begin) is None:
                continue
            if not sent:
                self.book.withdraw(begin.room, begin.consent)
            elif self.book.announced(begin.room, begin.consent):
                self._keeper.begin(begin.room, begin.owner, begin.title)

    async def _send(self, message: _Waiting) -> bool:
        """Whether the message is in the chat."""
        text = self.text_for(message.room, message.text)
        for delay in (*RESEND_S, None):
            if self._now() - message.since > EXPIRED_S:
                return False
            try:
                await self._messages.send(message.room, text, silent=message.begin is None)
                return True
            except BotRefused as error:
                self._log("The bot could not write into a conversation", error)
                self._to_register.set()
                # Without the bot, nobody there can end a transcript.
                self._do(self.book.handle(BotDisabled(message.room), self._now()))
                return False
            except NextcloudError as error:
                self._log("The bot could not write into a conversation", error)
                if delay is not None:
                    await self._sleep(delay)
        return False

    def _log(self, what: str, error: NextcloudError | None) -> None:
        if (left_out := self._log_limit.permit(what)) is not None:
            logger.warning("%s. %s", what, error or "", extra={"left_out": left_out})
