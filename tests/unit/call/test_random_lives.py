# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Two calls share limited resources for a random hour: nothing is claimed twice, and no publisher is forgotten.

Publishers with and without a stream come and go, peers and speakers fail, signaling breaks, and memory is short. `Room` stands
in for the HPB, `FakePeer` for the SFU's peers.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from live_transcription.errors import TransportLost
from live_transcription.signaling.events import (
    InCall,
    OfferReceived,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
    SessionInterrupted,
    SessionStarted,
    SignalingEvent,
    SubscribeFailed,
)
from live_transcription.speaker.speaker import Speaker
from live_transcription.types import Caption
from sandbox import virtual_clock
from tests.fakes.call import TALKING, FakeCall, Machine

STEPS = 300


class FakePeer:
    """Connects at once, and lives until `lost` is set."""

    def __init__(self, rig: Rig, publisher: str, on_connected: Callable[[], None], sid: str) -> None:
        self.sid = sid
        self.connected = False
        self.turn_answers: dict[str, Any] = {}
        self.transport = self
        self.lost = asyncio.Event()
        self.failure: Exception = TransportLost("No consent any more.")
        self._rig, self._publisher, self._on_connected = rig, publisher, on_connected

    def is_for(self, _offer: object) -> bool:
        return True

    def renegotiate(self, _offer: object) -> None:
        return

    async def run(self) -> None:
        try:
            await asyncio.sleep(0.05)
            self.connected = True
            self._rig.peers[self._publisher] = self
            self._on_connected()
            await self.lost.wait()
            raise self.failure
        finally:
            self.connected = False
            if self._rig.peers.get(self._publisher) is self:
                del self._rig.peers[self._publisher]


class Room:
    """A call and its HPB. `streams`: each publisher in the room, and whether it has a stream."""

    def __init__(self, name: str, rig: Rig) -> None:
        self.name = name
        self.speakers = RecordedSpeakers()
        self.fake = FakeCall(room=name, sharing=rig.capacity, speakers=self.speakers)
        self.call, self.session = self.fake.call, self.fake.session
        self.session.on_request = self.request_offer
        self.streams: dict[str, bool] = {}
        self.flags: dict[str, dict[str, Any]] = {}
        self.away_since: float | None = None
        self._rng = rig.rng
        self._sessions = self._number = 0
        self._waiting: list[SignalingEvent] = []

    def enter(self) -> None:
        name, self._number = f"{self.name}-{self._number}", self._number + 1
        kind = self._rng.choices(("stream", "claim", "recorder", "phone"), (5, 6, 1, 1))[0]
        self.streams[name] = kind == "stream"
        self.flags[name] = {"internal": kind == "recorder", "virtual": kind == "phone"}
        self.take(self._update(name))

    def leave(self, name: str) -> None:
        del self.streams[name], self.flags[name]
        self.take(ParticipantsLeft((name,)))

    def rejoin(self, name: str) -> None:
        self.take(ParticipantsUpdated((Participant(name, in_call=InCall.IN_CALL),)))
        self.take(self._update(name))

    def interrupt(self) -> None:
        self.away_since = now()
        self.session.emit(SessionInterrupted("the websocket broke"))

    def start(self, *, resumed: bool) -> None:
        self.away_since = None
        waiting, self._waiting = self._waiting, []
        if resumed:
            self.session.emit(self._started(resumed=True))
            for event in waiting:
                self.session.emit(event)
            return
        self._sessions += 1
        self.session.emit(self._started(resumed=False))
        self.session.emit(ParticipantsJoined((Participant("listener", nextcloud_session_id="nc1"),)))
        for name in self.streams:
            self.session.emit(self._update(name))

    def take(self, event: SignalingEvent) -> None:
        """Deliver an event, or keep it until the session is resumed."""
        if self.away_since is None:
            self.session.emit(event)
        else:
            self._waiting.append(event)

    def request_offer(self, publisher: str) -> None:
        if self.away_since is not None or self._rng.random() < 0.03:
            return  # the HPB loses it
        if self.streams.get(publisher):
            self._answer_in(0.01, OfferReceived(publisher, "video", str(self._rng.random()), "an offer"))
        else:
            self._answer_in(10.0, SubscribeFailed(publisher, "client_not_found"))

    def _answer_in(self, seconds: float, event: SignalingEvent) -> None:
        asyncio.get_running_loop().call_later(seconds, self._answer, self._sessions, event)

    def _answer(self, session: int, event: SignalingEvent) -> None:
        if session == self._sessions:
            self.take(event)

    def _started(self, *, resumed: bool) -> SessionStarted:
        return SessionStarted(f"own-{self._sessions}", resumed, "2.0.2", frozenset())

    def _update(self, name: str) -> ParticipantsUpdated:
        return ParticipantsUpdated((Participant(name, in_call=TALKING, **self.flags[name]),))


