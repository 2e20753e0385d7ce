# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Callers in a call of the sandbox: real websockets and WebRTC, the HPB's stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from sandbox.caller import Caller, Mute, PhoneCaller, tone
from sandbox.hpb import HpbStandIn
from sandbox.hpb import Nextcloud as NextcloudClient
from sandbox.nextcloud import Nextcloud
from sandbox.sfu import Sfu

SECRET = "internal-secret-of-the-sandbox"
ROOM = "abcd"


@dataclass
class Talk:
    nextcloud: Nextcloud
    hpb: HpbStandIn

    def caller(self, number: int, **options: object) -> Caller:
        name = f"speaker-{number}"
        return Caller(self.hpb.websocket_url, self.nextcloud, ROOM, name, name, **options)  # type: ignore[arg-type]


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    async with Nextcloud() as nextcloud, Sfu() as sfu, AsyncExitStack() as stack:
        side = NextcloudClient(nextcloud.url, nextcloud.signaling_secret)
        stack.push_async_callback(side.aclose)
        async with HpbStandIn(side, sfu, internal_secret=SECRET) as hpb:
            nextcloud.hpb_url = hpb.url
            nextcloud.talk.rooms.create(ROOM)
            yield Talk(nextcloud, hpb)


async def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  (across sockets there is nothing to wait for)
            await asyncio.sleep(0.01)


async def test_one_speaks_another_hears_and_reads(talk: Talk) -> None:
    async with talk.caller(1, recording=tone(20)) as speaker, talk.caller(2, publishes=False) as reader:
        assert reader.others[speaker.session_id] == 3
        heard = await reader.listen(speaker.session_id)
        await heard.heard()
        transcript = {"type": "transcript", "message": "hello", "langId": "en", "speakerSessionId": speaker.session_id}
        await speaker.connection.say(reader.session_id, {**transcript, "final": False})
        await speaker.connection.say(reader.session_id, {**transcript, "final": True})
        final = await reader.captions.wait(lambda caption: caption.final, timeout_s=5)
        assert (final.text, final.language, final.speaker) == ("hello", "en", speaker.session_id)
        assert [caption.final for caption in reader.captions.of(speaker.session_id)] == [False, True]

        speaker.mute(Mute.NO_PACKETS)
        await asyncio.sleep(0.3)
        frames = heard.frames
        await asyncio.sleep(0.3)
        assert heard.frames == frames
        speaker.unmute()
        await heard.heard()


async def test_lost_packets_do_not_arrive(talk: Talk) -> None:
    async with talk.caller(1, recording=tone(20), loss=0.5, seed=3) as speaker:
        await asyncio.sleep(0.6)
        assert speaker.publisher is not None
        assert 5 < speaker.publisher.lost < speaker.microphone.sent


async def test_a_cut_is_resumed_and_a_restart_begins_anew(talk: Talk) -> None:
    async with talk.caller(1, recording=tone(20)) as speaker:
        session = speaker.session_id
        speaker.connection.cut()
        await eventually(lambda: speaker.connection.resumes == 1)
        assert speaker.session_id == session
        await talk.hpb.restart()
        talk.hpb.cut()
        await eventually(lambda: speaker.connection.sessions == 2)
        await speaker.wait_connected()
        assert speaker.session_id != session


async def test_a_reload_is_a_new_nextcloud_session_and_leaves_the_old_one_behind(talk: Talk) -> None:
    async with talk.caller(1, recording=tone(20)) as speaker:
        session, nextcloud_session = speaker.session_id, speaker.nextcloud_session_id
        await speaker.reload()
        assert speaker.session_id != session
        assert speaker.nextcloud_session_id != nextcloud_session
        sessions = talk.nextcloud.talk.rooms[ROOM].sessions
        assert list(sessions) == [speaker.nextcloud_session_id]
        assert sessions[speaker.nextcloud_session_id].in_call == 3
    assert not talk.nextcloud.talk.rooms[ROOM].sessions


async def test_who_vanishes_stays_in_the_room_for_the_others(talk: Talk) -> None:
    async with talk.caller(1, recording=tone(20)) as speaker, talk.caller(2, publishes=False) as reader:
        await speaker.vanish()
        await asyncio.sleep(0.2)
        assert speaker.session_id in reader.others


async def test_a_phone_caller_publishes_on_the_bridges_internal_session(talk: Talk) -> None:
    async with (
        talk.caller(1, publishes=False) as reader,
        PhoneCaller(talk.hpb.websocket_url, talk.nextcloud, ROOM, SECRET, tone(20)) as phone,
    ):
        heard = await reader.listen(phone.session_id)
        await heard.heard()
        flags = {session: flags for session, flags in reader.others.items() if session != reader.session_id}
        assert flags.pop(phone.session_id) == 3
        assert list(flags.values()) == [1 | 2 | 8], "the phone itself is a virtual session"
