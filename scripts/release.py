# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Answers what the release workflow asks: `make release-check`, or

release.py check [--tag v10.0.0]    whether this tree can be released; prints version and image as NAME=value
release.py notes                    the section of the version in CHANGELOG.md
"""

from __future__ import annotations

import argparse
import pathlib
import re
import sys
import tomllib
from xml.etree import ElementTree as ET

from appstore import release_notes, release_problems

ROOT = pathlib.Path(__file__).resolve().parent.parent


def version_of(root: pathlib.Path) -> str:
    """The version in info.xml, which AppAPI and the store read."""
    return _info(root).findtext("version") or ""


def image_of(root: pathlib.Path) -> str:
    """The image's name without a tag, as AppAPI asks for it."""
    install = "external-app/docker-install/"
    return f"{_info(root).findtext(install + 'registry')}/{_info(root).findtext(install + 'image')}"


def problems(root: pathlib.Path, tag: str) -> list[str]:
    """Why this tree cannot be released under this tag ("": no tag yet), as sentences; empty if it can."""
    version = version_of(root)
    found = []
    if tag and tag != f"v{version}":
        found.append(f"The tag {tag} is not v{version}, the version in appinfo/info.xml.")
    dockerfile = (root / "Dockerfile").read_text(encoding="utf-8")
    others = {
        "pyproject.toml": tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"],
        "Dockerfile": "".join(re.findall(r"^ARG VERSION=(\S+)$", dockerfile, re.MULTILINE)),
    }
    for name, other in others.items():
        if other != version:
            found.append(f"{name} has version {other}, appinfo/info.xml has {version}.")
    if not release_notes((root / "CHANGELOG.md").read_text(encoding="utf-8"), version):
        found.append(f"CHANGELOG.md has no section ## [{version}].")
    return found + release_problems(root)


def _info(root: pathlib.Path) -> ET.Element:
    return ET.fromstring((root / "appinfo" / "info.xml").read_text(encoding="utf-8"))  # noqa: S314  our own file


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="whether this tree can be released")
    check.add_argument("--tag", default="", help="the git tag of the release")
    commands.add_parser("notes", help="what has changed in this version")
    options = parser.parse_args()
    if options.command == "notes":
        print(release_notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version_of(ROOT)))
        return 0
    found = problems(ROOT, options.tag)
    for problem in found:
        print(f"release: {problem}", file=sys.stderr)
    if not found:
        print(f"version={version_of(ROOT)}\nimage={image_of(ROOT)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
