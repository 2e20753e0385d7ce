# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Checks of settings forms and `occ` commands before they are registered. Pure.

AppAPI stores both without a check. Nextcloud finds a mistake later, and not only for this app: an invalid form breaks every
settings page of the server, and an invalid command breaks every call of `occ`. So this app registers neither unless it passes
here. The rules are those of Nextcloud's `DeclarativeManager` and settings page, of AppAPI's `ExAppOccService::buildCommand` and
tables, and of Symfony's `InputArgument` and `InputOption`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ex_app.identity import APP_ID
from live_transcription.errors import LiveTranscriptionError

_SECTION_TYPES = ("admin", "personal")
_TEXT_TYPES = ("text", "email", "tel", "url", "number")
_CHOICE_TYPES = ("radio", "select", "multi-select", "multi-checkbox")
_FIELD_TYPES = (*_TEXT_TYPES, *_CHOICE_TYPES, "checkbox")
#: These take objects with a name and a value. The others store the chosen object itself, so they need plain texts.
_NAMED_CHOICES = ("radio", "multi-checkbox")
_MAX_FORM_ID, _MAX_KEY = 64, 64
_MAX_COMMAND, _MAX_DESCRIPTION, _MAX_HANDLER = 64, 255, 410
_ID = re.compile(r"[A-Za-z0-9_-]+")
_COMMAND = re.compile(r"[a-z0-9_-]+(?::[a-z0-9_-]+)+")
_OPTION = re.compile(r"[a-z][a-z0-9-]*")
_ARGUMENT_MODES = frozenset({"required", "optional", "array", "optional,array", "required,array"})
#: AppAPI cannot combine the modes of an option, and Symfony refuses `array` alone.
_OPTION_MODES = frozenset({"required", "optional", "none", "negatable"})
#: Options of every command of occ.
_TAKEN_OPTIONS = frozenset(
    {"help", "silent", "quiet", "verbose", "version", "ansi", "no-ansi", "no-interaction", "no-warnings"}
)
_TAKEN_SHORTCUTS = frozenset("hqvVn") | {"vv", "vvv"}


class InvalidScheme(LiveTranscriptionError):
    """A form or a command would break Nextcloud's pages or `occ`. It is a mistake in this app."""

    code = "scheme"

    def __init__(self, problem: str) -> None:
        super().__init__("{problem}.", problem=problem)


def check_form(form: Mapping[str, Any]) -> None:
    """Raise InvalidScheme unless Nextcloud can show this form (a declarative settings scheme) and save its fields."""
    where = "the settings form"
    form_id = _text(form, "id", where, _MAX_FORM_ID, _ID)
    # The page removes the first "<app id>_" from a form's id before it saves a field.
    _require(f"{APP_ID}_" not in form_id, f"{where}: id must not contain {APP_ID}_")
    _require(form.get("section_type") in _SECTION_TYPES, f"{where}: section_type must be admin or personal")
    _text(form, "section_id", where)
    for name in ("title", "description"):
        _text(form, name, where)
    _require(_is_integer(form.get("priority")), f"{where}: priority must be a whole number, since Nextcloud sorts by it")
    _require(isinstance(form.get("doc_url", ""), str), f"{where}: doc_url must be text")
    fields = _sequence(form, "fields", where)
    _require(bool(fields), f"{where}: it has no fields")
    for field in fields:
        _check_field(field)
    _require(len({field["id"] for field in fields}) == len(fields), f"{where}: two fields have the same id")


def check_command(command: Mapping[str, Any]) -> None:
    """Raise InvalidScheme unless `occ` can build this command."""
    where = "the occ command"
    name = _text(command, "name", where, _MAX_COMMAND, _COMMAND)
    _require(name.startswith(f"{APP_ID}:"), f"{where}: its name must begin with {APP_ID}:")
    _text(command, "description", where, _MAX_DESCRIPTION)
    _text(command, "execute_handler", where, _MAX_HANDLER)
    _require(command.get("hidden") in (0, 1), f"{where}: hidden must be 0 or 1")
    _check_arguments(_sequence(command, "arguments", where))
    _check_options(_sequence(command, "options", where))
    for usage in _sequence(command, "usages", where):
        _require(isinstance(usage, str), f"{where}: a usage must be text")


