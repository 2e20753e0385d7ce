# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Texts for administrators that can be translated: a constant template and the values in it. Pure.

The catalogues of ex_app translate templates, so a template is never composed. Values are inserted as they are and are never
read as a template, whatever they contain. A setting is a placeholder with the name of its variable, such as `{LT_HPB_URL}`:
the log shows the variable, the settings page the field's label.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

#: A number is an amount, shown in the reader's format; pass codes and ports as text. A `Text` is translated, too.
Value: TypeAlias = "str | int | float"

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]+")


class Text(str):
    """An English text, rendered, with its `template` and `values`, from which it can be rendered in another language.

    A template that is a `Text` already is returned as it is. Anything made of a `Text` (`+`, an f-string) is a plain `str`
    and is shown in English; use `join`.
    """

    template: str
    values: Mapping[str, Value]

    def __new__(cls, template: str, /, **values: Value) -> Text:
        if isinstance(template, Text):
            return template
        text = super().__new__(cls, fill(template, values))
        text.template, text.values = template, values
        return text

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Value]]:
        return (str(self.template),), dict(self.values)

    def render(self, translate: Callable[[str], str], setting: Callable[[str], str], number: Callable[[float], str]) -> str:
        """In another language: `translate` takes a template, `setting` the name of a variable, `number` an amount."""

        def shown(value: Value) -> str:
            if isinstance(value, Text):
                return value.render(translate, setting, number)
            return value if isinstance(value, str) else number(value)

        values = {name: shown(value) for name, value in self.values.items()}
        return fill(translate(self.template), values, setting)


def fill(template: str, values: Mapping[str, Value], setting: Callable[[str], str] = str) -> str:
    """Insert `values`, and `setting(name)` for each setting. A placeholder without a value stays."""

    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        if name in values:
            return str(values[name])
        return setting(name) if _VARIABLE.fullmatch(name) else match[0]

    return _PLACEHOLDER.sub(value_of, template)


def join(*texts: str) -> Text:
    """Whole sentences, one after the other; empty ones are left out."""
    given = [text for text in texts if text]
    if len(given) == 1:
        return Text(given[0]) if isinstance(given[0], Text) else Text("{a}", a=given[0])
    values: dict[str, Any] = {f"part{number}": text for number, text in enumerate(given)}
    return Text(" ".join(f"{{{name}}}" for name in values), **values)


def setting_name(variable: str) -> Text:
    """The name of a setting as a value of a text."""
    return Text(f"{{{variable}}}")


def template(text: str) -> str:
    """Mark a template in a table for the catalogues, which are collected from the sources. The values follow later."""
    return text
