# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A call without network: its signaling session and its speakers do what a test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from live_transcription.call.call import Call
from live_transcription.capacity.load import CaptionInterval
from live_transcription.capacity.memory import MemoryBound, MemoryReading, MemorySource
from live_transcription.capacity.watch import Capacity, PublisherClaims
from live_transcription.config import EngineConfig, HpbConfig
from live_transcription.errors import NoMediaPath, SignalingError
from live_transcription.signaling.events import (
    InCall,
    OfferReceived,
    Participant,
    ParticipantsJoined,
    ParticipantsUpdated,
    SessionStarted,
    SignalingEnded,
    SignalingEvent,
)
from live_transcription.signaling.hello_guard import HelloGuard
from live_transcription.signaling.requests import Recipient
from live_transcription.transcript import Gap, GapReason, Utterance, next_utterance_id
from live_transcription.transcripts.sink import TranscriptSink
from live_transcription.translation.translator import NoTranslator, Translations
from live_transcription.types import Caption, IceServer, Secret, TurnAnswer
from live_transcription.webrtc.offer_requests import OfferRequests
from tests.fakes.stt import FakeBackend

CONFIG = EngineConfig(hpb=HpbConfig("wss://signaling.example.com", Secret("secret"), "https://cloud.example.com"))
TALKING = InCall.IN_CALL | InCall.WITH_AUDIO


