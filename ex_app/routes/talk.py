# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Routes of Talk, called through AppAPI. Talk waits three seconds; every route answers within two.

Paths, bodies and statuses are those of the official app of the same id, which Talk was written for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Request

from ex_app.engine import Engine
from ex_app.errors import NotReady
from ex_app.lifecycle import Lifecycle
from ex_app.responses import Answer
from ex_app.schemas import Leave, SetLanguage, SetTranslationTarget, Transcribe, read_body
from live_transcription.errors import TranslationUnavailable
from live_transcription.types import Language, TranslationLanguages

#: Longest time in seconds for a request, its body included.
ANSWER_S = 1.9


def talk_routes(engine: Engine, lifecycle: Lifecycle, version: str) -> APIRouter:
    router = APIRouter()

    @router.get("/capabilities")
    async def capabilities() -> Answer:
        found: dict[str, Any] = {
            "version": version,
            "features": ["live_transcription"],
            "live_transcription": {"supported_languages": describe(engine.languages())},
        }
        # Talk shows its menu of translations only with this feature, and requires at least one target.
        if (pairs := engine.translation_languages()).targets:
            found["features"].append("live_translation")
            found["live_translation"] = {"supported_translation_languages": describe_pairs(pairs)}
        return Answer({"live_transcription": found})

    @router.get("/api/v1/languages")
    async def languages() -> Answer:
        return Answer(describe(engine.languages()))

    @router.post("/api/v1/call/transcribe")
    async def transcribe(request: Request) -> Answer:
        async with _in_time():
            body = await read_body(request, Transcribe)
            if not body.enable:
                await engine.disable(body.room_token, body.nc_session_id)
                return Answer()
            lifecycle.require_ready()
            user_id = request.state.user_id
            await engine.enable(body.room_token, body.nc_session_id, language=body.lang_id or None, user_id=user_id)
        return Answer()

    @router.post("/api/v1/call/set-language")
    async def set_language(request: Request) -> Answer:
        async with _in_time():
            body = await read_body(request, SetLanguage)
            await engine.set_language(body.room_token, body.lang_id)
        return Answer()

    @router.post("/api/v1/call/leave")
    async def leave(request: Request) -> Answer:
        async with _in_time():
            body = await read_body(request, Leave)
            await engine.leave(body.room_token)
        return Answer()

    @router.get("/api/v1/translation/languages")
    async def translation_languages() -> Answer:
        if not (pairs := engine.translation_languages()).targets:
            raise TranslationUnavailable("There is no translation provider.", fix="Install one in Nextcloud.")
        return Answer(describe_pairs(pairs))

    @router.post("/api/v1/translation/set-target-language")
    async def set_target_language(request: Request) -> Answer:
        async with _in_time():
            body = await read_body(request, SetTranslationTarget)
            lifecycle.require_ready()
            await engine.set_translation(
                body.room_token, body.nc_session_id, body.lang_id or None, user_id=request.state.user_id
            )
        return Answer()

    return router


def describe(languages: Mapping[str, Language]) -> dict[str, Any]:
    """Languages in Talk's format. Talk shows these names in this order, and requires `metadata`."""
    return {
        code: {"name": language.native_name, "metadata": {"separator": language.separator, "rtl": language.rtl}}
        for code, language in languages.items()
    }


def describe_pairs(pairs: TranslationLanguages) -> dict[str, Any]:
    """The languages of translations in Talk's format."""
    return {"origin_languages": describe(pairs.origins), "target_languages": describe(pairs.targets)}


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Raise NotReady (503) if the answer would be too late. Work that the engine has started continues in its own tasks."""
    try:
        async with asyncio.timeout(ANSWER_S):
            yield
    except TimeoutError:
        raise NotReady("The request took too long.", fix="Try again in a moment.") from None
