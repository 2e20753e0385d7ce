# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The route of Talk's bot, called through AppAPI with every message of the conversations where the bot is enabled.

AppAPI waits three seconds and ignores the status, so every event gets the same answer at once. Only counters say what became
of it: neither an event nor a part of one is logged.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request

from ex_app.nextcloud.bot import ROUTE
from ex_app.nextcloud.bot_events import MalformedEvent, read_event
from ex_app.responses import Answer, bot_events, error_answer
from ex_app.schemas import MAX_BODY
from ex_app.transcript_bot import TranscriptBot

#: Longest time in seconds for a request, its body included.
ANSWER_S = 0.9
#: How much of a body that is too long to be a command is read and dropped, in bytes. Talk's longest message has 32,000
#: characters, each of which takes at most 14 bytes, and mentions add to it.
MAX_DROPPED = 1024 * 1024


def bot_routes(bot: TranscriptBot) -> APIRouter:
    router = APIRouter()

    @router.post(ROUTE)
    async def event(request: Request) -> Answer:
        if not bot.allowed:
            return error_answer(404, "Not Found")
        try:
            async with asyncio.timeout(ANSWER_S):
                body = await _body(request)
        except TimeoutError:
            body = None
        bot_events.labels(_handle(bot, body)).inc()
        return Answer()

    return router


def _handle(bot: TranscriptBot, body: bytes | None) -> str:
    """What became of the event."""
    if body is None:
        return "dropped"
    try:
        event = read_event(body)
    except MalformedEvent:
        return "malformed"
    if event is None:
        return "ignored"
    bot.handle(event)
    return "used"


async def _body(request: Request) -> bytes | None:
    """The body; None if it is longer than a command can be. Then it is still read, or AppAPI would report a failure."""
    body, length = bytearray(), 0
    async for chunk in request.stream():
        length += len(chunk)
        if length <= MAX_BODY:
            body += chunk
        else:
            body.clear()
        if length > MAX_DROPPED:
            return None
    return bytes(body) if length <= MAX_BODY else None