class FakeSession:
    """In place of `SignalingConnection`. Says nothing by itself."""

    def __init__(self, config: HpbConfig, room_token: str, *, guard: HelloGuard) -> None:
        self.refused = asyncio.Event()
        self.last_error: SignalingError | None = None
        self.in_room = True
        #: Raised by `run` once it is set.
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        #: Publishers that were asked for an offer, in order, and when.
        self.requests: list[str] = []
        self.requested_at: list[float] = []
        self.on_request: Callable[[str], None] = lambda publisher: None
        #: Captions that were accepted: when, the recipient's session, and the text.
        self.sent: list[tuple[float, str | None, str]] = []
        self.accepts: Callable[[], bool] = lambda: True
        self._events: asyncio.Queue[SignalingEvent | None] = asyncio.Queue()
        self._all_taken = asyncio.Event()
        self._closed = asyncio.Event()

    async def run(self) -> None:
        closing = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait([closing, self.failure], return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
        if self.failure.done():
            self.failure.result()

    async def next_event(self) -> SignalingEvent:
        if self._events.empty():
            self._all_taken.set()
        event = await self._events.get()
        if event is None:
            raise SignalingEnded
        return event

    def emit(self, event: SignalingEvent) -> None:
        """The call takes this event in a moment."""
        self._all_taken.clear()
        self._events.put_nowait(event)

    async def deliver(self, *events: SignalingEvent) -> None:
        """Wait until the call has taken these events."""
        for event in events:
            self.emit(event)
        await self._all_taken.wait()

    def channel(self, publisher: str, room_type: str = "video") -> FakeChannel:
        return FakeChannel(self, publisher)

    def send_caption(self, recipient: Recipient, caption: Caption) -> bool:
        accepted = self.accepts()
        if accepted:
            self.sent.append((round(asyncio.get_running_loop().time(), 2), recipient.session_id, caption.text))
        return accepted

    async def close(self, timeout_s: float = 1.0) -> None:
        self.in_room = False
        self._events.put_nowait(None)
        self._closed.set()

    # What the room does.

    async def start(self, *speakers: str, resumed: bool = False) -> None:
        """A session with one listener and these speakers."""
        await self.deliver(SessionStarted("own", resumed=resumed, server_version="2.0.2", features=frozenset()))
        if not resumed:
            await self.deliver(ParticipantsJoined((Participant("listener", nextcloud_session_id="nc1"),)))
            await self.update(*speakers)

    async def update(self, *session_ids: str, flags: InCall = TALKING, **rest: Any) -> None:
        """Set the in-call flags of these sessions."""
        people = tuple(Participant(session_id, in_call=flags, **rest) for session_id in session_ids)
        await self.deliver(ParticipantsUpdated(people))

    async def offer(self, publisher: str) -> None:
        """The SFU answers the request for this publisher's stream."""
        await self.deliver(OfferReceived(publisher, "video", "1", "not SDP"))


class FakeChannel:
    """Records requests for offers in its session."""

    def __init__(self, session: FakeSession, publisher: str) -> None:
        self._session = session
        self.publisher = publisher

    def request_offer(self) -> bool:
        self._session.requests.append(self.publisher)
        self._session.requested_at.append(asyncio.get_running_loop().time())
        self._session.on_request(self.publisher)
        return True

    def send_answer(self, sid: str, sdp: str) -> bool:
        return True

    def send_candidate(self, sid: str, candidate: str, sdp_mid: str | None, sdp_m_line_index: int | None) -> bool:
        return True


class FakeSpeaker:
    """In place of `Speaker`. Runs `behaviour` and subscribes to nothing."""

    def __init__(
        self,
        session_id: str,
        language: str,
        config: EngineConfig,
        backend: FakeBackend,
        *,
        channel: FakeChannel,
        on_caption: Callable[[Caption], None],
        requests: OfferRequests,
        slot: PublisherClaims,
        behaviour: Callable[[FakeSpeaker], Awaitable[None]],
        on_utterance: Callable[[Utterance], None] = lambda utterance: None,
        on_gap: Callable[[Gap], None] = lambda gap: None,
        **rest: Any,
    ) -> None:
        self.session_id = session_id
        self.language = language
        self.slot = slot
        self.requests = requests
        self.ending = asyncio.Event()
        self.given_up = False
        self.connected = False
        self.path_failure: NoMediaPath | None = None
        self.encrypted = False
        self.turn_answers: Mapping[str, TurnAnswer] = {}
        self._on_caption = on_caption
        self._on_utterance = on_utterance
        self._on_gap = on_gap
        self._behaviour = behaviour

    def commit(self, text: str) -> None:
        """Words of this speaker."""
        self._on_caption(Caption(self.session_id, text, self.language))

    def say(self, text: str) -> None:
        """An utterance of this speaker ends."""
        self.commit(text)
        self._on_utterance(Utterance(next_utterance_id(), self.session_id, text, self.language, True, 1.0, 2.0))

    def miss(self, reason: GapReason) -> None:
        """This speaker was not transcribed for a while."""
        self._on_gap(Gap(reason, 1.0, 3.0, self.session_id))

    async def run(self) -> None:
        await self._behaviour(self)

    def end(self) -> None:
        self.ending.set()

    def give_up(self) -> None:
        self.given_up = True

    def set_language(self, language: str) -> None:
        self.language = language

    def expect(self, expected: bool) -> None: ...
    def offer(self, sid: str, sdp: str) -> None: ...
    def candidate(self, sid: str, candidate: str | None, sdp_mid: str | None, sdp_m_line_index: int | None) -> None: ...
    def refused(self, reason: str) -> None: ...


async def until_ended(speaker: FakeSpeaker) -> None:
    await speaker.ending.wait()


class Speakers:
    """Makes the speakers of a call."""

    def __init__(self, behaviour: Callable[[FakeSpeaker], Awaitable[None]] = until_ended) -> None:
        self.made: list[FakeSpeaker] = []
        self._behaviour = behaviour

    def __call__(self, *args: Any, **kwargs: Any) -> FakeSpeaker:
        self.made.append(FakeSpeaker(*args, behaviour=self._behaviour, **kwargs))
        return self.made[-1]

    @property
    def running(self) -> dict[str, FakeSpeaker]:
        """The speakers that were not asked to end, by session id."""
        return {speaker.session_id: speaker for speaker in self.made if not speaker.ending.is_set()}

    def slot(self, session_id: str) -> PublisherClaims:
        return self.running[session_id].slot


class RecordedCapacity(Capacity):
    """Knows which claims are not released yet."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.claimed: list[PublisherClaims] = []

    def claims(self, call: str, on_subscription: Callable[[], None]) -> PublisherClaims:
        claims = RecordedClaims(self, call, on_subscription)
        self.claimed.append(claims)
        return claims

    @property
    def subscribed(self) -> int:
        return sum(claims.subscribed for claims in self.claimed)

    @property
    def waiting(self) -> int:
        return len(self.claimed) - self.subscribed


class RecordedClaims(PublisherClaims):
    def __init__(self, capacity: RecordedCapacity, call: str, on_subscription: Callable[[], None]) -> None:
        super().__init__(capacity, call, on_subscription)
        self._recorded_by = capacity

    def release(self, *, keep: bool = False) -> None:
        super().release(keep=keep)
        if self in self._recorded_by.claimed:
            self._recorded_by.claimed.remove(self)


class Machine:
    """A process with so much memory in use, of 1,000 MB."""

    def __init__(self, used_mb: int = 100) -> None:
        self.used_mb = used_mb
        self.capacity = RecordedCapacity(read=self.read, release=lambda: None)

    def read(self) -> MemoryReading:
        used = self.used_mb << 20
        return MemoryReading(used, (MemoryBound(MemorySource.CONTAINER, used, 1000 << 20),))

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[RecordedCapacity]:
        watching = asyncio.create_task(self.capacity.watch())
        try:
            yield self.capacity
        finally:
            watching.cancel()
            await asyncio.wait([watching])


async def ended(call: Call) -> None:
    """Return when the call was asked to end."""
    while not call.ending:
        await call.wait_for_end(3600.0)


async def join_and_stay(call: Call) -> None:
    """In place of `Call.run`: the call is joined at once, and lasts until `end`."""
    call.joined.set()
    await ended(call)


class FakeCall:
    """A call and its parts. With `speakers=None` it has real speakers, which find no SFU."""

    def __init__(
        self,
        *,
        room: str = "room",
        sharing: Capacity | None = None,
        speakers: Speakers | None = None,
        backend: FakeBackend | None = None,
        translations: Translations | None = None,
        transcripts: TranscriptSink | None = None,
    ) -> None:
        sessions: list[FakeSession] = []

        def new_session(config: HpbConfig, room_token: str, *, guard: HelloGuard) -> FakeSession:
            sessions.append(FakeSession(config, room_token, guard=guard))
            return sessions[-1]

        async def no_servers() -> Sequence[IceServer]:
            return ()

        options = {} if speakers is None else {"new_speaker": speakers}
        self.call = Call(
            room,
            "en",
            CONFIG,
            backend or FakeBackend(),
            guard=HelloGuard(),
            ice_servers=no_servers,
            sharing=sharing or Capacity(read=lambda: MemoryReading(0)),
            translations=translations or Translations(NoTranslator()),
            transcripts=transcripts,
            interval=CaptionInterval(),
            on_caption_sent=lambda caption: None,
            on_stt_error=lambda error: None,
            new_session=new_session,  # type: ignore[arg-type]
            **options,  # type: ignore[arg-type]
        )
        (self.session,) = sessions
        self.speakers = speakers or Speakers()
        self.running: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def joined(self, *speakers: str) -> AsyncIterator[FakeCall]:
        """Runs with a listener and these speakers in the room; ends abruptly."""
        self.running = asyncio.create_task(self.call.run())
        await asyncio.sleep(0.1)
        await self.session.start(*speakers)
        self.call.add_target("nc1", None)
        try:
            yield self
        finally:
            self.running.cancel()
            await asyncio.wait([self.running])
