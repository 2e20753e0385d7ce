# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The engine in a call: who gets which captions, also after breaks, restarts and ends."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

import pytest

from live_transcription.call.call import Call
from live_transcription.call.calls import ANSWER_S
from live_transcription.config import HpbConfig
from live_transcription.errors import CallNotFound, CallUnavailable, SttModelError, UnknownLanguage
from live_transcription.runtime.backoff import Restarts
from live_transcription.service import TranscriptionService
from live_transcription.types import Secret
from sandbox.caller import Speech
from sandbox.rig import Link
from tests.fakes.stt import FakeStream, rest
from tests.integration.conftest import TalkOnLoopback, no_ice_servers


async def test_a_listener_gets_captions_and_the_speaker_does_not(talk: TalkOnLoopback, short_speech: Speech) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    speaker = await talk.caller("speaker", short_speech)
    await service.enable(talk.room, listener.nextcloud_session_id, user_id="listener")
    await service.enable(talk.room, speaker.nextcloud_session_id, user_id="speaker")
    first = await listener.captions.wait()
    last = await listener.captions.wait(rest)
    assert first.speaker == last.speaker == speaker.session_id
    assert last.language == "en"
    assert all(caption.final for caption in listener.captions.received)
    assert speaker.captions.received == []


async def test_the_same_request_ten_times_at_once_joins_once(talk: TalkOnLoopback) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    await asyncio.gather(*(service.enable(talk.room, listener.nextcloud_session_id) for _ in range(10)))
    assert service.status().calls == 1
    assert service.status().targets == 1
    assert talk.internal_sessions() == 1


async def test_a_room_with_a_language_that_cannot_be_transcribed_is_captioned_in_the_default_language(
    talk: TalkOnLoopback, short_speech: Speech
) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    await talk.caller("speaker", short_speech)
    with pytest.raises(CallNotFound):
        await service.set_language(talk.room, "fr")
    await service.enable(talk.room, listener.nextcloud_session_id, language="cs", user_id="listener")
    assert (await listener.captions.wait()).language == "en"
    with pytest.raises(UnknownLanguage):
        await service.set_language(talk.room, "cs")


@pytest.mark.parametrize("offers_added", [False, True])
async def test_a_microphone_that_is_added_to_a_publisher_is_captioned_within_five_seconds(
    talk: TalkOnLoopback, short_speech: Speech, offers_added: bool
) -> None:
    """Their flags have said audio all the time. `offers_added`: the SFU offers it on the same peer, as Janus 0.x does."""
    assert talk.hpb.sfu is not None
    talk.hpb.sfu.offers_added = offers_added
    service = await talk.service()
    listener = await talk.caller("listener")
    speaker = await talk.caller("speaker", short_speech, microphone=False, video=True)
    await service.enable(talk.room, listener.nextcloud_session_id)
    await asyncio.sleep(1.5)
    await speaker.add_microphone()
    await listener.captions.wait(speaker=speaker.session_id, timeout_s=5)
    assert talk.hpb.state()["subscribers"] == [
        {**subscriber, "state": "connected"} for subscriber in talk.hpb.state()["subscribers"]
    ]


async def test_who_leaves_the_call_and_is_back_at_once_is_captioned(talk: TalkOnLoopback, short_speech: Speech) -> None:
    """The new request may not reach the HPB while it is busy with the end of the old peer."""
    service = await talk.service()
    listener = await talk.caller("listener")
    speaker = await talk.caller("speaker", short_speech)
    await service.enable(talk.room, listener.nextcloud_session_id)
    await listener.captions.wait(speaker=speaker.session_id)
    flags = speaker.in_call_flags
    await talk.nextcloud.talk.join_call(speaker.nextcloud_session_id, 1)
    await talk.nextcloud.talk.join_call(speaker.nextcloud_session_id, flags)
    again = time.time()
    speaker.play(short_speech)
    await listener.captions.wait(speaker=speaker.session_id, since=again + 1, timeout_s=3)


async def test_leaving_delivers_the_open_utterance_within_two_seconds(talk: TalkOnLoopback, short_speech: Speech) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    await talk.caller("speaker", short_speech)
    await service.enable(talk.room, listener.nextcloud_session_id)
    await listener.captions.wait()
    async with asyncio.timeout(2):
        await service.leave(talk.room)
    await listener.captions.wait(rest, timeout_s=1)
    assert service.status().calls == 0
    await talk.wait_until_we_left()


