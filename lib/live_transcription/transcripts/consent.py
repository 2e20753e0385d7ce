# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Who has agreed to a transcript: decides from the chat's events in which calls one is kept, and for whom. Pure.

When a call starts, the bot asks. The first moderator with an account who answers `!transcript here` gets the file, and the
transcript begins once the bot has announced it in the chat. Any moderator ends it with `!transcript stop`; the end of the
call ends it, too. Without an answer, nothing is kept.

Talk numbers all messages in ascending order. So an event is known to be repeated or late by its number, and then changes
nothing.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeAlias

from live_transcription.texts import Text

#: Maximum number of conversations that are remembered. Beyond it, the one that was quiet for longest is forgotten.
MAX_ROOMS = 4096
#: Messages of the bot per conversation: how many at once, and the seconds after which one more is allowed. Questions of the
#: bot, answers to commands, and beginnings of a transcript count separately, so that nobody can use up the others.
ASKS, ASK_EVERY_S = 3, 300.0
ANSWERS, ANSWER_EVERY_S = 5, 30.0
STARTS, START_EVERY_S = 10, 60.0

#: Talk's types of participants. A promoted guest moderates, but has no files.
_WITH_ACCOUNT = frozenset({1, 2})
_GUEST_MODERATOR = 6
_MAX_NAME = 64
#: Characters with a meaning in Talk's Markdown, those of mentions, and control characters.
_SPECIAL = re.compile(r"[@\[\]()*_`~<>#|\\!{}\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


@dataclass(frozen=True, slots=True)
class Person:
    """The author of a command. `kind`, `id`: Talk's actor, such as `users` and `ada`. `role`: `talkParticipantType`, or 0."""

    kind: str
    id: str
    name: str = field(repr=False)
    role: int

    @property
    def has_files(self) -> bool:
        """A moderator with an account on this server."""
        return self.kind == "users" and bool(self.id) and self.role in _WITH_ACCOUNT

    @property
    def moderates(self) -> bool:
        return self.role in _WITH_ACCOUNT or self.role == _GUEST_MODERATOR


@dataclass(frozen=True, slots=True)
class BotEnabled:
    """A moderator has enabled the bot in the conversation."""

    room: str


@dataclass(frozen=True, slots=True)
class BotDisabled:
    """A moderator has disabled the bot. It can no longer write into the conversation."""

    room: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call has started, or somebody has joined one (`joined`), so that there is one. `number`: the message's."""

    room: str
    number: int
    joined: bool = False


@dataclass(frozen=True, slots=True)
class CallEnded:
    room: str
    number: int


@dataclass(frozen=True, slots=True)
class Command:
    """`word`: what follows `!transcript`; only `here` and `stop` have a meaning. `title`: the conversation's name."""

    room: str
    number: int
    word: str
    author: Person
    title: str = field(default="", repr=False)


ChatEvent: TypeAlias = BotEnabled | BotDisabled | CallStarted | CallEnded | Command


@dataclass(frozen=True, slots=True)
class Say:
    """Write this into the conversation."""

    room: str
    text: Text


@dataclass(frozen=True, slots=True)
class Begin:
    """Announce the transcript with `text`; then call `ConsentBook.announced`, or `withdraw` if that failed.

    `consent` identifies this consent among all.
    """

    room: str
    consent: int
    owner: Person
    text: Text
    title: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class End:
    """Stop keeping the transcript, and deliver it. `last_words`: the call is over, so its last words may still arrive."""

    room: str
    owner: Person
    last_words: bool = False


Action: TypeAlias = Say | Begin | End


@dataclass(frozen=True, slots=True)
class Consent:
    """A transcript that is being kept. The numbers are those of the last events that counted."""

    room: str
    owner: Person
    call_number: int
    command_number: int


class _Allowance:
    """Permits `burst` uses at once, and one more every `every_s` seconds."""

    def __init__(self, burst: int, every_s: float) -> None:
        self._burst, self._every_s = burst, every_s
        self._left, self._at = float(burst), 0.0

    def take(self, now: float) -> bool:
        self._left = min(self._burst, self._left + max(0.0, now - self._at) / self._every_s)
        self._at = max(self._at, now)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class _Room:
    """`in_call`: a call is going on, and the bot has asked. `owner`: who has agreed.

    `call_number`, `command_number`: the last messages that counted. A command from before the call's start is not for it. The
    start may arrive after a command that was written in the call, since Talk's webhooks have no order.
    """

    def __init__(self) -> None:
        self.call_number = self.command_number = 0
        self.in_call = False
        self.owner: Person | None = None
        self.consent = 0
        self.announced = False
        self.asks = _Allowance(ASKS, ASK_EVERY_S)
        self.answers = _Allowance(ANSWERS, ANSWER_EVERY_S)
        self.starts = _Allowance(STARTS, START_EVERY_S)


class ConsentBook:
    """The consents of all conversations. `now` is in seconds of any monotonic clock."""

    def __init__(self, max_rooms: int = MAX_ROOMS) -> None:
        self._max_rooms = max_rooms
        self._rooms: OrderedDict[str, _Room] = OrderedDict()
        self._consents = 0

    def __len__(self) -> int:
        """Number of conversations that are remembered."""
        return len(self._rooms)

    def owner(self, room: str) -> Person | None:
        """Whose transcript is being kept; None if there is none, or if it is not announced yet."""
        found = self._rooms.get(room)
        return found.owner if found is not None and found.announced else None

    def announced(self, room: str, consent: int) -> bool:
        """The chat says that a transcript is kept: it begins, if this consent still holds."""
        found = self._rooms.get(room)
        if found is None or found.owner is None or found.consent != consent:
            return False
        found.announced = True
        return True

    def withdraw(self, room: str, consent: int) -> None:
        """The transcript could not be announced, so it does not begin."""
        found = self._rooms.get(room)
        if found is not None and found.consent == consent:
            self._stop(found, room)

    def end_call(self, room: str) -> list[Action]:
        """The call is over, and all that was said in it has arrived."""
        found = self._rooms.get(room)
        return [] if found is None else self._end_call(found, room, last_words=False)

    def restore(self, consent: Consent) -> None:
        """Continue a transcript after a restart of the app; the chat still says that it is kept."""
        room = self._room(consent.room)
        self._consents += 1
        room.in_call, room.owner, room.announced, room.consent = True, consent.owner, True, self._consents
        room.call_number, room.command_number = consent.call_number, consent.command_number

    def consents(self) -> list[Consent]:
        """The transcripts that are being kept, to be stored for `restore`."""
        return [
            Consent(token, room.owner, room.call_number, room.command_number)
            for token, room in self._rooms.items()
            if room.owner is not None and room.announced
        ]

    def end_all(self, reason: Text) -> list[Action]:
        """End all transcripts, say why where one was kept, and forget everything."""
        actions: list[Action] = []
        for token, room in self._rooms.items():
            if room.owner is not None:
                actions += self._stop(room, token)
                actions.append(Say(token, reason))
        self._rooms.clear()
        return actions

    def handle(self, event: ChatEvent, now: float) -> list[Action]:
        """What to do about an event, in this order."""
        if isinstance(event, BotDisabled):
            # Without a number, so a repetition cannot be recognised. It ends a transcript at most.
            return self.end_call(event.room)
        room = self._room(event.room)
        if isinstance(event, BotEnabled):
            return self._limited(room.asks, event.room, _INTRODUCTION, now)
        if event.number <= (max(room.call_number, room.command_number) if isinstance(event, Command) else room.call_number):
            return []
        match event:
            case CallStarted():
                return self._started(room, event, now)
            case CallEnded():
                room.call_number = event.number
                return self._end_call(room, event.room, last_words=True)
            case Command():
                room.command_number = event.number
                return self._command(room, event, now)

    def _room(self, token: str) -> _Room:
        room = self._rooms.get(token)
        if room is None:
            room = _Room()
            if len(self._rooms) >= self._max_rooms and not self._forget_one():
                return room
            self._rooms[token] = room
        self._rooms.move_to_end(token)
        return room

    def _forget_one(self) -> bool:
        """Forget the quietest conversation without a transcript. False if all have one."""
        for token, room in self._rooms.items():
            if room.owner is None:
                del self._rooms[token]
                return True
        return False

    def _started(self, room: _Room, event: CallStarted, now: float) -> list[Action]:
        if event.joined and room.in_call:
            return []
        room.call_number = event.number
        # A call that starts although another one is going on: the end of that one was missed.
        actions = self._end_call(room, event.room, last_words=False)
        room.in_call = True
        return actions + self._limited(room.asks, event.room, _QUESTION, now)

    def _end_call(self, room: _Room, token: str, *, last_words: bool) -> list[Action]:
        room.in_call = False
        return self._stop(room, token, last_words=last_words)

    def _stop(self, room: _Room, token: str, *, last_words: bool = False) -> list[Action]:
        owner, announced = room.owner, room.announced
        room.owner, room.announced = None, False
        return [End(token, owner, last_words)] if owner is not None and announced else []

    def _command(self, room: _Room, event: Command, now: float) -> list[Action]:
        author, token = event.author, event.room
        if event.word == "stop" and author.moderates and room.owner is not None:
            owner = room.owner
            text = Text("The transcript has ended. {owner} gets the transcript so far.", owner=plain_name(owner))
            return [*self._stop(room, token), Say(token, text)]
        if event.word == "here" and author.has_files and room.in_call and room.owner is None:
            if not room.starts.take(now):
                return []
            self._consents += 1
            room.owner, room.consent, room.announced = author, self._consents, False
            text = Text(
                "A transcript of this call is being kept, for {owner}, whose files it is stored in. Any moderator can end it "
                "with: !transcript stop",
                owner=plain_name(author),
            )
            return [Begin(token, self._consents, author, text, event.title)]
        return self._limited(room.answers, token, _answer(room, event), now)

    def _limited(self, allowance: _Allowance, token: str, text: Text, now: float) -> list[Action]:
        return [Say(token, text)] if allowance.take(now) else []


def _answer(room: _Room, event: Command) -> Text:
    """Why a command changes nothing."""
    author = event.author
    if event.word not in ("here", "stop"):
        return Text("Moderators can use: !transcript here, !transcript stop")
    if event.word == "stop":
        if room.owner is None:
            return Text("No transcript is being kept.")
        return Text("Only moderators can end the transcript.")
    if not author.moderates:
        return Text("Only moderators can have a transcript kept.")
    if not author.has_files:
        return Text(
            "The transcript is stored in the files of the person who asks for it. This needs an account on this server: a "
            "moderator who is logged in here can write: !transcript here"
        )
    if room.owner is not None:
        return Text("A transcript is already being kept, for {owner}.", owner=plain_name(room.owner))
    return Text("There is no call. When one starts, I ask whether to keep a transcript.")


def plain_name(person: Person) -> str:
    """A display name that mentions nobody and formats nothing, whatever its owner has chosen."""
    name = " ".join(_SPECIAL.sub(" ", person.name[: 4 * _MAX_NAME]).split())[:_MAX_NAME].strip()
    return name or " ".join(_SPECIAL.sub(" ", person.id[: 4 * _MAX_NAME]).split())[:_MAX_NAME].strip() or "?"


_INTRODUCTION = Text(
    "When a call starts here, I ask whether to keep a transcript of it. Nothing is kept unless a moderator agrees. I receive "
    "all messages of this conversation, but read only those that begin with !transcript, and store none of them."
)
_QUESTION = Text(
    "Shall a transcript of this call be kept? It would be stored in the files of the moderator who agrees, and shared in this "
    "conversation. Without an answer, nothing is kept. To agree, a moderator writes: !transcript here"
)