class Rig:
    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        random.seed(seed)  # for the backoffs
        self.rng = random.Random(seed)
        limit = self.rng.choice((3, 30, 2000))
        monkeypatch.setattr("live_transcription.capacity.watch.MAX_SUBSCRIPTIONS", limit)
        self.machine = Machine()
        self.capacity = self.machine.capacity
        self.capacity.limit(self.rng.choice((1, 2, limit)), 0)
        self.peers: dict[str, FakePeer] = {}
        self.rooms = [Room("a", self), Room("b", self)]

        def make_peer(
            sid: str, offer: object, channel: Any, servers: object, sink: object, *, connect_timeout_s: float, on_connected: Any
        ) -> FakePeer:
            return FakePeer(self, channel.publisher, on_connected, sid)

        monkeypatch.setattr("live_transcription.webrtc.subscriber.Peer", make_peer)
        monkeypatch.setattr(
            "live_transcription.webrtc.subscriber.parse_offer", lambda _: SimpleNamespace(active=True, transport=None)
        )

    def step(self) -> None:
        rng, room = self.rng, self.rng.choice(self.rooms)
        somebody = rng.choice([*room.streams]) if room.streams else None
        match rng.choices(range(9), (5, 2, 2, 2, 1, 2, 1, 2, 4))[0]:
            case 0:
                room.enter()
            case 1 if somebody:
                room.leave(somebody)
            case 2 if somebody:
                room.rejoin(somebody)
            case 3 if somebody and not any(room.flags[somebody].values()):
                room.streams[somebody] = True
            case 4 if room.away_since is None:
                room.interrupt()
            case 5 if room.away_since is not None:
                room.start(resumed=now() - room.away_since < 60 and rng.random() < 0.7)
            case 6:
                self.machine.used_mb = rng.choice((100, 950))
            case 7 if self.peers:
                peer = rng.choice([*self.peers.values()])
                if rng.random() < 0.2:
                    peer.failure = RuntimeError("unexpected")
                peer.lost.set()
            case 8 if room.speakers.running:
                speaker = rng.choice(room.speakers.running)
                (speaker.claims.speaking if rng.random() < 0.6 else speaker.claims.silent)()
                speaker.commit("a word")

    async def check(self) -> None:
        """Each speaker has a subscription, and no more is claimed than there are publishers."""
        for _ in range(5):  # so that the calls process the events of this moment
            await asyncio.sleep(0)
        for room in self.rooms:
            running = room.speakers.running
            assert len({speaker.session_id for speaker in running}) == len(running)
            assert {speaker.claims for speaker in running} <= set(self.capacity.claimed)
            assert all(speaker.claims.subscribed for speaker in running)
        if all(room.away_since is None for room in self.rooms):
            assert len(self.capacity.claimed) <= sum(len(room.streams) for room in self.rooms)


class RecordedSpeaker(Speaker):
    """A real speaker that records whether `end` was called."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.claims = kwargs["slot"]
        self.commit = lambda text: kwargs["on_caption"](Caption(self.session_id, text, "en"))
        self.ended = False

    def end(self) -> None:
        self.ended = True
        super().end()


class RecordedSpeakers:
    def __init__(self) -> None:
        self.made: list[RecordedSpeaker] = []

    def __call__(self, *args: Any, **kwargs: Any) -> RecordedSpeaker:
        self.made.append(RecordedSpeaker(*args, **kwargs))
        return self.made[-1]

    @property
    def running(self) -> list[RecordedSpeaker]:
        self.made = [speaker for speaker in self.made if not speaker.ended]
        return self.made


def now() -> float:
    return asyncio.get_running_loop().time()


async def live(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(seed, monkeypatch)
    async with rig.machine.watched() as capacity, asyncio.TaskGroup() as tasks:
        for room in rig.rooms:
            tasks.create_task(room.call.run())
        await asyncio.sleep(0.1)
        for room in rig.rooms:
            room.start(resumed=False)
            room.call.add_target("nc1", None)
        for _ in range(STEPS):
            rig.step()
            await rig.check()
            await asyncio.sleep(rig.rng.choice((0, 0.01, 0.3, 1.0, 3.0, 20.0)))
            await rig.check()
        rig.machine.used_mb = 100
        capacity.limit(2000, 0)
        for room in rig.rooms:
            if room.away_since is not None:
                room.start(resumed=rig.rng.random() < 0.5)
        await asyncio.sleep(400)
        await rig.check()
        streams = {name for room in rig.rooms for name, has_stream in room.streams.items() if has_stream}
        assert rig.peers.keys() == streams, "all publishers are subscribed to once nothing is short"
        for room in rig.rooms:
            for name in [*room.streams]:
                room.leave(name)
        await asyncio.sleep(20)
        assert not rig.peers
        assert not capacity.claimed
        for room in rig.rooms:
            assert not room.speakers.running
            room.call.end()


@pytest.mark.parametrize("seed", range(14, 22))
def test_no_publisher_is_forgotten_and_no_claim_is_kept(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    virtual_clock.run(live(seed, monkeypatch))
