# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The SFU: its publishers and subscribers, and the tasks of their transports."""

from __future__ import annotations

import asyncio
import itertools
from types import TracebackType
from typing import Literal

from sandbox.sfu.certificate import CertificateKind, SfuCertificate
from sandbox.sfu.impairment import Impairment
from sandbox.sfu.publisher import Publisher, Source
from sandbox.sfu.sdp import SdpError
from sandbox.sfu.subscriber import Subscriber


class SfuError(Exception):
    """A description or candidate that cannot be taken; the HPB answers `processing_failed`."""


class Sfu:
    """An async context manager. `offers_added`: offer a stream that a publisher adds to its subscribers, as Janus 0.x does and
    Janus 1.x does not. `offer_video`: offers have a video section even if the publisher sends no video.

    `candidates`: "sdp" puts ICE candidates into the offers, as Janus does by default; "trickle" leaves them to messages.
    """

    def __init__(
        self,
        *,
        certificate: CertificateKind = "ecdsa",
        candidates: Literal["sdp", "trickle"] = "sdp",
        offer_video: bool = False,
        offers_added: bool = False,
    ) -> None:
        self.certificate = SfuCertificate.of_kind(certificate)
        self.candidates = candidates
        self.offer_video = offer_video
        self.offers_added = offers_added
        #: What new subscribers' packets suffer.
        self.impairment = Impairment()
        self.publishers: dict[tuple[str, str], Source] = {}
        self.subscribers: set[Subscriber] = set()
        self._published = asyncio.Condition()
        self._numbers = itertools.count(4_000_000_001)
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Sfu:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close_all()
        await self._tasks.__aexit__(kind, error, trace)

    async def publish(self, session: str, stream: str, sid: str, offer: str) -> str:
        """The answer to a publisher's offer; `stream` is "video" (microphone and camera) or "screen". Raises SfuError."""
        key = (session, stream)
        publisher = self.publishers.get(key)
        fresh = publisher is None or publisher.sid != sid or publisher.state in ("closed", "failed")
        if fresh or not isinstance(publisher, Publisher):
            if publisher is not None:
                await publisher.close()
            publisher = Publisher(self.certificate, sid)
        try:
            answer = await publisher.answer(offer, self._tasks)
        except SdpError as error:
            if fresh:
                await publisher.close()
            raise SfuError(str(error)) from error
        await self.add(session, stream, publisher)
        return answer

    async def add(self, session: str, stream: str, source: Source) -> None:
        """Set the stream that this session publishes, and notify those who wait for it."""
        self.publishers[session, stream] = source
        async with self._published:
            self._published.notify_all()

    async def wait_for_publisher(self, session: str, stream: str, timeout_s: float) -> Source | None:
        """As the HPB does for a `requestoffer` that comes before the stream; None when none came in time."""
        key = (session, stream)
        try:
            async with asyncio.timeout(timeout_s), self._published:
                await self._published.wait_for(lambda: key in self.publishers)
        except TimeoutError:
            return None
        return self.publishers.get(key)

    async def unpublish(self, session: str, stream: str | None = None, *, silently: bool = False) -> None:
        """Close what this session publishes. Its subscribers stay connected and hear nothing, as with Janus."""
        for key in [key for key in self.publishers if key[0] == session and stream in (None, key[1])]:
            await self.publishers.pop(key).close(silently=silently)

    async def subscribe(self, publisher: Source) -> Subscriber:
        """A new peer for one subscriber of this publisher; ask it for `offer()` next."""
        video = self.offer_video or publisher.has_video
        sid = str(next(self._numbers))
        subscriber = Subscriber(self.certificate, publisher, sid, video=video, trickle=self.candidates == "trickle")
        subscriber.impair(self.impairment)
        self.subscribers.add(subscriber)
        return subscriber

    async def answer(self, subscriber: Subscriber, text: str) -> None:
        """Raises SfuError."""
        try:
            await subscriber.answer(text, self._tasks)
        except SdpError as error:
            raise SfuError(str(error)) from error

    async def add_candidate(self, peer: Source | Subscriber, line: str, mid: str | None, index: int | None) -> None:
        """Raises SfuError."""
        try:
            await peer.add_candidate(line, mid, index)
        except SdpError as error:
            raise SfuError(str(error)) from error

    async def unsubscribe(self, subscriber: Subscriber, *, silently: bool = False) -> None:
        self.subscribers.discard(subscriber)
        await subscriber.close(silently=silently)

    async def close_all(self, *, silently: bool = False) -> None:
        """Every peer at once; with `silently`, as when the media server is killed."""
        publishers, self.publishers = list(self.publishers.values()), {}
        subscribers, self.subscribers = list(self.subscribers), set()
        for subscriber in subscribers:
            await subscriber.close(silently=silently)
        for publisher in publishers:
            await publisher.close(silently=silently)
