# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""How AppAPI, HaRP and Nextcloud treat what an app declares, by version.

From `info.xml`: its name, and which route a browser's request matches. Over HTTP: settings forms, `occ` commands, setup checks.
Pure, and on the standard library alone: the sandbox and `scripts/check_info_xml.py` share these rules. They follow AppAPI's
`ExAppProxyController::passesExAppProxyRoutesChecks` and `ExAppService::getAppInfo` (32.0.0 to 35.0.0-beta4) and HaRP's agent;
`DeclarativeManager` of Nextcloud's server; `ExAppOccService::buildCommand` with Symfony's console; and
`ExAppSetupCheckRefreshService` of AppAPI 35.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from xml.etree import ElementTree as ET

Version: TypeAlias = tuple[int, ...]

#: Whether the expression of a route matches a request's path, given without its leading slash.
Rule: TypeAlias = Callable[[str, str], bool]

_UNESCAPED_SLASH = re.compile(r"(?<!\\)(?:\\\\)*/")


def delimited_by_slashes(url: str, path: str) -> bool:
    """AppAPI up to 32.0.8 and 33.0.2: `/url/i` anywhere in the bare path.

    A slash that is not escaped ends the expression; PHP then takes the rest for modifiers, warns, and nothing matches.
    """
    return not _UNESCAPED_SLASH.search(url) and re.search(url, path, re.IGNORECASE) is not None


def anchored_on_the_bare_path(url: str, path: str) -> bool:
    """AppAPI 32.0.9 and 33.0.3: `~^(?:url)~i` on the path without its slash."""
    return re.match(f"(?:{url})", path, re.IGNORECASE) is not None


def anchored_on_either_path(url: str, path: str) -> bool:
    """AppAPI from 32.0.10, 33.0.4 and 34 on: the path with its slash first, then the bare one."""
    return anchored_on_the_bare_path(url, "/" + path) or anchored_on_the_bare_path(url, path)


def harp(url: str, path: str) -> bool:
    """HaRP, whatever AppAPI's version: `re.match` on the path with its slash."""
    return re.match(url, "/" + path) is not None


#: Every rule that some supported version applies.
RULES: tuple[Rule, ...] = (delimited_by_slashes, anchored_on_the_bare_path, anchored_on_either_path, harp)

#: By major version: the first release with the second and with the third rule.
_CHANGES: dict[int, tuple[Version, Version]] = {32: ((32, 0, 9), (32, 0, 10)), 33: ((33, 0, 3), (33, 0, 4))}


def rule_of(version: Version) -> Rule:
    """The rule of AppAPI in this Nextcloud."""
    second, third = _CHANGES.get(version[0], ((0,), (0,)))
    if version >= third:
        return anchored_on_either_path
    return anchored_on_the_bare_path if version >= second else delimited_by_slashes


def app_name(info: ET.Element) -> str:
    """The name that AppAPI registers. SimpleXML makes a list of two `<name>` elements, and PHP's text of a list is "Array"."""
    names = info.findall("name")
    return (names[0].text or "") if len(names) == 1 else "Array"


# Settings forms: AppAPI stores any form; Nextcloud looks at all of them when it opens a page of its settings.

_CHOICE_TYPES = ("multi-select", "multi-checkbox", "radio", "select")
_FIELD_TYPES = (*_CHOICE_TYPES, "checkbox", "url", "email", "number", "tel", "text", "password")


def register_forms(forms: Sequence[Mapping[str, Any]]) -> None:
    """As `DeclarativeManager` registers the forms of one app. Raises ValueError, which nothing catches in Nextcloud."""
    known: list[Mapping[str, Any]] = []
    for form in forms:
        if problem := next(_form_problems(form), ""):
            raise ValueError(f"Invalid schema. Please check the logs for more details. ({problem})")
        if any(other["id"] == form["id"] for other in known):
            raise ValueError(f"Duplicate form IDs detected: {form['id']}")
        others = {field["id"] for other in known for field in other["fields"]}
        if shared := [field["id"] for field in form["fields"] if field["id"] in others]:
            raise ValueError(f"Non unique field IDs detected: {', '.join(shared)}")
        known.append(form)
    # `usort` compares the priorities without looking whether there are any.
    if len(known) > 1 and not all("priority" in form for form in known):
        raise ValueError('Undefined array key "priority"')


def _form_problems(form: Mapping[str, Any]) -> Iterator[str]:
    for name in ("id", "section_type", "section_id", "title"):
        if form.get(name) is None:
            yield f"missing {name}"
    if form.get("section_type") not in ("admin", "personal"):
        yield "invalid section_type"
    fields = form.get("fields")
    if not isinstance(fields, list | dict):
        yield "missing or invalid fields"
        return
    for field in fields if isinstance(fields, list) else fields.values():
        for name in ("id", "title", "type"):
            if not isinstance(field, Mapping) or field.get(name) is None:
                yield f"missing field {name}"
                return
        if field["type"] not in _FIELD_TYPES:
            yield f"invalid field type {field['type']}"
        if field["type"] in _CHOICE_TYPES and not isinstance(field.get("options"), list | dict):
            yield f"missing or invalid options of {field['id']}"


