# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The rig itself: if this fails, the other tests here are meaningless."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.caller import Caller, PhoneCaller, tone
from sandbox.nextcloud import Nextcloud
from sandbox.rig import HPB_SERIES, Rig

_ALONE = """
import asyncio
from sandbox.nextcloud import Nextcloud
from sandbox.rig import Rig

async def main():
    async with Nextcloud() as nextcloud, Rig(nextcloud.url, nextcloud.signaling_secret) as rig:
        print(rig.hpb.pid, rig.janus.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("series", HPB_SERIES, indirect=True)
async def test_speech_and_transcripts_get_from_one_to_the_other(series: str, tmp_path: Path) -> None:
    async with Nextcloud() as nextcloud:
        rig = Rig(nextcloud.url, nextcloud.signaling_secret, hpb_series=series, directory=tmp_path)
        async with rig:
            nextcloud.hpb_url = rig.hpb_url
            room = nextcloud.talk.rooms.create().token
            async with (
                Caller(rig.signaling_url, nextcloud, room, "speaker-1", "speaker-1", tone(20), video=True) as speaker,
                Caller(rig.signaling_url, nextcloud, room, "listener-1", "listener-1", publishes=False) as listener,
                PhoneCaller(rig.signaling_url, nextcloud, room, rig.internal_secret, tone(20, 600)) as phone,
            ):
                await (await listener.listen(speaker.session_id)).heard()
                await (await listener.listen(phone.session_id)).heard()
                assert listener.others[speaker.session_id] == 7
                transcript = {"type": "transcript", "roomType": "video", "message": "hello", "langId": "en", "final": True}
                await speaker.connection.say(listener.session_id, {**transcript, "speakerSessionId": speaker.session_id})
                assert (await listener.captions.wait(timeout_s=5)).text == "hello"


async def test_callers_come_back_after_restarts(tmp_path: Path) -> None:
    async with Nextcloud() as nextcloud:
        rig = Rig(nextcloud.url, nextcloud.signaling_secret, directory=tmp_path)
        async with rig:
            nextcloud.hpb_url = rig.hpb_url
            room = nextcloud.talk.rooms.create().token
            async with (
                Caller(rig.signaling_url, nextcloud, room, "speaker-1", "speaker-1", tone(30)) as speaker,
                Caller(rig.signaling_url, nextcloud, room, "listener-1", "listener-1", publishes=False) as listener,
            ):
                before = speaker.session_id
                await rig.restart_hpb()
                await asyncio.sleep(0.5)
                await listener.wait_connected()
                await speaker.wait_connected()
                assert speaker.session_id != before
                await (await listener.listen(speaker.session_id)).heard()

                before = speaker.session_id
                await rig.restart_janus()
                await asyncio.sleep(0.5)
                await speaker.wait_connected()
                assert speaker.session_id != before
                await (await listener.listen(speaker.session_id)).heard()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_server_outlives_the_process_that_started_it(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _ALONE], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "lib:."}
    ) as run:
        assert run.stdout is not None
        pids = [int(pid) for pid in run.stdout.readline().split()]
        assert len(pids) == 2
        run.send_signal(number)
        run.wait(10)
    for pid in pids:
        _wait_gone(pid)


def _wait_gone(pid: int) -> None:
    with subprocess.Popen(["timeout", "10", "tail", "--pid", str(pid), "-f", "/dev/null"]) as waiting:
        assert waiting.wait() == 0, "a server is still there after 10 s"
