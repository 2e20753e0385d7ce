# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A call with a real HPB and Janus, captioned by the real process of the app."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import pytest

from sandbox import recording, word_error_rate
from sandbox.caller import Mute, from_recording
from sandbox.recording import Recording
from sandbox.talk_renderer import Style, TalkRenderer
from tests.rig.setting import SHORT, SHORT_SPEECH, Setting, captioned, eventually, heard, more_words

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Seconds of the long recordings that are played; whole utterances of them.
LONG_S = 62.0
#: The app leaves an empty room's resources within this time.
LEAVE_S = 2.0


def beginning(spoken: Recording) -> tuple[str, float]:
    """Text of the utterances that end within `LONG_S`, and where the last of them ends."""
    utterances = [utterance for utterance in spoken.utterances if utterance.end_s <= LONG_S]
    return " ".join(utterance.text for utterance in utterances), utterances[-1].end_s


async def peer_ages(talk: Setting) -> list[float]:
    """How long the app's peers have been connected to Janus, in seconds."""
    return [
        (handle["current_time"] - handle["webrtc"]["dtls"]["connected"]) / 1e6
        for handle in await talk.rig.janus_admin.handles()
        if handle["plugin_specific"].get("type") == "subscriber" and handle.get("webrtc")
    ]


async def caption_beginning(talk: Setting, name: str, language: str) -> tuple[float, str]:
    """Word error rate, and the captions."""
    spoken = recording.load(name)
    text, end_s = beginning(spoken)
    room = talk.room()
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions(language)).ok
        await asyncio.sleep(1.5)  # this is about accuracy, not about how fast a call is joined
        await speaker.say(from_recording(spoken).part(0, end_s + 0.3))
        await captioned(listener, speaker.session_id, text, timeout_s=15)
        await asyncio.sleep(4)
        assert min(await peer_ages(talk)) >= 60, "the SFU's consent (RFC 7675) expires after 30 s unless it is renewed"
        assert not speaker.captions.received, "a speaker who asked for none gets none"
        assert all(caption.language == language for caption in listener.captions.received)
        heard_text = listener.captions.text(speaker.session_id)
    await talk.nextcloud.talk.leave(room)
    return word_error_rate.word_errors(text, heard_text, language).rate, heard_text


async def test_two_calls_are_captioned_at_once_in_their_languages(
    talk: Setting, record_testsuite_property: Callable[[str, object], None]
) -> None:
    async with asyncio.TaskGroup() as group:
        english = group.create_task(caption_beginning(talk, "en-conference", "en"))
        french = group.create_task(caption_beginning(talk, "fr-conference", "fr"))
    for language, found, most in (("English", english.result(), 0.08), ("French", french.result(), 0.20)):
        rate, captions = found
        record_testsuite_property(f"word error rate, {language}", f"{rate:.3f}")
        assert rate <= most, captions


def words(text: str) -> list[str]:
    """As they were sent; in `SHORT` each occurs once."""
    return [word.strip(".,").lower() for word in text.split()]


async def test_no_message_repeats_a_word_while_two_talk_and_the_websocket_is_cut(talk: Setting, room: str) -> None:
    async with talk.speaker(room, "speaker-1") as one, talk.speaker(room, "speaker-2") as two, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await asyncio.sleep(1.0)
        playbacks = [one.play(SHORT_SPEECH), two.play(SHORT_SPEECH)]
        await listener.captions.wait(more_words(listener, one.session_id, 3))
        await asyncio.sleep(0.5)  # for the pong: what nothing proves to be read may be sent again
        assert talk.link.cut() >= 1
        for playback in playbacks:
            await playback.wait()
        for speaker in (one, two):
            await captioned(listener, speaker.session_id)
        await asyncio.sleep(3.0)
        assert all(caption.final for caption in listener.captions.received)
        shown = []
        for style in Style:
            renderer = TalkRenderer(style, present={one.session_id, two.session_id})
            for caption in listener.captions.received:
                renderer.receive(caption.speaker, caption.text, caption.language, caption.at, final=caption.final)
            shown.append([renderer.text(speaker.session_id) for speaker in (one, two)])
        assert shown[0] == shown[1]
        for text in shown[0]:
            assert Counter(words(text)).most_common(1)[0][1] == 1, text


async def test_a_cut_websocket_is_resumed_and_no_word_is_lost(talk: Setting, room: str) -> None:
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        playback = speaker.play(SHORT_SPEECH)
        await listener.captions.wait(speaker=speaker.session_id)
        accepted = talk.link.accepted
        assert talk.link.cut() >= 1
        await captioned(listener, speaker.session_id)
        assert talk.link.accepted > accepted
        await playback.wait()


async def test_captions_come_back_by_themselves_after_a_restart_of_the_hpb(talk: Setting, room: str) -> None:
    async with talk.speaker(room, speech=SHORT_SPEECH) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await listener.captions.wait(speaker=speaker.session_id)
        speaker.microphone.stop_playing()
        before = speaker.session_id
        await talk.rig.restart_hpb(down_s=0.5)
        await eventually(lambda: _is(speaker.session_id != before), "the speaker comes back")
        await listener.wait_connected()
        await speaker.wait_connected()
        await asyncio.sleep(3)
        await speaker.say(SHORT_SPEECH)
        await captioned(listener, speaker.session_id)


