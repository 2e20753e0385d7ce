# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The engine's speakers with a faulty speech-to-text server, over real sockets, on the virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from live_transcription.config import ModalConfig, MoshiConfig, SttConfig
from live_transcription.stt.base import SttBackend
from live_transcription.stt.engines import SttRegistry
from live_transcription.types import SAMPLE_RATE, Frame, Secret
from live_transcription.vad.detector import EnergyDetector
from sandbox import recording
from sandbox.monologue import FRAME, Monologue
from sandbox.recording import Recording
from sandbox.stt_servers.fleet import Fleet
from sandbox.stt_servers.located import located
from sandbox.stt_servers.modal import Behaviour, ModalStandIn
from sandbox.stt_servers.moshi import MoshiStandIn
from sandbox.virtual_clock import run
from sandbox.word_error_rate import normalise

#: End of the second utterance in the recording, and a little silence.
_END_S = 16.2
#: Seconds without a caption after which no more are expected. An outage lasts up to ten, and the retries after it some more.
_QUIET_S = 40.0

SPOKEN = recording.load("en-conference")
#: Two utterances of 11 and 3 s, a second apart (float32, 24 kHz mono).
SPEECH: Frame = SPOKEN.pcm(SAMPLE_RATE)[: round(_END_S * SAMPLE_RATE)]
TEXT = " ".join(utterance.text for utterance in SPOKEN.utterances[:2])
DIALECTS = ("modal", "moshi")


#: Runs a coroutine on the virtual clock.
play = partial(run, loopback_s=0.001)


def words(text: str) -> list[str]:
    return normalise(text, "en")


@dataclass
class Setting:
    """A server, and the engines that are configured to use it."""

    server: ModalStandIn | MoshiStandIn
    registry: SttRegistry

    def speaker(self, name: str = "speaker-1", language: str = "en", *, backend: SttBackend | None = None) -> Monologue:
        return Monologue(backend or self.registry.backend(), language, name=name, detector=EnergyDetector())

    async def listen_until_quiet(self, monologue: Monologue, *, patience_s: float = 150.0) -> None:
        """Send silence, like a speaker who waits, until no more captions come."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while loop.time() < deadline:
            await monologue.hush(0.4)
            latest = monologue.captions[-1] if monologue.captions else None
            if latest is not None and loop.time() - latest.at > _QUIET_S:
                return


@asynccontextmanager
async def setting(
    dialect: str,
    *,
    behaviour: Behaviour | None = None,
    fleet: Fleet | None = None,
    batch_size: int = 8,
    config: Callable[[SttConfig], SttConfig] = lambda config: config,
    recordings: tuple[Recording, ...] = (SPOKEN,),
) -> AsyncIterator[Setting]:
    """`config` may change the settings for the server, which have no embedded engine."""
    source = located(recordings)
    server: ModalStandIn | MoshiStandIn
    if dialect == "modal":
        server = ModalStandIn(source, behaviour, fleet=fleet, batch_size=batch_size)
    else:
        server = MoshiStandIn(source, batch_size=batch_size)
    async with server:
        fitting = SttConfig(embedded=None)
        if dialect == "modal":
            modal = ModalConfig(
                url=server.stream_url, key=Secret("wk-key"), secret=Secret("ws-secret"), credentials_anywhere=True
            )
            fitting = replace(fitting, modal=modal)
        else:
            fitting = replace(fitting, moshi=MoshiConfig(url=server.stream_url))
        registry = SttRegistry(config(fitting))
        try:
            yield Setting(server, registry)
        finally:
            await registry.aclose()


def with_help_of(registry: SttRegistry, helper: SttBackend, patience_s: float = 15.0) -> SttBackend:
    """The registry's engines followed by another one, which replaces the embedded engine."""
    from live_transcription.stt.fallback.backend import FallbackBackend
    from live_transcription.stt.resilient.backend import ResilientBackend

    engines = (*filter(None, map(registry.engine, registry.engines())), helper)
    fallback = FallbackBackend(engines, patience_s=patience_s)
    return ResilientBackend(fallback)


def burst(monologue: Monologue, pcm: Frame) -> None:
    """Put all audio into the queue at once."""
    for start in range(0, len(pcm) - FRAME + 1, FRAME):
        monologue.frames.put(np.ascontiguousarray(pcm[start : start + FRAME]))