async def test_leaving_delivers_the_words_so_far_of_an_engine_that_hangs(talk: TalkOnLoopback, short_speech: Speech) -> None:
    def hang(stream: FakeStream) -> None:
        stream.end = asyncio.Event().wait  # type: ignore[method-assign, assignment]

    talk.backend.prepare = hang
    service = await talk.service()
    listener = await talk.caller("listener")
    await talk.caller("speaker", short_speech)
    await service.enable(talk.room, listener.nextcloud_session_id)
    await listener.captions.wait()
    async with asyncio.timeout(2):
        await service.leave(talk.room)
    assert (await listener.captions.wait(rest, timeout_s=1)).text == "begins"


async def test_no_caption_is_lost_in_a_connection_that_dies_unnoticed(talk: TalkOnLoopback, short_speech: Speech) -> None:
    async with Link("127.0.0.1", urlsplit(talk.hpb.url).port or 0) as link:
        service = await talk.service(hpb=HpbConfig(link.url, Secret(talk.internal_secret), talk.nextcloud.url))
        listener = await talk.caller("listener")
        await talk.caller("speaker", short_speech)
        await service.enable(talk.room, listener.nextcloud_session_id)
        await listener.captions.wait()
        link.stall()
        async with asyncio.timeout(15):
            while not talk.backend.streams[0].flushes:  # noqa: ASYNC110  the fake tells no one
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.1)
        assert not any(map(rest, listener.captions.received))
        link.cut()
        link.unstall()
        await listener.captions.wait(rest, timeout_s=10)
        await service.leave(talk.room)


async def test_a_speaker_who_hangs_up_in_mid_sentence_gets_their_last_words_shown(
    talk: TalkOnLoopback, short_speech: Speech
) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    speaker = await talk.caller("speaker", short_speech)
    await service.enable(talk.room, listener.nextcloud_session_id)
    await listener.captions.wait()
    await speaker.leave()
    await listener.captions.wait(rest, timeout_s=5)
    assert service.status().speakers == 0


async def test_captions_go_on_after_the_websocket_was_cut(talk: TalkOnLoopback, short_speech: Speech) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    speaker = await talk.caller("speaker", short_speech)
    await service.enable(talk.room, listener.nextcloud_session_id)
    await listener.captions.wait()
    sessions = talk.internal_sessions()
    talk.hpb.cut()
    await listener.captions.wait(rest)
    await speaker.say(short_speech)
    assert len(list(filter(rest, listener.captions.of(speaker.session_id)))) >= 2
    assert talk.internal_sessions() == sessions


async def test_captions_come_back_by_themselves_after_a_restart_of_the_hpb(talk: TalkOnLoopback, short_speech: Speech) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    speaker = await talk.caller("speaker", short_speech)
    await service.enable(talk.room, listener.nextcloud_session_id)
    await listener.captions.wait()
    await talk.hpb.restart(down_s=0.5)
    await speaker.wait_connected()
    await listener.wait_connected()
    playback = speaker.play(short_speech)
    await playback.wait()
    await listener.captions.wait(rest, speaker=speaker.session_id)


@pytest.mark.parametrize("bye", [True, False])
async def test_a_listener_who_reloads_the_page_still_gets_captions(
    talk: TalkOnLoopback, short_speech: Speech, bye: bool
) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    speaker = await talk.caller("speaker", short_speech)
    await service.enable(talk.room, listener.nextcloud_session_id, user_id="listener")
    await listener.captions.wait(rest)
    before = listener.nextcloud_session_id
    await listener.reload(bye=bye)
    assert listener.nextcloud_session_id != before
    seen = len(listener.captions.received)
    await speaker.say(short_speech)
    await listener.captions.wait(lambda caption: rest(caption) and caption in listener.captions.received[seen:])


async def test_a_wrong_secret_costs_one_hello_and_other_rooms_nothing(talk: TalkOnLoopback, short_speech: Speech) -> None:
    good = await talk.service()
    listener = await talk.caller("listener")
    await good.enable(talk.room, listener.nextcloud_session_id)
    talk.internal_secret = "wrong" * 8
    wrong = await talk.service()
    answers = await asyncio.gather(*(wrong.enable(f"room{n}", "session") for n in range(10)), return_exceptions=True)
    assert all(isinstance(answer, CallUnavailable) and "refused the internal secret" in str(answer) for answer in answers)
    assert "wrong" * 8 not in "".join(map(str, answers))
    assert talk.failed_hellos() == 1
    await talk.caller("speaker", short_speech)
    await listener.captions.wait(rest)


