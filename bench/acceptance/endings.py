# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Send SIGTERM right after the last word, on an idle and a busy machine. Expect exit code 0, and captions of the last second.

On the busy machine twice as many processes as cores compute all the time, from before the speech until the app has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.acceptance.scenario import Outcome, main
from bench.common.results import Target
from sandbox import word_error_rate
from tests.rig.setting import SHORT, SHORT_SPEECH, Setting, setting

#: Words of the last second of `sandbox/recordings/en-short`.
LAST_WORDS = 3
#: Seconds from SIGTERM to the end of the process; `scripts/supervise.sh` kills after 8 s.
END_S = 8.0
#: Share of endings that may miss one or more of the last words.
MISSED = 0.0


async def run(options: argparse.Namespace) -> Outcome:
    found: dict[str, list[dict[str, Any]]] = {"idle": [], "busy": []}
    with tempfile.TemporaryDirectory() as directory:
        for kind, endings in found.items():
            async with setting(Path(directory) / kind, hpb_series=options.hpb) as talk:
                for _ in range(options.endings):
                    endings.append(await _ending(talk, busy=kind == "busy"))
                    print(kind, endings[-1], flush=True)
                    await talk.app.process.start()
                    await _enabled(talk)
    targets: list[Target] = []
    for kind, endings in found.items():
        targets += (
            Target(f"{kind}: exit codes other than 0", sum(ending["code"] != 0 for ending in endings), 0),
            Target(f"{kind}: longest end", max(ending["took_s"] for ending in endings), END_S, "s"),
            Target(
                f"{kind}: endings without the last words", sum(not ending["last"] for ending in endings) / len(endings), MISSED
            ),
        )
    return Outcome(tuple(targets), {"endings": found})


async def _ending(talk: Setting, *, busy: bool) -> dict[str, Any]:
    room = talk.room()
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        if not (await listener.enable_captions("en")).ok:
            raise RuntimeError("no captions")
        await asyncio.sleep(2)
        with _load() if busy else contextlib.nullcontext():
            await asyncio.sleep(1)
            await speaker.say(SHORT_SPEECH.part(0, SHORT.utterances[-1].end_s))
            asked = time.monotonic()
            code = await talk.app.process.stop()
            took_s = time.monotonic() - asked
        await asyncio.sleep(0.5)
        text = listener.captions.text(speaker.session_id)
    said, captioned = (word_error_rate.normalise(words, "en") for words in (SHORT.text, text))
    return {
        "code": code,
        "took_s": round(took_s, 2),
        "last": captioned[-LAST_WORDS:] == said[-LAST_WORDS:],
        "text": text,
    }


async def _enabled(talk: Setting) -> None:
    async with asyncio.timeout(30):
        while (await talk.app.health())["enabled"] is not True:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.1)


@contextlib.contextmanager
def _load() -> Iterator[None]:
    """Ends with this process, too."""
    endless = "import os, sys\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(10**6))"
    hogs = [subprocess.Popen([sys.executable, "-c", endless]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--endings", type=int, default=10, help="how often, on the idle and on the busy machine")


if __name__ == "__main__":
    sys.exit(main("endings", run, description=__doc__.splitlines()[0], arguments=_arguments))
