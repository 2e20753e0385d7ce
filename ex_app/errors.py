# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app's errors, and the HTTP status of every error.

Talk tells its user that captions failed for any status but 2xx. It ignores a 404 for a language change, and takes 550 to mean
that retrying is pointless.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ex_app.responses import Answer, error_answer, requests_refused
from live_transcription.errors import (
    CallNotFound,
    CallUnavailable,
    ConfigurationError,
    LiveTranscriptionError,
    NotATarget,
    RequestError,
    SignalingError,
    SttError,
    TranslationUnavailable,
    UnknownLanguage,
    UnknownTranslation,
)
from live_transcription.texts import Text, Value

logger = logging.getLogger(__name__)


class BodyError(RequestError):
    """The request is invalid; `status` is the HTTP status that says how."""

    code = "body"

    def __init__(self, status: int, template: str, *, fix: str = "", **values: Value) -> None:
        super().__init__(template, fix=fix, **values)
        self.status = status


class NotReady(RequestError):
    """The app is being set up, or is disabled."""

    code = "not_ready"
    retryable = True


class NextcloudError(LiveTranscriptionError):
    """Nextcloud did not answer, refused the request, or gave an unexpected answer."""

    code = "nextcloud"
    retryable = True


class NextcloudRefused(NextcloudError):
    """Nextcloud refused the app's credentials, or blocks its address. `retry_after_s`: seconds until the app asks again."""

    code = "nextcloud_refused"

    def __init__(self, template: str, retry_after_s: float, *, fix: str = "", **values: Value) -> None:
        super().__init__(template, fix=fix, **values)
        self.retry_after_s = retry_after_s


class TalkOutdated(NextcloudError):
    """The installed version of Talk refuses its signaling settings to apps."""

    code = "talk_outdated"


class NextcloudRedirected(NextcloudError):
    """Nextcloud answered with a redirect. It is not followed, so that the app's secret reaches no other host."""

    code = "nextcloud_redirected"


class BotRefused(NextcloudError):
    """The bot is not enabled in this conversation, or Talk does not accept its secret."""

    code = "bot_refused"
    retryable = False


class SettingsRefused(RequestError):
    """`fields`: what is wrong, by the setting's key; never contains the value itself."""

    code = "settings"

    def __init__(self, fields: Mapping[str, Text]) -> None:
        super().__init__("Some settings were not saved.")
        self.fields = dict(fields)


class NotAllowed(RequestError):
    """The user or the request is not allowed to do this."""

    code = "not_allowed"


#: Said when the cause is not for the reader of an answer.
INTERNAL_ERROR = Text("Internal error. See the app's log.")

#: The first match applies.
STATUS_OF: tuple[tuple[tuple[type[LiveTranscriptionError], ...], int], ...] = (
    ((UnknownLanguage, UnknownTranslation), 400),
    ((SettingsRefused,), 422),
    ((NotAllowed,), 403),
    ((CallNotFound,), 404),
    ((NotATarget,), 412),
    ((CallUnavailable, NotReady, ConfigurationError, SignalingError, SttError, NextcloudError), 503),
    ((LiveTranscriptionError,), 550),
)


def status_of(error: LiveTranscriptionError) -> int:
    if isinstance(error, BodyError):
        return error.status
    return next(status for kinds, status in STATUS_OF if isinstance(error, kinds))


def _untranslated(content: Any) -> Any:
    return content


def add_error_answers(app: FastAPI) -> None:
    """Turn every failure of a route into an answer in JSON."""

    async def refused(request: Request, error: Exception) -> Answer:
        assert isinstance(error, LiveTranscriptionError)
        status = status_of(error)
        requests_refused.labels(str(status)).inc()
        log = logger.warning if status >= 500 and not isinstance(error, TranslationUnavailable) else logger.info
        log("%s %s: %s", request.method, request.url.path, error, extra={"status": status, "code": error.code})
        # Only the page's requests have a language. Talk and AppAPI get English, with the names of variables.
        translate = getattr(request.state, "translate", _untranslated)
        text = translate(error.text)
        if isinstance(error, SettingsRefused):
            return Answer({"error": text, "fields": translate(error.fields)}, status)
        return error_answer(status, text, code=error.code if isinstance(error, CallUnavailable) else "")

    async def no_such_route(_request: Request, error: Exception) -> Answer:
        assert isinstance(error, HTTPException)
        return error_answer(error.status_code, str(error.detail), error.headers)

    async def disconnected(_request: Request, _error: Exception) -> Answer:
        """The client disconnected. Nobody reads this answer, and it is not the app's fault."""
        return error_answer(400, "The connection ended before the request did.")

    async def broken(_request: Request, _error: Exception) -> Answer:
        requests_refused.labels("500").inc()
        return error_answer(500, INTERNAL_ERROR)

    app.add_exception_handler(LiveTranscriptionError, refused)
    app.add_exception_handler(ClientDisconnect, disconnected)
    app.add_exception_handler(HTTPException, no_such_route)
    app.add_exception_handler(Exception, broken)
