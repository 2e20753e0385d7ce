# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""After any sequence of events, the roster and targets equal those without indexes."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.call.roster import Roster
from live_transcription.call.targets import Targets
from live_transcription.signaling.events import (
    InCall,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
    RoomEvent,
)
from live_transcription.signaling.requests import Recipient
from tests.unit.call.naive import NaiveTargets
from tests.unit.call.test_roster import session_of

#: Talk's sessions: four devices or reloads of one user, one of another user, a guest.
NAMES = {"nc1": "user-1", "nc2": "user-1", "nc3": "user-1", "nc4": "user-1", "nc5": "user-2", "nc6": None}
#: The HPB's sessions of them; two of one Talk session are a reconnect.
SESSIONS = {"s1": "nc1", "s1-again": "nc1", "s2": "nc2", "s3": "nc3", "s4": "nc4", "s5": "nc5", "s6": "nc6"}
FLAGS = [None, InCall.DISCONNECTED, InCall.IN_CALL, InCall.IN_CALL | InCall.WITH_AUDIO, InCall.WITH_AUDIO]


@dataclass(frozen=True)
class Add:
    name: str
    knows_user: bool


@dataclass(frozen=True)
class Remove:
    name: str


@dataclass(frozen=True)
class Reset:
    own: str | None
    recipient_call: bool


names = st.sampled_from(sorted(NAMES))


def participant(session_id: str, flags: InCall | None, *, named: bool, virtual: bool) -> Participant:
    name = SESSIONS[session_id] if named else None
    return Participant(session_id, name, NAMES[name] if name else None, flags, virtual=virtual)


sessions = st.sampled_from(sorted(SESSIONS))
# An entry may omit the names; virtual participants are rare.
participants = st.builds(
    participant,
    sessions,
    st.sampled_from(FLAGS),
    named=st.sampled_from([True, True, True, False]),
    virtual=st.sampled_from([False, False, False, True]),
)
events = st.one_of(
    st.builds(lambda entries: ParticipantsJoined(tuple(entries)), st.lists(participants, min_size=1, max_size=3)),
    st.builds(lambda entries: ParticipantsUpdated(tuple(entries)), st.lists(participants, min_size=1, max_size=3)),
    st.builds(lambda ids: ParticipantsLeft(tuple(ids)), st.lists(sessions, min_size=1, max_size=2)),
    st.builds(Add, names, st.booleans()),
    st.builds(Add, names, st.just(True)),
    st.builds(Remove, names),
    st.builds(Reset, st.sampled_from([None, "s6"]), st.booleans()),
)


@settings(max_examples=500)
@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 20.0, 36.0, 61.0]), events), max_size=50))
def test_the_indexed_room_equals_the_one_without_indexes(steps: list[tuple[float, RoomEvent | Add | Remove | Reset]]) -> None:
    roster, naive = Roster(), NaiveTargets()
    targets = Targets(roster)
    publishing: set[str] = set()
    present: set[str] = set()
    now = 0.0
    for gap, step in steps:
        now += gap
        match step:
            case Add(name, knows_user):
                targets.add(name, NAMES[name] if knows_user else None, now)
                naive.add(name, NAMES[name] if knows_user else None, now)
            case Remove(name):
                targets.remove(name, now)
                naive.remove(name, now)
            case Reset(own, recipient_call):
                targets.reset(now, own_session_id=own, recipient_call=recipient_call)
                naive.reset(now, own_session_id=own, recipient_call=recipient_call)
            case _:
                targets.apply(step, now)
                naive.apply(step, now)

        expected = naive.roster
        assert len(roster) == len(expected.participants)
        assert {session_id: roster.get(session_id) for session_id in expected.participants} == expected.participants
        assert roster.publishers() == expected.publishers()
        assert {name: session_of(roster, name) for name in NAMES} == {name: expected.session_of(name) for name in NAMES}
        changed = set(roster.take_changed())
        assert publishing ^ expected.publishers() <= changed
        assert present - expected.participants.keys() <= changed
        publishing, present = expected.publishers(), set(expected.participants)

        assert [(target.nc_session_id, target.user_id) for target in targets.export()] == [
            (name, entry.user_id) for name, entry in naive.entries.items()
        ]
        assert targets.next_deadline() == naive.next_deadline()
        assert targets.empty_since(now) == naive.empty_since(now)
        for speaker in SESSIONS:
            assert targets.wants(speaker) == naive.wants(speaker)
            wanted = targets.readership()
            assert targets.wants(speaker) == (wanted is None or bool(wanted - {speaker}))
        compare_recipients(targets, naive, now)
    for later in (now + 34.0, now + 35.0):
        compare_recipients(targets, naive, later)


def compare_recipients(targets: Targets, naive: NaiveTargets, now: float) -> None:
    for speaker, served in (("s1", ()), ("s2", ()), ("nobody", ()), ("nobody", ("s3",))):
        recipients = [recipient.session_id for recipient in targets.recipients(speaker, now, served)]
        assert recipients == naive.recipients(speaker, now, served)
        if None in recipients:
            reached = targets.sessions(Recipient(None), speaker, now)
            assert list(reached) == [
                session_id for session_id in naive.reached(speaker, now) if naive.roster.is_in_call(session_id)
            ]
