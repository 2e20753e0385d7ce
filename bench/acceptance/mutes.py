# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`python -m bench.acceptance.mutes`: time from an unmute to the first caption, compared with people who never mute.

Eight people in one call mute as Talk does (`replaceTrack(null)`: no RTP at all) for 5 s to 5 min, and speak as soon as they
unmute. Two others are never muted, and speak after pauses of the same lengths. Only one person speaks at a time, so captions do
not wait for the floor. A reader measures the time from the first sound to the first caption. The app's requests to the HPB are
counted on the wire.

Speech-to-text is the stand-in for moshi-server, which knows the words of the recording. This scenario tests the audio path, not
recognition, and the embedded engine would need most of a machine with two cores.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.acceptance import scenario
from bench.common.figures import summary
from bench.common.results import Target
from sandbox import loopback_ice, recording
from sandbox.caller import Caller, Mute, Speech, from_recording
from sandbox.demo.speech_server import speech_server
from sandbox.nextcloud import Nextcloud
from sandbox.rig import AppProcess, Link, Rig

NEVER_MUTED = 2
#: How long each speaks, and the pause after it, in seconds. The captions of one are read in this time (Talk scrolls one line in
#: two seconds), so that the floor is free for the next.
_SPEECH_S, _REST_S = 2.0, 3.0
#: Seconds after which a caption counts as missing.
_MISSING_S = 15.0


@dataclass
class Found:
    """Seconds from the first sound to the first caption; None where none came. `unmuted`: each after its mute's duration.
    `requests`: for offers during mutes.
    """

    unmuted: list[tuple[float, float | None]] = field(default_factory=list)
    never_muted: list[float | None] = field(default_factory=list)
    requests: int = 0


def durations(count: int, longest_s: float, shortest_s: float = 5.0) -> list[float]:
    """From the shortest to the longest mute, each longer than the one before by the same factor."""
    return [shortest_s * (longest_s / shortest_s) ** (n / max(1, count - 1)) for n in range(count)]


def shared_out(mutes: Sequence[float], people: int) -> list[list[float]]:
    """Each one's mutes in random order, all with about the same sum."""
    shares: list[list[float]] = [[] for _ in range(people)]
    for mute in sorted(mutes, reverse=True):
        min(shares, key=sum).append(mute)
    for share in shares:
        random.shuffle(share)
    return shares


async def say(speaker: Caller, listener: Caller, speech: Speech) -> float | None:
    """Speaks; returns how long the first caption took. The speech begins with sound."""
    playback = speaker.play(speech)
    await playback.wait()
    began_at = playback.left_at(0.0)
    try:
        caption = await listener.captions.wait(speaker=speaker.session_id, since=began_at, timeout_s=_MISSING_S)
    except TimeoutError:
        return None
    return caption.at - began_at


async def mute_and_speak(
    speaker: Caller, listener: Caller, speech: Speech, mutes: Sequence[float], turn: asyncio.Lock, link: Link, found: Found
) -> None:
    for mute_s in mutes:
        speaker.mute(Mute.NO_PACKETS)
        muted_at = time.time()
        await asyncio.sleep(mute_s)
        async with turn:
            found.requests += len(link.offer_requests(speaker.session_id, muted_at))
            muted_s = time.time() - muted_at
            speaker.unmute()
            found.unmuted.append((muted_s, await say(speaker, listener, speech)))
            await asyncio.sleep(_REST_S)


async def pause_and_speak(
    speaker: Caller, listener: Caller, speech: Speech, pauses: Sequence[float], turn: asyncio.Lock, found: Found
) -> None:
    for pause_s in pauses:
        await asyncio.sleep(pause_s)
        async with turn:
            found.never_muted.append(await say(speaker, listener, speech))
            await asyncio.sleep(_REST_S)


