# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A large frame in slices equals the whole frame, and hostile participants take little memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.call.roster import Roster
from live_transcription.signaling import messages
from live_transcription.signaling.events import InCall, Participant, ParticipantsJoined, ParticipantsLeft, ParticipantsUpdated
from live_transcription.signaling.frames import MAX_ID_CHARS, Frame
from tests.unit.signaling.test_messages import json_values

ids = st.sampled_from([f"s{number}" for number in range(12)])
entries = st.fixed_dictionaries(
    {},
    optional={
        "sessionId": ids,
        "nextcloudSessionId": st.sampled_from(["nc1", "nc2", ""]),
        "userId": st.sampled_from(["user-1", "user-2"]),
        "inCall": st.integers(0, 3),
        "virtual": st.booleans(),
    },
)
lists = st.lists(entries | json_values, max_size=30)
bodies = st.one_of(
    st.builds(lambda of, entries: ("room", of, entries), st.sampled_from(["join", "change"]), lists),
    st.builds(lambda left: ("room", "leave", left), st.lists(ids | json_values, max_size=20)),
    st.builds(
        lambda users, changed: ("participants", "update", {"users": users, "changed": changed}), lists | json_values, lists
    ),
    st.builds(lambda body: ("participants", "update", body), json_values),
)


def frame(target: str, kind: str, body: Any) -> str:
    return json.dumps({"type": "event", "event": {"target": target, "type": kind, kind: body}})


def parse_frame(text: str) -> Frame:
    return messages.parse_frame(text, "room")


def parse_slices(text: str) -> list[tuple[Frame, float]]:
    return list(messages.parse_slices(text, "room"))


def room_of(*frames: Frame) -> dict[str, Participant]:
    roster = Roster()
    roster.apply(ParticipantsUpdated((Participant("s1", user_id="user-1", in_call=InCall.IN_CALL), Participant("s2"))))
    for parsed in frames:
        if isinstance(parsed, ParticipantsJoined | ParticipantsUpdated | ParticipantsLeft):
            roster.apply(parsed)
    found = (roster.get(f"s{number}") for number in range(12))
    return {participant.session_id: participant for participant in found if participant is not None}


@given(bodies)
def test_slices_equal_the_whole_frame(body: tuple[str, str, Any]) -> None:
    text = frame(*body)
    patch = pytest.MonkeyPatch()
    patch.setattr(messages, "SLICE_ENTRIES", 4)
    try:
        slices = parse_slices(text)
    finally:
        patch.undo()
    assert room_of(*(parsed for parsed, _ in slices)) == room_of(parse_frame(text))
    for parsed, _ in slices:
        if isinstance(parsed, ParticipantsJoined | ParticipantsUpdated):
            assert len(parsed.participants) <= 8, "four entries of users, and those of changed for the same sessions"


@given(json_values, st.text(max_size=20))
def test_other_large_frames_are_one_slice(value: Any, text: str) -> None:
    for candidate in (json.dumps(value), text, json.dumps({"type": "event", "event": value})):
        assert [parsed for parsed, _ in parse_slices(candidate)] in ([parse_frame(candidate)], [])


def test_the_shares_of_a_large_frame_add_up() -> None:
    users = [{"sessionId": f"s{number}", "inCall": 7} for number in range(10_000)]
    for body in ({"users": users}, {"users": users, "changed": users[:5000]}, {"changed": users}):
        slices = parse_slices(frame("participants", "update", body))
        assert sum(share for _, share in slices) == pytest.approx(1.0)
        assert len(slices) == 20


def test_each_slice_holds_the_newest_state_of_its_participants() -> None:
    """`users` may be older than `changed`. Otherwise somebody would publish for the time between two slices."""
    users = [{"sessionId": f"s{number}", "inCall": 3} for number in range(2000)]
    changed = [{"sessionId": "s1999", "inCall": 0}, {"sessionId": "s2000", "inCall": 3}]
    seen = [
        participant
        for parsed, _ in parse_slices(frame("participants", "update", {"users": users, "changed": changed}))
        if isinstance(parsed, ParticipantsUpdated)
        for participant in parsed.participants
    ]
    assert [participant.in_call for participant in seen if participant.session_id == "s1999"] == [InCall.DISCONNECTED]
    assert seen[-1].session_id == "s2000"


def test_ids_longer_than_those_of_talk_are_ignored() -> None:
    fits, long = "x" * MAX_ID_CHARS, "x" * (MAX_ID_CHARS + 1)
    joined = parse_frame(
        frame("room", "join", [{"sessionid": long}, {"sessionid": "s1", "roomsessionid": long, "userid": long}])
    )
    assert joined == ParticipantsJoined((Participant("s1"),))
    users = [{"sessionId": long, "userId": "a"}, {"sessionId": fits, "nextcloudSessionId": long, "userId": long}]
    assert parse_frame(frame("participants", "update", {"users": users})) == ParticipantsUpdated((Participant(fits),))
    assert parse_frame(frame("room", "leave", [long, fits])) == ParticipantsLeft((fits,))


def test_unknown_in_call_flags_take_no_memory() -> None:
    """IntFlag remembers every combination that it was ever asked for."""
    before = len(InCall._value2member_map_)
    users = [{"sessionId": f"s{number}", "inCall": 16 * number + 3} for number in range(1000)]
    parsed = parse_frame(frame("participants", "update", {"users": users}))
    assert isinstance(parsed, ParticipantsUpdated)
    assert {participant.in_call for participant in parsed.participants} == {InCall.IN_CALL | InCall.WITH_AUDIO}
    assert len(InCall._value2member_map_) <= before + 16
