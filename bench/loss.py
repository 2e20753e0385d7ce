# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The effect of a bad network on the words: `python -m bench.loss [--quick] [--seeds 3]`.

The recordings, encoded as browsers do (Opus with in-band FEC), over real ICE/DTLS/SRTP on loopback with packets lost, late and
out of order, into the product's own speakers. All that they receive is kept, and transcribed by the embedded Whisper through
the product's silence gate, utterance by utterance, with time enough.

- WER: word error rate of the finals, and how many points it is above that of the clean run.
- missing: audio sent minus audio received; shift: how far speech is from its place in the clean run, at most.

Prints a table and writes `build/bench/loss.json`. Exit code 1 where an aim is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.common.child_process import Child
from bench.common.machine import media_facts
from bench.common.recognition import send, whisper
from bench.common.results import table, write
from bench.media.alignment import shifts_ms
from bench.media.channel import GeneratorChannel
from bench.media.programs import has_fec, program
from bench.media.recording_backend import KeepingSpeaker, Received
from live_transcription.config import EmbeddedConfig
from live_transcription.stt.base import Hypothesis, SttBackend, SttStream
from live_transcription.stt.embedded.backend import EmbeddedBackend
from live_transcription.vad.detector import preload, voice_activity_detector
from live_transcription.vad.gate import SilenceGate
from sandbox import loopback_ice, recording
from sandbox.monologue import FRAME
from sandbox.word_error_rate import WordErrors, word_errors

STEP_S = 0.02
CLEAN, JUDGED = "clean", "5 % loss, 30 ms jitter"
#: Impairments; the one that is judged is played several times, each with other packets lost.
SCENARIOS: dict[str, dict[str, Any]] = {
    CLEAN: {},
    JUDGED: {"loss": 0.05, "jitter_s": 0.03},
    "10 % loss, 30 ms jitter": {"loss": 0.1, "jitter_s": 0.03},
    "5 % loss in bursts of 3": {"loss": 0.05, "burst": 3},
    "20 % reordered by 30 ms": {"reorder": 0.2},
}
#: Points of WER above the clean run, and milliseconds, that are allowed in the scenario that is judged.
AIM_POINTS = 2.0
#: A frame may be open at the end, and the first or last packets may be among the lost.
AIM_MISSING_MS = 200.0
#: The receiving end of a handshake is a little later than the sending one.
_SETTLE_S = 2.0


@dataclass(slots=True)
class Take:
    """One recording, played once through one scenario."""

    peer: str
    scenario: str
    name: str
    seed: int
    sent_ms: float = 0.0
    lost_on_the_way: int = 0
    received: Received | None = None
    finals: list[str] = field(default_factory=list)

    @property
    def errors(self) -> WordErrors:
        recorded = recording.load(self.name)
        return word_errors(recorded.text, " ".join(self.finals), recorded.language)


async def play(takes: Sequence[Take], impairment: Mapping[str, Any] | None = None) -> None:
    """Play all at once in real time, and record the packets sent and received. `impairment`: that of the scenario if None."""
    speakers: dict[str, KeepingSpeaker] = {}

    def offered(_: str, offer: dict[str, Any]) -> None:
        speakers[offer["peer"]].speaker.offer(offer["sid"], offer["sdp"])

    async with Child("bench.media.generator", on_news=offered) as generator, asyncio.TaskGroup() as tasks:
        for take in takes:
            speakers[take.peer] = KeepingSpeaker(take.peer, GeneratorChannel(generator.tell, take.peer))
            tasks.create_task(speakers[take.peer].speaker.run())
        await until(generator, lambda report: report["connected"] == len(takes))
        await generator.do("prepare", programs=sorted({take.name for take in takes}))
        await asyncio.sleep(_SETTLE_S)
        for number, take in enumerate(takes):
            chosen = {**(SCENARIOS[take.scenario] if impairment is None else impairment), "seed": take.seed}
            await generator.do("play", group="take", first=number, count=1, program=take.name, endless=False, impairment=chosen)

        def over(report: dict[str, Any]) -> bool:
            for speaker in speakers.values():
                speaker.note()
            return not report["playing"]

        await until(generator, over)
        report = await generator.do("report", detail=True)
        await asyncio.sleep(0.3)
        for speaker in speakers.values():
            speaker.end()
    for take in takes:
        sent = report["peers"][take.peer]
        take.sent_ms, take.lost_on_the_way = sent["steps"] * STEP_S * 1000, sent["lost"]
        take.received = speakers[take.peer].received()


async def until(generator: Child, true: Callable[[dict[str, Any]], bool]) -> None:
    while not true(await generator.do("report")):  # noqa: ASYNC110  another process has to be asked
        await asyncio.sleep(0.2)


async def transcribe(takes: Sequence[Take]) -> None:
    engine = whisper()
    preload()
    # No hypotheses, since only the final text counts here.
    backend = EmbeddedBackend(engine, EmbeddedConfig(hypothesis_interval_s=1e6))
    await backend.warm()
    slots = asyncio.Semaphore(EmbeddedConfig().slots)

    async def one(take: Take) -> None:
        async with slots:
            take.finals = await finals(backend, take)
        words = take.errors
        print(f"    {take.scenario}, {take.name}: {words.errors} of {words.words} words wrong", flush=True)

    async with asyncio.TaskGroup() as tasks:
        for take in takes:
            tasks.create_task(one(take))
    await backend.aclose()


