# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The events of a signaling session, as plain values; `protocol` makes them from the HPB's frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag
from typing import TypeAlias


class EndOfStream(Exception):
    """There are no more events: the connection was closed, or it failed and its `run()` has raised the reason."""


class InCall(IntFlag):
    """Talk's in-call flags."""

    DISCONNECTED = 0
    IN_CALL = 1
    WITH_AUDIO = 2
    WITH_VIDEO = 4
    WITH_PHONE = 8


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """We are in the room. `resumed=True`: same session as before the drop, nothing was lost, subscribers stay alive.

    `resumed=False`: a new session; every earlier session id, subscriber and participant is void.
    """

    session_id: str
    resumed: bool
    server_version: str
    features: frozenset[str]


@dataclass(frozen=True, slots=True)
class SessionInterrupted:
    """The websocket broke; a resume or a new session is being tried. Media may go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Participant:
    """One entry of `room/join` or `participants/update`; None means that the frame did not say.

    `nextcloud_session_id` is Talk's session id (`roomsessionid` or `nextcloudSessionId`), what `ncSessionId` names.
    """

    session_id: str
    nextcloud_session_id: str | None = None
    user_id: str | None = field(default=None, repr=False)
    in_call: InCall | None = None
    internal: bool = False
    virtual: bool = False
    federated: bool = False

    def has(self, flags: InCall) -> bool:
        """Whether all of these in-call flags are known to be set.

        Uses plain integers: an operator of IntFlag takes a microsecond, and a large update needs one for every participant.
        """
        return self.in_call is not None and int.__and__(self.in_call, flags) == flags

    def updated(self, new: Participant) -> Participant:
        """This participant updated by a later entry of the same session, which may omit values."""
        return Participant(
            session_id=self.session_id,
            nextcloud_session_id=new.nextcloud_session_id or self.nextcloud_session_id,
            user_id=new.user_id or self.user_id,
            in_call=self.in_call if new.in_call is None else new.in_call,
            internal=new.internal or self.internal,
            virtual=new.virtual or self.virtual,
            federated=new.federated or self.federated,
        )


@dataclass(frozen=True, slots=True)
class ParticipantsJoined:
    participants: tuple[Participant, ...]


@dataclass(frozen=True, slots=True)
class ParticipantsUpdated:
    """Upsert; never the complete list."""

    participants: tuple[Participant, ...]


@dataclass(frozen=True, slots=True)
class ParticipantsLeft:
    session_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CallEndedForAll:
    pass


@dataclass(frozen=True, slots=True)
class RemovedFromRoom:
    """Removed (`room` with an empty id, `disinvite`, deleted room), or sent elsewhere (`switchto`, breakout rooms).

    With `switch_to` we are still in the room until we leave it.
    """

    switch_to: str | None = None


@dataclass(frozen=True, slots=True)
class OfferReceived:
    publisher: str
    room_type: str
    sid: str
    sdp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CandidateReceived:
    """`candidate` as in an SDP `a=candidate:` line without `a=`; empty or None: end of candidates."""

    publisher: str
    room_type: str
    sid: str
    candidate: str | None
    sdp_mid: str | None
    sdp_m_line_index: int | None


@dataclass(frozen=True, slots=True)
class SubscribeFailed:
    """The server refused our `requestoffer` or answer for one publisher; `reason` is its error code."""

    publisher: str
    reason: str
    room_type: str = "video"


SignalingEvent: TypeAlias = (
    SessionStarted
    | SessionInterrupted
    | ParticipantsJoined
    | ParticipantsUpdated
    | ParticipantsLeft
    | CallEndedForAll
    | RemovedFromRoom
    | OfferReceived
    | CandidateReceived
    | SubscribeFailed
)
