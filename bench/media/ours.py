# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The product's speakers, created as in a call; signaling is a line of text to the generator."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from prometheus_client import Counter

from bench.common.json_lines import tell
from bench.media.channel import GeneratorChannel
from live_transcription.config import EngineConfig, HpbConfig, ModalConfig, MoshiConfig, SttConfig
from live_transcription.errors import SttError
from live_transcription.observability import metrics
from live_transcription.speaker.speaker import Speaker
from live_transcription.stt.engines import SttRegistry
from live_transcription.types import Caption, IceServer, Secret
from live_transcription.vad.detector import preload

_NO_HPB = HpbConfig("wss://signaling.example.com", Secret("unused"), "https://cloud.example.com")


async def no_servers() -> Sequence[IceServer]:
    return ()


class Ours:
    """Whisper stands behind Modal as the fallback, as by default; its weights are loaded when it is needed, so never here."""

    def __init__(self, stt_url: str, *, dialect: str = "modal") -> None:
        preload()
        stt = SttConfig(moshi=MoshiConfig(url=stt_url)) if dialect == "moshi" else SttConfig(modal=ModalConfig(url=stt_url))
        self.config = EngineConfig(hpb=_NO_HPB, stt=stt)
        self._registry = SttRegistry(self.config.stt)
        self._speakers: dict[str, Speaker] = {}
        self._captions = 0
        self._errors: list[str] = []

    async def run(self, peer: str) -> None:
        speaker = self._speakers[peer] = Speaker(
            peer,
            "en",
            self.config,
            self._registry.backend(),
            channel=GeneratorChannel(tell, peer),
            ice_servers=no_servers,
            on_caption=self._captioned,
            on_utterance=lambda utterance: None,  # noqa: ARG005  captions are counted
            on_error=self._failed,
        )
        await speaker.run()

    async def offer(self, peer: str, sid: str, sdp: str) -> None:
        self._speakers[peer].offer(sid, sdp)

    def report(self) -> dict[str, Any]:
        """`engines`: anything but Modal alone means that another engine took over."""
        return {
            "captions": self._captions,
            "errors": self._errors[-3:],
            "reconnects": _by_label(metrics.stt_reconnects),
            "switches": _by_label(metrics.stt_engine_switches),
            "tasks": len(asyncio.all_tasks()),
        }

    def _captioned(self, caption: Caption) -> None:
        self._captions += bool(caption.text)

    def _failed(self, error: SttError) -> None:
        self._errors.append(str(error))
        del self._errors[:-10]


def _by_label(counter: Counter) -> dict[str, float]:
    samples = [sample for family in counter.collect() for sample in family.samples if sample.name.endswith("_total")]
    return {"".join(sample.labels.values()): sample.value for sample in samples}
