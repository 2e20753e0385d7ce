# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The page that looks like a call with captions: one template, its styles and script, and a stream of snapshots."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, select_autoescape

from sandbox.demo.view import DemoView
from sandbox.recording import DIRECTORY

#: Pause between two snapshots; what changes meanwhile goes together.
_PACE_S = 0.05

_ROOT = Path(__file__).resolve().parents[2]
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self'; img-src 'self' data:"


def page(view: DemoView, credits_: list[str]) -> FastAPI:
    """`credits_`: one line per recording that is played."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    templates = Environment(loader=FileSystemLoader(_ROOT / "templates"), autoescape=select_autoescape(["html", "j2"]))
    # The recordings that the speakers play, for the sound of the call; the browser seeks in them by ranges.
    app.mount("/recordings", StaticFiles(directory=DIRECTORY), name="recordings")
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")

    @app.get("/", response_class=HTMLResponse)
    async def call() -> HTMLResponse:
        text = templates.get_template("call.html.j2").render(credits=credits_)
        return HTMLResponse(text, headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"})

    @app.get("/state")
    async def state() -> JSONResponse:
        return JSONResponse(view.snapshot(), headers={"Cache-Control": "no-store"})

    @app.get("/events")
    async def events() -> StreamingResponse:
        async def stream() -> AsyncIterator[str]:
            while True:
                seen = view.version
                yield f"data: {json.dumps(view.snapshot())}\n\n"
                if view.over:
                    return
                await view.next(seen)
                await asyncio.sleep(_PACE_S)

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return app
