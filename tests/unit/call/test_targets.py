# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which sessions get captions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from live_transcription.call.roster import Roster
from live_transcription.call.targets import FOLLOWED_SESSIONS, Target, Targets
from live_transcription.signaling.events import (
    InCall,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
    RoomEvent,
)
from live_transcription.signaling.requests import Recipient

IN_CALL = InCall.IN_CALL | InCall.WITH_AUDIO


def joined(session_id: str, nc: str | None = None, user: str | None = None) -> ParticipantsJoined:
    return ParticipantsJoined((Participant(session_id, nextcloud_session_id=nc, user_id=user),))


def in_call(session_id: str, flags: InCall = IN_CALL, nc: str | None = None) -> ParticipantsUpdated:
    return ParticipantsUpdated((Participant(session_id, nextcloud_session_id=nc, in_call=flags),))


def left(*session_ids: str) -> ParticipantsLeft:
    return ParticipantsLeft(session_ids)


def reached(targets: Targets, speaker: str = "speaker", now: float = 1000.0) -> list[str | None]:
    return [recipient.session_id for recipient in targets.recipients(speaker, now)]


def room(*events: RoomEvent, recipient_call: bool = False) -> Targets:
    targets = Targets(Roster())
    targets.reset(0.0, recipient_call=recipient_call)
    for event in events:
        targets.apply(event, 0.0)
    return targets


def test_a_target_is_found_by_the_room_session_of_its_join() -> None:
    targets = room(joined("s1", "nc1"))
    targets.add("nc1", "user-1", 0.0)
    assert reached(targets) == ["s1"]
    assert targets.empty_since(0.0) is None


def test_an_unknown_target_waits_for_join_or_update() -> None:
    targets = room()
    targets.add("nc1", None, 1.0)
    targets.add("nc2", None, 1.0)
    assert reached(targets) == []
    targets.apply(joined("s1", "nc1"), 2.0)
    targets.apply(in_call("s2", nc="nc2"), 3.0)
    assert reached(targets) == ["s1", "s2"]


def test_an_unknown_target_is_forgotten_after_the_grace() -> None:
    targets = room()
    targets.add("nc1", None, 1.0)
    assert targets.next_deadline() == 61.0
    assert targets.empty_since(61.0) == 1.0
    assert len(targets) == 0
    targets.apply(joined("s1", "nc1"), 62.0)
    assert reached(targets) == []


def test_speakers_never_get_their_own_captions() -> None:
    targets = room(joined("s1", "nc1"), joined("s2", "nc2"))
    targets.add("nc1", None, 0.0)
    assert not targets.wants("s1")
    assert targets.wants("s2")
    targets.add("nc2", None, 0.0)
    assert reached(targets, speaker="s1") == ["s2"]
    assert targets.wants("s1")


def test_ten_requests_count_once_and_one_removal_is_enough() -> None:
    targets = room(joined("s1", "nc1"))
    for _ in range(10):
        targets.add("nc1", "user-1", 0.0)
    assert reached(targets) == ["s1"]
    targets.remove("nc1", 1.0)
    targets.remove("nc1", 1.0)
    assert reached(targets) == []
    assert targets.empty_since(5.0) == 1.0


def test_a_reload_is_followed_by_user() -> None:
    targets = room(joined("s1", "nc1", "user-1"), in_call("s1"))
    targets.add("nc1", "user-1", 1.0)
    targets.apply(left("s1"), 10.0)
    assert reached(targets) == []
    assert targets.empty_since(10.0) == 10.0
    targets.apply(joined("s2", "nc2", "user-1"), 14.0)
    assert reached(targets) == ["s2"]
    assert targets.empty_since(14.0) is None
    targets.remove("nc2", 15.0)
    assert reached(targets) == [], "the target now goes by its new session id"


def test_a_reload_is_followed_by_the_user_that_only_the_roster_knows() -> None:
    targets = room(joined("s1", "nc1", "user-1"))
    targets.add("nc1", None, 1.0)
    assert targets.export() == (Target("nc1", "user-1"),)
    targets.apply(left("s1"), 10.0)
    targets.apply(joined("s2", "nc2", "user-1"), 14.0)
    assert reached(targets) == ["s2"]


