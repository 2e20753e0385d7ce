# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A participant who uses Talk in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox import loopback_ice
from sandbox.caller.captions import ReceivedCaption
from sandbox.caller.connection import SignalingError
from sandbox.caller.participant import Participant
from sandbox.caller.speech import Speech, from_recording
from sandbox.nextcloud import ExAppAnswer, Nextcloud, TalkSession
from sandbox.nextcloud.rooms import IN_CALL, WITH_AUDIO, WITH_VIDEO
from sandbox.recording import Recording


class Caller(Participant):
    """`async with Caller(...) as caller:` is in the call, with its microphone on, while the block runs.

    `recording` starts to play once the media is connected; `play()` and `say()` play more. `publishes=False`: only listens,
    and reads captions; with `claims_microphone` it says all the same that it has one. `microphone=False`: publishes its video
    alone, though its flags say audio, until `add_microphone`. `user_id` None: a guest. `loss`: share of the RTP packets that
    never arrive.
    """

    def __init__(
        self,
        signaling_url: str,
        nextcloud: Nextcloud,
        room_token: str,
        user_id: str | None,
        display_name: str,
        recording: Recording | Speech | None = None,
        *,
        publishes: bool = True,
        microphone: bool = True,
        claims_microphone: bool = False,
        video: bool = False,
        loss: float = 0.0,
        dtx: bool = False,
        seed: int = 0,
        on_caption: Callable[[ReceivedCaption], None] | None = None,
    ) -> None:
        loopback_ice.install()
        self.nextcloud = nextcloud
        self._claims_microphone = claims_microphone
        super().__init__(
            signaling_url, room_token,
            publishes=publishes, microphone=microphone, video=video, loss=loss, dtx=dtx, seed=seed, on_caption=on_caption,
        )  # fmt: skip
        self.user_id = user_id
        self.display_name = display_name
        self.talk_session: TalkSession | None = None
        self.playback = None
        if recording is not None:
            speech = from_recording(recording) if isinstance(recording, Recording) else recording
            self.playback = self.play(speech)

    @property
    def nextcloud_session_id(self) -> str:
        """The id that Talk sends as `ncSessionId`."""
        assert self.talk_session is not None, "not in the room"
        return self.talk_session.id

    @property
    def in_call_flags(self) -> int:
        flags = IN_CALL
        if self._claims_microphone:
            flags |= WITH_AUDIO
        if self._publishes:
            flags |= WITH_AUDIO | (WITH_VIDEO if self._video else 0)
        return flags

    async def enable_captions(self, language: str | None = None) -> ExAppAnswer:
        """Clicks CC. Raises ExAppUnreachable."""
        return await self.nextcloud.talk.enable_captions(self.room_token, self.nextcloud_session_id, self.user_id, language)

    async def disable_captions(self) -> ExAppAnswer:
        return await self.nextcloud.talk.disable_captions(self.room_token, self.nextcloud_session_id, self.user_id)

    async def leave_call(self) -> None:
        """Stays in the room, without media."""
        await self._stop_publishing()
        await self.nextcloud.talk.leave_call(self.nextcloud_session_id)

    async def reload(self, *, bye: bool = True) -> None:
        """Reloads the page: everything starts again, with another Nextcloud session. Returns when back in the call."""
        await self._stop_publishing(silently=not bye)
        if bye:
            await self._leave_nextcloud()
        self.talk_session = None
        self._joined.clear()
        self.connection.forget()
        if bye:
            await self.connection.start_over()
        else:
            self.connection.cut()
        await self.wait_connected()

    async def _auth(self, version: str) -> dict[str, Any]:
        del version
        return self.nextcloud.talk.hello_auth(self.user_id, self.display_name)

    async def _signaling_settings(self) -> dict[str, Any]:
        return self.nextcloud.talk.signaling_settings(None)

    def _features(self) -> list[str]:
        return ["chat-relay"]

    async def _join(self) -> None:
        talk = self.nextcloud.talk
        if self.talk_session is None:
            self.talk_session = talk.join_room(self.room_token, self.user_id, self.display_name)
        try:
            await self._join_room(self.talk_session)
        except SignalingError as error:
            if error.code != "no_such_room":
                raise
            # Our Nextcloud session ended with our last HPB session.
            self.talk_session = talk.join_room(self.room_token, self.user_id, self.display_name)
            await self._join_room(self.talk_session)
        await talk.join_call(self.talk_session.id, self.in_call_flags)

    async def _join_room(self, session: TalkSession) -> None:
        room = {"roomid": self.room_token, "sessionid": session.id}
        await self.connection.request({"type": "room", "room": room})

    async def _leave_nextcloud(self) -> None:
        if self.talk_session is not None:
            await self.nextcloud.talk.leave_room(self.talk_session.id)
            self.talk_session = None

    def _nick(self) -> str:
        return self.display_name
