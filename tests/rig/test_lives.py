# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app's process from its installation to its end: killed, stopped in mid-speech, and short of what it needs."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path

from sandbox.nextcloud.app_api import ExAppUnreachable
from sandbox.rig.shortage import out_of_descriptors
from tests.rig.setting import SHORT, SHORT_SPEECH, captioned, eventually, heard, setting


async def test_a_call_of_the_first_life_goes_on_after_the_process_was_killed(tmp_path: Path) -> None:
    """Installed a moment ago: AppAPI had flagged the app as enabled, so it read its settings, and notified it later."""
    async with setting(tmp_path, enabling_s=3.0) as talk:
        room = talk.room()
        async with talk.speaker(room) as speaker, talk.listener(room) as listener:
            assert (await listener.enable_captions("en")).ok
            await speaker.say(SHORT_SPEECH)
            await captioned(listener, speaker.session_id)

            async def written() -> bool:
                path = tmp_path / "calls.json"
                return path.exists() and room in [each["room"] for each in json.loads(path.read_text())["rooms"]]

            await eventually(written, "the call is written down")
            await talk.app.process.kill()
            await talk.app.process.start()
            started = time.time()

            async def joined() -> bool:
                return bool((await talk.app.health())["speakers"])

            await eventually(joined, "the call is taken up", 20)
            await asyncio.sleep(2)
            said = time.time()
            await speaker.say(SHORT_SPEECH)
            await captioned(listener, speaker.session_id, since=said)
            await asyncio.sleep(1)
            texts = [caption.text for caption in listener.captions.of(speaker.session_id, since=started)]
            assert heard(SHORT.text, " ".join(texts)), f"captions come once: {texts}"


async def test_stopped_right_after_the_last_word_the_captions_have_it(tmp_path: Path) -> None:
    async with setting(tmp_path) as talk:
        room = talk.room()
        async with talk.speaker(room) as speaker, talk.listener(room) as listener:
            assert (await listener.enable_captions("en")).ok
            await asyncio.sleep(2)  # this is about the end
            await speaker.say(SHORT_SPEECH.part(0, SHORT.utterances[-1].end_s))
            assert await talk.app.process.stop() == 0
            await captioned(listener, speaker.session_id, timeout_s=1)


async def test_out_of_descriptors_captions_go_on_and_another_call_is_refused_until_some_are_free(tmp_path: Path) -> None:
    async with setting(tmp_path, environment={"LOG_LEVEL": "info"}) as talk:
        room, other = talk.room(), talk.room()
        assert talk.app.process.pid is not None
        async with (
            talk.speaker(room) as speaker,
            talk.listener(room) as listener,
            talk.listener(other, "listener-2") as reader,
        ):
            assert (await listener.enable_captions("en")).ok
            await speaker.say(SHORT_SPEECH)
            await captioned(listener, speaker.session_id)
            log_bytes = (tmp_path / "app.log").stat().st_size
            with out_of_descriptors(talk.app.process.pid):
                since = time.time()
                await speaker.say(SHORT_SPEECH)
                await captioned(listener, speaker.session_id, since=since)
                with suppress(ExAppUnreachable):  # there may be no descriptor for the request, either
                    assert (await reader.enable_captions("en")).status == 503

            async def accepted() -> bool:
                with suppress(ExAppUnreachable):
                    return (await reader.enable_captions("en")).ok
                return False

            await eventually(accepted, "the other call is taken", 10)
            assert (tmp_path / "app.log").stat().st_size - log_bytes < 100_000
