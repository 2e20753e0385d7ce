# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Find retired phrases in documentation, comments, docstrings and messages: `make check` runs it.

scripts/prose.toml lists the phrases with their replacements, and the folders that are checked. With arguments, those files and
folders are checked instead. Text in backquotes is code and not checked.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads(Path(__file__).with_name("prose.toml").read_text(encoding="utf-8"))
PHRASES = [(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in SETTINGS["phrases"]]
#: Comments of the formats that are neither Markdown nor Python, and the translated texts of JavaScript.
_COMMENTS = {".js": r"//.*|/\*.*\*/|\bt\(.*", ".sh": r"#(.*)", ".toml": r"#(.*)", ".yml": r"#(.*)"}
_CODE = re.compile(r"`[^`\n]*`")


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of prose in a file, with their numbers."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from enumerate(text.splitlines(), 1)
    elif path.suffix == ".py":
        string = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}  # FSTRING_MIDDLE since Python 3.12
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT or (token.type in string and " " in token.string):
                yield from enumerate(token.string.splitlines(), token.start[0])
    elif path.suffix in _COMMENTS:
        for number, line in enumerate(text.splitlines(), 1):
            if found := re.search(_COMMENTS[path.suffix], line):
                yield number, found.group()


def files(names: list[str]) -> Iterator[Path]:
    for name in names:
        path = ROOT / name
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        exempt = {ROOT / name for name in SETTINGS["exempt"]}
        yield from (
            each for each in found if each.suffix in {".md", ".py", *_COMMENTS} and each.is_file() and each not in exempt
        )


def problems(names: list[str]) -> Iterator[str]:
    for path in files(names):
        for number, line in prose(path):
            for pattern, instead in PHRASES:
                if found := pattern.search(_CODE.sub("`", line)):
                    yield f'{path.relative_to(ROOT)}:{number}: "{found.group()}": write: {instead}'


def main() -> int:
    found = list(problems(sys.argv[1:] or SETTINGS["checked"]))
    if found:
        print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
