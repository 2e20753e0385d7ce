# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Nextcloud's task processing, as far as translations need it: the structure of its answers. Pure.

Source: Nextcloud's developer manual, "Task processing", and the OCS routes `/taskprocessing/tasks_consumer`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from live_transcription.languages import LANGUAGES
from live_transcription.types import Language, TranslationLanguages

TRANSLATE = "core:text2text:translate"
#: A provider may offer this instead of a language of origin.
DETECT = "detect_language"
#: Number of languages that are read from an answer, and the longest id and name.
_MAX_LANGUAGES, _MAX_CHARS = 500, 64
#: Languages that are written from right to left, and those without spaces between words.
_RIGHT_TO_LEFT = frozenset({"ar", "arc", "dv", "fa", "he", "iw", "ku", "ps", "sd", "ug", "ur", "yi"})
_UNSPACED = frozenset({"ja", "km", "lo", "my", "th", "zh"})


@dataclass(frozen=True, slots=True)
class Pairs:
    """What a provider offers. `origins`, `targets`: its own codes by our ids. `languages`: the same for Talk."""

    origins: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    languages: TranslationLanguages = field(default_factory=TranslationLanguages)


@dataclass(frozen=True, slots=True)
class TaskState:
    """A task. `output` is its translation, None while it is not done, `failed` if there will be none."""

    id: int
    custom_id: str
    output: str | None = field(default=None, repr=False)
    failed: bool = False


def parse_pairs(answer: Any) -> Pairs:
    """Read the languages of the provider of translations; empty if there is none."""
    types = answer.get("types") if isinstance(answer, dict) else None
    kind = types.get(TRANSLATE) if isinstance(types, dict) else None
    shapes = kind.get("inputShapeEnumValues") if isinstance(kind, dict) else None
    if not isinstance(shapes, dict):
        return Pairs()
    origin_codes = dict(_values(shapes.get("origin_language")))
    target_codes = dict(_values(shapes.get("target_language")))
    origins = {ours: code for ours in LANGUAGES if (code := _code_for(ours, origin_codes)) is not None}
    targets: dict[str, str] = {}
    offered: dict[str, Language] = {}
    for code, name in target_codes.items():
        ours = _id_of(code)
        if code != DETECT and ours not in targets:
            targets[ours] = code
            base = ours.partition("_")[0]
            offered[ours] = Language(ours, name, name, "" if base in _UNSPACED else " ", base in _RIGHT_TO_LEFT)
    if not origins or not targets:
        return Pairs()
    return Pairs(origins, targets, TranslationLanguages({ours: LANGUAGES[ours] for ours in origins}, offered))


def parse_task(answer: Any) -> TaskState | None:
    """Read a task in an answer or a webhook's body, `{task: {id, customId, status, output}}`. None if it is malformed."""
    task = answer.get("task") if isinstance(answer, dict) else None
    if not isinstance(task, dict) or not isinstance(number := task.get("id"), int) or isinstance(number, bool):
        return None
    custom_id = task.get("customId")
    custom_id = custom_id if isinstance(custom_id, str) else ""
    match task.get("status"):
        case "STATUS_SUCCESSFUL":
            output = task.get("output")
            text = output.get("output") if isinstance(output, dict) else None
            return TaskState(number, custom_id, text) if isinstance(text, str) else TaskState(number, custom_id, failed=True)
        case "STATUS_FAILED" | "STATUS_CANCELLED":
            return TaskState(number, custom_id, failed=True)
        case _:
            return TaskState(number, custom_id)


def _values(entries: Any) -> Iterator[tuple[str, str]]:
    """Code and name of each language in `[{name, value}]`."""
    for entry in (entries if isinstance(entries, list) else ())[:_MAX_LANGUAGES]:
        value, name = (entry.get("value"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if isinstance(value, str) and 0 < len(value) <= _MAX_CHARS and value.isascii() and value.isprintable():
            yield value, name[:_MAX_CHARS] if isinstance(name, str) and name.strip() and name.isprintable() else value


def _id_of(code: str) -> str:
    """Our id of a provider's code, in Talk's notation: `pt-br` -> `pt_BR`, `zh-Hans` -> `zh_Hans`."""
    base, *rest = code.replace("-", "_").split("_")
    return "_".join([base.lower(), *(part.upper() if len(part) == 2 else part for part in rest)])


def _code_for(ours: str, codes: Mapping[str, str]) -> str | None:
    """The provider's code for a language that is spoken: the same, one of its regions, or that for a language to detect."""
    ids = {code: _id_of(code) for code in codes}
    same = (code for code, found in ids.items() if found == ours)
    region = (code for code, found in ids.items() if found.partition("_")[0] == ours)
    return next(same, None) or next(region, None) or (DETECT if DETECT in codes else None)
