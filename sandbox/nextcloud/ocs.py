# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Nextcloud's OCS envelope, version 1 and 2 (Nextcloud developer manual, "OCS API")."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from fastapi import Request, Response
from fastapi.responses import JSONResponse

#: OCS v1 has status codes of its own for what HTTP says in v2.
_V1_CODES = {200: 100, 401: 997, 403: 997, 404: 998, 500: 996}


class OcsError(Exception):
    """A failed request; `status` is the HTTP status that OCS v2 gives."""

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{key}>{_xml(inner)}</{key}>" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return "".join(f"<element>{_xml(inner)}</element>" for inner in value)
    if isinstance(value, bool):
        return "1" if value else ""
    return escape("" if value is None else str(value))


def ocs(request: Request, found: Any, *, status: int = 200, message: str = "OK") -> Response:
    """The envelope around `found`. XML unless the request asks for JSON, as Nextcloud does it."""
    first_version = request.url.path.startswith("/ocs/v1.php")
    code = _V1_CODES.get(status, status) if first_version else status
    meta = {"status": "ok" if status < 400 else "failure", "statuscode": code, "message": message}
    http_status = (401 if status in (401, 403) else 200) if first_version else status
    envelope = {"ocs": {"meta": meta, "data": found}}
    if request.query_params.get("format") == "json" or "application/json" in request.headers.get("accept", ""):
        return JSONResponse(envelope, status_code=http_status)
    return Response(f'<?xml version="1.0"?>\n{_xml(envelope)}', status_code=http_status, media_type="application/xml")


async def on_ocs_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OcsError)
    return ocs(request, [], status=error.status, message=error.message)