async def test_captions_come_back_by_themselves_after_a_restart_of_janus(talk: Setting, room: str) -> None:
    async with talk.speaker(room, speech=SHORT_SPEECH) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await listener.captions.wait(speaker=speaker.session_id)
        speaker.microphone.stop_playing()
        before = speaker.session_id
        await talk.rig.restart_janus()
        await eventually(lambda: _is(speaker.session_id != before), "the speaker comes back")
        await speaker.wait_connected()
        await asyncio.sleep(1)
        await speaker.say(SHORT_SPEECH)
        await captioned(listener, speaker.session_id)


async def test_leave_delivers_the_open_utterance_and_leaves_nothing_behind(talk: Setting, room: str) -> None:
    connections = talk.link.open
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        speaker.play(SHORT_SPEECH)
        await listener.captions.wait(more_words(listener, speaker.session_id, 4))
        assert talk.app.usage().udp > 0
        assert talk.link.open == connections + 1
        asked = time.time()
        assert (await talk.nextcloud.talk.leave(room)).ok
        await eventually(lambda: _is_left(talk, connections), "sockets are closed", LEAVE_S - (time.time() - asked))
        assert (await talk.app.health())["calls"] == 0
        await asyncio.sleep(1)
        assert not listener.captions.of(since=asked + LEAVE_S), "captions after the app has left"
        assert listener.captions.of(since=asked), "the last words come before the app has left"


async def test_a_speaker_who_reloads_is_heard_again(talk: Setting, room: str) -> None:
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await speaker.reload()
        await speaker.say(SHORT_SPEECH)
        await captioned(listener, speaker.session_id)


async def test_a_listener_who_reloads_goes_on_reading(talk: Setting, room: str) -> None:
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await listener.reload()
        await speaker.say(SHORT_SPEECH)
        await captioned(listener, speaker.session_id)


@pytest.mark.parametrize("kind", list(Mute))
async def test_a_mute_closes_the_utterance_and_speech_after_it_is_captioned(talk: Setting, room: str, kind: Mute) -> None:
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await speaker.say(SHORT_SPEECH.part(0, 2.6))
        speaker.mute(kind)
        first = await listener.captions.wait(speaker=speaker.session_id, timeout_s=5)
        assert first.text
        await asyncio.sleep(1)
        speaker.unmute()
        again = time.time()
        await speaker.say(SHORT_SPEECH)

        async def captioned_again() -> bool:
            # On a busy machine the last words from before the mute come after it, too.
            spoken = words(listener.captions.text(speaker.session_id, since=again))
            return heard(SHORT.text, " ".join(spoken[-len(words(SHORT.text)) :]))

        await eventually(captioned_again, "the words after the mute are captioned", timeout_s=20)


async def test_somebody_on_the_phone_is_captioned(talk: Setting, room: str) -> None:
    async with talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        async with talk.phone(room, SHORT_SPEECH) as phone:
            await captioned(listener, phone.session_id)


async def test_lost_packets_and_video_do_no_harm(talk: Setting, room: str) -> None:
    async with talk.speaker(room, loss=0.03, seed=1, video=True, dtx=True) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await speaker.say(SHORT_SPEECH)
        await captioned(listener, speaker.session_id)


async def test_malformed_opus_costs_that_packet_only(talk: Setting, room: str) -> None:
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        speaker.microphone.injected.extend([b"\xff", b"\xff\xff\xff\xff", b"\x03\x00", b"\x00" * 1200])
        await speaker.say(SHORT_SPEECH)
        await captioned(listener, speaker.session_id)


async def test_the_same_request_ten_times_at_once_is_one_target(talk: Setting, room: str) -> None:
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        answers = await asyncio.gather(*(listener.enable_captions("en") for _ in range(10)))
        assert all(answer.ok for answer in answers)
        await speaker.say(SHORT_SPEECH)
        await captioned(listener, speaker.session_id)
        spoken = words(listener.captions.text(speaker.session_id))
        assert len(spoken) == len(set(spoken)), "no word twice"


async def test_a_conversation_in_an_unknown_language_is_captioned_in_the_default_language(talk: Setting, room: str) -> None:
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("tlh")).ok
        await speaker.say(SHORT_SPEECH)
        await captioned(listener, speaker.session_id)
        assert {caption.language for caption in listener.captions.of(speaker.session_id)} == {"en"}


async def test_nothing_that_was_said_and_no_secret_is_logged(talk: Setting, room: str) -> None:
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await speaker.say(SHORT_SPEECH)
        text = await captioned(listener, speaker.session_id)
    log = talk.app.process.log.read_text(encoding="utf-8")
    assert heard(SHORT.text, text)
    assert "locate" not in log
    assert talk.rig.internal_secret not in log
    assert talk.app.ex_app.secret not in log


async def _is(condition: bool) -> bool:
    return condition


async def _is_left(talk: Setting, connections: int) -> bool:
    return talk.app.usage().udp == 0 and talk.link.open == connections
