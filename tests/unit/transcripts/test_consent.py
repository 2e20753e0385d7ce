# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Consent to a transcript: who may give and withdraw it, and that nothing else starts one."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.texts import Text
from live_transcription.transcripts.consent import (
    ANSWERS,
    ASK_EVERY_S,
    ASKS,
    Action,
    Begin,
    BotDisabled,
    BotEnabled,
    CallEnded,
    CallStarted,
    ChatEvent,
    Command,
    ConsentBook,
    End,
    Person,
    Say,
    plain_name,
)

OWNER, MODERATOR = Person("users", "ada", "Ada", 1), Person("users", "mo", "Mo", 2)
USER, GUEST = Person("users", "eve", "Eve", 3), Person("guests", "abc", "Guest", 4)
GUEST_MODERATOR = Person("guests", "def", "Promoted", 6)
REMOTE = Person("federated_users", "ada@far.example.com", "Ada", 2)
ROLES = (OWNER, MODERATOR, USER, GUEST, GUEST_MODERATOR, REMOTE, Person("users", "old", "Old Talk", 0))


class Chat:
    """A book, and one conversation whose messages have ascending numbers. `begun`: consents that were announced."""

    def __init__(self, book: ConsentBook | None = None) -> None:
        self.book = ConsentBook() if book is None else book
        self.number, self.now = 100, 0.0

    def next(self) -> int:
        self.number += 1
        return self.number

    def handle(self, event: ChatEvent, *, announce: bool = True) -> list[Action]:
        actions = self.book.handle(event, self.now)
        for action in actions:
            if isinstance(action, Begin) and announce:
                assert self.book.announced(action.room, action.consent)
        return actions

    def start(self) -> list[Action]:
        return self.handle(CallStarted("room", self.next()))

    def end(self) -> list[Action]:
        return self.handle(CallEnded("room", self.next()))

    def say(self, word: str, author: Person, *, announce: bool = True) -> list[Action]:
        return self.handle(Command("room", self.next(), word, author), announce=announce)


@pytest.fixture
def chat() -> Chat:
    return Chat()


def texts(actions: list[Action]) -> list[str]:
    return [action.text for action in actions if isinstance(action, Say)]


def test_the_bot_asks_and_the_first_moderator_who_agrees_owns_the_transcript(chat: Chat) -> None:
    [question] = texts(chat.start())
    assert "!transcript here" in question
    assert chat.book.owner("room") is None
    [begin] = chat.say("here", MODERATOR)
    assert isinstance(begin, Begin)
    assert "for Mo" in begin.text
    assert "!transcript stop" in begin.text
    assert chat.book.owner("room") == MODERATOR
    assert texts(chat.say("here", OWNER)) == ["A transcript is already being kept, for Mo."]
    assert chat.book.owner("room") == MODERATOR
    assert chat.end() == [End("room", MODERATOR, last_words=True)]
    assert chat.book.owner("room") is None


def test_without_an_answer_nothing_is_kept(chat: Chat) -> None:
    chat.start()
    assert chat.end() == []


@pytest.mark.parametrize("author", [USER, GUEST, GUEST_MODERATOR, REMOTE, ROLES[-1]])
def test_nobody_else_starts_one(chat: Chat, author: Person) -> None:
    chat.start()
    [why] = texts(chat.say("here", author))
    assert ("account" in why) == author.moderates
    assert chat.book.owner("room") is None


@pytest.mark.parametrize("author", [OWNER, MODERATOR, GUEST_MODERATOR, REMOTE])
def test_any_moderator_ends_it(chat: Chat, author: Person) -> None:
    chat.start()
    chat.say("here", OWNER)
    actions = chat.say("stop", author)
    assert actions[0] == End("room", OWNER)
    assert "Ada" in texts(actions)[0]
    assert isinstance(chat.say("here", MODERATOR)[0], Begin), "another one may begin in the same call"


@pytest.mark.parametrize("author", [USER, GUEST])
def test_participants_do_not_end_it(chat: Chat, author: Person) -> None:
    chat.start()
    chat.say("here", OWNER)
    assert texts(chat.say("stop", author)) == ["Only moderators can end the transcript."]
    assert chat.book.owner("room") == OWNER


