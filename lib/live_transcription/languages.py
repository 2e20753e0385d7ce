# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The languages that calls can be captioned in, by code, in the order in which Talk shows them."""

from __future__ import annotations

from collections.abc import Mapping

from live_transcription.types import Language

#: Of Whisper's 99 languages, those that it transcribes well enough to follow a conversation.
LANGUAGES: Mapping[str, Language] = {
    language.code: language
    for language in (
        Language("en", "English"),
        Language("fr", "French"),
        Language("de", "German"),
        Language("es", "Spanish"),
        Language("it", "Italian"),
        Language("pt", "Portuguese"),
        Language("nl", "Dutch"),
        Language("ca", "Catalan"),
        Language("pl", "Polish"),
        Language("ru", "Russian"),
        Language("uk", "Ukrainian"),
        Language("tr", "Turkish"),
        Language("sv", "Swedish"),
        Language("ja", "Japanese", separator=""),
        Language("ko", "Korean"),
        Language("zh", "Chinese", separator=""),
    )
}
