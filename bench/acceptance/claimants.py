# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Claimed and silent microphones do not take captions from others: `python -m bench.acceptance.claimants [--limits 20,500]`.

One captioned room has more guests than there are speech-to-text streams. Most only claim a microphone and publish nothing. Some
publish a real microphone and are silent (noise at -60 dBFS; every fifth sends audio level 0). In other rooms, one after the
other, somebody speaks. The scenario measures the time from the onset of speech to the first caption.

The guests run in this process, on the same machine, which has no room for 500 real microphones. `--silent` sets their number.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bench.acceptance.scenario import Outcome, main
from bench.common.results import Target
from sandbox import recording
from sandbox.caller import Caller, from_recording, room_noise
from sandbox.nextcloud import Nextcloud
from sandbox.nextcloud.rooms import IN_CALL, WITH_AUDIO
from sandbox.rig import AppProcess, Rig

SHORT = recording.load("en-short")
#: Speakers join this long before they speak, in seconds, and have this long to be captioned.
JOINED_S, PATIENCE_S = 2.0, 40.0
#: Seconds after the crowd has joined until every request for a claimant's offer has been refused at least once.
SETTLE_S = 20.0
#: Guests that join at the same time.
_AT_ONCE = 16
#: Guests whose in-call flags go into one message: the HPB takes 256 KB.
_IN_A_MESSAGE = 100


class Claimant(Caller):
    """A guest in the room; its in-call flags are set together with those of others, in few messages."""

    async def _join(self) -> None:
        if self.talk_session is None:
            self.talk_session = self.nextcloud.talk.join_room(self.room_token, self.user_id, self.display_name)
        await self._join_room(self.talk_session)


async def _crowd(stack: AsyncExitStack, nextcloud: Nextcloud, url: str, room: str, claimants: int, silent: int) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def join(guest: Caller) -> Caller:
        async with gate:
            return await stack.enter_async_context(guest)

    microphones = []
    for number in range(silent):
        guest = await join(Caller(url, nextcloud, room, None, f"silent {number}"))
        guest.microphone.background = room_noise().packets
        guest.microphone.false_level = 0 if number % 5 == 0 else None
        microphones.append(nextcloud.talk.rooms.session(guest.nextcloud_session_id))
    crowd = [Claimant(url, nextcloud, room, None, f"claimant {number}", publishes=False) for number in range(claimants)]
    await asyncio.gather(*map(join, crowd))
    sessions = [nextcloud.talk.rooms.session(guest.nextcloud_session_id) for guest in crowd]
    for session in sessions:
        session.in_call = IN_CALL | WITH_AUDIO
    for first in range(0, len(sessions), _IN_A_MESSAGE):
        entries = [session.entry() for session in sessions[first : first + _IN_A_MESSAGE]]
        # Later joiners receive the `users` of the last message, which include the microphones.
        users = [*entries, *(session.entry() for session in microphones)]
        incall = {"incall": IN_CALL | WITH_AUDIO, "changed": entries, "users": users}
        await nextcloud.talk.notifier._post(room, {"type": "incall", "incall": incall})
    if nextcloud.talk.notifier.undelivered:
        raise RuntimeError("the HPB did not take all in-call flags")


async def _first_caption(nextcloud: Nextcloud, url: str, number: int) -> float | None:
    """Seconds from the onset of speech in a room of its own."""
    room = nextcloud.talk.rooms.create().token
    speaker = Caller(url, nextcloud, room, f"speaker-{number}", "speaker")
    listener = Caller(url, nextcloud, room, f"listener-{number}", "listener", publishes=False)
    async with speaker, listener:
        asked = time.time()
        while not (answer := await listener.enable_captions("en")).ok:
            if time.time() - asked > PATIENCE_S:
                raise RuntimeError(f"captions were refused: {answer.status}")
        await asyncio.sleep(JOINED_S)
        playback = speaker.play(from_recording(SHORT))
        try:
            first = await listener.captions.wait(speaker=speaker.session_id, timeout_s=PATIENCE_S)
        except (TimeoutError, AssertionError):
            return None
        onset = playback.left_at(SHORT.utterances[0].speech[0][0])
    await nextcloud.talk.leave(room)
    return round(first.at - onset, 2)


async def _at_limit(limit: int, options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    claimants = limit + options.extra
    async with AsyncExitStack() as stack:
        nextcloud = await stack.enter_async_context(Nextcloud())
        rig = Rig(nextcloud.url, nextcloud.signaling_secret, directory=directory, hpb_series=options.hpb)
        await stack.enter_async_context(rig)
        nextcloud.hpb_url = rig.hpb_url
        environment = {"LT_MAX_SPEAKERS": str(limit), "LOG_LEVEL": "info"}
        app = AppProcess(nextcloud, rig.hpb_url, rig.internal_secret, log=directory / "app.log", environment=environment)
        await stack.enter_async_context(app)
        crowded = nextcloud.talk.rooms.create().token
        reader = await stack.enter_async_context(
            Caller(rig.signaling_url, nextcloud, crowded, "reader", "reader", publishes=False)
        )
        await _crowd(stack, nextcloud, rig.signaling_url, crowded, claimants, options.silent)
        assert (await reader.enable_captions("en")).ok
        await asyncio.sleep(SETTLE_S)
        before = await app.health()
        times = [await _first_caption(nextcloud, rig.signaling_url, number) for number in range(options.tries)]
        after = await app.health()
        asked = await app.metric("live_transcription_speaker_reconnects_total", code="publisher_unavailable")
    seen = {name: after[name] for name in ("speakers", "slots", "speakers_waiting", "reasons")}
    crowd = {"limit": limit, "claimants": claimants, "silent": options.silent}
    print(f"{crowd}: first captions after {times} s; health {seen}; {asked:g} requests had no stream", flush=True)
    return {**crowd, "first_caption_s": times, "requests_without_stream": asked, "before": before, "after": after}


async def run(options: argparse.Namespace) -> Outcome:
    results = []
    for limit in map(int, options.limits.split(",")):
        with tempfile.TemporaryDirectory() as directory:
            results.append(await _at_limit(limit, options, Path(directory)))
    targets = []
    for result in results:
        times = result["first_caption_s"]
        worst = None if None in times else max(times)
        targets.append(Target(f"first caption in another room, limit {result['limit']}", worst, 2.0, "s"))
    return Outcome(tuple(targets), {"limits": results})


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limits", default="20,500", help="values of LT_MAX_SPEAKERS (default 20,500)")
    parser.add_argument("--extra", type=int, default=10, help="claimants beyond the limit (default 10)")
    parser.add_argument("--silent", type=int, default=25, help="guests with a real, silent microphone (default 25)")
    parser.add_argument("--tries", type=int, default=5, help="speakers in other rooms, one after the other (default 5)")


if __name__ == "__main__":
    sys.exit(main("claimants", run, description=__doc__ or "", arguments=_arguments))
