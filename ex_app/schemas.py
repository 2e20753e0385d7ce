# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Bodies of Talk's requests, with Talk's names. Types are strict, unknown keys are ignored, lengths are bounded."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ex_app.errors import BodyError

#: Longest body in bytes; Talk's own are a few hundred.
MAX_BODY = 64 * 1024
#: A Content-Length with more digits is above every limit.
_LENGTH_DIGITS = 9

RoomToken = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{1,64}$")]
#: Talk's session ids are base64-like text of 255 characters.
NcSessionId = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,512}$")]
#: Any short text. If the language is unknown, a call gets the default, and a change of the language is refused (400).
LangId = Annotated[str, StringConstraints(max_length=64)]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, hide_input_in_errors=True)


class Transcribe(_Body):
    """`langId` absent, null or empty: the room has no language of its own."""

    room_token: RoomToken = Field(alias="roomToken")
    nc_session_id: NcSessionId = Field(alias="ncSessionId")
    enable: bool
    lang_id: LangId | None = Field(default=None, alias="langId")
    translation_target: LangId | None = Field(default=None, alias="translationTargetLangId")


class SetLanguage(_Body):
    room_token: RoomToken = Field(alias="roomToken")
    lang_id: LangId = Field(alias="langId")


class Leave(_Body):
    room_token: RoomToken = Field(alias="roomToken")


class SetTranslationTarget(_Body):
    """`langId` null: stop translating for this session."""

    room_token: RoomToken = Field(alias="roomToken")
    nc_session_id: NcSessionId = Field(alias="ncSessionId")
    lang_id: LangId | None = Field(alias="langId")


class TaskReport(_Body):
    """Nextcloud's report of the end of a task; `ex_app.nextcloud.tasks` reads the task."""

    task: dict[str, Any]


B = TypeVar("B", bound=BaseModel)


async def read_body(request: Request, model: type[B]) -> B:
    """The request's body. Raises BodyError: 413 if too long, 400 if not JSON, 422 if it has another structure.

    The error never repeats the input.
    """
    text = bytearray()
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdecimal() and (len(declared) > _LENGTH_DIGITS or int(declared) > MAX_BODY):
        raise BodyError(413, "The request is too long.")
    async for chunk in request.stream():
        text += chunk
        if len(text) > MAX_BODY:
            raise BodyError(413, "The request is too long.")
    try:
        return model.model_validate_json(bytes(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise BodyError(400, "The request is not valid JSON.") from None
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise BodyError(422, "{field}: {problem}", field=where, problem=first["msg"]) from None
