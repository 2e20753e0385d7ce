# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Finds the position of 80 ms frames on the tape. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.load.tape import PACKET_SAMPLES

FRAME_PACKETS = 4
FRAME_SAMPLES = FRAME_PACKETS * PACKET_SAMPLES
#: Correlation that counts as found where it is expected (decoders differ a little, after a pause more), and elsewhere.
_EXPECTED, _FOUND = 0.8, 0.9
#: Places that are looked at closely when nobody knows where to look.
_CANDIDATES = 96
#: Energy (sum of squares) of a frame that holds too little to recognise, and of one that tells a new place for certain.
_QUIET, _LOUD = 1e-3, 0.05


class Locator:
    """`reference`: the whole tape, decoded (see `tape.decode`), mono float32 at 24 kHz. Positions are packets."""

    def __init__(self, reference: npt.NDArray[np.float32]) -> None:
        self.packets = len(reference) // PACKET_SAMPLES
        tape = reference[: self.packets * PACKET_SAMPLES]
        self._reference = np.concatenate([tape, tape[:FRAME_SAMPLES]])
        loudness = np.log(np.sqrt(np.mean(np.square(self._reference.reshape(-1, PACKET_SAMPLES)), axis=1)) + 1e-6)
        self._shape = np.stack([loudness[n : n + self.packets] for n in range(FRAME_PACKETS)], axis=1)

    def locate(self, frame: npt.NDArray[np.float32], expected: int | None = None) -> int | None:
        """The position of the first packet of a frame of 1920 samples, looked for at `expected` first; None where it is not
        to be found. A quiet frame is where it is expected.
        """
        energy = float(frame @ frame)
        if expected is not None and (energy < _QUIET or self._fits(frame, energy, expected % self.packets, _EXPECTED)):
            return expected % self.packets
        if energy < _LOUD:
            return None
        loudness = np.log(np.sqrt(np.mean(np.square(frame.reshape(FRAME_PACKETS, -1)), axis=1)) + 1e-6)
        distance = np.sum(np.square(self._shape - loudness), axis=1)
        for position in np.argpartition(distance, _CANDIDATES)[:_CANDIDATES]:
            if self._fits(frame, energy, int(position), _FOUND):
                return int(position)
        return None

    def _fits(self, frame: npt.NDArray[np.float32], energy: float, position: int, least: float) -> bool:
        start = position * PACKET_SAMPLES
        here = self._reference[start : start + FRAME_SAMPLES]
        return float(frame @ here) > least * float(np.sqrt(energy * float(here @ here)))
