# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""In signaling, the participants of the benchmarks look like people with browsers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bench.load.participants import Population
from bench.load.schedule import Schedule, TapePublisher
from bench.load.tape import Tape
from sandbox.hpb import HpbStandIn, TrustingNextcloud
from sandbox.hpb.frames import Frame, relayed
from sandbox.hpb.room import Room
from sandbox.hpb.session import Session
from sandbox.sfu import Sfu

ROOM = "room1"


class App(Session):
    """Hears what an internal client would."""

    def __init__(self) -> None:
        super().__init__("internal", "", None, frozenset())
        self.told: list[Frame] = []

    def send(self, frame: Frame) -> None:
        self.told.append(frame["event"])

    def last(self, target: str, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = [event for event in self.told if (event["target"], event["type"]) == (target, kind)][-1]
        return found

    def flags(self) -> dict[str, int]:
        return {user["sessionId"]: user["inCall"] for user in self.last("participants", "update")["update"]["users"]}


class RecordedSchedule(Schedule):
    """Knows who speaks."""

    def __init__(self) -> None:
        super().__init__()
        self.speaking: set[TapePublisher] = set()

    def add(self, publisher: TapePublisher) -> None:
        super().add(publisher)
        self.speaking.add(publisher)

    def remove(self, publisher: TapePublisher) -> None:
        super().remove(publisher)
        self.speaking.discard(publisher)


class Talk:
    def __init__(self, hpb: HpbStandIn, sfu: Sfu) -> None:
        self.hpb, self.sfu, self.schedule = hpb, sfu, RecordedSchedule()
        self.population = Population(hpb.hub, sfu, self.schedule, Tape((b"a", b"b"), (30, 30)), speakers=1, note=True)
        self.app = App()
        room = hpb.hub.rooms[ROOM] = Room(ROOM, None, hpb.hub.hpb_version)
        hpb.hub.sessions[self.app.id] = self.app
        room.add(self.app)


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    async with Sfu() as sfu, HpbStandIn(TrustingNextcloud(), sfu, internal_secret="x" * 32) as hpb:
        yield Talk(hpb, sfu)


async def test_who_joins_is_announced_with_their_talk_session_and_in_call_flags(talk: Talk) -> None:
    (speaker,) = await talk.population.join(ROOM, "talking", 1)
    (muted,) = await talk.population.join(ROOM, "muted", 1)
    (reader,) = await talk.population.join(ROOM, "listening", 1)
    (joined,) = talk.app.last("room", "join")["join"]
    assert joined["sessionid"] == reader["session"]
    assert joined["roomsessionid"] == reader["nextcloud_session"]
    assert joined["userid"] == reader["person"]
    flags = talk.app.flags()
    assert [flags[person["session"]] for person in (speaker, muted, reader)] == [3, 3, 1]


async def test_mute_is_invisible_in_signaling_and_stops_the_packets(talk: Talk) -> None:
    (speaker,) = await talk.population.join(ROOM, "talking", 1)
    assert talk.population.publishers[0] in talk.schedule.speaking
    before = len(talk.app.told)
    await talk.population.turn([speaker["person"]], "muted")
    assert len(talk.app.told) == before
    assert talk.population.counts()["muted"] == 1
    publisher = talk.population.publishers[0]
    assert publisher not in talk.schedule.speaking
    (reader,) = await talk.population.join(ROOM, "listening", 1)
    with pytest.raises(ValueError, match="no microphone"):
        await talk.population.turn([reader["person"]], "talking")


async def test_who_leaves_leaves_the_call_first_and_publishes_no_more(talk: Talk) -> None:
    (speaker,) = await talk.population.join(ROOM, "talking", 1)
    assert await talk.sfu.wait_for_publisher(speaker["session"], "video", 0.1) is not None
    await talk.population.leave([speaker["person"]])
    kinds = [(event["target"], event["type"]) for event in talk.app.told[-2:]]
    assert kinds == [("participants", "update"), ("room", "leave")]
    assert talk.app.told[-1]["leave"] == [speaker["session"]]
    assert not talk.sfu.publishers


async def test_a_reload_is_the_same_person_with_other_sessions(talk: Talk) -> None:
    (before,) = await talk.population.join(ROOM, "talking", 1)
    (after,) = await talk.population.reload([before["person"]])
    assert after["person"] == before["person"]
    assert after["session"] != before["session"]
    assert after["nextcloud_session"] != before["nextcloud_session"]


async def test_when_a_word_was_first_shown_is_noted(talk: Talk) -> None:
    (reader,) = await talk.population.join(ROOM, "listening", 1)
    session = talk.hpb.hub.sessions[reader["session"]]
    for text, final in (("w3", False), ("w3 w5", True)):
        data = {"type": "transcript", "message": text, "final": final}
        session.send(relayed("message", "session", talk.app.id, "", data))
    captions = talk.population.captions
    assert (captions.revisable, captions.messages) == (1, 2)
    assert [bool(at) for at in captions.shown_at] == [False, False, False, True, False, True]
    assert captions.shown_in[5] == talk.population.rooms[ROOM]