def test_a_reload_is_followed_though_its_old_session_is_still_listed() -> None:
    targets = room(joined("s1", "nc1", "user-1"), in_call("s1"))
    targets.add("nc1", "user-1", 1.0)
    targets.apply(joined("s2", "nc2", "user-1"), 100.0)
    targets.apply(left("s1"), 130.0)
    assert reached(targets) == ["s2"]


def test_a_reload_gets_captions_at_once_though_its_old_session_is_still_listed() -> None:
    targets = room(joined("s1", "nc1", "user-1"), in_call("s1"))
    targets.add("nc1", "user-1", 1.0)
    targets.apply(joined("s2", "nc2", "user-1"), 100.0)
    targets.apply(joined("other", "nc-other", "user-2"), 100.0)
    assert reached(targets, now=100.0) == reached(targets, now=134.9) == ["s1", "s2"]
    assert reached(targets, speaker="s2", now=101.0) == ["s1"]
    assert reached(targets, now=135.0) == ["s1"], "the old session is alive, so the new one is another device"
    targets.apply(joined("s3", "nc3", "user-1"), 140.0)
    targets.apply(left("s1"), 150.0)
    assert reached(targets, now=150.0) == ["s3"]


def test_devices_that_were_there_before_the_request_are_no_reload() -> None:
    targets = room(joined("phone", "nc-phone", "user-1"), joined("s1", "nc1", "user-1"))
    targets.add("nc1", "user-1", 1.0)
    assert reached(targets, now=1.0) == ["s1"]
    targets.add("nc-phone", "user-1", 2.0)
    assert reached(targets, now=2.0) == ["s1", "phone"], "each of the two targets of one user gets captions once"


def test_a_removal_after_a_reload_also_removes_the_old_session() -> None:
    targets = room(joined("s1", "nc1", "user-1"), in_call("s1"))
    targets.add("nc1", "user-1", 1.0)
    targets.apply(joined("s2", "nc2", "user-1"), 100.0)
    targets.remove("nc2", 101.0)
    assert reached(targets, now=102.0) == []
    targets.apply(left("s1"), 130.0)
    assert len(targets) == 0


def test_a_session_that_declined_does_not_follow_another_session_of_its_user() -> None:
    targets = room(joined("s1", "nc1", "user-1"), in_call("s1"))
    targets.add("nc1", "user-1", 1.0)
    targets.apply(joined("s2", "nc2", "user-1"), 100.0)
    targets.add("nc2", "user-1", 101.0)
    targets.remove("nc2", 102.0)
    assert reached(targets, now=103.0) == ["s1"]
    targets.apply(left("s1"), 110.0)
    assert reached(targets, now=110.0) == []
    targets.add("nc2", "user-1", 111.0)
    assert reached(targets, now=111.0) == ["s2"]


def test_of_several_waiting_targets_of_a_user_the_first_is_followed() -> None:
    targets = room()
    for number in range(8):
        targets.add(f"nc{number}", "user-1", 0.0)
    targets.apply(joined("s", "nc-new", "user-1"), 1.0)
    assert [target.nc_session_id for target in targets.export()] == [*(f"nc{number}" for number in range(1, 8)), "nc-new"]


def test_a_session_whose_target_is_forgotten_may_be_followed_by_another_target_of_its_user() -> None:
    targets = room(joined("s1", "nc1", "user-1"), in_call("s1"), joined("s2", "nc2", "user-1"))
    targets.add("nc1", "user-1", 0.0)
    targets.add("nc2", "user-1", 0.0)
    targets.apply(in_call("s1", InCall.DISCONNECTED), 10.0)
    targets.apply(left("s2"), 11.0)
    assert targets.empty_since(69.0) == 11.0
    assert targets.empty_since(70.5) is None
    assert reached(targets, now=70.5) == ["s1"]


