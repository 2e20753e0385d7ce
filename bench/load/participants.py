# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Participants that exist only in signaling: no browser and no connection, but listed by the HPB."""

from __future__ import annotations

import re
import secrets
import time
from array import array
from dataclasses import dataclass
from itertools import count
from typing import Any

from bench.load.schedule import Schedule, TapePublisher
from bench.load.tape import Tape
from sandbox.hpb.frames import Frame
from sandbox.hpb.hub import Hub
from sandbox.hpb.room import Room
from sandbox.hpb.session import IN_CALL, WITH_AUDIO, Session
from sandbox.sfu import Sfu

#: `talking`: RTP with speech; `silent`: RTP with silence; `muted`: a microphone without RTP; `listening`: no microphone.
ACTIVITIES = ("talking", "silent", "muted", "listening")
_WORD = re.compile(r"w(\d+)")


class Captions:
    """What came in. `shown_at[n]`: when word `w<n>` of the stand-in was first seen, seconds of the monotonic clock, else 0;
    `shown_in[n]`: the number of its room.
    """

    def __init__(self) -> None:
        self.messages = 0
        #: Messages that were not final: there must be none.
        self.revisable = 0
        self.shown_at: array[float] = array("d")
        self.shown_in: array[int] = array("l")

    def take(self, transcript: Frame, room: int) -> None:
        now = time.monotonic()
        self.messages += 1
        self.revisable += not transcript.get("final", True)
        for word in map(int, _WORD.findall(str(transcript.get("message", "")))):
            if word >= len(self.shown_at):
                more = word + 1 - len(self.shown_at)
                self.shown_at.extend([0.0] * more)
                self.shown_in.extend([-1] * more)
            if not self.shown_at[word]:
                self.shown_at[word], self.shown_in[word] = now, room


class TapeParticipant(Session):
    """A session whose client is nobody: of all that it is sent only captions are looked at."""

    def __init__(self, name: str, captions: Captions, room_number: int) -> None:
        super().__init__("client", name, {"displayname": name}, frozenset({"chat-relay"}))
        self._captions = captions
        self._room_number = room_number

    def send(self, frame: Frame) -> None:
        if frame.get("type") == "message" and frame["message"]["data"].get("type") == "transcript":
            self._captions.take(frame["message"]["data"], self._room_number)


@dataclass(slots=True)
class _Person:
    """Who they stay while sessions come and go."""

    name: str
    room: str
    activity: str
    session: TapeParticipant
    nextcloud_session: str
    publisher: TapePublisher | None

    def told(self) -> dict[str, str]:
        return {
            "person": self.name,
            "session": self.session.id,
            "nextcloud_session": self.nextcloud_session,
            "activity": self.activity,
        }

    def entry(self, *, in_call: bool = True) -> Frame:
        flags = 0 if not in_call else IN_CALL if self.activity == "listening" else IN_CALL | WITH_AUDIO
        return {
            "inCall": flags, "lastPing": int(time.time()), "sessionId": self.session.id,
            "nextcloudSessionId": self.nextcloud_session, "participantType": 3, "participantPermissions": 254,
            "actorType": "users", "actorId": self.name, "userId": self.name,
        }  # fmt: skip


