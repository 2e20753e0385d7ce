# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Build the app store's archive, and sign it if there is a key: `appstore.py [--key FILE]`.

The archive holds what Nextcloud itself reads of an external app (info.xml, icon, translations, changelog, licence); the code is
in the image. The same commit gives the same bytes. The key (`--key`, or its path in APPSTORE_KEY, or its text in
APPSTORE_KEY_PEM) is the one that belongs to the app's certificate; it must not lie in the source tree.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import pathlib
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from check_info_xml import problems
from publisher import PublisherError, load, placeholders, written

ROOT = pathlib.Path(__file__).resolve().parent.parent
APP_ID = "live_transcription"
#: Where it lies here, where in the archive (below the app's id), and whether it must be there.
CONTENTS = (
    ("appinfo/info.xml", "appinfo/info.xml", True),
    ("CHANGELOG.md", "CHANGELOG.md", True),
    ("LICENSE", "LICENSE", True),
    ("ex_app/img", "img", True),
    ("ex_app/l10n", "l10n", False),
)


class PackagingError(Exception):
    """The archive cannot be built or signed; the message says what to do."""


def files(root: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Name in the archive and content, sorted by name. Raises PackagingError."""
    found: dict[str, bytes] = {}
    for source, target, needed in CONTENTS:
        path = root / source
        # Neither links nor hidden files: what is not ours must not slip in.
        members = [path] if path.is_file() else sorted(path.rglob("*")) if path.is_dir() else []
        members = [
            member for member in members if member.is_file() and not member.is_symlink() and not member.name.startswith(".")
        ]
        if needed and not members:
            raise PackagingError(f"{source} is missing.")
        for member in members:
            name = target if member == path else f"{target}/{member.relative_to(path).as_posix()}"
            found[f"{APP_ID}/{name}"] = member.read_bytes()
    yield from sorted(found.items())


def archive(root: pathlib.Path, timestamp: int) -> bytes:
    """The .tar.gz. `timestamp`: seconds since 1970 for all that is in it. Raises PackagingError."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files(root):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), timestamp, 0o644
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), compresslevel=9, mtime=timestamp)


def sign(path: pathlib.Path, key: pathlib.Path | str) -> str:
    """The signature as the store takes it: SHA-512 with RSA, in base64 on one line. `key`: a file, or a PEM's text."""
    if isinstance(key, pathlib.Path):
        if not key.is_file():
            raise PackagingError(f"There is no key at {key}.")
        if key.resolve().is_relative_to(ROOT):
            raise PackagingError(f"The key {key} lies in the source tree, where it could be published. Keep it elsewhere.")
        key = key.read_text(encoding="ascii")
    command = ["openssl", "dgst", "-sha512", "-sign", "/dev/stdin", str(path)]
    try:
        made = subprocess.run(command, input=key.encode(), capture_output=True, check=False)
    except FileNotFoundError as error:
        raise PackagingError(
            "openssl signs the archive, and it is not installed. Install it, for example: apt install openssl"
        ) from error
    if made.returncode:
        raise PackagingError("openssl did not sign; is this an RSA key in PEM form without a passphrase?")
    encoded = subprocess.run(["openssl", "base64", "-A"], input=made.stdout, capture_output=True, check=True)
    return encoded.stdout.decode("ascii").strip()


def release_notes(changelog: str, version: str) -> str:
    """The section of a version in CHANGELOG.md, without its heading; "" if there is none. The store reads the same headings."""
    section = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return section[1].strip() if section else ""


def release_problems(root: pathlib.Path) -> list[str]:
    """Why this tree cannot be released, as sentences; empty if it can."""
    xml = (root / "appinfo" / "info.xml").read_text(encoding="utf-8")
    found = [f"appinfo/info.xml: {problem}." for problem in problems(xml, release=True)]
    try:
        publisher = load(root / "publisher.toml")
        differing = [path for path, text in written(root, publisher).items() if path.read_text(encoding="utf-8") != text]
    except PublisherError as error:
        return [*found, str(error)]
    if unset := placeholders(publisher):
        found.append(f"publisher.toml: {', '.join(unset)} still contain example.com. Enter your own addresses there.")
    found += [f"{path.relative_to(root)} differs from publisher.toml. Run `make publisher`." for path in differing]
    return found


def timestamp(root: pathlib.Path) -> int:
    """SOURCE_DATE_EPOCH, else the date of the last commit, else 1980 (what every tool can unpack). Raises PackagingError."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        if not re.fullmatch(r"\d{1,11}", given):
            raise PackagingError("SOURCE_DATE_EPOCH must be a number of seconds since 1970.")
        return int(given)
    try:
        said = subprocess.run(
            ["git", "-C", str(root), "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return 315_532_800
    return int(said.stdout) if said.returncode == 0 and said.stdout.strip() else 315_532_800


def _key(option: pathlib.Path | None) -> pathlib.Path | str | None:
    if option is not None:
        return option
    if path := os.environ.get("APPSTORE_KEY"):
        return pathlib.Path(path)
    return os.environ.get("APPSTORE_KEY_PEM") or None


def build(output: pathlib.Path, key: pathlib.Path | str | None) -> None:
    """Raises PackagingError."""
    xml = (ROOT / "appinfo" / "info.xml").read_text(encoding="utf-8")
    if found := release_problems(ROOT) if key is not None else [f"appinfo/info.xml: {problem}." for problem in problems(xml)]:
        raise PackagingError(" ".join(found))
    version = ET.fromstring(xml).findtext("version") or ""  # noqa: S314  our own file
    if not release_notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version):
        raise PackagingError(
            f"CHANGELOG.md has no section for this version, so the store would show no changes. Add the heading: ## [{version}]"
        )
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"{APP_ID}-{version}.tar.gz"
    target.write_bytes(archive(ROOT, timestamp(ROOT)))
    print(f"{target}: {len(list(files(ROOT)))} files, {target.stat().st_size} bytes")
    signature = target.with_name(target.name + ".sig")
    signature.unlink(missing_ok=True)
    if key is None:
        print("Not signed: no key was given (--key, APPSTORE_KEY or APPSTORE_KEY_PEM).")
    else:
        signature.write_text(sign(target, key) + "\n", encoding="ascii")
        print(f"{signature}: the signature to enter at the store")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--key", type=pathlib.Path, help="private key that signs; without it the archive is built only")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build" / "appstore", help="directory for the result")
    options = parser.parse_args()
    try:
        build(options.output, _key(options.key))
    except PackagingError as error:
        print(f"appstore: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