async def finals(backend: SttBackend, take: Take) -> list[str]:
    assert take.received is not None
    gate, pcm = SilenceGate(voice_activity_detector()), take.received.samples
    texts: list[str] = []
    async with backend.open_stream(recording.load(take.name).language) as stream:
        reading = asyncio.create_task(_read(stream, texts))
        for at in range(0, len(pcm) - FRAME + 1, FRAME):
            await send(pcm[at : at + FRAME], gate, stream)
        await stream.end()
        await reading
    return texts


async def _read(stream: SttStream, texts: list[str]) -> None:
    texts.extend([event.text async for event in stream.events() if isinstance(event, Hypothesis) and event.final])


def rows(takes: Sequence[Take]) -> list[dict[str, Any]]:
    """By scenario, over all recordings and seeds."""
    clean = {take.name: take for take in takes if take.scenario == CLEAN}
    clean_errors = sum((take.errors for take in clean.values()), WordErrors(0))
    found = []
    for scenario in dict.fromkeys(take.scenario for take in takes):
        mine = [take for take in takes if take.scenario == scenario]
        errors = sum((take.errors for take in mine), WordErrors(0))
        received = [take.received for take in mine if take.received is not None]
        references = [clean[take.name].received for take in mine]
        shifts = [
            abs(shift)
            for reference, one in zip(references, received, strict=True)
            if reference is not None
            for shift in shifts_ms(reference.samples, one.samples)
        ]
        missing = sorted(
            (take.sent_ms - one.duration_s * 1000 - one.left_out_ms for take, one in zip(mine, received, strict=True)), key=abs
        )
        found.append(
            {
                "scenario": scenario,
                "takes": len(mine),
                "audio_s": round(sum(take.sent_ms for take in mine) / 1000, 1),
                "words": errors.words,
                "wer": round(errors.rate, 4),
                "wer_points_above_clean": round((errors.rate - clean_errors.rate) * 100, 2),
                "lost_on_the_way": sum(take.lost_on_the_way for take in mine),
                "lost": sum(one.lost for one in received),
                "late": sum(one.late for one in received),
                "reordered": sum(one.reordered for one in received),
                "concealed_ms": round(sum(one.concealed_ms for one in received)),
                "recovered_ms": round(sum(one.recovered_ms for one in received)),
                "missing_ms_most": round(missing[-1], 1),
                "shift_ms_most": round(max(shifts, default=0.0), 2),
                "shifts_compared": len(shifts),
            }
        )
    return found


def fec_share(names: Sequence[str]) -> float:
    """The packets that were sent with a copy of the previous one."""
    payloads = [step.payload for name in names for step in program(name) if step is not None]
    return round(sum(has_fec(payload) for payload in payloads) / len(payloads), 3)


def shown(found: Sequence[dict[str, Any]]) -> str:
    headings = ("scenario", "WER", "points", "lost", "late", "FEC'd ms", "concealed ms", "missing ms", "shift ms")
    names = ("lost", "late", "recovered_ms", "concealed_ms", "missing_ms_most", "shift_ms_most")
    return table(
        headings,
        (
            (row["scenario"], f"{row['wer']:.1%}", f"{row['wer_points_above_clean']:+.2f}", *(row[name] for name in names))
            for row in found
        ),
    )


async def measure(names: Sequence[str], scenarios: Sequence[str], seeds: int) -> dict[str, Any]:
    machine, began = media_facts(), time.monotonic()
    takes = [
        Take("", scenario, name, seed)
        for scenario in scenarios
        for seed in range(1, (seeds if scenario == JUDGED else 1) + 1)
        for name in names
    ]
    for number, take in enumerate(takes):
        take.peer = f"take-{number}"
        take.seed = take.seed * 100 + number  # no two recordings lose the same packets
    longest_s = max(recording.load(name).duration_s for name in names)
    print(f"    {len(takes)} takes at once, {longest_s:.0f} s; then Whisper", flush=True)
    await play(takes)
    played_s = time.monotonic() - began
    await transcribe(takes)
    found = rows(takes)
    judged = next(row for row in found if row["scenario"] == JUDGED)
    clean = next(row for row in found if row["scenario"] == CLEAN)
    print(shown(found))
    return {
        "wer_clean": clean["wer"],
        "wer_loss": judged["wer"],
        "wer_points_above_clean": judged["wer_points_above_clean"],
        "missing_ms_most": judged["missing_ms_most"],
        "shift_ms_most": judged["shift_ms_most"],
        "fec_share": fec_share(names),
        "rows": found,
        "recordings": list(names),
        "seeds": seeds,
        "played_s": round(played_s, 1),
        "took_s": round(time.monotonic() - began, 1),
        "machine": machine,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="times that the judged scenario is played, each time differently")
    parser.add_argument("--quick", action="store_true", help="one recording, two scenarios, one time each")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    loopback_ice.install()
    if arguments.quick:
        result = asyncio.run(measure(recording.LONG[:1], (CLEAN, JUDGED), 1))
    else:
        result = asyncio.run(measure(recording.LONG, tuple(SCENARIOS), arguments.seeds))
    path = write("loss", result)
    right = result["wer_points_above_clean"] <= AIM_POINTS and abs(result["missing_ms_most"]) <= AIM_MISSING_MS
    print(
        f"{JUDGED}: {result['wer_points_above_clean']:+.2f} points of WER (at most {AIM_POINTS:+g}), "
        f"{result['missing_ms_most']:g} ms missing (at most {AIM_MISSING_MS:g}){'' if right else '  MISSED'}"
    )
    print(f"written to {path} ({result['took_s']} s)")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
