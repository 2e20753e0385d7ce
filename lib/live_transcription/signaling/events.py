# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Events of a signaling session, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag
from typing import TypeAlias


class SignalingEnded(Exception):
    """There are no more events: the connection was closed, or it failed and its `run` has raised the reason."""


class InCall(IntFlag):
    """Talk's in-call flags of a participant."""

    DISCONNECTED = 0
    IN_CALL = 1
    WITH_AUDIO = 2
    WITH_VIDEO = 4
    WITH_PHONE = 8


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """The app is in the room.

    If `resumed` is True, this is the session of before the interruption: no event was lost and subscribers stay connected. If
    it is False, all earlier session ids, subscribers and participants are void.
    """

    session_id: str
    resumed: bool
    server_version: str
    features: frozenset[str]


@dataclass(frozen=True, slots=True)
class SessionInterrupted:
    """The websocket broke. A resume or a new session is being tried; media may continue."""

    reason: str


@dataclass(frozen=True, slots=True)
class Participant:
    """One entry of `room/join` or `participants/update`. None means that the frame did not say.

    `session_id` is the HPB's session, `nextcloud_session_id` Talk's (`roomsessionid`, `nextcloudSessionId`). `user_id` is None
    for guests and phone callers. `display_name` is chosen by the participant, so it may be anything. Neither of the two is
    shown in `repr`, so that they do not reach a log.
    """

    session_id: str
    nextcloud_session_id: str | None = None
    user_id: str | None = field(default=None, repr=False)
    in_call: InCall | None = None
    internal: bool = False
    virtual: bool = False
    federated: bool = False
    display_name: str | None = field(default=None, repr=False)

    def has(self, flags: InCall) -> bool:
        """Whether all of these in-call flags are known to be set."""
        # Plain integers, because an operator of IntFlag takes a microsecond and a large update needs one per participant.
        return self.in_call is not None and int.__and__(self.in_call, flags) == flags

    def merged(self, newer: Participant) -> Participant:
        """This participant with the values of a newer entry of the same session, which may omit some."""
        return Participant(
            session_id=self.session_id,
            nextcloud_session_id=newer.nextcloud_session_id or self.nextcloud_session_id,
            user_id=newer.user_id or self.user_id,
            in_call=self.in_call if newer.in_call is None else newer.in_call,
            internal=newer.internal or self.internal,
            virtual=newer.virtual or self.virtual,
            federated=newer.federated or self.federated,
            display_name=newer.display_name or self.display_name,
        )


@dataclass(frozen=True, slots=True)
class ParticipantsJoined:
    """These participants joined the room."""

    participants: tuple[Participant, ...]


@dataclass(frozen=True, slots=True)
class ParticipantsUpdated:
    """These participants have joined or changed. The list is never complete."""

    participants: tuple[Participant, ...]


@dataclass(frozen=True, slots=True)
class ParticipantsLeft:
    """These sessions left the room."""

    session_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CallEndedForAll:
    """A moderator ended the call for everybody."""


@dataclass(frozen=True, slots=True)
class RemovedFromRoom:
    """The app was removed (`room` with an empty id, `disinvite`, deleted room), or sent elsewhere (`switchto`, breakout rooms).

    If `switch_to` is set, the app is still in the room until it leaves.
    """

    switch_to: str | None = None


@dataclass(frozen=True, slots=True)
class OfferReceived:
    """The SFU's offer of a publisher's stream. The answer and candidates carry the same `sid`."""

    publisher: str
    room_type: str
    sid: str
    sdp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CandidateReceived:
    """An ICE candidate of the SFU: an SDP line `a=candidate:…` without `a=`. None means that there are no more."""

    publisher: str
    room_type: str
    sid: str
    candidate: str | None
    sdp_mid: str | None
    sdp_m_line_index: int | None


@dataclass(frozen=True, slots=True)
class SubscribeFailed:
    """The HPB refused our `requestoffer` or answer for one publisher. `reason` is its error code."""

    publisher: str
    reason: str
    room_type: str = "video"


ParticipantsEvent: TypeAlias = ParticipantsJoined | ParticipantsUpdated | ParticipantsLeft
RoomEvent: TypeAlias = ParticipantsEvent | CallEndedForAll | RemovedFromRoom | OfferReceived | CandidateReceived
SignalingEvent: TypeAlias = SessionStarted | SessionInterrupted | SubscribeFailed | RoomEvent
