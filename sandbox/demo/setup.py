# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Everything for a call: Nextcloud with Talk, signaling, SFU, speech-to-text, and the ExApp as a process of its own."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from sandbox import loopback_ice
from sandbox.demo.processes import Child, ProcessFailed, bare_environment
from sandbox.demo.speech_server import NAMES, SpeechServer, speech_server
from sandbox.nextcloud import ExApp, ExAppUnreachable, Nextcloud
from sandbox.ports import free_port

#: Loading the weights for the first time on a slow disk included.
_INSTALL_S = 180.0

_JOIN_METRIC = "live_transcription_join_seconds"


@dataclass(frozen=True, slots=True)
class Signaling:
    """An HPB that runs, stand-in or real. `first_audio` waits until the app gets a publisher's audio, and says when it did."""

    url: str
    websocket_url: str
    internal_secret: str = field(repr=False)
    first_audio: Callable[[str, float], Awaitable[float | None]]
    #: Ends with the error when the process ends; None where somebody else watches it.
    watch: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class SpeechToText:
    """`engine`: "embedded", "modal" or "moshi". Of the latter two a stand-in serves, with words "located" or "transcribed"."""

    engine: str = "embedded"
    words: str = "located"
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Stage:
    """`speech` is None where the app itself transcribes."""

    nextcloud: Nextcloud
    signaling: Signaling
    app: ExApp
    ex_app: Child
    speech: SpeechServer | None = None


@asynccontextmanager
async def stand_in(nextcloud: Nextcloud, logs: Path) -> AsyncIterator[Signaling]:
    """`python -m sandbox.hpb` as a child. Raises ProcessFailed."""
    secret = secrets.token_hex(32)
    configuration = {
        "nextcloud_url": nextcloud.url,
        "backend_secret": nextcloud.signaling_secret,
        "internal_secret": secret,
    }
    child = Child(
        "The signaling server",
        "sandbox.hpb",
        log=logs / "signaling.log",
        environment=loopback_ice.child_environment(),
        first_line=configuration,
    )
    async with child, httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
        address = await child.answer()

        async def first_audio(publisher: str, timeout_s: float) -> float | None:
            deadline = time.monotonic() + timeout_s
            while time.monotonic() < deadline:
                state = (await client.get(address["url"] + "/sandbox/state")).json()
                for subscriber in state["subscribers"]:
                    if subscriber["publisher"] == publisher and subscriber["first_sent_at"] is not None:
                        return float(subscriber["first_sent_at"])
                await asyncio.sleep(0.05)
            return None

        yield Signaling(address["url"], address["websocket_url"], secret, first_audio, child.ended)


@asynccontextmanager
async def real(nextcloud: Nextcloud, logs: Path) -> AsyncIterator[Signaling]:
    """A real HPB and Janus, see `sandbox.rig`. Raises RigUnavailable, ServerFailed."""
    from sandbox.rig import Rig  # noqa: PLC0415  (its requirements are needed only here)

    directory = logs / "rig"
    directory.mkdir(parents=True, exist_ok=True)

    async def unknown(_publisher: str, _timeout_s: float) -> float | None:
        return None  # nobody outside can tell; `mean_join_s` asks the app

    async with Rig(nextcloud.url, nextcloud.signaling_secret, directory=directory) as rig:
        yield Signaling(rig.hpb_url, rig.signaling_url, rig.internal_secret, unknown)


@asynccontextmanager
async def set_up(kind: str, stt: SpeechToText, logs: Path, say: Callable[[str], None]) -> AsyncIterator[Stage]:
    """`kind`: "sandbox" or "real". `say` gets a line per step. Raises ProcessFailed and what `real` raises."""
    say("Starting Nextcloud with Talk and AppAPI (stand-in)")
    async with AsyncExitStack() as stack, Nextcloud() as nextcloud:
        speech = await _speech(stack, stt, logs, say)
        say("Starting a real HPB and Janus" if kind == "real" else "Starting signaling and SFU (stand-in)")
        servers: AbstractAsyncContextManager[Signaling] = real(nextcloud, logs) if kind == "real" else stand_in(nextcloud, logs)
        async with servers as signaling:
            nextcloud.hpb_url = signaling.url
            app = nextcloud.app_api.register()
            environment = {
                **bare_environment(),
                **nextcloud.app_api.environment(app, port=free_port(), storage=str(logs)),
                "LT_HPB_URL": signaling.url,
                "LT_INTERNAL_SECRET": signaling.internal_secret,
                **(speech.environment if speech is not None else {}),
            }
            say("Starting the app (python -m ex_app.main)")
            child = Child(
                "The app",
                "ex_app.main",
                log=logs / "app.log",
                environment=loopback_ice.child_environment(environment),
            )
            async with child as ex_app:
                await _install(nextcloud, app, ex_app, say)
                yield Stage(nextcloud, signaling, app, ex_app, speech)


async def _speech(stack: AsyncExitStack, stt: SpeechToText, logs: Path, say: Callable[[str], None]) -> SpeechServer | None:
    if stt.engine == "embedded":
        return None
    source = "knows the recordings" if stt.words == "located" else "hears with Whisper on this CPU"
    say(f"Starting a stand-in for {NAMES[stt.engine]}: there is no GPU here; it {source}")
    environment = loopback_ice.child_environment()
    return await stack.enter_async_context(speech_server(stt.engine, stt.words, stt.language, environment, logs))


async def mean_join_s(app: ExApp) -> float | None:
    """Mean time from Talk's request to the first audio frame, from the app's metrics; None if they lack it."""
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
        try:
            lines = (await client.get(app.url + "/metrics")).raise_for_status().text.splitlines()
        except httpx.HTTPError:
            return None
    figures = dict(line.rsplit(" ", 1) for line in lines if line.startswith(_JOIN_METRIC))
    count = float(figures.get(_JOIN_METRIC + "_count", 0))
    return float(figures[_JOIN_METRIC + "_sum"]) / count if count else None


def complaints(log: Path, count: int = 5) -> list[str]:
    """The last warnings and errors in the app's log, without tracebacks."""
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("warning", "error", "critical"):
            found.append(f"{entry.get('logger', '')}: {entry.get('message', '')}")
    return list(dict.fromkeys(found))[-count:]


async def _install(nextcloud: Nextcloud, app: ExApp, ex_app: Child, say: Callable[[str], None]) -> None:
    """Install the app like AppAPI: heartbeat, init with progress, enabled. If a process ends meanwhile, report it at once."""

    async def progress() -> None:
        shown = -1
        while True:
            if app.progress > shown:
                shown = app.progress
                say(f"The app gets ready: {shown} %")
            await asyncio.sleep(0.1)

    installing = asyncio.create_task(nextcloud.app_api.install(app, timeout_s=_INSTALL_S))
    watching, telling = asyncio.create_task(ex_app.ended()), asyncio.create_task(progress())
    try:
        await asyncio.wait({installing, watching}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            await watching
        try:
            await installing
        except (ExAppUnreachable, TimeoutError) as error:
            raise ProcessFailed(f"The app could not be enabled: {error}\n{ex_app.last_lines()}") from error
    finally:
        for task in (installing, watching, telling):
            task.cancel()
        await asyncio.gather(installing, watching, telling, return_exceptions=True)
