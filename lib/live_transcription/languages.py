# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The languages that calls can be captioned in. Importing this module loads no engine."""

from __future__ import annotations

from collections.abc import Mapping

from live_transcription.types import Language

#: By code, in the order in which Talk shows them: those of Whisper's 99 languages that it transcribes well enough to follow.
LANGUAGES: Mapping[str, Language] = {
    language.code: language
    for language in (
        Language("en", "English", "English"),
        Language("fr", "French", "Français"),
        Language("de", "German", "Deutsch"),
        Language("es", "Spanish", "Español"),
        Language("it", "Italian", "Italiano"),
        Language("pt", "Portuguese", "Português"),
        Language("nl", "Dutch", "Nederlands"),
        Language("ca", "Catalan", "Català"),
        Language("pl", "Polish", "Polski"),
        Language("ru", "Russian", "Русский"),
        Language("uk", "Ukrainian", "Українська"),
        Language("tr", "Turkish", "Türkçe"),
        Language("sv", "Swedish", "Svenska"),
        Language("ja", "Japanese", "日本語", separator=""),
        Language("ko", "Korean", "한국어"),
        Language("zh", "Chinese", "中文", separator=""),
    )
}

#: The id that stands for whichever language a speaker uses. Captions and utterances never have it: theirs is a real language.
AUTO = "auto"

#: `LANGUAGES`, and after them `AUTO`: what a call can be set to.
CHOICES: Mapping[str, Language] = {**LANGUAGES, AUTO: Language(AUTO, "Automatic", "Automatic")}