def test_another_device_of_the_same_user_is_no_reload() -> None:
    targets = room(joined("phone", "nc-phone", "user-1"), joined("s1", "nc1", "user-1"))
    targets.add("nc1", "user-1", 1.0)
    targets.apply(joined("tablet", "nc-tablet", "user-1"), 5.0)
    targets.apply(left("s1"), 100.0)
    assert reached(targets) == []
    targets.apply(in_call("phone"), 101.0)
    targets.apply(in_call("tablet"), 101.0)
    assert reached(targets) == []


def test_guests_are_followed_by_session_only() -> None:
    targets = room(joined("s1", "nc1"))
    targets.add("nc1", None, 1.0)
    targets.apply(left("s1"), 10.0)
    targets.apply(joined("s2", "nc2"), 11.0)
    assert reached(targets) == []
    targets.apply(joined("s3", "nc1"), 12.0)
    assert reached(targets) == ["s3"]


def test_a_target_that_leaves_the_call_gets_captions_again_if_it_returns_in_time() -> None:
    targets = room(joined("s1", "nc1"), in_call("s1"))
    targets.add("nc1", None, 1.0)
    targets.apply(in_call("s1", InCall.DISCONNECTED), 10.0)
    assert reached(targets) == []
    targets.apply(in_call("s1"), 20.0)
    assert reached(targets) == ["s1"]
    targets.apply(in_call("s1", InCall.DISCONNECTED), 30.0)
    targets.apply(in_call("s1"), 91.0)
    assert reached(targets) == []


def test_a_session_may_ask_before_it_joins_the_call() -> None:
    targets = room(joined("s1", "nc1"), in_call("s1", InCall.DISCONNECTED))
    targets.add("nc1", None, 1.0)
    assert reached(targets) == ["s1"]
    targets.apply(in_call("s1"), 2.0)
    targets.apply(in_call("s1", InCall.DISCONNECTED), 3.0)
    assert reached(targets) == []


def test_a_new_session_keeps_the_targets_until_the_room_is_known_again() -> None:
    targets = room(joined("s1", "nc1", "user-1"), joined("p1", "nc-phone", "user-1"), in_call("s1"))
    targets.add("nc1", "user-1", 1.0)
    targets.reset(500.0)
    assert reached(targets) == []
    assert targets.empty_since(500.0) == 500.0
    targets.apply(joined("p2", "nc-phone", "user-1"), 501.0)
    assert reached(targets) == [], "the other device comes back first"
    targets.apply(joined("s2", "nc1", "user-1"), 502.0)
    assert reached(targets) == ["s2"]


def test_no_target_is_forgotten_while_the_app_is_not_in_the_room() -> None:
    targets = Targets(Roster())
    targets.suspend()
    targets.add("nc-1", "user-1", 0.0)
    assert targets.next_deadline() is None
    assert targets.empty_since(10_000.0) is None, "the target may be waiting"
    assert len(targets.export()) == 1
    targets.resume(10_000.0)
    targets.reset(10_000.0)
    assert targets.empty_since(10_059.0) == 10_000.0
    targets.apply(joined("s-1", "nc-1", "user-1"), 10_059.0)
    assert reached(targets, now=10_059.0) == ["s-1"]
    targets.apply(left("s-1"), 10_100.0)
    targets.suspend()
    assert len(targets.export()) == 1
    targets.empty_since(20_000.0)
    targets.resume(20_000.0)
    targets.empty_since(20_059.0)
    assert len(targets.export()) == 1, "a reload that began before the outage has the full time"
    targets.empty_since(20_061.0)
    assert targets.export() == ()


def test_a_removal_counts_although_the_app_is_not_in_the_room() -> None:
    targets = Targets(Roster())
    targets.suspend()
    targets.add("nc-1", None, 0.0)
    targets.remove("nc-1", 5.0)
    assert targets.empty_since(6.0) == 5.0


def test_the_time_without_targets_starts_again_with_each_request() -> None:
    targets = room()
    assert targets.empty_since(3.0) == 0.0
    targets.add("nc1", None, 50.0)
    assert targets.empty_since(55.0) == 50.0


