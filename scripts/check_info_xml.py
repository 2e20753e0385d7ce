# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Check appinfo/info.xml against what the app store and AppAPI accept: `check_info_xml.py [--release] [info.xml]`.

The store validates against https://apps.nextcloud.com/schema/apps/info.xsd after dropping what it does not know (`routes`);
AppAPI reads `external-app` itself (ExAppRouteHelper, ExAppEnvVarsHelper, ExAppProxyController). This file applies the same
rules with the standard library alone. `--release` also refuses example.com, the placeholder in publisher.toml.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import sys
from collections.abc import Callable, Iterator
from xml.etree import ElementTree as ET  # our own file, and nothing in it is resolved

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sandbox.appapi_rules import RULES  # noqa: E402  found only now

INFO_XML = ROOT / "appinfo" / "info.xml"

#: Children of <info> in the store's order, with how often each may stand (minimum, maximum; None: any number).
ORDER: dict[str, tuple[int, int | None]] = {
    "id": (1, 1),
    "name": (1, 1),  # the store allows one per language; AppAPI makes "Array" of two
    "summary": (1, None),
    "description": (1, None),
    "version": (1, 1),
    "licence": (1, None),
    "author": (1, None),
    "namespace": (0, 1),
    "types": (0, 1),
    "documentation": (0, 1),
    "category": (1, None),
    "website": (0, 1),
    "discussion": (0, 1),
    "bugs": (1, 1),
    "repository": (0, 1),
    "screenshot": (0, 10),
    "donation": (0, None),
    "dependencies": (1, 1),
    "external-app": (1, 1),
}
CATEGORIES = frozenset(
    [
        "ai",
        "customization",
        "dashboard",
        "files",
        "games",
        "integration",
        "monitoring",
        "multimedia",
        "office",
        "organization",
        "search",
        "security",
        "social",
        "tools",
        "workflow",
    ]
)
LICENCES = frozenset(
    [
        "agpl",
        "apache",
        "gpl3",
        "mit",
        "mpl",
        "AGPL-3.0-only",
        "AGPL-3.0-or-later",
        "Apache-2.0",
        "GPL-3.0-only",
        "GPL-3.0-or-later",
        "MIT",
        "MPL-2.0",
    ]
)
ACCESS_LEVELS = ("PUBLIC", "USER", "ADMIN")
#: What AppAPI sets itself; a declared variable of such a name would be overwritten or do harm.
APP_API_VARIABLES = frozenset(
    [
        "AA_VERSION",
        "APP_DISPLAY_NAME",
        "APP_HOST",
        "APP_ID",
        "APP_PERSISTENT_STORAGE",
        "APP_PORT",
        "APP_SECRET",
        "APP_VERSION",
        "COMPUTE_DEVICE",
        "HP_EXAPP_SOCK",
        "HP_FRP_ADDRESS",
        "HP_FRP_PORT",
        "HP_SHARED_KEY",
        "NEXTCLOUD_URL",
    ]
)
#: Calls of Talk and AppAPI reach the app without a route; a route would open them to browsers.
NOT_FOR_BROWSERS = ("/api/v1/call/transcribe", "/capabilities", "/enabled", "/heartbeat", "/healthz", "/init", "/metrics")

SEMANTIC_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?")
SERVER_VERSION = re.compile(r"\d+(\.\d+){0,2}")
ADDRESS = re.compile(r"https?://.+")

ROUTE = re.compile(r"\^\\/\?(\w+)\\/\.\*")

TextRule = Callable[[str], bool]


def _length(limit: int) -> TextRule:
    return lambda text: 1 <= len(text) <= limit


def _full(pattern: str | re.Pattern[str], limit: int = 256) -> TextRule:
    return lambda text: len(text) <= limit and re.fullmatch(pattern, text) is not None


