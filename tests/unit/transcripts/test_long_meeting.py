# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A meeting of two hours with crashes, and a process that is really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import webvtt as parser

from live_transcription.transcript import Utterance
from live_transcription.transcripts.kept import KeptTranscript
from live_transcription.transcripts.markdown import markdown
from live_transcription.transcripts.model import Missing, Spoken
from live_transcription.transcripts.storage import JournalFolder
from live_transcription.transcripts.webvtt import webvtt
from tests.unit.transcripts.samples import BEGIN, INFO, said

WRITER = """
import sys
from pathlib import Path
from live_transcription.transcripts.kept import KeptTranscript
from live_transcription.transcripts.storage import JournalFolder
from tests.unit.transcripts.samples import INFO, said
kept = KeptTranscript.create(JournalFolder(Path(sys.argv[1]), b"secret"), INFO)
for number in range(10**9):
    kept.on_utterance(said(f"utterance {number}", float(number), number=number), "Ada")
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def spoken_by(speakers: int, seconds: float, random: Random) -> list[tuple[str, Utterance]]:
    """What so many people say, each independently, in the order in which it ends."""
    found: list[tuple[str, Utterance]] = []
    for speaker in range(speakers):
        at = random.uniform(0, 10)
        while at < seconds:
            length = random.uniform(0.3, 20)
            text = " ".join(random.choices(["we", "should", "talk", "about", "it"], k=1 + round(length * 2)))
            found.append((f"Speaker {speaker}", said(text, at, length)))
            at += length + random.uniform(0.5, 30)
    return sorted(found, key=lambda each: each[1].ended_at)


def test_two_hours_of_six_speakers_with_crashes_and_late_translations(tmp_path: Path) -> None:
    random = Random(15)
    meeting = spoken_by(6, 7200.0, random)
    assert len(meeting) > 1500
    folder = JournalFolder(tmp_path, b"secret")
    kept = KeptTranscript.create(folder, INFO)
    for number, (name, utterance) in enumerate(meeting):
        spoken = kept.on_utterance(utterance, name)
        if number % 5 == 0:
            kept.translate(spoken, "fr", "traduction")
        if number in (400, 900, 901, 1400):  # SIGKILL
            kept._journal.close()
            with kept._journal.path.open("ab") as file:
                file.write(bytes([1] * random.randint(1, 19)))
            os.utime(kept._journal.path, (utterance.ended_at, utterance.ended_at))
            (kept,) = KeptTranscript.continue_all(folder, utterance.ended_at + 5)
            kept.resume(utterance.ended_at + 5)
    entries = kept.snapshot().entries
    assert [entry.started_at for entry in entries] == sorted(entry.started_at for entry in entries)
    found = [(entry.name, entry.text, entry.started_at, entry.ended_at) for entry in entries if isinstance(entry, Spoken)]
    expected = [(name, each.text, each.started_at, each.ended_at) for name, each in meeting]
    assert sorted(found) == sorted(expected), "each once, with its own times"
    assert sum(isinstance(entry, Missing) for entry in entries) == 3, "two restarts in a row are one gap"
    assert len(parser.from_string(webvtt(kept.snapshot())).captions) >= len(meeting)
    assert len(markdown(kept.snapshot()).splitlines()) == 6 + len(entries)
    kept.delete()
    assert list(tmp_path.iterdir()) == []


def test_what_was_taken_before_a_kill_is_there_afterwards(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root / "lib"), str(root)))}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=root, env=environment
    ) as writer:
        assert writer.stdout is not None
        taken = [int(writer.stdout.readline()) for _ in range(500)]
        writer.send_signal(signal.SIGKILL)
        taken += [int(line) for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    assert writer.returncode == -signal.SIGKILL
    (kept,) = KeptTranscript.continue_all(JournalFolder(tmp_path, b"secret"), BEGIN + 1)
    texts = [entry.text for entry in kept.snapshot().entries if isinstance(entry, Spoken)]
    assert texts[: len(taken)] == [f"utterance {number}" for number in taken]
    assert len(texts) - len(taken) in (0, 1), "at most the one that was written when the process ended"
    kept.delete()
