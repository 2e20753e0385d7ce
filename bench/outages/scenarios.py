# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Coroutines for `sandbox.virtual_clock.run`: recordings go through the engine's speaker to stand-ins on loopback."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import numpy as np

from bench.common.figures import percentile
from live_transcription.config import ModalConfig, MoshiConfig, SttConfig
from live_transcription.stt.engines import SttRegistry
from live_transcription.stt.sockets import sockets
from live_transcription.types import SAMPLE_RATE
from sandbox import recording
from sandbox.monologue import FRAME_S, Monologue
from sandbox.recording import Recording, Utterance
from sandbox.stt_servers.fleet import Fleet
from sandbox.stt_servers.located import located
from sandbox.stt_servers.modal import ModalStandIn
from sandbox.stt_servers.moshi import MoshiStandIn
from sandbox.stt_servers.words import words_of
from sandbox.word_error_rate import normalise, word_errors

#: A word that is shown later than this after it was spoken lags, in seconds.
_LAGS_S = 1.2
_QUIET_S = 2.0
#: What of a recording goes along before and after an utterance, in seconds.
_MARGIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Captioned:
    """`wrong`: words lost, added, changed or out of order in what stands in the end. `lag_gone_s`: after the server was up."""

    words: int
    wrong: int
    first_word_p50_s: float
    first_word_p95_s: float
    last_word_p50_s: float
    lag_gone_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Hour:
    """`socket_s`: a socket was open, which is what a GPU is paid for."""

    turns: int
    words: int
    wrong: int
    speech_s: float
    socket_s: float
    saved_s: float
    sessions: int


@asynccontextmanager
async def _server(
    dialect: str, recordings: Sequence[Recording], cold_start_s: float = 0.0
) -> AsyncIterator[tuple[ModalStandIn | MoshiStandIn, SttRegistry]]:
    words = located(recordings)
    if dialect == "modal":
        async with ModalStandIn(words, fleet=Fleet(cold_start_s=cold_start_s)) as modal:
            registry = SttRegistry(SttConfig(embedded=None, modal=ModalConfig(url=modal.stream_url)))
            yield modal, registry
            await registry.aclose()
        return
    async with MoshiStandIn(words) as moshi:
        registry = SttRegistry(SttConfig(embedded=None, moshi=MoshiConfig(url=moshi.stream_url)))
        yield moshi, registry
        await registry.aclose()


@dataclass(frozen=True, slots=True)
class _Spoken:
    """When each normalised word had been spoken, and each utterance with the moment at which its recording began."""

    word_ends: list[float]
    utterances: list[tuple[Utterance, float]]


async def _perform(monologue: Monologue, played: Recording, times: int) -> _Spoken:
    spoken = _Spoken([], [])
    for _ in range(times):
        began = await monologue.say(played.pcm(SAMPLE_RATE))
        for word in words_of(played):
            spoken.word_ends.extend([began + word.end_s] * len(normalise(word.text, played.language)))
        spoken.utterances.extend((utterance, began) for utterance in played.utterances)
        await monologue.hush(_QUIET_S)
    return spoken


async def _captioned(
    dialect: str, *, times: int = 1, cold_start_s: float = 0.0, outage_at_s: float | None = None, outage_s: float = 0.0
) -> Captioned:
    played = recording.load("en-conference")
    async with _server(dialect, [played], cold_start_s) as (server, registry):
        async with Monologue(registry.backend(), played.language) as monologue:
            if outage_at_s is not None:
                asyncio.get_running_loop().call_later(outage_at_s, server.begin_outage, outage_s)
            spoken = await _perform(monologue, played, times)
        up_at = server.sessions[0].opened_at if outage_at_s is None else outage_at_s + outage_s
    shown = monologue.shown_at(len(spoken.word_ends), played.language)
    delays = [at - end for at, end in zip(shown, spoken.word_ends, strict=False)]
    late = [at for at, delay in zip(shown, delays, strict=True) if delay > _LAGS_S]
    firsts, lasts, word = [], [], 0
    for utterance, began in spoken.utterances:
        words = len(normalise(utterance.text, played.language))
        if word + words > len(shown):
            break  # what was never shown is among the wrong words
        firsts.append(delays[word])
        word += words
        lasts.append(max(0.0, shown[word - 1] - began - utterance.end_s))
    if not lasts:
        raise RuntimeError(f"not one whole utterance was shown ({dialect})")
    return Captioned(
        words=len(spoken.word_ends),
        wrong=_wrong(" ".join([played.text] * times), monologue.text, played.language),
        first_word_p50_s=round(statistics.median(firsts), 3),
        first_word_p95_s=round(percentile(firsts, 0.95) or 0.0, 3),
        last_word_p50_s=round(statistics.median(lasts), 3),
        lag_gone_s=round(max(late, default=up_at) - up_at, 1),
    )