#: What the text of an element may be, and how to say it.
TEXTS: dict[str, tuple[TextRule, str]] = {
    "id": (_full(r"[a-z]+[a-z0-9_]*[a-z0-9]+"), "may hold a-z, 0-9 and _ only, and must start with a letter"),
    "name": (_length(128), "must have 1 to 128 characters"),
    "summary": (_length(128), "must have 1 to 128 characters"),
    "description": (_length(1_000_000), "must not be empty"),
    "version": (_full(SEMANTIC_VERSION), "must be a semantic version such as 10.0.0"),
    "licence": (lambda text: text in LICENCES, "is none that the store knows"),
    "author": (_length(256), "must have 1 to 256 characters"),
    "namespace": (_full(r"[A-Z][A-Za-z0-9]*"), "must be a name such as LiveTranscription"),
    "category": (lambda text: text in CATEGORIES, "is none that the store knows"),
    "website": (_full(ADDRESS), "must be an http or https address of at most 256 characters"),
    "discussion": (_full(ADDRESS), "must be an http or https address of at most 256 characters"),
    "bugs": (_full(ADDRESS), "must be an http or https address of at most 256 characters"),
    "repository": (_full(ADDRESS), "must be an http or https address of at most 256 characters"),
    "screenshot": (_full(r"https://.+"), "must be an https address of at most 256 characters"),
}


def problems(xml: str, *, release: bool = False) -> list[str]:
    """Reasons for which the store or AppAPI would refuse the file, as sentences; empty if there are none."""
    try:
        root = ET.fromstring(xml)  # noqa: S314  our own file
    except ET.ParseError as error:
        return [f"not well-formed XML: {error}"]
    if root.tag != "info":
        return [f"the root element is <{root.tag}>, not <info>"]
    found = [*_order(root), *_texts(root), *_documentation(root), *_nextcloud(root)]
    app = root.find("external-app")
    if app is not None:
        found += [*_external_app(app, root.findtext("version") or ""), *_variables(app), *_routes(app)]
    if release and "example.com" in re.sub(r"<description>.*?</description>|<!--.*?-->", "", xml, flags=re.DOTALL):
        found.append("example.com stands where the publisher's addresses or registry belong")
    return found


def _order(root: ET.Element) -> Iterator[str]:
    tags = [child.tag for child in root]
    for tag in sorted(set(tags) - set(ORDER)):
        yield f"<{tag}> is not known to the store"
    known = [tag for tag in tags if tag in ORDER]
    if known != sorted(known, key=list(ORDER).index):
        yield f"the elements are out of order; the store wants {' '.join(tag for tag in ORDER if tag in known)}"
    for tag, (least, most) in ORDER.items():
        count = known.count(tag)
        if count < least:
            yield f"<{tag}> is missing"
        if most is not None and count > most:
            yield f"<{tag}> stands {count} times, at most {most} allowed"
    for tag in ("licence", "category"):
        values = [element.text for element in root.iterfind(tag)]
        if len(values) != len(set(values)):
            yield f"<{tag}> says the same twice"
    for tag in ("name", "summary", "description"):
        languages = [element.get("lang", "en") for element in root.iterfind(tag)]
        if len(languages) != len(set(languages)):
            yield f"<{tag}> stands twice in one language"
        if languages and "en" not in languages:
            yield f"<{tag}> lacks English, which is the one without lang"


def _texts(root: ET.Element) -> Iterator[str]:
    for tag, (rule, wording) in TEXTS.items():
        for element in root.iterfind(tag):
            text = element.text or ""
            # Descriptions are trimmed by the store; elsewhere white space counts.
            if not rule(text.strip() if tag == "description" else text):
                yield f"<{tag}> {text!r} {wording}"


def _documentation(root: ET.Element) -> Iterator[str]:
    pages = root.find("documentation")
    tags = [page.tag for page in pages] if pages is not None else []
    if tags != [tag for tag in ("user", "admin", "developer") if tag in tags]:
        yield "<documentation> must hold, in this order and once each, only user, admin and developer"
    for page in pages if pages is not None else ():
        if not TEXTS["screenshot"][0](page.text or ""):
            yield f"<documentation> <{page.tag}> {TEXTS['screenshot'][1]}"


