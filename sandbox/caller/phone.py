# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Talk's own internal clients: the SIP bridge, which publishes a phone's audio on its session, and the recording server."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

from sandbox import loopback_ice
from sandbox.caller.participant import Participant
from sandbox.caller.speech import Speech
from sandbox.nextcloud import Nextcloud
from sandbox.nextcloud.rooms import IN_CALL, WITH_AUDIO, WITH_PHONE

#: Attendee type of phones.
_ACTOR_TYPE = "phones"


class InternalClient(Participant):
    """A session with the HPB's secret. The HPB reports it as in the call with audio, whatever it publishes."""

    def __init__(
        self,
        signaling_url: str,
        nextcloud: Nextcloud,
        room_token: str,
        internal_secret: str,
        *,
        publishes: bool,
        loss: float = 0.0,
    ) -> None:
        loopback_ice.install()
        self.nextcloud = nextcloud
        super().__init__(signaling_url, room_token, publishes=publishes, loss=loss)
        self._internal_secret = internal_secret

    async def _auth(self, version: str) -> dict[str, Any]:
        del version
        random = secrets.token_hex(32)
        token = hmac.new(self._internal_secret.encode(), random.encode(), hashlib.sha256).hexdigest()
        return {"type": "internal", "params": {"random": random, "token": token, "backend": self.nextcloud.url + "/"}}

    async def _signaling_settings(self) -> dict[str, Any]:
        return self.nextcloud.talk.signaling_settings(None)

    def _features(self) -> list[str]:
        # Without `internal-incall` the server reports this client as in the call with audio.
        return []

    async def _join(self) -> None:
        await self.connection.request({"type": "room", "room": {"roomid": self.room_token}})

    async def _leave_nextcloud(self) -> None:
        """Nothing to do: Nextcloud does not know internal clients."""


class RecordingServer(InternalClient):
    """Records, and publishes nothing."""

    def __init__(self, signaling_url: str, nextcloud: Nextcloud, room_token: str, internal_secret: str) -> None:
        super().__init__(signaling_url, nextcloud, room_token, internal_secret, publishes=False)


class PhoneCaller(InternalClient):
    """The bridge's internal session with one virtual session for the phone. `session_id`: the internal one, which publishes."""

    def __init__(
        self,
        signaling_url: str,
        nextcloud: Nextcloud,
        room_token: str,
        internal_secret: str,
        speech: Speech | None = None,
        *,
        number: str = "+49 30 000000",
        loss: float = 0.0,
    ) -> None:
        super().__init__(signaling_url, nextcloud, room_token, internal_secret, publishes=True, loss=loss)
        self.number = number
        self.virtual_session_id = f"phone-{secrets.token_hex(8)}"
        self.playback = None if speech is None else self.play(speech)

    async def _join(self) -> None:
        await super()._join()
        session = {
            "sessionid": self.virtual_session_id,
            "roomid": self.room_token,
            "incall": IN_CALL | WITH_AUDIO | WITH_PHONE,
            "user": {"displayname": self.number, "callid": self.virtual_session_id, "number": self.number, "type": "phone"},
            "options": {"actorType": _ACTOR_TYPE, "actorId": self.virtual_session_id},
        }
        await self.connection.send({"type": "internal", "internal": {"type": "addsession", "addsession": session}})

    async def _leave_nextcloud(self) -> None:
        """The bridge removes the virtual session; Nextcloud hears of it from the HPB."""
        if self.connection.connected:
            session = {"sessionid": self.virtual_session_id, "roomid": self.room_token}
            await self.connection.send({"type": "internal", "internal": {"type": "removesession", "removesession": session}})