def _check_field(field: Any) -> None:
    _require(isinstance(field, Mapping), "a field must be an object")
    where = f"the field {field.get('id')}"
    _text(field, "id", where, _MAX_KEY, _ID)
    for name in ("title", "description"):
        _text(field, name, where)
    # Never `password`: an app receives the cipher text of a sensitive field.
    _require(field.get("type") in _FIELD_TYPES, f"{where}: type must be one of {', '.join(_FIELD_TYPES)}")
    _require(not field.get("sensitive"), f"{where}: a secret belongs to the app's own page")
    _require(isinstance(field.get("placeholder", ""), str), f"{where}: placeholder must be text")
    _require(isinstance(field.get("default", ""), str), f"{where}: default must be text")
    if field["type"] not in _CHOICE_TYPES:
        return
    options = _sequence(field, "options", where)
    _require(bool(options), f"{where}: it has no options")
    if field["type"] in _NAMED_CHOICES:
        for option in options:
            _require(isinstance(option, Mapping), f"{where}: an option must be an object")
            _text(option, "name", where)
            _text(option, "value", where)
        options = [option["value"] for option in options]
    _require(all(isinstance(option, str) for option in options), f"{where}: an option must be text")
    _require(len(set(options)) == len(options), f"{where}: two options have the same value")


def _check_arguments(arguments: Sequence[Any]) -> None:
    seen: list[str] = []
    earlier_modes: list[str] = []
    for argument in arguments:
        _require(isinstance(argument, Mapping), "an argument must be an object")
        where = f"the argument {argument.get('name')}"
        name, mode = _text(argument, "name", where), argument.get("mode")
        _require(name not in seen, f"{where}: there are two of this name")
        _require(isinstance(argument.get("description"), str), f"{where}: description must be text")
        _require(mode in _ARGUMENT_MODES, f"{where}: mode must be one of {', '.join(sorted(_ARGUMENT_MODES))}")
        assert isinstance(mode, str)
        _require(not any("array" in earlier for earlier in earlier_modes), f"{where}: nothing can follow an array")
        required_after_optional = "required" in mode and any("required" not in earlier for earlier in earlier_modes)
        _require(not required_after_optional, f"{where}: a required argument cannot follow an optional one")
        _require(mode not in ("optional", "array") or "default" in argument, f"{where}: default is missing")
        _require(mode != "array" or isinstance(argument["default"], list), f"{where}: the default of an array must be a list")
        seen.append(name)
        earlier_modes.append(mode)


def _check_options(options: Sequence[Any]) -> None:
    names: set[str] = set(_TAKEN_OPTIONS)
    shortcuts: set[str] = set(_TAKEN_SHORTCUTS)
    for option in options:
        _require(isinstance(option, Mapping), "an option must be an object")
        where = f"the option {option.get('name')}"
        name = _text(option, "name", where, pattern=_OPTION)
        _require(name not in names, f"{where}: occ has it already, or there are two of this name")
        names |= {name, f"no-{name}"} if option.get("mode") == "negatable" else {name}
        _require(option.get("mode") in _OPTION_MODES, f"{where}: mode must be one of {', '.join(sorted(_OPTION_MODES))}")
        _require(isinstance(option.get("description"), str), f"{where}: description must be text")
        shortcut = option.get("shortcut")
        if shortcut is not None:
            _require(isinstance(shortcut, str) and re.fullmatch("[a-zA-Z]", shortcut) is not None, f"{where}: invalid shortcut")
            _require(shortcut not in shortcuts, f"{where}: its shortcut is taken")
            shortcuts.add(str(shortcut))


def _text(
    found: Mapping[str, Any], name: str, where: str, limit: int = 4096, pattern: re.Pattern[str] = re.compile(r"(?s).+")
) -> str:
    value = found.get(name)
    _require(isinstance(value, str) and bool(value.strip()), f"{where}: {name} must be text, and not empty")
    _require(len(str(value)) <= limit, f"{where}: {name} is longer than {limit} characters")
    _require(pattern.fullmatch(str(value)) is not None, f"{where}: {name} contains characters that are not allowed")
    return str(value)


def _sequence(found: Mapping[str, Any], name: str, where: str) -> Sequence[Any]:
    value = found.get(name)
    if not isinstance(value, list | tuple):
        raise InvalidScheme(f"{where}: {name} must be a list")
    return value


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise InvalidScheme(problem)