class Population:
    """All people of all rooms. `speakers`: how many places on the tape to begin at; `note`: keep the time of every packet."""

    def __init__(self, hub: Hub, sfu: Sfu, schedule: Schedule, tape: Tape, *, speakers: int, note: bool) -> None:
        self.captions = Captions()
        self.publishers: list[TapePublisher] = []
        self._hub = hub
        self._sfu = sfu
        self._schedule = schedule
        self._tape = tape
        self._speakers = speakers
        self._note = note
        #: Numbers of the rooms that anybody has been in.
        self.rooms: dict[str, int] = {}
        self._people: dict[str, _Person] = {}
        self._numbers = count()
        self._places = count()
        self._published = count()

    async def join(self, room: str, activity: str, number: int) -> list[dict[str, str]]:
        """So many more people in this room's call, all at once. Raises ValueError for an activity that is none."""
        if activity not in ACTIVITIES:
            raise ValueError(f"no activity {activity}")
        people = [await self._arrive(room, f"speaker-{next(self._numbers)}", activity) for _ in range(number)]
        await self._tell(room, people)
        return [person.told() for person in people]

    async def leave(self, people: list[str]) -> None:
        """Leave the call, then the room. Raises KeyError if the participant is not in it."""
        leaving = [self._people.pop(name) for name in people]
        for room in {person.room for person in leaving}:
            await self._tell(room, [person for person in leaving if person.room == room], in_call=False)
        for person in leaving:
            await self._depart(person)

    async def turn(self, people: list[str], activity: str) -> None:
        """Mutes, unmutes; without a signaling message, as in Talk. Raises KeyError, ValueError."""
        if activity not in ACTIVITIES[:3]:
            raise ValueError(f"nobody who publishes can be {activity}")
        for name in people:
            person = self._people[name]
            if person.publisher is None:
                raise ValueError(f"{name} has no microphone")
            person.activity = activity
            self._set(person.publisher, activity)

    async def reload(self, people: list[str]) -> list[dict[str, str]]:
        """The page is reloaded: same people, new sessions."""
        reloaded = []
        for name in people:
            old = self._people.pop(name)
            await self._tell(old.room, [old], in_call=False)
            await self._depart(old)
            new = await self._arrive(old.room, name, old.activity)
            await self._tell(old.room, [new])
            reloaded.append(new.told())
        return reloaded

    async def come_back(self) -> list[dict[str, str]]:
        """After a restart of the HPB without its state: everybody joins again."""
        everybody, self._people = list(self._people.values()), {}
        for person in everybody:
            await self._withdraw(person)
        back = [await self._arrive(person.room, person.name, person.activity) for person in everybody]
        for room in {person.room for person in back}:
            await self._tell(room, [person for person in back if person.room == room])
        return [person.told() for person in back]

    async def publish_again(self) -> None:
        """After the SFU has lost its state: everybody publishes again, without a message."""
        for person in self._people.values():
            if person.publisher is not None:
                person.publisher.listeners.clear()
                await self._sfu.add(person.session.id, "video", person.publisher)

    def counts(self) -> dict[str, int]:
        activities = [person.activity for person in self._people.values()]
        return {activity: activities.count(activity) for activity in ACTIVITIES}

    async def _arrive(self, token: str, name: str, activity: str) -> _Person:
        number = self.rooms.setdefault(token, len(self.rooms))
        session = TapeParticipant(name, self.captions, number)
        session.room_session = secrets.token_urlsafe(191)[:255]
        self._hub.sessions[session.id] = session
        self._hub.by_room_session[session.room_session] = session
        room = self._hub.rooms.setdefault(token, Room(token, {"name": "Benchmark"}, self._hub.hpb_version))
        publisher = None
        if activity != "listening":
            noted = self._note and activity == "talking"
            place = next(self._places) % self._speakers if activity == "talking" else 0
            start = self._tape.start(place, self._speakers)
            publisher = TapePublisher(next(self._published), self._tape, start, note=noted)
            if noted:
                self.publishers.append(publisher)
            await self._sfu.add(session.id, "video", publisher)
            self._set(publisher, activity)
        person = _Person(name, token, activity, session, session.room_session, publisher)
        self._people[name] = person
        room.add(session)
        return person

    def _set(self, publisher: TapePublisher, activity: str) -> None:
        publisher.silent = activity == "silent"
        if activity == "muted":
            self._schedule.remove(publisher)
        else:
            self._schedule.add(publisher)

    async def _withdraw(self, person: _Person) -> None:
        if person.publisher is not None:
            self._schedule.remove(person.publisher)
        await self._sfu.unpublish(person.session.id)

    async def _depart(self, person: _Person) -> None:
        await self._withdraw(person)
        await self._hub.close_session(person.session, notify=False)

    async def _tell(self, token: str, changed: list[_Person], *, in_call: bool = True) -> None:
        """Talk's `incall` request: who changed, and who is in the call now."""
        room = self._hub.rooms.get(token)
        if room is None:
            return
        users = [person.entry() for person in self._people.values() if person.room == token]
        for session in room.in_call_changed([person.entry(in_call=in_call) for person in changed], users):
            await self._hub.release_media(session)

    def notes(self) -> dict[str, Any]:
        """`starts`, and for each of them the times that its packets went out."""
        return {
            "starts": [publisher.start for publisher in self.publishers],
            "sent_at": [publisher.sent_at for publisher in self.publishers],
        }
