# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Faults of a Nextcloud on demand: slow answers, 503, malformed answers, broken connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from starlette.types import ASGIApp, Receive, Scope, Send


class FaultKind(StrEnum):
    #: Works, but only after `delay_s`.
    SLOW = "slow"
    #: 503 with an HTML page, as in maintenance mode or behind a proxy that lost its backend.
    UNAVAILABLE = "unavailable"
    #: 200 with a body that is no JSON.
    GARBAGE = "garbage"
    #: 200 with JSON of the wrong shape.
    WRONG_SHAPE = "wrong_shape"
    #: 401, as after the app's secret was changed.
    UNAUTHORIZED = "unauthorized"


@dataclass(slots=True)
class Fault:
    """`path`: applies to request paths that contain it, "" to all. `times`: how many requests it hits, None: until removed."""

    kind: FaultKind
    path: str = ""
    delay_s: float = 5.0
    times: int | None = None
    hits: int = 0


class Faults:
    """The active faults; the first that matches a request is applied."""

    def __init__(self) -> None:
        self._active: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        self._active.append(fault)
        return fault

    def clear(self) -> None:
        self._active.clear()

    @contextlib.contextmanager
    def during(self, fault: Fault) -> Iterator[Fault]:
        """The fault is active inside the block."""
        self.add(fault)
        try:
            yield fault
        finally:
            with contextlib.suppress(ValueError):
                self._active.remove(fault)

    def take(self, path: str) -> Fault | None:
        for fault in self._active:
            if fault.path in path:
                fault.hits += 1
                if fault.times is not None and fault.hits >= fault.times:
                    self._active.remove(fault)
                return fault
        return None


_HTML = b"<!DOCTYPE html><html><body><h2>Maintenance mode</h2></body></html>"
_ANSWERS: dict[FaultKind, tuple[int, bytes, bytes]] = {
    FaultKind.UNAVAILABLE: (503, b"text/html; charset=UTF-8", _HTML),
    FaultKind.GARBAGE: (200, b"application/json; charset=utf-8", b'{"ocs":{"meta":{"status":"ok",'),
    FaultKind.WRONG_SHAPE: (200, b"application/json; charset=utf-8", b'{"ocs":[]}'),
    FaultKind.UNAUTHORIZED: (
        401,
        b"application/json; charset=utf-8",
        b'{"ocs":{"meta":{"status":"failure","statuscode":997,"message":"Current user is not logged in"},"data":[]}}',
    ),
}


class FaultMiddleware:
    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._faults.take(scope["path"]) if scope["type"] == "http" else None
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.kind is FaultKind.SLOW:
            await asyncio.sleep(fault.delay_s)
            await self._app(scope, receive, send)
        else:
            status, content_type, body = _ANSWERS[fault.kind]
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type)]})
            await send({"type": "http.response.body", "body": body})
