# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Answers in the form that Talk and AppAPI expect: JSON, never cached, errors as `{"error": text}`.

An error with several possible reasons also has a `code`. AppAPI's proxy lets browsers cache an answer without Cache-Control for
an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse


class Answer(JSONResponse):
    def __init__(
        self,
        content: Any = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        **rest: Any,
    ) -> None:
        headers = {"Cache-Control": "no-store", **(headers or {})}
        super().__init__({} if content is None else content, status_code, headers, **rest)


def error_answer(status: int, text: str, headers: Mapping[str, str] | None = None, *, code: str = "") -> Answer:
    """`code`: of `live_transcription.errors`."""
    return Answer({"error": text, "code": code} if code else {"error": text}, status, headers)