async def run(options: argparse.Namespace) -> scenario.Outcome:
    random.seed(options.seed)
    spoken = recording.load("en-short")
    onset_s = spoken.utterances[0].start_s
    speech = from_recording(spoken).part(onset_s, onset_s + _SPEECH_S)
    mutes = durations(options.unmutes, options.longest)
    found = Found()
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutes-")))
        nextcloud = await stack.enter_async_context(Nextcloud())
        rig = Rig(nextcloud.url, nextcloud.signaling_secret, hpb_series=options.hpb, directory=directory)
        await stack.enter_async_context(rig)
        nextcloud.hpb_url = rig.hpb_url
        link = await stack.enter_async_context(Link("127.0.0.1", rig.hpb.port))
        speech_to_text = await stack.enter_async_context(
            speech_server("moshi", "located", "en", loopback_ice.child_environment(), directory)
        )
        environment = dict(speech_to_text.environment)
        app = AppProcess(nextcloud, link.url, rig.internal_secret, log=directory / "app.log", environment=environment)
        await stack.enter_async_context(app)
        room = nextcloud.talk.rooms.create().token

        async def caller(name: str, *, publishes: bool = True) -> Caller:
            made = Caller(rig.signaling_url, nextcloud, room, name, name, publishes=publishes)
            return await stack.enter_async_context(made)

        listener = await caller("listener", publishes=False)
        muted = [await caller(f"muted-{number}") for number in range(options.people)]
        never = [await caller(f"never-{number}") for number in range(NEVER_MUTED)]
        answer = await listener.enable_captions("en")
        if not answer.ok:
            raise SystemExit(f"Captions could not be enabled: {answer.body}")
        await asyncio.sleep(3)
        turn = asyncio.Lock()
        shares = shared_out(mutes, options.people)
        async with asyncio.TaskGroup() as tasks:
            for speaker, share in zip(muted, shares, strict=True):
                tasks.create_task(mute_and_speak(speaker, listener, speech, share, turn, link, found))
            longest_s = max(map(sum, shares))
            for speaker in never:
                pauses = random.sample(mutes, len(mutes))
                while sum(pauses) > longest_s:
                    pauses.pop()
                tasks.create_task(pause_and_speak(speaker, listener, speech, pauses, turn, found))
        reconnects = await app.metric("live_transcription_speaker_reconnects_total")
    return outcome(found, reconnects)


def outcome(found: Found, reconnects: float) -> scenario.Outcome:
    unmuted = [seconds for _, seconds in found.unmuted if seconds is not None]
    never = [seconds for seconds in found.never_muted if seconds is not None]
    missing = len(found.unmuted) + len(found.never_muted) - len(unmuted) - len(never)
    ratio = statistics.median(unmuted) / statistics.median(never) if unmuted and never else None
    return scenario.Outcome(
        (
            Target("first caption, unmuted / never muted (medians)", None if ratio is None else round(ratio, 2), 1.2),
            Target("first caption after an unmute, worst", round(max(unmuted), 2) if unmuted else None, 1.5, "s"),
            Target("requests for offers during mutes", found.requests, 0),
            Target("captions that did not come", missing, 0),
        ),
        {
            "unmuted_ms": summary(unmuted),
            "never_muted_ms": summary(never),
            "speaker_reconnects": reconnects,
            "mutes": [
                {"muted_s": round(muted_s, 1), "first_caption_s": seconds and round(seconds, 3)}
                for muted_s, seconds in found.unmuted
            ],
        },
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--unmutes", type=int, default=60, help="unmutes of all people together (default: 60)")
    parser.add_argument("--longest", type=float, default=300.0, help="longest mute, in seconds (default: 300)")
    parser.add_argument("--people", type=int, default=8, help="people who mute (default: 8)")
    parser.add_argument("--seed", type=int, default=1)


if __name__ == "__main__":
    sys.exit(
        scenario.main(
            "mutes", run, description="First captions of people who unmute, on a real HPB and Janus.", arguments=arguments
        )
    )