def test_it_begins_only_once_it_was_announced(chat: Chat) -> None:
    chat.start()
    [begin] = chat.say("here", OWNER, announce=False)
    assert isinstance(begin, Begin)
    assert chat.book.owner("room") is None
    # A moderator ends it before the announcement arrives.
    assert not any(isinstance(action, End) for action in chat.say("stop", GUEST_MODERATOR))
    assert not chat.book.announced("room", begin.consent)
    [second] = chat.say("here", OWNER, announce=False)
    assert isinstance(second, Begin)
    assert not chat.book.announced("room", begin.consent), "the first announcement is not the second one's"
    chat.book.withdraw("room", begin.consent)
    chat.book.withdraw("room", second.consent)
    assert not chat.book.announced("room", second.consent)


def test_two_calls_in_a_row_ask_again(chat: Chat) -> None:
    assert texts(chat.start())
    chat.say("here", OWNER)
    chat.end()
    assert texts(chat.start())
    assert chat.book.owner("room") is None
    chat.say("here", OWNER)
    # The end of the second call is not reported.
    actions = chat.start()
    assert actions[0] == End("room", OWNER)
    assert texts(actions)
    assert chat.book.owner("room") is None


def test_somebody_who_joins_shows_that_there_is_a_call(chat: Chat) -> None:
    """The bot was enabled during the call, or the app has restarted."""
    assert texts(chat.handle(CallStarted("room", chat.next(), joined=True)))
    assert chat.handle(CallStarted("room", chat.next(), joined=True)) == []
    assert isinstance(chat.say("here", OWNER)[0], Begin)


def test_without_a_call_nothing_begins(chat: Chat) -> None:
    assert "There is no call" in texts(chat.say("here", OWNER))[0]
    assert texts(chat.say("stop", OWNER)) == ["No transcript is being kept."]
    chat.start()
    chat.end()
    assert "There is no call" in texts(chat.say("here", OWNER))[0]


def test_late_and_repeated_events_change_nothing(chat: Chat) -> None:
    first_call = CallStarted("room", chat.next())
    here = Command("room", chat.next(), "here", OWNER)
    end = CallEnded("room", chat.next())
    for event in (first_call, here, end):
        chat.handle(event)
    for event in (first_call, here, end, CallStarted("room", 101, joined=True), here):
        assert chat.handle(event) == []
    assert chat.book.owner("room") is None
    chat.start()
    # An answer to the question of the first call is not for the second one.
    assert chat.handle(here) == []
    chat.say("here", MODERATOR)
    assert chat.handle(end) == []
    assert chat.book.owner("room") == MODERATOR


def test_a_call_may_be_reported_after_a_command_in_it(chat: Chat) -> None:
    chat.handle(Command("room", 202, "here", OWNER))
    assert texts(chat.handle(CallStarted("room", 201)))
    chat.number = 210
    assert isinstance(chat.say("here", OWNER)[0], Begin)


def test_disabling_the_bot_ends_it_without_a_word(chat: Chat) -> None:
    chat.start()
    chat.say("here", OWNER)
    assert chat.handle(BotDisabled("room")) == [End("room", OWNER)]
    assert chat.handle(BotDisabled("other")) == []
    assert "There is no call" in texts(chat.say("here", OWNER))[0]


def test_the_administrator_ends_all(chat: Chat) -> None:
    chat.start()
    chat.say("here", OWNER)
    chat.handle(CallStarted("other", 1))
    actions = chat.book.end_all(Text("No more."))
    assert actions[0] == End("room", OWNER)
    assert texts(actions) == ["No more."]
    assert len(chat.book) == 0
    assert chat.book.end_all(Text("No more.")) == []


def test_a_restart_continues_it(chat: Chat) -> None:
    chat.start()
    chat.say("here", OWNER)
    [consent] = chat.book.consents()
    later = Chat()
    later.book.restore(consent)
    later.number = chat.number
    assert later.book.owner("room") == OWNER
    assert later.handle(Command("room", consent.command_number, "stop", OWNER)) == []
    assert later.say("stop", MODERATOR)[0] == End("room", OWNER)
    assert later.book.consents() == []


