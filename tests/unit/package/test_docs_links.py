# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Links of the documentation lead to files and headings that exist, and its commands are targets of the Makefile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ex_app.guides import render_guide
from tests.unit.package.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "sandbox").rglob("*.md")])
SOURCES = sorted(
    path
    for folder in ("appinfo", "bench", "deploy", "docs", "ex_app", "lib", "sandbox", "scripts", "templates")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".html", ".js", ".json", ".md", ".py", ".sh", ".toml", ".xml", ".yml"}
)
PAGE = re.compile(r"\bdocs/([\w-]+\.md)(?:#([\w-]+))?")
TARGET = re.compile(r"`(?:\w+=\S+ )*make ([a-z][a-z-]*)|^\s*(?:\$ )?(?:\w+=\S+ )*make ([a-z][a-z-]*)")


@cache
def headings(page: Path) -> frozenset[str]:
    """The ids that GitHub gives the headings of a page."""
    return frozenset(render_guide(page.stem, page.read_text(encoding="utf-8"), ()).headings)


def tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        yield from (token, *(token.children or ()))


def broken(page: Path, text: str) -> list[str]:
    """The links and images of a page, within the repository, that lead nowhere."""
    found = []
    for token in tokens(text):
        link = str(token.attrGet("href") or token.attrGet("src") or "")
        if not link or link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (heading and heading not in headings(target)):
            found.append(link)
    return found


def commands(text: str) -> set[str]:
    """The targets of `make` in the code of a page."""
    code = [f"`{token.content}" for token in tokens(text) if token.type == "code_inline"]
    blocks = [token.content for token in tokens(text) if token.type in ("fence", "code_block")]
    lines = code + [line for block in blocks for line in block.splitlines()]
    return {match[1] or match[2] for line in lines for match in TARGET.finditer(line)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page, page.read_text(encoding="utf-8")) == []


def test_pages_that_the_sources_name_exist() -> None:
    missing = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in SOURCES
        for match in PAGE.finditer(path.read_text(encoding="utf-8"))
        if not (page := ROOT / "docs" / match[1]).is_file() or (match[2] and match[2] not in headings(page))
    ]
    assert missing == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        links = [str(token.attrGet("href") or "") for token in tokens(page.read_text(encoding="utf-8"))]
        waiting += [(page.parent / link.partition("#")[0]).resolve() for link in links if link and "://" not in link]
    assert sorted(page.name for page in set(PAGES) - reached) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert commands(page.read_text(encoding="utf-8")) - targets == set()


@pytest.mark.parametrize("link", ["gone.md", "install.md#gone", "#gone", "images/gone.png"])
def test_a_broken_link_is_found(link: str) -> None:
    assert broken(ROOT / "docs" / "install.md", f"# Page\n\n| a |\n|---|\n| [b]({link}) |\n") == [link]


@pytest.mark.parametrize("text", ["Run `make gone`.", "    A=b make gone C=d", "```\n$ make gone\n```"])
def test_a_command_that_does_not_exist_is_found(text: str) -> None:
    assert commands(text) == {"gone"}
