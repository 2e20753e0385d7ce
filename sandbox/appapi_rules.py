# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""How AppAPI and HaRP read an app's `info.xml`: its name, and which route a browser's request matches, by version.

Pure, and on the standard library alone: the sandbox and `scripts/check_info_xml.py` share these rules. They follow AppAPI's
`ExAppProxyController::passesExAppProxyRoutesChecks` and `ExAppService::getAppInfo` (32.0.0 to 35.0.0-beta4) and HaRP's agent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias
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
