# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Maps the time of a stream, which contains only speech, to the time at which that speech was spoken. Pure."""

from __future__ import annotations

from collections import deque

from live_transcription.types import SAMPLE_RATE

#: Seconds by which audio may deviate from the run before it; more than the jitter of frames, less than a pause.
_TOLERANCE_S = 0.25
#: Number of runs to remember. Words refer to the last minutes of a stream; each run is an utterance.
_REMEMBERED_RUNS = 256


class StreamClock:
    """Audio is added in order; each run without a gap in the speaker's time is stored once."""

    def __init__(self) -> None:
        # The position and the time of the first sample of each run.
        self._runs: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED_RUNS)
        self._samples = 0

    def add(self, samples: int, ended_at: float) -> None:
        """Append audio to the stream, the last sample of which was spoken at `ended_at` (seconds of a monotonic clock)."""
        started_at = ended_at - samples / SAMPLE_RATE
        if not self._runs or abs(self.time(self._samples / SAMPLE_RATE) - started_at) > _TOLERANCE_S:
            self._runs.append((self._samples, started_at))
        self._samples += samples

    def time(self, stream_s: float) -> float:
        """The time at which the audio at `stream_s` seconds of the stream was spoken. Requires at least one `add`.

        A position after the end of the stream, which only a faulty engine reports, counts as that end.
        """
        position = round(min(stream_s * SAMPLE_RATE, self._samples))
        first, started_at = next((run for run in reversed(self._runs) if run[0] <= position), self._runs[0])
        return started_at + (position - first) / SAMPLE_RATE

    @property
    def empty(self) -> bool:
        return not self._runs
