# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Compute the delays added by the app from the records of the load and of the speech-to-text stand-in. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from bench.load.audio_locator import FRAME_PACKETS

Array = npt.NDArray[np.float64]
Notes = Mapping[str, npt.NDArray[np.generic]]

#: Frames after a silence that do not count: pre-roll (0.62 s) that the gate has delayed on purpose, and one more.
PRE_ROLL_FRAMES = 10
#: A connection belongs to the speaker who sent what it brought most recently before.
_SAMPLES = 25


def audio_delays(
    heard: Notes, starts: Sequence[int], sent_at: Sequence[Array], packets: int, since: float, until: float
) -> Array:
    """Seconds from a frame's last packet on the wire to the frame at the stand-in, for frames that came in that time.

    What an 80 ms frame has to wait for its own packets is thereby left out. `starts`, `sent_at`: of each speaker.
    """
    connection, position = heard["connection"].astype(np.int64), heard["position"].astype(np.int64)
    at, run = heard["at"].astype(np.float64), heard["run"].astype(np.int64)
    chosen = (run >= PRE_ROLL_FRAMES) & (at >= since) & (at < until)
    delays = [np.zeros(0)]
    for number in np.unique(connection[chosen]):
        mine = chosen & (connection == number)
        last, came = (position[mine] + FRAME_PACKETS - 1) % packets, at[mine]
        few = np.linspace(0, len(came) - 1, min(_SAMPLES, len(came))).astype(int)
        guesses = [np.median(_delays(last[few], came[few], s, t, packets)) for s, t in zip(starts, sent_at, strict=True)]
        speaker = int(np.argmin(guesses)) if guesses else 0
        if guesses and np.isfinite(guesses[speaker]):
            delays.append(_delays(last, came, starts[speaker], sent_at[speaker], packets))
    found: Array = np.concatenate(delays)
    return found[np.isfinite(found)]


def _delays(last: npt.NDArray[np.int64], came: Array, start: int, sent_at: Array, packets: int) -> Array:
    """Infinite where this speaker had not sent the packet yet."""
    first = (last - start) % packets
    sent = np.searchsorted(sent_at, came, side="right")
    lap = (sent - 1 - first) // packets
    index = first + lap * packets
    known = (index >= 0) & (index < len(sent_at))
    return np.where(known, came - sent_at[np.where(known, index, 0)] if len(sent_at) else np.inf, np.inf)


def word_delays(sent_at: Array, shown_at: Array, since: float, until: float) -> tuple[Array, int]:
    """Seconds from word to caption for words said in that time, and how many of these words were never shown."""
    count = min(len(sent_at), len(shown_at))
    chosen = (sent_at >= since) & (sent_at < until)
    shown = np.zeros(len(sent_at), dtype=bool)
    shown[:count] = shown_at[:count] > 0
    both = chosen & shown
    delays: Array = shown_at[np.flatnonzero(both)] - sent_at[both]
    return delays, int(np.sum(chosen & ~shown))
