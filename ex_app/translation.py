# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The page's languages: one catalogue per language in l10n/, and one function that translates what goes to the page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ex_app.settings.table import BY_VARIABLE
from live_transcription.texts import Text

_L10N = Path(__file__).parent / "l10n"
#: Quotation marks around the name of a field, thousands separator and decimal separator.
_FORMATS = {"en": ("“”", ",", "."), "de": ("„“", ".", ","), "fr": (("«\u00a0", "\u00a0»"), "\u202f", ",")}


@cache
def translations(language: str) -> Mapping[str, str]:
    """Texts in `language` by the English text; a text without translation stays English."""
    if language == "en" or language not in languages():
        return {}
    found: dict[str, str] = json.loads((_L10N / f"{language}.json").read_text(encoding="utf-8"))["translations"]
    return found


@cache
def languages() -> tuple[str, ...]:
    return ("en", *sorted(path.stem for path in _L10N.glob("*.json") if path.stem != "en"))


def language_of(wanted: str) -> str:
    """The first available language in `wanted` (`fr-CA`, or an Accept-Language header), otherwise English."""
    for tag in wanted[:200].lower().split(","):
        code = re.match(r"\s*([a-z]{2,3})", tag)
        if code and code[1] in languages():
            return code[1]
    return "en"


def translated(content: Any, language: str) -> Any:
    """Plain values, with each `Text` in them in `language`. Other strings are names or values and stay as they are."""
    if isinstance(content, Text):
        return _render(content, language)
    if isinstance(content, Mapping):
        return {key: translated(value, language) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [translated(value, language) for value in content]
    return content


def _render(text: Text, language: str) -> str:
    catalogue = translations(language)
    (opening, closing), thousands, point = _FORMATS.get(language, _FORMATS["en"])

    def setting(variable: str) -> str:
        """The field's label. Someone who reads the page has never seen the variable."""
        found = BY_VARIABLE.get(variable)
        return f"{opening}{catalogue.get(found.label, found.label)}{closing}" if found else variable

    def number(amount: float) -> str:
        return f"{amount:,}".translate({ord(","): thousands, ord("."): point})

    return text.render(lambda template: catalogue.get(template, template), setting, number)
