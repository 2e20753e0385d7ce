# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Live translation in a call: real speech, the embedded engine, and a translator that marks what it translates."""

from __future__ import annotations

import asyncio

import pytest

from live_transcription.errors import CallNotFound, NotATarget, TranslationUnavailable, UnknownTranslation
from live_transcription.types import Language, TranslationLanguages
from sandbox.caller import Speech
from tests.integration.conftest import TalkOnLoopback

PAIRS = TranslationLanguages(
    {"en": Language("en", "English", "English")}, {code: Language(code, code, code) for code in ("fr", "de", "en")}
)


class Translator:
    """Marks texts with the target language."""

    def __init__(self, pairs: TranslationLanguages = PAIRS) -> None:
        self.pairs = pairs

    def languages(self) -> TranslationLanguages:
        return self.pairs

    async def translate(self, text: str, origin: str, target: str) -> str:
        await asyncio.sleep(0.1)
        return f"{origin}-{target}: {text}"


async def test_two_readers_follow_one_call_in_two_languages(talk: TalkOnLoopback, short_speech: Speech) -> None:
    service = await talk.service(translator=Translator())
    readers = {language: await talk.caller(f"reader-{language}") for language in ("en", "fr", "de")}
    for language, reader in readers.items():
        await service.enable(talk.room, reader.nextcloud_session_id, user_id=f"reader-{language}")
        if language != "en":
            await service.set_translation(talk.room, reader.nextcloud_session_id, language, user_id=f"reader-{language}")
    speaker = await talk.caller("speaker", short_speech)
    for language in ("fr", "de"):
        caption = await readers[language].captions.wait()
        assert (caption.language, caption.speaker, caption.final) == (language, speaker.session_id, True)
        assert caption.text.startswith(f"en-{language}: ")
    await readers["en"].captions.wait()
    assert {caption.language for caption in readers["en"].captions.received} == {"en"}


async def test_the_language_stays_when_captions_are_turned_off_and_on(talk: TalkOnLoopback, short_speech: Speech) -> None:
    service = await talk.service(translator=Translator())
    reader = await talk.caller("reader")
    session = reader.nextcloud_session_id
    await service.enable(talk.room, session, user_id="reader")
    await service.set_translation(talk.room, session, "fr", user_id="reader")
    (snapshot,) = service.export()
    assert snapshot.translations == ((session, "fr"),)
    await service.disable(talk.room, session)
    await service.enable(talk.room, session, user_id="reader")
    await talk.caller("speaker", short_speech)
    assert (await reader.captions.wait()).language == "fr"


async def test_an_administrator_can_switch_translation_off(talk: TalkOnLoopback, short_speech: Speech) -> None:
    service = await talk.service(translator=Translator())
    reader = await talk.caller("reader")
    await service.enable(talk.room, reader.nextcloud_session_id)
    await service.set_translation(talk.room, reader.nextcloud_session_id, "fr")
    service.apply(talk.config(translation=False))
    assert not service.translation_languages().targets
    await talk.caller("speaker", short_speech)
    assert (await reader.captions.wait()).language == "en"


async def test_requests_that_cannot_be_met(talk: TalkOnLoopback) -> None:
    translator = Translator(TranslationLanguages())
    service = await talk.service(translator=translator)
    with pytest.raises(TranslationUnavailable):
        await service.set_translation(talk.room, "session", "fr")
    await service.set_translation(talk.room, "session", None)
    translator.pairs = PAIRS
    with pytest.raises(CallNotFound):
        await service.set_translation(talk.room, "session", "fr")
    reader = await talk.caller("reader")
    await service.enable(talk.room, reader.nextcloud_session_id)
    for language in ("xx", "en"):
        with pytest.raises(UnknownTranslation):
            await service.set_translation(talk.room, reader.nextcloud_session_id, language)
    await service.set_language(talk.room, "fr")
    with pytest.raises(UnknownTranslation):  # nothing is translated from French
        await service.set_translation(talk.room, reader.nextcloud_session_id, "de")
    await service.set_language(talk.room, "en")
    with pytest.raises(NotATarget):
        await service.set_translation(talk.room, "stranger", "fr")
