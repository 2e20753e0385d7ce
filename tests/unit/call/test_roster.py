# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The participants of a room, and which of them publish audio."""

from __future__ import annotations

import pytest

from live_transcription.call.roster import Change, Roster
from live_transcription.signaling.events import (
    InCall,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
)

TALKING = InCall.IN_CALL | InCall.WITH_AUDIO


def updated(*participants: Participant) -> ParticipantsUpdated:
    return ParticipantsUpdated(participants)


def talking(session_id: str, **rest: object) -> Participant:
    return Participant(session_id, in_call=TALKING, **rest)  # type: ignore[arg-type]


def session_of(roster: Roster, nextcloud_session_id: str) -> str | None:
    participant = roster.participant_of(nextcloud_session_id)
    return participant and participant.session_id


def sessions_of(roster: Roster, user_id: str) -> list[str]:
    return [participant.session_id for participant in roster.participants_of_user(user_id)]


def test_a_publisher_is_in_the_call_with_audio() -> None:
    roster = Roster()
    roster.apply(ParticipantsJoined((Participant("s1"), Participant("s2"), Participant("s3"))))
    assert roster.publishers() == set()
    roster.apply(
        updated(
            talking("s1"),
            Participant("s2", in_call=InCall.IN_CALL | InCall.WITH_VIDEO),
            Participant("s3", in_call=InCall.WITH_AUDIO),
        )
    )
    assert roster.publishers() == {"s1"}


def test_persons_are_in_the_call_and_machines_are_not() -> None:
    roster = Roster()
    roster.reset("own")
    roster.apply(updated(talking("own"), talking("recorder", internal=True), Participant("s1")))
    assert not roster.anybody_in_call
    roster.apply(updated(Participant("s1", in_call=InCall.IN_CALL)))
    assert roster.anybody_in_call
    roster.apply(updated(Participant("s1", in_call=InCall.DISCONNECTED), talking("phone", virtual=True)))
    assert roster.anybody_in_call
    assert list(roster.phones()) == ["phone"]
    roster.apply(ParticipantsLeft(("phone",)))
    assert not roster.anybody_in_call
    roster.apply(updated(talking("s1")))
    roster.reset("own-2")
    assert not roster.anybody_in_call


def test_an_update_that_omits_a_value_keeps_the_earlier_one() -> None:
    roster = Roster()
    roster.apply(ParticipantsJoined((Participant("s1", nextcloud_session_id="nc1", user_id="user-1"),)))
    roster.apply(updated(talking("s1")))
    roster.apply(updated(Participant("s1"), talking("s2")))
    assert roster.publishers() == {"s1", "s2"}
    assert session_of(roster, "nc1") == "s1"
    assert sessions_of(roster, "user-1") == ["s1"]


def test_an_update_of_an_older_session_does_not_replace_the_newer_one() -> None:
    """Of two sessions with one Talk session, the HPB has yet to drop the older one."""
    roster = Roster()
    roster.apply(ParticipantsJoined((Participant("old", nextcloud_session_id="nc1"),)))
    roster.apply(ParticipantsJoined((Participant("new", nextcloud_session_id="nc1"),)))
    roster.apply(updated(talking("new", nextcloud_session_id="nc1"), talking("old", nextcloud_session_id="nc1")))
    assert session_of(roster, "nc1") == "new"
    roster.apply(ParticipantsLeft(("new",)))
    assert session_of(roster, "nc1") == "old"
    roster.apply(ParticipantsLeft(("old",)))
    assert session_of(roster, "nc1") is None


def test_changed_publishers_are_taken_once() -> None:
    roster = Roster()
    roster.apply(updated(talking("s1"), talking("s2"), Participant("s3")))
    assert roster.take_changed() == ["s1", "s2"]
    assert roster.take_changed() == []
    roster.apply(updated(Participant("s1", in_call=InCall.DISCONNECTED), talking("s2"), talking("s4")))
    roster.apply(ParticipantsLeft(("s3",)))
    assert roster.take_changed() == ["s1", "s4", "s3"]
    roster.reset("own")
    assert sorted(roster.take_changed()) == ["s1", "s2", "s4"]


def test_a_phone_callers_audio_comes_from_the_internal_session_not_from_the_virtual_one() -> None:
    roster = Roster()
    roster.reset("own")
    roster.apply(
        updated(
            Participant("own", in_call=TALKING, internal=True),
            Participant("bridge", in_call=TALKING | InCall.WITH_PHONE, internal=True),
            Participant("phone", in_call=TALKING | InCall.WITH_PHONE, virtual=True),
            Participant("other-app", in_call=InCall.DISCONNECTED, internal=True),
        )
    )
    assert roster.publishers() == {"bridge"}
    roster.apply(updated(talking("phone")))
    assert roster.publishers() == {"bridge"}, "a virtual participant stays one"


