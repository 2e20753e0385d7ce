# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The common part of all participants: stay connected, publish, receive captions."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from sandbox.caller.captions import CaptionLog, ReceivedCaption
from sandbox.caller.connection import Connection, SignalingError
from sandbox.caller.listener import Listener
from sandbox.caller.microphone import Microphone, Mute, Playback
from sandbox.caller.publisher import Publisher, ice_servers
from sandbox.caller.speech import Speech

logger = logging.getLogger(__name__)

_ANSWER_TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 15.0
_RETRIES = 5
_RETRY_S = 0.5


class CallFailed(Exception):
    """A participant could not join or publish, though it tried as often as a browser does."""


class Participant(ABC):
    """Base of `Caller`, `PhoneCaller` and `RemoteCaller`; an async context manager that is in the call while its block runs."""

    def __init__(
        self,
        signaling_url: str,
        room_token: str,
        *,
        publishes: bool = True,
        microphone: bool = True,
        video: bool = False,
        loss: float = 0.0,
        dtx: bool = False,
        seed: int = 0,
        on_caption: Callable[[ReceivedCaption], None] | None = None,
    ) -> None:
        self.room_token = room_token
        self.microphone = Microphone(dtx=dtx)
        self.captions = CaptionLog(on_caption)
        self.connection = Connection(
            signaling_url,
            self._auth,
            features=self._features(),
            on_message=self._on_message,
            on_event=self._on_event,
            on_refused=self._on_refused,
        )
        #: HPB session ids in our room, and the last known in-call flags of each.
        self.others: dict[str, int] = {}
        self.publisher: Publisher | None = None
        self._publishes, self._video, self._loss, self._seed = publishes, video, loss, seed
        self._with_microphone = microphone
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=64)
        self._listeners: dict[str, Listener] = {}
        self._sid = ""
        self._joined = asyncio.Event()
        self._published = asyncio.Event()
        self._stack = AsyncExitStack()
        self._tasks: asyncio.TaskGroup | None = None
        self._publishing: asyncio.Task[None] | None = None

    @property
    def session_id(self) -> str:
        """Of the HPB session that our audio is published on: what captions name as their speaker."""
        return self.connection.session_id

    @property
    def joined(self) -> bool:
        """In the room, and in the call as far as Talk is concerned; media may be missing."""
        return self._joined.is_set()

    @property
    def loss(self) -> float:
        return self._loss

    @loss.setter
    def loss(self, share: float) -> None:
        self._loss = share
        if self.publisher is not None:
            self.publisher.loss = share

    async def __aenter__(self) -> Self:
        """Returns once we are in the call and, if we publish, our media is connected."""
        async with AsyncExitStack() as stack:
            self._tasks = await stack.enter_async_context(asyncio.TaskGroup())
            stack.push_async_callback(self._leave)
            self._tasks.create_task(self.connection.run(self._on_session), name="caller-connection")
            async with asyncio.timeout(2 * _CONNECT_TIMEOUT_S):
                await self._joined.wait()
                if self._publishes:
                    await self._published.wait()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    # Speaking.

    def play(self, speech: Speech) -> Playback:
        return self.microphone.play(speech)

    async def say(self, speech: Speech) -> Playback:
        """Plays it to its end."""
        playback = self.play(speech)
        await playback.wait()
        return playback

    def mute(self, kind: Mute = Mute.SILENCE) -> None:
        """Pauses what is playing."""
        self.microphone.muted = kind

    def unmute(self) -> None:
        self.microphone.muted = None

    async def add_microphone(self) -> None:
        """The peer is renegotiated: same session, same `sid`, and one more section in the offer. Raises SignalingError."""
        assert self.publisher is not None, "not publishing"
        self._with_microphone = True
        self.publisher.add_microphone(self.microphone)
        await self._offer(self.publisher, self._sid)

    def lose(self, packets: int) -> None:
        """The next RTP packets never arrive."""
        if self.publisher is not None:
            self.publisher.lose_next = packets

    # Leaving.

    async def leave(self) -> None:
        """Leave Nextcloud's call and the HPB; the block may continue."""
        await self._stop_publishing()
        await self._leave_nextcloud()
        await self.connection.leave()

    async def vanish(self) -> None:
        """The network breaks: no message is sent, and the HPB notices after 30 s."""
        await self._stop_publishing(silently=True)
        await self.connection.leave(bye=False)

    async def wait_connected(self, *, timeout_s: float = 20.0) -> None:
        """In the room and, if we publish, with media: after a cut or a restart."""
        async with asyncio.timeout(timeout_s):
            await self._joined.wait()
            if self._publishes:
                await self._published.wait()

    async def listen(self, speaker: str, *, timeout_s: float = 12.0) -> Listener:
        """Subscribes to another session's audio; closed when we leave. Raises SignalingError, TimeoutError."""
        listener = Listener()
        self._listeners[speaker] = listener
        await self.connection.say(speaker, {"type": "requestoffer", "roomType": "video"})
        async with asyncio.timeout(timeout_s):
            await listener.connected.wait()
        return listener

    # What the kinds of participant do in their own way.

    @abstractmethod
    async def _auth(self, version: str) -> dict[str, Any]:
        """The `auth` of a hello of this version, `2.0` or `1.0`."""

    @abstractmethod
    async def _signaling_settings(self) -> dict[str, Any]:
        """As Talk gives them: STUN and TURN servers are taken from there."""

    @abstractmethod
    def _features(self) -> list[str]: ...

    @abstractmethod
    async def _join(self) -> None:
        """Room, and call; on a new HPB session."""

    @abstractmethod
    async def _leave_nextcloud(self) -> None: ...

    async def _on_session(self) -> None:
        self.others.clear()
        await self._join()
        self._joined.set()
        if self._publishes:
            assert self._tasks is not None
            await self._stop_publishing(silently=True)
            self._publishing = self._tasks.create_task(self._publish(), name="caller-publish")

    async def _publish(self) -> None:
        """Until the media break; then everything starts over, as in Talk's web client."""
        for _ in range(_RETRIES):
            publisher = self.publisher = Publisher(
                self.microphone if self._with_microphone else None,
                video=self._video,
                servers=ice_servers(await self._signaling_settings()),
                loss=self._loss,
                seed=self._seed,
            )
            try:
                await self._negotiate(publisher)
                self._published.set()
                await publisher.broken.wait()
                self._published.clear()
                self._joined.clear()
                self._publishing = None
                await self.connection.start_over()
            except (TimeoutError, SignalingError) as error:
                logger.debug("caller: publishing failed: %r", error)
                await asyncio.sleep(_RETRY_S)
            except ConnectionError:
                return
            else:
                return
            finally:
                await publisher.close()
        raise CallFailed(f"no media after {_RETRIES} attempts")

    async def _negotiate(self, publisher: Publisher) -> None:
        self._sid = str(time.time_ns())
        early = await self._offer(publisher, self._sid)
        async with asyncio.timeout(_CONNECT_TIMEOUT_S), asyncio.TaskGroup() as group:
            trickle = group.create_task(self._trickle(publisher, early))
            await publisher.connected.wait()
            trickle.cancel()

    async def _offer(self, publisher: Publisher, sid: str) -> list[dict[str, Any]]:
        """Until the answer is taken; returns the candidates that came before it."""
        own = self.session_id
        while not self._answers.empty():
            self._answers.get_nowait()
        payload = {"type": "offer", "sdp": await publisher.offer(), "nick": self._nick()}
        offer = {"to": own, "sid": sid, "roomType": "video", "type": "offer", "payload": payload}
        early: list[dict[str, Any]] = []
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            await self.connection.say(own, offer)
            while (answer := await self._answers.get())["type"] != "answer":
                if answer["type"] == "refused":
                    raise SignalingError(answer["code"])
                early.append(answer)
        await publisher.accept(answer["payload"]["sdp"])
        return early

    async def _trickle(self, publisher: Publisher, early: list[dict[str, Any]]) -> None:
        for message in early:
            await publisher.add_candidate(message["payload"]["candidate"])
        while True:
            message = await self._answers.get()
            if message["type"] == "candidate":
                await publisher.add_candidate(message["payload"]["candidate"])

    async def _stop_publishing(self, *, silently: bool = False) -> None:
        self._published.clear()
        task, self._publishing = self._publishing, None
        if silently and self.publisher is not None:
            await self.publisher.close(silently=True)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _nick(self) -> str:
        return ""

    def _on_message(self, sender: str, content: dict[str, Any]) -> None:
        kind = content.get("type")
        if kind == "transcript":
            self.captions.add(ReceivedCaption.from_message(time.time(), content))
        elif content.get("roomType") == "video" and sender == self.session_id and kind in ("answer", "candidate"):
            if not self._answers.full():
                self._answers.put_nowait(content)
        elif sender in self._listeners and kind in ("offer", "candidate"):
            assert self._tasks is not None
            self._tasks.create_task(self._answer(sender, content), name="caller-answer")

    async def _answer(self, sender: str, content: dict[str, Any]) -> None:
        listener = self._listeners[sender]
        if content["type"] == "candidate":
            await listener.add_candidate(content["payload"]["candidate"])
            return
        answer = {"type": "answer", "sdp": await listener.answer(content["payload"]["sdp"])}
        message = {"to": sender, "sid": content.get("sid", ""), "roomType": "video", "type": "answer", "payload": answer}
        await self.connection.say(sender, message)

    def _on_refused(self, error: SignalingError) -> None:
        """Our offer is all that we wait for without a request's answer."""
        logger.debug("caller: %s", error)
        if not self._published.is_set() and not self._answers.full():
            self._answers.put_nowait({"type": "refused", "code": error.code})

    def _on_event(self, event: dict[str, Any]) -> None:
        target, kind = event.get("target"), event.get("type")
        if (target, kind) == ("room", "join"):
            for entry in event["join"]:
                self.others.setdefault(entry["sessionid"], 0)
        elif (target, kind) == ("room", "leave"):
            for session_id in event["leave"]:
                self.others.pop(session_id, None)
        elif (target, kind) == ("participants", "update"):
            for entry in event["update"].get("users") or ():
                if "sessionId" in entry:
                    self.others[entry["sessionId"]] = int(entry.get("inCall") or 0)

    async def _leave(self) -> None:
        for listener in self._listeners.values():
            await listener.close()
        await self.leave()
