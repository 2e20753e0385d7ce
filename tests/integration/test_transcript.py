# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A transcript of a call in which nobody reads captions."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from live_transcription.transcripts.kept import KeptTranscript
from live_transcription.transcripts.model import Missing, Spoken, TranscriptInfo
from live_transcription.transcripts.sink import Gap, SpeakerKind, TranscriptSink, Utterance
from live_transcription.transcripts.storage import JournalFolder
from sandbox.caller import Speech
from tests.integration.conftest import TalkOnLoopback


class Keeper(TranscriptSink):
    """Keeps the transcript of one room."""

    def __init__(self, kept: KeptTranscript) -> None:
        self.kept = kept
        self.over = asyncio.Event()

    def keeps(self, room_token: str) -> bool:
        return room_token == self.kept.info.room_token and not self.over.is_set()

    def on_utterance(self, room_token: str, utterance: Utterance, display_name: str) -> None:
        self.kept.on_utterance(utterance, display_name)

    def on_gap(self, room_token: str, gap: Gap, display_name: str) -> None:
        self.kept.on_gap(gap, display_name)

    def on_call_over(self, room_token: str) -> None:
        self.over.set()

    @property
    def spoken(self) -> list[Spoken]:
        return [entry for entry in self.kept.snapshot().entries if isinstance(entry, Spoken)]

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.spoken) < count:  # noqa: ASYNC110  a transcript notifies nobody
                await asyncio.sleep(0.05)


async def test_a_call_without_readers_has_a_transcript_that_survives_the_service(
    talk: TalkOnLoopback, short_speech: Speech, tmp_path: Path
) -> None:
    folder = JournalFolder(tmp_path, b"secret")
    keeper = Keeper(KeptTranscript.create(folder, TranscriptInfo(talk.room, "Weekly meeting", time.time())))
    service = await talk.service(transcripts=keeper)
    began_at = time.time()
    await talk.caller("ada", short_speech)
    await service.keep_transcribing(talk.room)
    await keeper.until(1)
    assert service.status().targets == 0
    await service.leave(talk.room)
    assert not keeper.over.is_set(), "the call continues without the app"
    (first, *_) = keeper.spoken
    assert first.text == "speech 1 begins and ends 1"
    assert (first.name, first.kind) == ("ada", SpeakerKind.USER)
    assert began_at <= first.started_at <= first.ended_at <= time.time()
    keeper.kept.close()

    (again,) = KeptTranscript.continue_all(folder, time.time())
    keeper = Keeper(again)
    assert [entry.text for entry in keeper.spoken][:1] == [first.text]
    again.delete()


async def test_a_transcript_ends_with_the_call(talk: TalkOnLoopback, short_speech: Speech, tmp_path: Path) -> None:
    kept = KeptTranscript.create(JournalFolder(tmp_path, b"secret"), TranscriptInfo(talk.room, "Weekly meeting", time.time()))
    keeper = Keeper(kept)
    service = await talk.service(transcripts=keeper, no_target_linger_s=0.5)
    speaker = await talk.caller("ada", short_speech)
    await service.keep_transcribing(talk.room)
    await keeper.until(1)
    await asyncio.sleep(1.0)
    assert service.status().calls == 1
    await speaker.leave_call()
    async with asyncio.timeout(10):
        await keeper.over.wait()
    assert not any(isinstance(entry, Missing) and not entry.name for entry in kept.snapshot().entries[1:])
    kept.delete()
