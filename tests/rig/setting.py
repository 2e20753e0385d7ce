# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A Talk with a real HPB and Janus, and the product's process in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import recording, word_error_rate
from sandbox.caller import Caller, PhoneCaller, RecordingServer, Speech, from_recording
from sandbox.nextcloud import Nextcloud
from sandbox.rig import AppProcess, Link, Rig

#: Words that are in `sandbox/recordings/en-short`, and what recognition may miss of it in a test that is not about accuracy.
SHORT = recording.load("en-short")
SHORT_SPEECH = from_recording(SHORT)
TOLERATED_ERRORS = 0.4


@dataclass
class Setting:
    """`link` lies between the app and the HPB; callers connect without it."""

    nextcloud: Nextcloud
    rig: Rig
    link: Link
    app: AppProcess

    def room(self) -> str:
        return self.nextcloud.talk.rooms.create().token

    def speaker(self, room: str, name: str = "speaker-1", speech: Speech | None = None, **options: Any) -> Caller:
        return Caller(self.rig.signaling_url, self.nextcloud, room, name, name, speech, **options)

    def listener(self, room: str, name: str = "listener-1") -> Caller:
        """In the call with neither microphone nor camera, to read captions."""
        return Caller(self.rig.signaling_url, self.nextcloud, room, name, name, publishes=False)

    def phone(self, room: str, speech: Speech) -> PhoneCaller:
        return PhoneCaller(self.rig.signaling_url, self.nextcloud, room, self.rig.internal_secret, speech)

    def recording_server(self, room: str) -> RecordingServer:
        return RecordingServer(self.rig.signaling_url, self.nextcloud, room, self.rig.internal_secret)


@asynccontextmanager
async def setting(
    directory: Path, *, environment: dict[str, str] | None = None, enabling_s: float = 0.0, **rig_options: Any
) -> AsyncIterator[Setting]:
    """`enabling_s`: how long AppAPI takes from flagging the app as enabled to telling it."""
    async with AsyncExitStack() as stack:
        nextcloud = await stack.enter_async_context(Nextcloud())
        nextcloud.app_api.enabling_s = enabling_s
        rig = Rig(nextcloud.url, nextcloud.signaling_secret, directory=directory, **rig_options)
        await stack.enter_async_context(rig)
        nextcloud.hpb_url = rig.hpb_url
        nextcloud.talk.turn_servers = rig.turn_servers
        link = await stack.enter_async_context(Link("127.0.0.1", rig.hpb.port))
        app = AppProcess(nextcloud, link.url, rig.internal_secret, log=directory / "app.log", environment=environment)
        await stack.enter_async_context(app)
        yield Setting(nextcloud, rig, link, app)


def heard(said: str, captions: str, language: str = "en") -> bool:
    """Whether the captions roughly match the recording."""
    return word_error_rate.word_errors(said, captions, language).rate <= TOLERATED_ERRORS


async def captioned(
    listener: Caller, speaker: str, said: str = SHORT.text, *, since: float = 0.0, timeout_s: float = 20
) -> str:
    """Wait until the captions of a speaker match the recording, and return them. AssertionError with the captions otherwise."""
    text = ""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                text = listener.captions.text(speaker, since=since)
                if heard(said, text):
                    return text
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"captions after {timeout_s} s: {text!r}") from None


def more_words(listener: Caller, speaker: str, count: int) -> Callable[[object], bool]:
    """A condition for `captions.wait`: so many words of a speaker have come, in whatever messages."""
    return lambda _: len(listener.captions.text(speaker).split()) >= count


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = 10.0) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():  # noqa: ASYNC110  (across processes there is nothing to wait for)
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s} s: {what}") from None