def test_nobody_can_make_the_bot_flood_the_chat(chat: Chat) -> None:
    answered = sum(len(chat.say("here", GUEST)) for _ in range(1000))
    assert answered == ANSWERS
    questions = sum(len(texts(chat.start() + chat.end())) for _ in range(1000))
    assert questions == ASKS
    introductions = sum(len(chat.handle(BotEnabled("room"))) for _ in range(1000))
    assert introductions == 0
    # A call without a question can still have a transcript.
    chat.start()
    begins = [action for _ in range(1000) for action in chat.say("here", OWNER) + chat.say("stop", OWNER)]
    assert 0 < sum(isinstance(action, Begin) for action in begins) <= 10
    chat.now += ASK_EVERY_S
    assert len(texts(chat.start())) == 1


def test_memory_is_bounded_and_transcripts_are_never_forgotten() -> None:
    book = ConsentBook(max_rooms=10)
    chat = Chat(book)
    chat.start()
    chat.say("here", OWNER)
    for number in range(1000):
        book.handle(CallStarted(f"r{number}", 1), 0.0)
    assert len(book) == 10
    assert book.owner("room") == OWNER
    for number in range(1000):
        room = f"k{number}"
        book.handle(CallStarted(room, 1), 0.0)
        for action in book.handle(Command(room, 2, "here", OWNER), 0.0):
            if isinstance(action, Begin):
                book.announced(room, action.consent)
    assert len(book) == 10


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("@all **bold** [x](https://evil.example.com)", "all bold x https://evil.example.com"),
        ("\u202eadA\n# Title\r", "adA Title"),
        ("", "mo"),
        ("@", "mo"),
        ("é" * 500, "é" * 64),
    ],
)
def test_a_name_mentions_nobody_and_formats_nothing(name: str, shown: str) -> None:
    assert plain_name(Person("users", "mo", name, 2)) == shown


def forged(seed: int, count: int) -> Iterator[ChatEvent]:
    """Events of every kind in any order, of people who may not start a transcript, and repetitions of a finished call."""
    chance = random.Random(seed)
    finished: list[ChatEvent] = [CallStarted("room", 1), Command("room", 2, "here", OWNER), CallEnded("room", 3)]
    for _ in range(count):
        room = chance.choice(["room", f"r{chance.randrange(10**6)}"])
        number = chance.randrange(-5, 10**6)
        word = chance.choice(["here", "stop", "", "here now", "HERE", "x" * 40])
        yield chance.choice(
            [
                *finished,
                BotEnabled(room),
                BotDisabled(room),
                CallStarted(room, number, joined=chance.random() < 0.5),
                CallEnded(room, number),
                Command(room, number, word, chance.choice(ROLES[2:])),
                Command(room, number, chance.choice(["", "here now", "HERE"]), OWNER),
            ]
        )


def test_100_000_forged_or_repeated_events_start_nothing() -> None:
    book = ConsentBook(max_rooms=256)
    chat = Chat(book)
    for event in (CallStarted("room", 1), Command("room", 2, "here", OWNER), CallEnded("room", 3)):
        chat.handle(event)
    said = 0
    for event in forged(1, 100_000):
        actions = book.handle(event, 0.0)
        assert not any(isinstance(action, Begin | End) for action in actions)
        said += sum(action.room == "room" for action in actions)
    assert len(book) <= 256
    assert said <= ASKS + ANSWERS


events = st.one_of(
    st.builds(BotEnabled, st.just("room")),
    st.builds(BotDisabled, st.just("room")),
    st.builds(CallStarted, st.just("room"), st.integers(0, 30), st.booleans()),
    st.builds(CallEnded, st.just("room"), st.integers(0, 30)),
    st.builds(Command, st.just("room"), st.integers(0, 30), st.sampled_from(["here", "stop", ""]), st.sampled_from(ROLES)),
)


@given(st.lists(events, max_size=40))
def test_every_transcript_has_consent_in_its_call_and_one_end(given_events: list[ChatEvent]) -> None:
    book, begun, ended = ConsentBook(), 0, 0
    for event in given_events:
        before = book.owner("room")
        for action in book.handle(event, 0.0):
            if isinstance(action, Begin):
                assert isinstance(event, Command)
                assert event.word == "here"
                assert action.owner == event.author
                assert action.owner.has_files
                assert before is None
                begun += book.announced("room", action.consent)
            elif isinstance(action, End):
                assert action.owner == before
                assert not (isinstance(event, Command) and not event.author.moderates)
                ended += 1
        # The same event once more changes nothing.
        if not isinstance(event, BotEnabled):
            assert book.handle(event, 0.0) == []
    assert begun - ended == (book.owner("room") is not None)
