# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Run the script of `bench.load.churn_script`: people come and go, and things break, while the calls continue."""

from __future__ import annotations

import asyncio
import base64
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from bench.load.churn_script import EVERYDAY, FAULTS
from bench.load.setting import BenchFailed, BenchRoom, Setting
from sandbox.nextcloud import ExAppUnreachable

#: Settings that are changed back and forth; the second one gives every call other engines.
_CHANGES = ({"lt_max_memory_mb": "100000"}, {"lt_prewarm": "false"}, {"lt_max_memory_mb": None, "lt_prewarm": None})
_LANGUAGES = ("en", "fr")
_TRIES = 3


class Living:
    """Each call keeps its number of talking and muted people. `done` counts what happened, `refused` what the app declined."""

    def __init__(self, of: Setting, *, calls: int, talking: int, muted: int, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.rooms: list[BenchRoom] = []
        self._of = of
        self._calls, self._talking, self._muted = calls, talking, muted
        self._chance = random.Random(seed)
        self._settings = 0
        deeds: list[Callable[[BenchRoom], Awaitable[None]]] = [
            self._replace_speaker, self._replace_muted, self._exchange, self._silence, self._reload_speaker,
            self._reload_reader, self._off_and_on, self._language, self._end_and_ask, self._new_call, self._change_settings,
            self._kill_stt, self._cut, self._hang_stt, self._kill_sfu, self._forget, self._refuse_stt, self._restart_sfu,
            self._restart_hpb, self._disable_app,
        ]  # fmt: skip
        self._deeds = dict(zip((*EVERYDAY, *FAULTS), deeds, strict=True))

    async def begin(self) -> None:
        for _ in range(self._calls):
            self.rooms.append(await self._open())

    async def do(self, what: str) -> None:
        """Returns when it is done, faults included. What the app does not answer in time is counted."""
        try:
            await self._deeds[what](self._chance.choice(self.rooms))
        except (ExAppUnreachable, httpx.HTTPError):
            self.refused[f"{what}: no answer in time"] += 1
        self.done[what] += 1

    async def rehearse(self) -> None:
        """Everything once, then everybody leaves: pools have grown and caches are full after that."""
        await self.begin()
        for what in (*EVERYDAY, *FAULTS):
            await self.do(what)
            await asyncio.sleep(1.0)
        await self.ask_again()
        await asyncio.sleep(5.0)
        await self.end()
        self.done.clear()
        self.refused.clear()

    async def ask_again(self) -> None:
        """As users do whose captions have stopped."""
        for room in self.rooms:
            await self._of.enable(room)

    async def end(self) -> None:
        """Everybody leaves every call."""
        for room in self.rooms:
            await self._of.close_room(room)
        self.rooms.clear()

    async def _open(self) -> BenchRoom:
        room = await self._of.open_room()
        await self._of.join(room, "talking", self._talking)
        await self._of.join(room, "muted", self._muted)
        await self._of.enable(room)
        return room

    # What people do.

    async def _replace(self, room: BenchRoom, activity: str) -> None:
        leaving = self._chance.choice(room.people[activity])
        room.people[activity].remove(leaving)
        await self._of.load.do("leave", people=[leaving])
        await self._of.join(room, activity, 1)

    async def _replace_speaker(self, room: BenchRoom) -> None:
        await self._replace(room, "talking")

    async def _replace_muted(self, room: BenchRoom) -> None:
        await self._replace(room, "muted")

    async def _exchange(self, room: BenchRoom) -> None:
        mutes, unmutes = (self._chance.choice(room.people[activity]) for activity in ("talking", "muted"))
        await self._of.load.do("turn", people=[mutes], activity="muted")
        await self._of.load.do("turn", people=[unmutes], activity="talking")
        for name, before, after in ((mutes, "talking", "muted"), (unmutes, "muted", "talking")):
            room.people[before].remove(name)
            room.people[after].append(name)

    async def _silence(self, room: BenchRoom) -> None:
        one, other = self._chance.sample(room.people["muted"], 2)
        await self._of.load.do("turn", people=[one], activity="silent")
        await self._of.load.do("turn", people=[other], activity="muted")

    async def _reload_speaker(self, room: BenchRoom) -> None:
        await self._of.load.do("reload", people=[self._chance.choice(room.people["talking"])])

    async def _reload_reader(self, room: BenchRoom) -> None:
        """Talk's page asks for captions again when it is back."""
        (room.reader,) = await self._of.load.do("reload", people=[room.reader["person"]])
        await self._of.enable(room)

    async def _off_and_on(self, room: BenchRoom) -> None:
        talk = self._of.nextcloud.talk
        await talk.disable_captions(room.token, room.reader["nextcloud_session"], room.reader["person"])
        await asyncio.sleep(0.5)
        await self._of.enable(room)

    async def _language(self, room: BenchRoom) -> None:
        answer = await self._of.nextcloud.talk.set_language(room.token, self._chance.choice(_LANGUAGES))
        if not answer.ok:
            self.refused[f"another language: {answer.status}"] += 1

    async def _end_and_ask(self, room: BenchRoom) -> None:
        if not await self._of.leave_call(room):
            self.refused["Talk ends the transcription"] += 1
        await self._of.enable(room)

    async def _new_call(self, room: BenchRoom) -> None:
        self.rooms.remove(room)
        await self._of.close_room(room)
        self.rooms.append(await self._open())

    async def _change_settings(self, _room: BenchRoom) -> None:
        change, self._settings = _CHANGES[self._settings % len(_CHANGES)], self._settings + 1
        app = self._of.app.ex_app
        headers = {
            "AA-VERSION": "32.0.0",
            "EX-APP-ID": app.app_id,
            "EX-APP-VERSION": app.version,
            "AUTHORIZATION-APP-API": base64.b64encode(f"admin:{app.secret}".encode()).decode(),
            "X-Live-Transcription": "1",
        }
        async with httpx.AsyncClient(base_url=app.url, trust_env=False, timeout=10.0) as client:
            answer = await client.put("/admin/settings", json={"settings": change}, headers=headers)
        if answer.status_code != 200:
            self.refused[f"the settings change: {answer.status_code}"] += 1

    # What breaks.

    async def _kill_stt(self, _room: BenchRoom) -> None:
        await self._of.stt.kill()
        await self._of.stt.start()

    async def _refuse_stt(self, _room: BenchRoom) -> None:
        await self._of.stt.kill()
        await asyncio.sleep(12.0)
        await self._of.stt.start()

    async def _hang_stt(self, _room: BenchRoom) -> None:
        self._of.stt.signal(signal.SIGSTOP)
        await asyncio.sleep(10.0)
        self._of.stt.signal(signal.SIGCONT)

    async def _cut(self, _room: BenchRoom) -> None:
        await self._of.load.do("cut", resume=True)

    async def _forget(self, _room: BenchRoom) -> None:
        await self._of.load.do("cut", resume=False)

    async def _kill_sfu(self, _room: BenchRoom) -> None:
        await self._of.load.do("kill_sfu", down_s=2.0, silently=True)

    async def _restart_sfu(self, _room: BenchRoom) -> None:
        await self._of.load.do("kill_sfu", down_s=1.0, silently=False)

    async def _restart_hpb(self, _room: BenchRoom) -> None:
        told: list[dict[str, Any]] = await self._of.load.do("restart_hpb", down_s=2.0)
        people = {person["person"]: person for person in told}
        for room in self.rooms:
            room.reader = people[room.reader["person"]]

    async def _disable_app(self, _room: BenchRoom) -> None:
        app = self._of.app.ex_app
        await self._of.nextcloud.app_api.disable(app)
        await asyncio.sleep(2.0)
        for _ in range(_TRIES):
            if await self._of.nextcloud.app_api.enable(app):
                break
        else:
            raise BenchFailed(f"the app could not be enabled again: {app.enabled_error}")
        await self.ask_again()
