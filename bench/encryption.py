# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Recognition of end-to-end encrypted audio: false alarms in ordinary speech, and the cost for each packet.

`python -m bench.encryption [--minutes N]`

Encodes recorded speech with each combination of bit rate, complexity, DTX and FEC, in turns until the packets cover N minutes,
and runs them through the filter. Prints how many packets end like a trailer, how many consecutive packets meet each further
condition, and how many tracks count as encrypted (none may). Writes `build/bench/encryption.json`.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Iterator

from bench.common.machine import service_facts
from bench.common.results import Target, write
from live_transcription.types import AudioPacket
from live_transcription.webrtc.frame_encryption import EncryptionFilter, has_trailer
from sandbox import recording
from sandbox.caller.opus_encoder import OpusEncoder
from sandbox.caller.speech import FRAME_S, FRAME_TICKS

BIT_RATES = (6_000, 12_000, 16_000, 24_000, 32_000, 48_000, 64_000, 128_000)
COMPLEXITIES = (0, 3, 5, 10)
_ROUNDS = 5
_MAX_STEP = 1_000


def tracks(seconds: float) -> Iterator[tuple[str, list[bytes]]]:
    """For each setting of the encoder its name, and the packets of so many seconds of speech."""
    settings = list(itertools.product(BIT_RATES, COMPLEXITIES, (False, True), (False, True)))
    voices = itertools.cycle(recording.load(name).pcm() for name in recording.LONG)
    frames = round(seconds / FRAME_S / len(settings)) + 1
    begin = 0
    for bit_rate, complexity, dtx, fec in settings:
        samples = next(voices)
        encoder = OpusEncoder(bitrate=bit_rate, complexity=complexity, dtx=dtx, fec=fec, expected_loss_percent=20 * fec)
        begin = (begin + 7 * frames) % (len(samples) // FRAME_TICKS - frames)
        starts = range(begin * FRAME_TICKS, (begin + frames) * FRAME_TICKS, FRAME_TICKS)
        name = f"{bit_rate} bit/s, complexity {complexity}, DTX {dtx:d}, FEC {fec:d}"
        yield name, [encoder.encode(samples[start : start + FRAME_TICKS]) for start in starts]


def count(payloads: list[bytes], found: Counter[str]) -> None:
    """Count the packets, and the pairs of consecutive packets, that meet each condition of the filter."""
    found["packets"] += len(payloads)
    found["end like a trailer"] += sum(map(has_trailer, payloads))
    for one, other in itertools.pairwise(payloads):
        if min(len(one), len(other)) < 31:
            continue
        step = int.from_bytes(other[-6:-2]) - int.from_bytes(one[-6:-2])
        found["pairs that both end like a trailer"] += has_trailer(one) and has_trailer(other)
        found["pairs with equal octets for the SSRC"] += one[-14:-10] == other[-14:-10]
        found["pairs whose counter increases as it must"] += 0 < step % 0xFFFF <= _MAX_STEP


def cost_ns(payloads: list[bytes]) -> float:
    """CPU time of the filter for each plain packet."""
    packets = [AudioPacket(payload, number & 0xFFFF, number * FRAME_TICKS) for number, payload in enumerate(payloads)]
    best = float("inf")
    for _ in range(_ROUNDS):
        push = EncryptionFilter().push
        began = time.process_time()
        for packet in packets:
            push(packet)
        best = min(best, time.process_time() - began)
    return best / len(packets) * 1e9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="of speech, all settings together")
    arguments = parser.parse_args()
    found: Counter[str] = Counter()
    alarms = []
    some: list[bytes] = []
    for name, payloads in tracks(arguments.minutes * 60):
        count(payloads, found)
        some += payloads
        ours = EncryptionFilter()
        for number, payload in enumerate(payloads):
            ours.push(AudioPacket(payload, number & 0xFFFF, number * FRAME_TICKS))
            if ours.encrypted:
                alarms.append(name)
                break
    cost = cost_ns(some)
    for what, number in found.items():
        print(f"{what:<44} {number:>10}")
    targets = (Target("tracks that count as encrypted", len(alarms), 0), Target("CPU per packet", round(cost), 2_000, "ns"))
    for target in targets:
        print(target.row())
    path = write(
        "encryption",
        {
            "machine": service_facts(),
            "minutes": arguments.minutes,
            "counts": dict(found),
            "alarms": alarms,
            "targets": [target.result() for target in targets],
        },
    )
    print(f"written to {path}")
    return 0 if all(target.met for target in targets) else 1


if __name__ == "__main__":
    raise SystemExit(main())