async def latency(dialect: str) -> Captioned:
    """A server that answers as Kyutai does, and is up."""
    return await _captioned(dialect)


async def cold_start(dialect: str, seconds: float) -> Captioned:
    """The server takes this long to start after the first word, while the speaker keeps talking."""
    return await _captioned(dialect, times=2, cold_start_s=seconds)


async def outage(dialect: str, seconds: float) -> Captioned:
    """The server disappears in the middle of a sentence, with all its connections."""
    return await _captioned(dialect, outage_at_s=20.3, outage_s=seconds)


async def hour(*, share: float, seed: int) -> Hour:
    """An hour of Modal in which one person speaks this share of the time, in turns of half a minute to a minute and more."""
    random = Random(seed)
    played = recording.load("en-conference")
    turns = _turns(played, share * 3600.0, random)
    spoken_s = sum(turn[-1].end_s - turn[0].start_s for turn in turns)
    gaps = [random.expovariate(1.0) for _ in range(len(turns) + 1)]
    scale = (3600.0 - spoken_s) / sum(gaps)
    pcm = played.pcm(SAMPLE_RATE)
    async with _server("modal", [played]) as (server, registry):
        before_s = sockets.seconds
        async with Monologue(registry.backend(), played.language) as monologue:
            for turn, gap in zip(turns, gaps, strict=False):
                await _silence(monologue, gap * scale)
                first, last = (
                    round((turn[0].start_s - _MARGIN_S) * SAMPLE_RATE),
                    round((turn[-1].end_s + _MARGIN_S) * SAMPLE_RATE),
                )
                await monologue.say(pcm[first:last])
            await _silence(monologue, gaps[-1] * scale)
            socket_s = sockets.seconds - before_s
        text = " ".join(utterance.text for turn in turns for utterance in turn)
        return Hour(
            turns=len(turns),
            words=len(normalise(text, played.language)),
            wrong=_wrong(text, monologue.text, played.language),
            speech_s=spoken_s,
            socket_s=socket_s,
            saved_s=monologue.gate.saved_s,
            sessions=len(server.sessions),
        )


def _turns(played: Recording, speech_s: float, random: Random) -> list[tuple[Utterance, ...]]:
    """Stretches of whole utterances, 30 to 77 s each, that amount to so many seconds."""
    pool = [played.utterances[:4], played.utterances[3:], played.utterances[4:], played.utterances]
    turns: list[tuple[Utterance, ...]] = []
    left_s = speech_s
    while left_s > 0:
        turns.append(random.choice(pool))
        left_s -= turns[-1][-1].end_s - turns[-1][0].start_s
    return turns


async def _silence(monologue: Monologue, seconds: float) -> None:
    """Many frames at once: there is nothing in them to be late for."""
    burst = 5
    for _ in range(round(seconds / (burst * FRAME_S))):
        await asyncio.sleep(burst * FRAME_S)
        for _ in range(burst):
            monologue.frames.put(np.zeros(round(FRAME_S * SAMPLE_RATE), np.float32))


def _wrong(reference: str, text: str, language: str) -> int:
    """As `word_errors`, which takes the square of the length: an hour is compared at once only where it is the same."""
    if normalise(reference, language) == normalise(text, language):
        return 0
    return word_errors(reference, text, language).errors
