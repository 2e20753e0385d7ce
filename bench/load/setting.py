# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The set-up on loopback: the app as AppAPI starts it, a Nextcloud that drives it, the load, and the receiver of the audio."""

from __future__ import annotations

import asyncio
import re
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from bench.common.child_process import Child
from sandbox.nextcloud import ExAppUnreachable, Nextcloud
from sandbox.ports import free_port
from sandbox.process_stats import Usage, usage
from sandbox.rig import AppProcess

#: Times that a refused or late request for captions is made again, as a user would click again.
_CLICKS = 10


class BenchFailed(Exception):
    """Something did not work at all, so that there is nothing to measure."""


@dataclass
class BenchRoom:
    """A call with one person who reads captions and has no microphone. `people`: the others, by activity as they joined."""

    token: str
    reader: dict[str, str]
    people: dict[str, list[str]] = field(default_factory=dict)


class Setting:
    def __init__(self, nextcloud: Nextcloud, load: Child, stt: Child, app: AppProcess, scratch: Path) -> None:
        self.nextcloud = nextcloud
        self.load = load
        self.stt = stt
        self.app = app
        self.scratch = scratch
        self._numbers = count(1)

    def usage(self) -> Usage:
        """Of the app."""
        pid = self.app.process.pid
        if pid is None or not self.app.process.running:
            raise BenchFailed(f"the app has ended:\n{self.app.process.last_lines()}")
        return usage(pid)

    async def open_room(self) -> BenchRoom:
        token = f"bench{next(self._numbers)}"
        (reader,) = await self.load.do("join", room=token, activity="listening", number=1)
        return BenchRoom(token, reader)

    async def join(self, room: BenchRoom, activity: str, number: int) -> list[str]:
        """More people in this call; their names."""
        joined = await self.load.do("join", room=room.token, activity=activity, number=number)
        names = [person["person"] for person in joined]
        room.people.setdefault(activity, []).extend(names)
        return names

    async def leave(self, rooms: list[BenchRoom], activity: str) -> None:
        await self.load.do("leave", people=[name for room in rooms for name in room.people.pop(activity, [])])

    async def enable(self, room: BenchRoom) -> float:
        """The reader clicks CC, again where it does not work; seconds until it did. Raises BenchFailed."""
        began = time.monotonic()
        answered = "nothing"
        for _ in range(_CLICKS):
            try:
                answer = await self.nextcloud.talk.enable_captions(
                    room.token, room.reader["nextcloud_session"], room.reader["person"], "en"
                )
            except ExAppUnreachable as error:
                answered = str(error)
            else:
                if answer.ok:
                    return time.monotonic() - began
                answered = f"{answer.status} {answer.body}"
            await asyncio.sleep(0.3)
        raise BenchFailed(f"the app joins no call: {answered}")

    async def close_room(self, room: BenchRoom) -> None:
        """All participants leave, and Talk notifies the app."""
        everybody = [room.reader["person"], *(name for names in room.people.values() for name in names)]
        room.people.clear()
        await self.load.do("leave", people=everybody)
        await self.leave_call(room)

    async def leave_call(self, room: BenchRoom) -> bool:
        """Talk tells the app that the transcription ends. False: the app did not take it, and will leave by itself."""
        try:
            return (await self.nextcloud.talk.leave(room.token)).ok
        except ExAppUnreachable:
            return False

    async def connected(self, number: int, *, timeout_s: float = 120.0) -> None:
        """Until so many subscriptions are up. Raises BenchFailed."""
        await self._until(lambda found: found["connected"] >= number, f"{number} subscriptions", timeout_s)

    async def alone(self, *, timeout_s: float = 90.0) -> None:
        """Until the app has left every call and closed all that it had for them. Raises BenchFailed."""
        await self._until(lambda found: found["apps"] == 0 and self.usage().udp == 0, "the app to leave", timeout_s)

    async def metrics(self, *names: str) -> dict[str, float]:
        return {name: await self.app.metric(f"live_transcription_{name}") for name in names}

    async def labelled(self, name: str) -> dict[str, float]:
        """A metric's values by their labels, as they stand in the exposition."""
        async with httpx.AsyncClient(base_url=self.app.ex_app.url, trust_env=False, timeout=10.0) as client:
            text = (await client.get("/metrics")).text
        found = re.findall(rf"^live_transcription_{name}{{(.*)}} (\S+)$", text, re.MULTILINE)
        return {labels: float(value) for labels, value in found}

    async def _until(self, holds: Callable[[dict[str, Any]], bool], what: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not holds(found := await self.load.do("counts")):
            if time.monotonic() > deadline:
                raise BenchFailed(f"waited {timeout_s:g} s for {what}; there is {found}")
            await asyncio.sleep(0.1)


@asynccontextmanager
async def setting(*, speakers: int, note: bool, environment: dict[str, str] | None = None) -> AsyncIterator[Setting]:
    """`speakers`: how many talk at once at most; `note`: keep the times of packets, frames and words."""
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        nextcloud = await stack.enter_async_context(Nextcloud())
        internal_secret = secrets.token_hex(32)
        options = {
            "nextcloud_url": nextcloud.url,
            "signaling_secret": nextcloud.signaling_secret,
            "internal_secret": internal_secret,
            "speakers": speakers,
            "note": note,
        }
        load = await stack.enter_async_context(Child("bench.load", options=options))
        stt = await stack.enter_async_context(Child("bench.load.stt", options={"port": free_port(), "note": note}))
        variables = {
            "LOG_LEVEL": "info",
            "LT_MODAL_URL": stt.greeting["url"],
            "LT_STT_ORDER": "modal",
            "LT_STT_FALLBACK": "false",
            "LT_MAX_SPEAKERS": "10000",
            **(environment or {}),
        }
        app = AppProcess(nextcloud, load.greeting["url"], internal_secret, log=scratch / "app.log", environment=variables)
        yield Setting(nextcloud, load, stt, await stack.enter_async_context(app), scratch)


async def warm_up(all_of_it: Setting, *, seconds: float = 6.0) -> None:
    """One call from beginning to end, so that what is loaded once is there before anything is measured."""
    room = await all_of_it.open_room()
    await all_of_it.join(room, "talking", 1)
    await all_of_it.join(room, "muted", 2)
    await all_of_it.enable(room)
    await all_of_it.connected(3)
    await asyncio.sleep(seconds)
    await all_of_it.close_room(room)
    await all_of_it.alone()
