# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Who publishes audio."""

from __future__ import annotations

import pytest

from live_transcription.call.roster import Change, Roster
from live_transcription.signaling.events import (
    CallEndedForAll,
    InCall,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
    RemovedFromRoom,
    SessionStarted,
)

TALKING = InCall.IN_CALL | InCall.WITH_AUDIO


def updated(*participants: Participant) -> ParticipantsUpdated:
    return ParticipantsUpdated(participants)


def talking(session_id: str, **rest: object) -> Participant:
    return Participant(session_id, in_call=TALKING, **rest)  # type: ignore[arg-type]


def started(session_id: str = "own", *, resumed: bool = False) -> SessionStarted:
    return SessionStarted(session_id, resumed=resumed, server_version="2.1.0", features=frozenset())


def test_publishing_takes_in_call_and_audio() -> None:
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


def test_an_update_is_an_upsert_and_says_only_what_it_says() -> None:
    roster = Roster()
    roster.apply(ParticipantsJoined((Participant("s1", nextcloud_session_id="nc1", user_id="user-1"),)))
    roster.apply(updated(talking("s1")))
    roster.apply(updated(Participant("s1"), talking("s2")))
    assert roster.publishers() == {"s1", "s2"}
    assert roster.session_of("nc1") == "s1"
    assert list(roster.sessions_of_user("user-1")) == ["s1"]


def test_an_update_of_an_older_session_takes_nothing_from_the_newer_one() -> None:
    """Of two sessions with one Talk session the older is what the HPB has yet to drop."""
    roster = Roster()
    roster.apply(ParticipantsJoined((Participant("old", nextcloud_session_id="nc1"),)))
    roster.apply(ParticipantsJoined((Participant("new", nextcloud_session_id="nc1"),)))
    roster.apply(updated(talking("new", nextcloud_session_id="nc1"), talking("old", nextcloud_session_id="nc1")))
    assert roster.session_of("nc1") == "new"
    roster.apply(ParticipantsLeft(("new",)))
    assert roster.session_of("nc1") == "old"
    roster.apply(ParticipantsLeft(("old",)))
    assert roster.session_of("nc1") is None


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
    roster.apply(started("own"))
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
    assert roster.publishers() == {"bridge"}, "once virtual, always virtual"


def test_a_recording_server_is_not_expected_to_have_audio_unless_there_are_phones() -> None:
    """It says that it is in the call with audio, and is told from a SIP bridge by nothing but the phones of the latter."""
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


def test_leaving_the_room_the_call_or_all_of_it() -> None:
    roster = Roster()
    roster.apply(started())
    roster.apply(updated(talking("s1", nextcloud_session_id="nc1"), talking("s2"), talking("s3")))
    roster.apply(ParticipantsLeft(("s1", "unknown")))
    assert roster.publishers() == {"s2", "s3"}
    assert not roster.present("s1")
    assert roster.session_of("nc1") is None
    roster.apply(CallEndedForAll())
    assert roster.publishers() == set()
    assert roster.present("s2")
    roster.apply(updated(talking("s2")))
    roster.apply(RemovedFromRoom())
    assert len(roster) == 0


def test_a_resumed_session_keeps_everything_a_new_one_nothing() -> None:
    roster = Roster()
    roster.apply(started("own"))
    roster.apply(updated(talking("s1", nextcloud_session_id="nc1")))
    roster.apply(started("own", resumed=True))
    assert roster.publishers() == {"s1"}
    roster.apply(started("own-2"))
    assert roster.publishers() == set()
    assert roster.session_of("nc1") is None
    roster.apply(updated(talking("own-2")))
    assert roster.publishers() == set()


def test_a_talk_session_with_two_signaling_sessions_is_the_latest() -> None:
    roster = Roster()
    roster.apply(ParticipantsJoined((Participant("s1", nextcloud_session_id="nc1"),)))
    roster.apply(ParticipantsJoined((Participant("s2", nextcloud_session_id="nc1"),)))
    roster.apply(ParticipantsLeft(("s1",)))
    assert roster.session_of("nc1") == "s2"


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
    assert roster.publishers() == {"s0", "s2", "s9"}, "the next update that names them adds them"


def test_a_session_with_another_talk_session_is_no_longer_found_by_the_old_one() -> None:
    roster = Roster()
    roster.apply(updated(talking("s1", nextcloud_session_id="nc1", user_id="user-1")))
    roster.apply(updated(talking("s1", nextcloud_session_id="nc2")))
    assert (roster.session_of("nc1"), roster.session_of("nc2")) == (None, "s1")
    roster.apply(updated(talking("s1", user_id="user-2")))
    assert (list(roster.sessions_of_user("user-1")), list(roster.sessions_of_user("user-2"))) == ([], ["s1"])


def test_an_event_returns_what_it_changed_and_nothing_else() -> None:
    roster = Roster()
    joined, talks = Participant("s1"), talking("s1")
    assert roster.apply(ParticipantsJoined((joined,))) == [Change(None, joined)]
    assert roster.apply(updated(talks, Participant("s1"))) == [Change(joined, talks)]
    assert roster.apply(updated(talks)) == []
    assert roster.apply(ParticipantsLeft(("s1", "s1", "s2"))) == [Change(talks, None)]