def test_a_recording_server_is_expected_to_have_audio_only_if_there_are_phones() -> None:
    """It claims to have audio. Only the phones of a SIP bridge distinguish the two."""
    roster = Roster()
    roster.apply(updated(talking("recorder", internal=True), talking("speaker")))
    assert not roster.expects_audio("recorder")
    assert roster.expects_audio("speaker")
    roster.apply(updated(talking("phone", virtual=True)))
    assert roster.expects_audio("recorder")
    roster.apply(ParticipantsLeft(("phone",)))
    assert not roster.expects_audio("recorder")


def test_federated_participants_publish_like_all_others() -> None:
    roster = Roster()
    roster.apply(ParticipantsJoined((Participant("s1", user_id="user@cloud.example.com", federated=True),)))
    roster.apply(updated(talking("s1")))
    assert roster.publishers() == {"s1"}


def test_leaving_the_room_or_the_call() -> None:
    roster = Roster()
    roster.reset("own")
    roster.apply(updated(talking("s1", nextcloud_session_id="nc1"), talking("s2"), talking("s3")))
    roster.apply(ParticipantsLeft(("s1", "unknown")))
    assert roster.publishers() == {"s2", "s3"}
    assert "s1" not in roster
    assert session_of(roster, "nc1") is None
    roster.apply(updated(Participant("s2", in_call=InCall.DISCONNECTED)))
    assert roster.publishers() == {"s3"}
    assert "s2" in roster


def test_a_new_session_keeps_nothing() -> None:
    roster = Roster()
    roster.reset("own")
    roster.apply(updated(talking("s1", nextcloud_session_id="nc1")))
    roster.reset("own-2")
    assert roster.publishers() == set()
    assert session_of(roster, "nc1") is None
    roster.apply(updated(talking("own-2")))
    assert roster.publishers() == set()


def test_the_latest_of_two_signaling_sessions_counts_for_a_talk_session() -> None:
    roster = Roster()
    roster.apply(ParticipantsJoined((Participant("s1", nextcloud_session_id="nc1"),)))
    roster.apply(ParticipantsJoined((Participant("s2", nextcloud_session_id="nc1"),)))
    roster.apply(ParticipantsLeft(("s1",)))
    assert session_of(roster, "nc1") == "s2"


def test_a_room_has_no_more_participants_than_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    roster = Roster(max_participants=3)
    roster.apply(updated(*(talking(f"s{number}") for number in range(10))))
    roster.apply(updated(*(talking(f"s{number}") for number in range(10))))
    assert roster.publishers() == {"s0", "s1", "s2"}
    assert len(caplog.records) == 1, "one line, not one per participant"
    roster.apply(updated(Participant("s1", in_call=InCall.DISCONNECTED)))
    assert roster.publishers() == {"s0", "s2"}
    roster.apply(ParticipantsLeft(("s1",)))
    roster.apply(updated(talking("s9")))
    assert roster.publishers() == {"s0", "s2", "s9"}, "the next update that lists them adds them"


def test_a_session_with_another_talk_session_is_no_longer_found_by_the_old_one() -> None:
    roster = Roster()
    roster.apply(updated(talking("s1", nextcloud_session_id="nc1", user_id="user-1")))
    roster.apply(updated(talking("s1", nextcloud_session_id="nc2")))
    assert (session_of(roster, "nc1"), session_of(roster, "nc2")) == (None, "s1")
    roster.apply(updated(talking("s1", user_id="user-2")))
    assert (sessions_of(roster, "user-1"), sessions_of(roster, "user-2")) == ([], ["s1"])


def test_an_event_returns_exactly_what_it_changed() -> None:
    roster = Roster()
    joined, talks = Participant("s1"), talking("s1")
    assert roster.apply(ParticipantsJoined((joined,))) == [Change(None, joined)]
    assert roster.apply(updated(talks, Participant("s1"))) == [Change(joined, talks)]
    assert roster.apply(updated(talks)) == []
    assert roster.apply(ParticipantsLeft(("s1", "s1", "s2"))) == [Change(talks, None)]


def test_a_display_name_is_kept_until_another_one_comes_and_is_never_shown() -> None:
    """For users, guests, phone callers and federated users alike."""
    roster = Roster()
    kinds = {"user": {"user_id": "u"}, "guest": {}, "phone": {"virtual": True}, "federated": {"federated": True}}
    roster.apply(
        ParticipantsJoined(tuple(Participant(name, display_name=f"Ada {name}", **kind) for name, kind in kinds.items()))
    )
    roster.apply(updated(*(talking(name) for name in kinds)))
    for name in kinds:
        participant = roster.get(name)
        assert participant is not None
        assert participant.display_name == f"Ada {name}"
        assert "Ada" not in repr(participant)
    roster.apply(updated(Participant("guest", display_name="Grace")))
    guest = roster.get("guest")
    assert guest is not None
    assert guest.display_name == "Grace"