# Commands: AppAPI stores any command, and builds all of them at each call of occ.

_ARGUMENT_MODES = ("required", "optional", "array")
_GLOBAL_OPTIONS = frozenset({"help", "silent", "quiet", "verbose", "version", "ansi", "no-interaction", "no-warnings"})


def build_command(command: Mapping[str, Any]) -> None:
    """As AppAPI builds a command for occ. Raises ValueError where PHP or Symfony throws, which ends every call of occ."""
    if not re.fullmatch(r"[^:]+(:[^:]+)*", command["name"]):
        raise ValueError(f'Command name "{command["name"]}" is invalid.')
    required_allowed = more_allowed = True
    names: set[str] = set()
    for argument in command["arguments"]:
        name, modes = _key(argument, "name"), _key(argument, "mode").split(",")
        _key(argument, "description")
        if name in names:
            raise ValueError(f'An argument with name "{name}" already exists.')
        if not more_allowed:
            raise ValueError(f'Cannot add a required argument "{name}" after an array argument.')
        if "required" in modes and not required_allowed:
            raise ValueError(f'Cannot add a required argument "{name}" after an optional one.')
        if modes in (["optional"], ["array"]) and "default" not in argument:
            raise ValueError('Warning: Undefined array key "default"')
        if modes == ["array"] and not isinstance(argument["default"], list | None):
            raise ValueError("A default value for an array argument must be an array.")
        names.add(name)
        more_allowed = "array" not in modes
        required_allowed = required_allowed and "required" in modes
    options: set[str] = set(_GLOBAL_OPTIONS)
    for option in command["options"]:
        name, mode = _key(option, "name").removeprefix("--"), _key(option, "mode")
        _key(option, "description")
        if not name:
            raise ValueError("An option name cannot be empty.")
        if option.get("shortcut") is not None and not str(option["shortcut"]).strip("-|"):
            raise ValueError("An option shortcut cannot be empty.")
        if mode == "array":
            raise ValueError("Impossible to have an option mode VALUE_IS_ARRAY if the option does not accept a value.")
        if name in options:
            raise ValueError(f'An option named "{name}" already exists.')
        options.add(name)
    if not all(isinstance(usage, str) for usage in command["usages"]):
        raise ValueError("TypeError: addUsage(): Argument #1 ($usage) must be of type string")


def _key(definition: Any, name: str) -> str:
    value = definition.get(name) if isinstance(definition, Mapping) else None
    if isinstance(value, str):
        return value
    raise ValueError(f'TypeError: "{name}" must be of type string, null given')


# Setup checks, from AppAPI 35 on.

SETUP_CHECKS_SINCE: Version = (35,)
SETUP_CHECK_S = 5.0
_MAX_RESPONSE, _MAX_ISSUES, _MAX_TEXT, _MAX_LINK = 262_144, 16, 4096, 2048


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem under *Administration settings > Overview*. `severity`: `warning` or `error`."""

    severity: str
    text: str
    link_url: str = ""
    link_label: str = ""


NOT_RESPONDING = Issue("warning", "not responding")


def setup_issues(status: int, content_length: str | None, body: bytes) -> list[Issue]:
    """What AppAPI makes of an app's answer to `GET /setup_checks`."""
    declared = content_length or ""
    if not 200 <= status < 300 or not re.fullmatch(r"[0-9]+", declared) or max(int(declared), len(body)) > _MAX_RESPONSE:
        return [NOT_RESPONDING]
    try:
        checks = json.loads(body[: int(declared)])
    except ValueError:
        return [NOT_RESPONDING]
    if not isinstance(checks, dict | list):
        return [NOT_RESPONDING]
    issues: list[Issue] = []
    for check in checks.values() if isinstance(checks, dict) else checks:
        severity = str(check.get("status", "")).strip().lower() if isinstance(check, dict) else ""
        if severity in ("warning", "error") and len(issues) < _MAX_ISSUES:
            text = _shown(check.get("text")) or "reported a problem"
            issues.append(Issue(severity, text, _safe_link(check.get("link_url")), _shown(check.get("link_label"))))
    return issues


def _shown(text: Any) -> str:
    """Cut, and without the characters that a renderer could mistake."""
    return re.sub(r"[\x00-\x1f\x7f{}]", "", text[:_MAX_TEXT]) if isinstance(text, str) else ""


def _safe_link(url: Any) -> str:
    safe = (
        isinstance(url, str) and len(url) <= _MAX_LINK and re.fullmatch(r"https?://[^\x00-\x20\x7f\"'<>]*", url, re.IGNORECASE)
    )
    return url if safe else ""