def _nextcloud(root: ET.Element) -> Iterator[str]:
    server = root.find("dependencies/nextcloud")
    if server is None:
        yield "<dependencies> names no <nextcloud>"
        return
    least, most = server.get("min-version", ""), server.get("max-version", "")
    for name, version in (("min-version", least), ("max-version", most)):
        if not SERVER_VERSION.fullmatch(version):
            yield f"<nextcloud> {name} {version!r} is no version"
            return
    if _numbers(least) > _numbers(most):
        yield f"<nextcloud> min-version {least} is above max-version {most}"


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _external_app(app: ET.Element, version: str) -> Iterator[str]:
    known = ["docker-install", "scopes", "system", "environment-variables", "routes"]
    tags = [child.tag for child in app]
    if any(tag not in known for tag in tags) or tags != sorted(tags, key=lambda tag: known.index(tag) if tag in known else 0):
        yield f"<external-app> must hold, in this order, only {' '.join(known)}"
    install = app.find("docker-install")
    if install is None:
        yield "<external-app> lacks <docker-install>"
        return
    if [child.tag for child in install] != ["registry", "image", "image-tag"]:
        yield "<docker-install> must hold registry, image, image-tag"
    if any(not (child.text or "").strip() for child in install):
        yield "<docker-install> holds an empty element"
    if install.findtext("image-tag") != version:
        yield f"<image-tag> {install.findtext('image-tag')!r} is not the version {version!r}"


def _variables(app: ET.Element) -> Iterator[str]:
    names: list[str] = []
    for variable in app.iterfind("environment-variables/variable"):
        name = variable.findtext("name") or ""
        names.append(name)
        tags = [child.tag for child in variable]
        if tags not in (["name", "display-name", "description"], ["name", "display-name", "description", "default"]):
            yield f"variable {name!r} must hold name, display-name, description and, if any, default, in this order"
        if any(not (variable.findtext(tag) or "").strip() for tag in ("name", "display-name", "description")):
            yield f"variable {name!r} has an empty name, display-name or description"
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            yield f"variable {name!r} is no name of an environment variable"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"variable {name!r} is declared twice"
    for name in sorted(APP_API_VARIABLES.intersection(names)):
        yield f"variable {name!r} is AppAPI's own"


def _routes(app: ET.Element) -> Iterator[str]:
    for route in app.iterfind("routes/route"):
        url = route.findtext("url") or ""
        if not (route.findtext("verb") or "").strip():
            yield f"route {url!r} names no verb"
        if route.findtext("access_level") not in ACCESS_LEVELS:
            yield f"route {url!r}: access_level must be one of {', '.join(ACCESS_LEVELS)}"
        try:
            re.compile(url)
        except re.error as error:
            yield f"route {url!r} is no regular expression: {error}"
            continue
        if not (written := ROUTE.fullmatch(url)) or not all(rule(url, f"{written[1]}/x") for rule in RULES):
            yield rf"route {url!r} must be written as ^\/?name\/.*, the one form that every supported AppAPI and HaRP match"
        for path in NOT_FOR_BROWSERS:
            if any(rule(url, path.removeprefix("/")) for rule in RULES):
                yield f"route {url!r} opens {path} to browsers"
        for tag, kind in (("headers_to_exclude", str), ("bruteforce_protection", int)):
            text = route.findtext(tag)
            if text is not None and not _is_json_list(text, kind):
                yield f"route {url!r}: {tag} must be a JSON list of {kind.__name__}"


def _is_json_list(text: str, kind: type) -> bool:
    try:
        values = json.loads(text)
    except ValueError:
        return False
    return isinstance(values, list) and all(type(value) is kind for value in values)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--release", action="store_true", help="refuse what only stands until somebody publishes the app")
    parser.add_argument("path", nargs="?", type=pathlib.Path, default=INFO_XML)
    options = parser.parse_args()
    found = problems(options.path.read_text(encoding="utf-8"), release=options.release)
    for problem in found:
        print(f"{options.path.name}: {problem}")
    if not found:
        print(f"{options.path.name}: valid")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