def test_one_message_to_the_call_from_four_targets_on() -> None:
    events = [event for n in range(5) for event in (joined(f"s{n}", f"nc{n}"), in_call(f"s{n}"))]
    targets = room(*events, recipient_call=True)
    for n in range(4):
        targets.add(f"nc{n}", None, 0.0)
    assert targets.recipients("s4", 0.0) == (Recipient(None),)
    assert reached(targets, speaker="s0") == ["s1", "s2", "s3"]
    targets.apply(joined("late", "nc-late"), 1.0)
    targets.add("nc-late", None, 1.0)
    assert reached(targets, speaker="s4") == [None, "late"], "a message to the call does not reach those who are not in it yet"
    without = room(*events)
    for n in range(4):
        without.add(f"nc{n}", None, 0.0)
    assert reached(without, speaker="s4") == ["s0", "s1", "s2", "s3"]


def test_targets_can_be_stored_and_added_again() -> None:
    first = room(joined("s1", "nc1", "user-1"))
    first.add("nc1", None, 0.0)
    first.add("nc2", "user-2", 0.0)
    assert "user-1" not in repr(first.export())
    second = Targets(Roster())
    for target in first.export():
        second.add(target.nc_session_id, target.user_id, 100.0)
    second.reset(101.0)
    second.apply(joined("s9", "nc9", "user-1"), 102.0)
    second.apply(joined("s2", "nc2", "user-2"), 102.0)
    assert sorted(map(str, reached(second))) == ["s2", "s9"]


def test_devices_are_remembered_through_the_reconnect_of_a_large_room() -> None:
    """Otherwise a phone that comes back first would count as the page that asked for captions."""
    targets = room(*(joined(f"s{n}", f"nc{n}", f"user-{n}") for n in range(3000)), joined("phone", "nc-phone", "user-1"))
    targets.add("nc1", None, 1.0)
    targets.reset(500.0)
    for n in range(100, 3000):
        targets.apply(joined(f"again-{n}", f"nc{n}", f"user-{n}"), 500.0)
    targets.apply(joined("phone-again", "nc-phone", "user-1"), 501.0)
    assert reached(targets, now=501.0) == []


def test_only_the_latest_sessions_of_a_user_with_thousands_of_them_are_followed() -> None:
    targets = room(joined("s", "nc", "user"), in_call("s"))
    targets.add("nc", "user", 1.0)
    for n in range(5000):
        targets.apply(joined(f"s{n}", f"nc{n}", "user"), 2.0)
    assert len(reached(targets, now=3.0)) == 1 + FOLLOWED_SESSIONS
    targets.apply(left("s"), 4.0)
    assert reached(targets, now=4.0)[0] == "s4999"


SESSIONS = st.sampled_from(["s1", "s2", "s3"])
EVENTS = st.one_of(
    st.builds(joined, SESSIONS, st.sampled_from(["nc1", "nc2", None]), st.sampled_from(["user-1", "user-2", None])),
    st.builds(in_call, SESSIONS, st.sampled_from([InCall.DISCONNECTED, IN_CALL])),
    st.builds(left, SESSIONS),
    st.sampled_from(["add nc1", "add nc2", "remove nc1", "reset"]),
)


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 40.0, 70.0]), EVENTS), max_size=40))
def test_captions_go_to_sessions_of_the_room_only_and_empty_since_agrees(
    steps: list[tuple[float, RoomEvent | str]],
) -> None:
    targets = Targets(Roster())
    present: set[str] = set()
    now = 0.0
    for gap, event in steps:
        now += gap
        if isinstance(event, str):
            match event.split():
                case ["add", nc]:
                    targets.add(nc, None, now)
                case ["remove", nc]:
                    targets.remove(nc, now)
                case _:
                    targets.reset(now)
                    present.clear()
        else:
            targets.apply(event, now)
            if isinstance(event, ParticipantsLeft):
                present -= set(event.session_ids)
            elif isinstance(event, ParticipantsJoined | ParticipantsUpdated):
                present |= {participant.session_id for participant in event.participants}
        sessions = reached(targets, now=now)
        assert set(sessions) <= present
        assert len(set(sessions)) == len(sessions)
        assert (targets.empty_since(now) is None) == bool(sessions)
        deadline = targets.next_deadline()
        assert deadline is None or deadline > now