async def test_an_unreachable_hpb_is_said_in_time(talk: TalkOnLoopback, unused_tcp_port: int) -> None:
    nobody = HpbConfig(f"http://127.0.0.1:{unused_tcp_port}", Secret("secret"), talk.nextcloud.url)
    service = await talk.service(hpb=nobody)
    with pytest.raises(CallUnavailable, match=r"127\.0\.0\.1") as refusal:
        async with asyncio.timeout(2):
            await service.enable(talk.room, "session")
    assert refusal.value.retryable
    assert service.status().targets == 0


async def test_who_asks_again_while_the_first_request_waits_in_vain_gets_captions(talk: TalkOnLoopback) -> None:
    async with Link("127.0.0.1", urlsplit(talk.hpb.url).port or 0) as link:
        link.stall()
        service = await talk.service(hpb=HpbConfig(link.url, Secret(talk.internal_secret), talk.nextcloud.url))
        listener = await talk.caller("listener")
        first = asyncio.create_task(service.enable(talk.room, listener.nextcloud_session_id))
        await asyncio.sleep(ANSWER_S / 2)
        second = asyncio.create_task(service.enable(talk.room, listener.nextcloud_session_id))
        with pytest.raises(CallUnavailable):
            await first
        link.unstall()
        await second
        assert service.status().targets == 1
        await service.leave(talk.room)


async def test_no_call_starts_while_the_service_ends(talk: TalkOnLoopback, short_speech: Speech) -> None:
    def hang(stream: FakeStream) -> None:
        stream.end = asyncio.Event().wait  # type: ignore[method-assign, assignment]

    talk.backend.prepare = hang
    listener = await talk.caller("listener")
    await talk.caller("speaker", short_speech)
    async with TranscriptionService(talk.config(), no_ice_servers, registry=talk.registry, wall_clock=time.time) as service:
        await service.enable(talk.room, listener.nextcloud_session_id)
        await listener.captions.wait()
        late = asyncio.get_running_loop().call_later(0.3, lambda: ending.append(asyncio.ensure_future(late_request())))
        ending: list[asyncio.Future[None]] = []

        async def late_request() -> None:
            await service.enable("another", "session")

    late.cancel()
    with pytest.raises(CallUnavailable, match="stopping"):
        await ending[0]


async def test_a_call_that_cannot_be_started_anew_leaves_the_others_alone(
    talk: TalkOnLoopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    await service.enable(talk.room, listener.nextcloud_session_id)

    def refuse() -> None:
        raise SttModelError("There is no engine any more.")

    async def fail(call: Call) -> None:
        monkeypatch.setattr(talk.registry, "backend", refuse)
        raise RuntimeError("unexpected")

    monkeypatch.setattr(Restarts, "FIRST_S", 0.0)
    monkeypatch.setattr(Call, "run", fail)
    with pytest.raises(CallUnavailable):
        await service.enable("another", "session")
    assert [error.message for error in service.status().last_errors] == ["There is no engine any more."]
    assert service.status().calls == 1


async def test_the_call_ends_when_nobody_wants_captions_any_more(talk: TalkOnLoopback) -> None:
    service = await talk.service(no_target_linger_s=0.2)
    listener = await talk.caller("listener")
    await service.enable(talk.room, listener.nextcloud_session_id)
    await service.disable(talk.room, listener.nextcloud_session_id)
    await talk.wait_until_we_left()
    async with asyncio.timeout(2):
        while service.status().calls:  # noqa: ASYNC110  the goodbye reaches the HPB before all is closed here
            await asyncio.sleep(0.01)


async def test_ending_the_call_for_all_ends_the_transcription(talk: TalkOnLoopback) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    await service.enable(talk.room, listener.nextcloud_session_id)
    await talk.nextcloud.talk.end_call_for_all(talk.room)
    await talk.wait_until_we_left()


async def test_one_speakers_failing_engine_leaves_the_other_speaker_alone(talk: TalkOnLoopback, short_speech: Speech) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    first = await talk.caller("first", short_speech)
    await service.enable(talk.room, listener.nextcloud_session_id)
    await listener.captions.wait(speaker=first.session_id)
    talk.backend.streams[0].emitted.put_nowait(SttModelError("The model broke."))
    second = await talk.caller("second", short_speech)
    await listener.captions.wait(rest, speaker=second.session_id)


async def test_leaving_does_not_wait_for_an_engine_that_still_gets_ready(
    talk: TalkOnLoopback, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(talk.backend, "warm", never)
    service = await talk.service()
    listener = await talk.caller("listener")
    await service.enable(talk.room, listener.nextcloud_session_id)
    await service.leave(talk.room)
    assert service.status().calls == 0
    assert "was cancelled" not in caplog.text
    await talk.wait_until_we_left()
