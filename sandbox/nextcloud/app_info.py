# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The parts of `info.xml` or `--json-info` that AppAPI uses when it registers an app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from sandbox.appapi_rules import app_name

INFO_XML = Path(__file__).parents[2] / "appinfo" / "info.xml"
_LEVELS = {"PUBLIC": 0, "USER": 1, "ADMIN": 2}


class InvalidInfo(Exception):
    """AppAPI refuses to register an app like this; the message says why."""


@dataclass(frozen=True, slots=True)
class Route:
    """`url`: a regular expression; `level`: who may use it, 0 for everybody, 1 for users, 2 for administrators."""

    url: str
    verbs: frozenset[str]
    level: int


@dataclass(frozen=True, slots=True)
class AppInfo:
    app_id: str
    name: str
    version: str
    routes: tuple[Route, ...]
    #: The image as registry, name and tag.
    image: tuple[str, str, str] = ("docker.io", "", "latest")
    #: The declared environment variables with their defaults.
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """What a container gets of them, as `ExAppEnvVarsHelper` has it: `given` or the default, unless it is empty.

        A variable that is not declared is left out without a word.
        """
        values = {name: given.get(name, default) for name, default in self.variables.items()}
        return {name: value for name, value in values.items() if value}


def from_xml(xml: str) -> AppInfo:
    """As `ExAppService::getAppInfo` reads info.xml. Raises InvalidInfo."""
    try:
        info = ET.fromstring(xml)
    except ET.ParseError as error:
        raise InvalidInfo(f"Failed to load info.xml: {error}") from error
    routes = (
        _route(route.findtext("url"), route.findtext("verb"), _LEVELS.get(route.findtext("access_level") or ""))
        for route in info.iterfind("external-app/routes/route")
    )
    install = "external-app/docker-install/"
    app_id = info.findtext("id") or ""
    image = (
        info.findtext(install + "registry") or "docker.io",
        info.findtext(install + "image") or app_id,
        info.findtext(install + "image-tag") or "latest",
    )
    variables: dict[str, str] = {}
    for number, variable in enumerate(info.iterfind("external-app/environment-variables/variable")):
        name = variable.findtext("name") or ""
        if not name.strip():
            raise InvalidInfo(f"variable #{number}: 'name' must be a non-empty string, got {name!r}")
        variables[name] = variable.findtext("default") or ""
    return AppInfo(app_id, app_name(info), info.findtext("version") or "", tuple(routes), image, variables)


def from_json(info: Mapping[str, Any], *, app_id: str) -> AppInfo:
    """As it reads `--json-info`, where access levels are numbers. Raises InvalidInfo."""
    routes = tuple(_route(each.get("url"), each.get("verb"), each.get("access_level")) for each in info.get("routes", []))
    return AppInfo(str(info.get("id", app_id)), str(info["name"]), str(info["version"]), routes)


@cache
def declared_routes() -> tuple[Route, ...]:
    """The routes of this project's info.xml."""
    return from_xml(INFO_XML.read_text(encoding="utf-8")).routes


def _route(url: Any, verb: Any, level: Any) -> Route:
    if not isinstance(url, str) or not url.strip():
        raise InvalidInfo(f"route: 'url' must be a non-empty string, got {url!r}")
    if not isinstance(verb, str) or not verb.strip():
        raise InvalidInfo(f"route '{url}': 'verb' must be a non-empty string, got {verb!r}")
    if level not in _LEVELS.values():
        raise InvalidInfo(f"route '{url}': 'access_level' must be 0, 1 or 2, got {level!r}")
    return Route(url, frozenset(each.strip().upper() for each in verb.split(",")), level)
