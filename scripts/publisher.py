# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Write the publisher's addresses (publisher.toml) to where they are used: `make publisher`.

    publisher.py            write info.xml, pyproject.toml, SECURITY.md and docs/
    publisher.py --check    write nothing; exit with 1 and name the files that differ

The image's labels need no copy: scripts/build_image.sh reads info.xml.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parent.parent
#: Stands for the publisher's domain until somebody publishes the app.
PLACEHOLDER = "example.com"
#: Pictures that the app store shows, the first one large.
SCREENSHOTS = ("docs/images/demo.png",)

#: References to this app's image in the documentation. Versions of the official app, which has the same name, have one digit;
#: example.org stands for the reader's own registry.
_IMAGE = re.compile(
    r"(?<![\w./:-])(?!registry\.example\.org)[\w.-]+(?::\d+)?(?:/[\w.-]+)*/[\w.-]*live[_-]?transcription:\d\d\.\d+\.\d+"
)
_REGISTRY = re.compile(r"--registry-from=[\w.:-]+")
_SECURITY = re.compile(r"(<!-- publisher -->)[^<]*(<!-- end -->)")
_URLS = re.compile(r"(\[project\.urls\]\n)(?:[^\n\[]+\n)*")


class PublisherError(Exception):
    """publisher.toml is invalid; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """The fields of publisher.toml, which describes each."""

    author: str
    website: str
    files: str
    raw_files: str
    repository: str
    issues: str
    security: str
    registry: str
    image: str

    def page(self, path: str) -> str:
        """The address at which a file of the source tree can be read."""
        return self.files.replace("FILE", path)

    def raw(self, path: str) -> str:
        """The address of a file of the source tree itself."""
        return self.raw_files.replace("FILE", path)


def load(path: pathlib.Path = ROOT / "publisher.toml") -> Publisher:
    """Raises PublisherError."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise PublisherError(f"{path.name} cannot be read: {error}.") from error
    names = [field.name for field in fields(Publisher)]
    if odd := sorted(set(found) ^ set(names)):
        raise PublisherError(f"{path.name} must contain exactly {', '.join(names)}; wrong or missing: {', '.join(odd)}.")
    if empty := [name for name in names if not isinstance(found[name], str) or not found[name].strip()]:
        raise PublisherError(f"{path.name}: {', '.join(empty)} must be a text that is not empty.")
    for name in ("website", "files", "raw_files", "repository", "issues"):
        if not re.fullmatch(r"https://[^\s/]+\S*", found[name]):
            raise PublisherError(f"{path.name}: {name} must be an https address.")
    if not re.fullmatch(r"(https://|mailto:)\S+", found["security"]):
        raise PublisherError(f"{path.name}: security must be an https address or begin with mailto:.")
    if lacking := [name for name in ("files", "raw_files") if "FILE" not in found[name]]:
        raise PublisherError(f"{path.name}: {' and '.join(lacking)} must contain FILE, which stands for a path.")
    if not re.fullmatch(r"[a-z0-9.-]+(:\d+)?", found["registry"]):
        raise PublisherError(f"{path.name}: registry must be a host such as ghcr.io.")
    if not re.fullmatch(r"[a-z0-9._-]+(/[a-z0-9._-]+)*", found["image"]):
        raise PublisherError(f"{path.name}: image must be a lower-case name such as owner/live_transcription.")
    return Publisher(**found)


def in_info_xml(text: str, publisher: Publisher) -> str:
    """info.xml with these values."""
    values = {
        "author": publisher.author,
        "website": publisher.website,
        "bugs": publisher.issues,
        "registry": publisher.registry,
        "image": publisher.image,
        "user": publisher.page("README.md"),
        "admin": publisher.page("docs/install.md"),
        "developer": publisher.page("CONTRIBUTING.md"),
    }
    for tag, value in values.items():
        text = _once(rf"(<{tag}>)[^<]*(</{tag}>)", text, f"<{tag}>", value)
    text = _once(r'(<repository type="git">)[^<]*(</repository>)', text, "<repository>", publisher.repository)
    shots = "".join(f"\t<screenshot>{escape(publisher.raw(path))}</screenshot>\n" for path in SCREENSHOTS)
    changed, count = re.subn(r"(?:\t<screenshot>[^<]*</screenshot>\n)+", lambda _: shots, text)
    if count != 1:
        raise PublisherError("appinfo/info.xml must contain <screenshot> elements in one place.")
    return changed


def _once(pattern: str, text: str, what: str, value: str) -> str:
    changed, count = re.subn(pattern, lambda found: f"{found[1]}{escape(value)}{found[2]}", text)
    if count != 1:
        raise PublisherError(f"appinfo/info.xml must contain {what} once, not {count} times.")
    return changed


def in_pyproject(text: str, publisher: Publisher) -> str:
    """pyproject.toml with these values in [project.urls]."""
    urls = {
        "Homepage": publisher.website,
        "Repository": publisher.repository,
        "Issues": publisher.issues,
        "Changelog": publisher.page("CHANGELOG.md"),
    }
    lines = "".join(f'{name} = "{value}"\n' for name, value in urls.items())
    return _URLS.sub(lambda found: found[1] + lines, text)


def in_security_policy(text: str, publisher: Publisher) -> str:
    """SECURITY.md with the address for reports."""
    link = f"[private report]({publisher.security})"
    return _SECURITY.sub(lambda found: f"{found[1]}{link}{found[2]}", text)


def in_documentation(text: str, publisher: Publisher, version: str) -> str:
    """A page with the publisher's image and registry instead of any other in its commands."""
    text = _IMAGE.sub(f"{publisher.registry}/{publisher.image}:{version}", text)
    return _REGISTRY.sub(f"--registry-from={publisher.registry}", text)


def written(root: pathlib.Path, publisher: Publisher) -> dict[pathlib.Path, str]:
    """Each file below `root` that uses the values, with its new text. Raises PublisherError."""
    info_xml = root / "appinfo" / "info.xml"
    version = ET.fromstring(info_xml.read_text(encoding="utf-8")).findtext("version") or ""  # noqa: S314  our own file

    def documentation(text: str, publisher: Publisher) -> str:
        return in_documentation(text, publisher, version)

    writers: dict[pathlib.Path, Callable[[str, Publisher], str]] = {
        info_xml: in_info_xml,
        root / "pyproject.toml": in_pyproject,
        root / "SECURITY.md": in_security_policy,
    }
    writers |= dict.fromkeys([root / "README.md", *sorted((root / "docs").glob("*.md"))], documentation)
    return {path: write(path.read_text(encoding="utf-8"), publisher) for path, write in writers.items()}


def placeholders(publisher: Publisher) -> list[str]:
    """The fields that still contain example.com."""
    return [field.name for field in fields(publisher) if PLACEHOLDER in getattr(publisher, field.name)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file differs")
    options = parser.parse_args()
    try:
        publisher = load()
        texts = written(ROOT, publisher)
    except PublisherError as error:
        print(f"publisher: {error}", file=sys.stderr)
        return 2
    changed = {path: text for path, text in texts.items() if path.read_text(encoding="utf-8") != text}
    for path, text in changed.items():
        if options.check:
            print(f"{path.relative_to(ROOT)} differs from publisher.toml. Run `make publisher`.")
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: written")
    if not changed:
        print("All files have the values of publisher.toml.")
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
