# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Messages to the SFU, in a session's name: offers and candidates of publishers, requests and answers of subscribers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from sandbox.hpb.errors import Refusal
from sandbox.hpb.faults import Faults
from sandbox.hpb.frames import Frame, from_sfu
from sandbox.hpb.session import Session
from sandbox.sfu import Sfu, SfuError, Source, Subscriber

#: Types of `message.data` that are for the SFU where the recipient is a session.
HANDLED = frozenset({"requestoffer", "offer", "answer", "endOfCandidates", "selectStream", "candidate"})


#: Seconds for which the HPB handles the end of a subscriber that its client has closed. A request in this time is lost. With a
#: real HPB this takes some milliseconds and happens in two of five cases; here it always happens, so no test depends on luck.
HANGUP_S = 0.9


class Media:
    """`timeout_s`: how long a `requestoffer` waits for its publisher before the answer `client_not_found`.

    `sessions`: the sessions that may subscribe.
    """

    def __init__(
        self, sfu: Sfu, faults: Faults, *, timeout_s: float = 10.0, sessions: Callable[[], Iterable[Session]] = tuple
    ) -> None:
        self.sfu = sfu
        self.faults = faults
        self.timeout_s = timeout_s
        self._sessions = sessions

    async def handle(self, session: Session, recipient: str, data: Frame) -> None:
        """Raises Refusal, to be answered under the message's id."""
        room_type = str(data.get("roomType") or "video")
        kind = data["type"]
        if kind == "requestoffer":
            await self._request_offer(session, recipient, room_type, str(data.get("sid") or ""))
        elif kind == "offer":
            await self._publish(session, room_type, data)
        elif kind == "answer":
            await self._answer(session, recipient, room_type, data)
        elif kind == "candidate":
            await self._candidate(session, recipient, room_type, data)
        elif kind == "selectStream" and (recipient, room_type) not in session.subscribers and recipient != session.id:
            raise Refusal("client_not_found")

    async def offer_own_stream(self, session: Session, receiver: Session, data: Frame, message_id: str | None) -> None:
        """`sendoffer`: `receiver` gets an offer of what `session` publishes, without a request and from any room."""
        room_type = str(data.get("roomType") or "video")
        try:
            await self._subscribe(receiver, session.id, room_type, str(data.get("sid") or ""))
        except Refusal as refusal:
            session.send(refusal.frame(message_id))

    async def _request_offer(self, session: Session, recipient: str, room_type: str, sid: str) -> None:
        if recipient == session.id:
            return
        if not session.internal and not _in_same_call(session, recipient):
            raise Refusal("not_allowed", "Not allowed to request offer.")
        if self.faults.refuses_offer():
            if self.faults.offer_refusal == "silence":
                return
            raise Refusal(self.faults.offer_refusal)
        await self._subscribe(session, recipient, room_type, sid)

    async def _subscribe(self, session: Session, recipient: str, room_type: str, sid: str) -> None:
        publisher = await self.sfu.wait_for_publisher(recipient, room_type, self.timeout_s)
        if publisher is None:
            raise Refusal("client_not_found")
        key = (recipient, room_type)
        subscriber = session.subscribers.get(key)
        if subscriber is not None and subscriber.hung_up_at is not None:
            if asyncio.get_running_loop().time() - subscriber.hung_up_at < HANGUP_S:
                return
            await self.sfu.unsubscribe(session.subscribers.pop(key))
            subscriber = None
        if subscriber is not None and subscriber.sid == sid:
            await self.send_offer(session, recipient, room_type, subscriber)
            return
        fresh = session.subscribers[key] = await self.sfu.subscribe(publisher)
        await self.send_offer(session, recipient, room_type, fresh)
        if subscriber is not None:
            # An existing one is replaced, and its end is then mistaken for that of its successor: both are closed.
            # With a real HPB this happens in about every second case.
            await self.sfu.unsubscribe(subscriber)
            if session.subscribers.get(key) is fresh:
                await self.sfu.unsubscribe(session.subscribers.pop(key))

    async def send_offer(self, session: Session, publisher: str, room_type: str, subscriber: Subscriber) -> None:
        """The first offer, or with a subscriber that is up a renegotiation."""
        payload = {"type": "offer", "sdp": self.faults.distort(await subscriber.offer())}
        session.send(from_sfu(publisher, session.id, "offer", room_type, subscriber.sid, payload))
        if self.faults.drop_candidates:
            return
        for candidate in subscriber.trickled_candidates():
            session.send(from_sfu(publisher, session.id, "candidate", room_type, subscriber.sid, {"candidate": candidate}))

    async def _publish(self, session: Session, room_type: str, data: Frame) -> None:
        if not session.may_publish(room_type, data):
            raise Refusal("not_allowed", "Not allowed to publish.")
        sid = str(data.get("sid") or "")
        try:
            answer = await self.sfu.publish(session.id, room_type, sid, _description(data))
        except SfuError as error:
            raise Refusal("processing_failed") from error
        session.send(from_sfu(session.id, session.id, "answer", room_type, sid, {"type": "answer", "sdp": answer}))
        if self.sfu.offers_added:
            await self._offer_added(session.id, room_type)

    async def _offer_added(self, publisher: str, room_type: str) -> None:
        if not self.sfu.publishers[publisher, room_type].has_audio:
            return
        for session in list(self._sessions()):
            subscriber = session.subscribers.get((publisher, room_type))
            if subscriber is not None and not subscriber.has_audio:
                subscriber.add_audio()
                await self.send_offer(session, publisher, room_type, subscriber)

    async def _answer(self, session: Session, recipient: str, room_type: str, data: Frame) -> None:
        subscriber = session.subscribers.get((recipient, room_type))
        if subscriber is None:
            raise Refusal("client_not_found")
        if data.get("sid") and data["sid"] != subscriber.sid:
            raise Refusal("processing_failed")
        try:
            await self.sfu.answer(subscriber, _description(data))
        except SfuError as error:
            raise Refusal("processing_failed") from error

    async def _candidate(self, session: Session, recipient: str, room_type: str, data: Frame) -> None:
        peer: Source | Subscriber | None
        if recipient == session.id:
            peer = self.sfu.publishers.get((session.id, room_type))
        else:
            peer = session.subscribers.get((recipient, room_type))
            if peer is not None and data.get("sid") and data["sid"] != peer.sid:
                raise Refusal("processing_failed")
        if peer is None:
            raise Refusal("client_not_found")
        candidate = data["payload"].get("candidate") if isinstance(data.get("payload"), dict) else None
        if not isinstance(candidate, dict) or not isinstance(candidate.get("candidate"), str):
            raise Refusal("processing_failed")
        mid, index = candidate.get("sdpMid"), candidate.get("sdpMLineIndex")
        try:
            await self.sfu.add_candidate(peer, candidate["candidate"], mid, index if isinstance(index, int) else None)
        except SfuError as error:
            raise Refusal("invalid_candidate") from error

    async def release(self, session: Session) -> None:
        """Release all streams that the session publishes and subscribes to, as when it leaves the call."""
        subscribers, session.subscribers = list(session.subscribers.values()), {}
        for subscriber in subscribers:
            await self.sfu.unsubscribe(subscriber)
        await self.sfu.unpublish(session.id)


def _description(data: Frame) -> str:
    return str((data.get("payload") or {}).get("sdp", ""))


def _in_same_call(session: Session, recipient: str) -> bool:
    room = session.room
    if room is None or session.id not in room.in_call:
        return False
    other = room.sessions.get(recipient)
    return other is not None and (other.kind == "internal" or recipient in room.in_call)
