# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Live translation of one busy call: `python -m bench.acceptance.translation [--seconds 60] [--pause 10]`.

Twenty people say a sentence every ten seconds, and people read the call in five languages. The provider takes 0.5 s for each
sentence. It works behind the stand-in for Nextcloud's task processing, and the app's webhook is on a port of its own. All of it
runs in this process, so its own work is included. There is no audio and no HPB: a sentence begins with its committed words.

Measured: from the end of a sentence to its translated caption; and how long the readers of the original wait, compared with
the same sentences in a call that nobody reads in another language. So many people say more than a caption box can show, so both
calls delay the originals by seconds; those that are still waiting at the end do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from fastapi import FastAPI

from bench.acceptance import scenario
from bench.common.figures import summary
from bench.common.results import Target
from ex_app.identity import AppIdentity
from ex_app.nextcloud.gateway import AppApiGateway
from ex_app.nextcloud.translator import NextcloudTranslator
from ex_app.routes.translation import translation_routes
from live_transcription.call.delivery import CaptionDelivery
from live_transcription.call.roster import Roster
from live_transcription.call.targets import Targets
from live_transcription.signaling.events import InCall, Participant, ParticipantsJoined
from live_transcription.signaling.requests import Recipient
from live_transcription.transcript import Utterance
from live_transcription.translation.translator import Translations
from live_transcription.types import Caption, Secret
from sandbox.nextcloud import Nextcloud
from sandbox.nextcloud.serving import LoopbackServer
from sandbox.nextcloud.task_processing import Provider

SPEAKERS, PROVIDER_S = 20, 0.5
LANGUAGES = ("fr", "de", "es", "it", "nl")
_SECRET = "secret-of-the-scenario"


class _Wire:
    """In place of the signaling session: takes every caption, and notes when each sentence has reached each reader."""

    in_room = True

    def __init__(self) -> None:
        self.ended_at: dict[str, float] = {}
        self.latencies: dict[str, list[float]] = defaultdict(list)
        self.read: dict[str, list[str]] = defaultdict(list)

    def send_caption(self, recipient: Recipient, caption: Caption) -> bool:
        assert recipient.session_id is not None
        now = asyncio.get_running_loop().time()
        for name in caption.text.split():
            if name.endswith("."):
                kind = "original" if recipient.session_id == "en" else "translated"
                self.latencies[kind].append(now - self.ended_at[name])
                self.read[recipient.session_id].append(f"{caption.language} {name}")
        return True


@asynccontextmanager
async def _translations() -> AsyncIterator[Translations]:
    async with Nextcloud(version=(33, 0, 4)) as cloud:
        app = cloud.app_api.register(secret=_SECRET)
        app.enabled = True
        codes = {code: code for code in ("en", *LANGUAGES)}
        cloud.task_processing.provider = Provider(codes, codes, seconds=PROVIDER_S)
        gateway = AppApiGateway(
            AppIdentity(Secret(_SECRET), version="10.0.0", app_api_version="33.0.0", nextcloud_url=cloud.url)
        )
        translator = NextcloudTranslator(gateway)
        webhook = FastAPI()
        webhook.include_router(translation_routes(translator))
        translations = Translations(translator)
        async with LoopbackServer(webhook) as server, asyncio.TaskGroup() as tasks:
            app.url = server.url
            running = [tasks.create_task(work) for work in (translator.run(), translations.run())]
            while not translator.languages().targets:  # noqa: ASYNC110  it is asked within a second
                await asyncio.sleep(0.05)
            yield translations
            for task in running:
                task.cancel()
        await gateway.aclose()


async def _call(translations: Translations, seconds: float, pause_s: float, *, translated: bool) -> _Wire:
    wire, targets, random = _Wire(), Targets(Roster()), Random(14)
    targets.reset(0.0)
    readers = ("en", *LANGUAGES)
    people = tuple(Participant(name, nextcloud_session_id=f"nc-{name}", in_call=InCall.IN_CALL) for name in readers)
    targets.apply(ParticipantsJoined(people), 0.0)
    delivery = CaptionDelivery(wire, targets, translations=translations, on_sent=lambda _: None)
    targets.add("nc-en", None, 0.0)
    for language in LANGUAGES if translated else ():
        targets.add(f"nc-{language}", None, 0.0)
        delivery.translate(f"nc-{language}", language)
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds

    async def speak(speaker: str, first_s: float) -> None:
        await asyncio.sleep(first_s)
        number = 0
        while loop.time() < until:
            delivery.add(Caption(speaker, "These are words of", "en"))
            await asyncio.sleep(1.0)
            number += 1
            name = f"{speaker}-{number}."
            wire.ended_at[name] = loop.time()
            delivery.add(Caption(speaker, name, "en"))
            delivery.end_utterance(Utterance(number, speaker, "", "en", True, 0.0, 0.0))
            await asyncio.sleep(pause_s - 1.0)

    async with asyncio.TaskGroup() as tasks:
        for speaker in range(SPEAKERS):
            tasks.create_task(speak(f"s{speaker}", random.uniform(0.0, pause_s)))
    await asyncio.sleep(10)
    delivery.close()
    return wire


async def run(options: argparse.Namespace) -> scenario.Outcome:
    async with _translations() as translations:
        alone = await _call(translations, options.seconds, options.pause, translated=False)
        wire = await _call(translations, options.seconds, options.pause, translated=True)
    found: dict[str, Any] = {
        "translated": summary(wire.latencies["translated"], digits=3, scale=1.0),
        "original": summary(wire.latencies["original"], digits=3, scale=1.0),
        "original_alone": summary(alone.latencies["original"], digits=3, scale=1.0),
    }
    ratio = round(found["original"]["p95"] / found["original_alone"]["p95"], 3)
    sentences = len(wire.ended_at)
    read = [entry for language in LANGUAGES for entry in wire.read[language]]
    said = sorted(wire.ended_at)
    wrong = sum(sorted(entry.split()[1] for entry in wire.read[language]) != said for language in LANGUAGES)
    untranslated = round(100 * sum(entry.startswith("en ") for entry in read) / max(1, len(read)), 2)
    targets = (
        Target("end of a sentence to its translation, p95", found["translated"]["p95"], PROVIDER_S + 0.4, "s"),
        Target("originals with translations, against without, p95", ratio, 1.05),
        Target("languages that missed or repeated a sentence", wrong, 0),
        Target("sentences shown as they were said", untranslated, 1.0, "%"),
    )
    return scenario.Outcome(targets, {"sentences": sentences, **found})


def main() -> int:
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--seconds", type=float, default=60.0, help="duration of each of the two calls")
        parser.add_argument("--pause", type=float, default=10.0, help="seconds between the sentences of a speaker")

    return scenario.main("translation", run, description=__doc__ or "", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
