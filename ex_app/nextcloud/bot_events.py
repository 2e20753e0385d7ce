# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What Talk's bot receives, as events of `live_transcription.transcripts.consent`. Pure.

Talk sends the bot every chat message of a conversation. The content is looked at only as far as to see whether a message is a
command; that of all others is not parsed, stored or logged. Source: Talk's docs, "Bots and Webhooks"; AppAPI encodes the body
again and adds `appId` and `route`.
"""

from __future__ import annotations

import json
import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ex_app.schemas import RoomToken
from live_transcription.transcripts.consent import (
    BotDisabled,
    BotEnabled,
    CallEnded,
    CallStarted,
    ChatEvent,
    Command,
    Person,
)

#: System messages. The last two end a call of two people in which one was alone.
_STARTED = frozenset({"call_started", "call_joined"})
_ENDED = frozenset({"call_ended", "call_ended_everyone", "call_missed", "call_tried"})
#: How the content of a command begins, and its longest length in characters.
_COMMAND = re.compile(r'\s*\{\s*"message"\s*:\s*"\s*!transcript(?![\w-])', re.IGNORECASE)
_MAX_COMMAND = 256
_MAX_WORD = 32
_ROLES = {str(number): number for number in range(1, 7)}


class MalformedEvent(ValueError):
    """The body is not an event of a bot. The message never repeats it."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, hide_input_in_errors=True)


class _Actor(_Part):
    id: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    name: Annotated[str, StringConstraints(max_length=1024)] = Field(default="", repr=False)
    role: Annotated[str, StringConstraints(max_length=2)] = Field(default="", alias="talkParticipantType")


class _Collection(_Part):
    id: RoomToken
    name: Annotated[str, StringConstraints(max_length=1024)] = Field(default="", repr=False)


class _Note(_Part):
    id: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,18}$")]
    name: Annotated[str, StringConstraints(max_length=64)]
    content: str = Field(default="", repr=False)


class _Kind(_Part):
    type: Annotated[str, StringConstraints(min_length=1, max_length=32)]


class _Membership(_Part):
    """Join or Leave."""

    object: _Collection


class _Message(_Part):
    """Create (somebody has written) or Activity (a system message)."""

    actor: _Actor
    object: _Note
    target: _Collection


def read_event(body: bytes) -> ChatEvent | None:
    """The event; None if it means nothing for transcripts. Raises MalformedEvent."""
    try:
        kind = _Kind.model_validate_json(body).type
        if kind in ("Join", "Leave"):
            room = _Membership.model_validate_json(body).object.id
            return BotEnabled(room) if kind == "Join" else BotDisabled(room)
        if kind == "Activity":
            return _activity(_Message.model_validate_json(body))
        if kind == "Create":
            return _command(_Message.model_validate_json(body))
    except (ValidationError, RecursionError):
        raise MalformedEvent("The body is not an event of a bot.") from None
    return None


def _activity(message: _Message) -> ChatEvent | None:
    number, name = int(message.object.id), message.object.name
    if name in _STARTED:
        return CallStarted(message.target.id, number, joined=name == "call_joined")
    return CallEnded(message.target.id, number) if name in _ENDED else None


def _command(message: _Message) -> Command | None:
    note, actor = message.object, message.actor
    if note.name != "message" or len(note.content) > _MAX_COMMAND or not _COMMAND.match(note.content):
        return None
    try:
        text = json.loads(note.content)["message"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    if not isinstance(text, str):
        return None
    words = text.casefold().split()
    kind, _, number = actor.id.partition("/")
    author = Person(kind, number, actor.name, _ROLES.get(actor.role, 0))
    return Command(message.target.id, int(note.id), " ".join(words[1:])[:_MAX_WORD], author, message.target.name)
