# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The receive path with Janus: audio levels, DTX, RTCP, and a path that breaks silently."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from sandbox import recording
from sandbox.caller import FrameEncryption
from sandbox.caller.speech import discontinuous
from tests.rig.setting import SHORT, SHORT_SPEECH, Setting, captioned, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
SOURCES = ("decoded", "recovered", "concealed", "silence")


async def subscriber(talk: Setting) -> dict[str, Any]:
    """Return Janus's view of the app's peer, its only subscriber."""
    handles = await talk.rig.janus_admin.handles()
    (found,) = [handle for handle in handles if handle["plugin_specific"].get("type") == "subscriber" and handle.get("webrtc")]
    return found


async def media(talk: Setting) -> dict[str, Any]:
    (stream,) = (await subscriber(talk))["webrtc"]["media"].values()
    assert isinstance(stream, dict)
    return stream


async def audio_seconds(talk: Setting) -> dict[str, float]:
    return {source: await talk.app.metric("live_transcription_audio_seconds_total", source=source) for source in SOURCES}


async def test_digital_silence_is_recognised_by_its_level_and_not_decoded(talk: Setting, room: str) -> None:
    """A muted browser still sends 50 packets/s."""
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await speaker.say(SHORT_SPEECH.part(0, 1))
        await asyncio.sleep(1)
        assert AUDIO_LEVEL in (await subscriber(talk))["webrtc"]["extensions"]
        before, sent = await audio_seconds(talk), (await media(talk))["stats"]["out"]["packets"]
        await asyncio.sleep(3)
        after, packets = await audio_seconds(talk), (await media(talk))["stats"]["out"]["packets"] - sent
        assert packets > 100, "Janus has sent them"
        assert after["silence"] - before["silence"] > 2.5
        assert after["decoded"] == before["decoded"]


async def test_with_dtx_the_timeline_is_complete_and_the_pause_is_not_decoded(talk: Setting, room: str) -> None:
    spoken, pause_s = recording.load("en-short").pcm(), 3.0
    quiet = np.zeros(int(pause_s * 48_000), dtype=np.float32)
    samples = np.concatenate((spoken[: 2 * 48_000], quiet, spoken))
    noise = 1e-4 * np.random.default_rng(1).standard_normal(len(samples))
    speech = discontinuous("with DTX", (samples + noise).astype(np.float32))
    sent_s = sum(bool(packet.payload) for packet in speech.packets) * 0.02
    assert sent_s < speech.duration_s - pause_s
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await asyncio.sleep(1)
        before = await audio_seconds(talk)
        await speaker.say(speech)
        after = await audio_seconds(talk)
        measured = {source: after[source] - before[source] for source in SOURCES}
        assert measured["decoded"] == pytest.approx(sent_s, abs=0.5)
        assert measured["recovered"] + measured["concealed"] < 0.1, "nothing was lost"
        assert sum(measured.values()) == pytest.approx(speech.duration_s, abs=0.7)
        await captioned(listener, speaker.session_id, f"I'm sorry, but I was {SHORT.text}")


async def test_janus_sees_a_well_behaved_subscriber(talk: Setting, room: str) -> None:
    errors = talk.rig.janus.logged("[ERR]")
    async with talk.speaker(room, speech=SHORT_SPEECH) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await listener.captions.wait(speaker=speaker.session_id)

        async def reported() -> bool:
            rtcp = (await media(talk))["rtcp"]["main"]
            return any(rtcp[name] for name in ("rtt", "jitter-remote", "out-link-quality"))

        await eventually(reported, "a receiver report arrives", 20)
        rtcp = (await media(talk))["rtcp"]["main"]
        assert rtcp["lost-by-remote"] == 0
        assert rtcp["rtt"] < 500, "in milliseconds, from our report on Janus's last one"
        peer = await subscriber(talk)
        assert peer["webrtc"]["ice"]["state"] == "ready"
        assert peer["webrtc"]["dtls"]["dtls-state"] == "connected"
    assert talk.rig.janus.logged("[ERR]") == errors


async def test_a_media_path_that_breaks_silently_is_opened_again(talk: Setting, room: str) -> None:
    """Janus is paused until its consent expires (RFC 7675: 30 s). The HPB does not notice."""
    reconnects = "live_transcription_speaker_reconnects_total"
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await speaker.say(SHORT_SPEECH.part(0, 1))
        before = await talk.app.metric(reconnects)
        talk.rig.janus.pause()
        try:
            await eventually(lambda: _more(talk, reconnects, before), "the path counts as lost", 45)
        finally:
            talk.rig.janus.resume()
        again = time.time()
        # No time limit: the HPB may drop the first peer after the pause together with the old one.
        for _ in range(6):
            speaker.play(SHORT_SPEECH)
        await listener.captions.wait(speaker=speaker.session_id, since=again, timeout_s=30)


async def _more(talk: Setting, name: str, than: float) -> bool:
    return await talk.app.metric(name) > than


async def test_encrypted_speech_is_reported_and_plain_speech_in_the_same_call_is_captioned(talk: Setting, room: str) -> None:
    hidden = talk.speaker(room, "hidden", SHORT_SPEECH)
    hidden.microphone.encryption = FrameEncryption(plain_share=0.01, seed=1)
    async with hidden, talk.speaker(room, "plain") as plain, talk.listener(room) as listener:
        for _ in range(5):
            hidden.play(SHORT_SPEECH)
        assert (await listener.enable_captions("en")).ok

        async def reported() -> bool:
            health = await talk.app.health()
            return "encrypted" in health["reasons"] and health["speakers_encrypted"] == 1

        await eventually(reported, "the app reports one encrypted speaker")
        plain.play(SHORT_SPEECH)
        await captioned(listener, plain.session_id)
        assert listener.captions.text(hidden.session_id) == ""
