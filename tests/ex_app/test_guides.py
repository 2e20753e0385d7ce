# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The guides as the page's help: rendered from Markdown, with links that work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ex_app.guides import guides, render_guide
from ex_app.settings.table import ON_PAGE

DOCS = Path(__file__).parents[2] / "docs"


def test_every_link_between_guides_leads_to_a_heading() -> None:
    found = guides()
    assert {"settings", "modal", "moshi-server", "install", "troubleshooting"} <= set(found)
    targets = {f"guide-{name}" for name in found} | {
        f"guide-{g.name}/{heading}" for g in found.values() for heading in g.headings
    }
    for guide in found.values():
        assert guide.title
        links = re.findall(r'href="([^"]+)"', guide.html)
        for link in links:
            assert link.startswith(("https://", "http://")) or link.removeprefix("#") in targets, f"{guide.name}: {link}"


def test_the_readmes_pages_for_administrators_are_in_the_help() -> None:
    (row,) = re.findall(r"^\| administrators \| .*", (DOCS.parent / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"docs/([\w-]+)\.md", row)) <= set(guides())


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("[a](modal.md)", '<p><a href="#guide-modal">a</a></p>'),
        ("[a](modal.md#b-c)", '<p><a href="#guide-modal/b-c">a</a></p>'),
        ("[a](#b)", '<p><a href="#guide-settings/b">a</a></p>'),
        ("[a](../README.md)", "<p>a</p>"),
        ("[*a* b](architecture.md#x) [c](modal.md)", '<p><em>a</em> b <a href="#guide-modal">c</a></p>'),
        ("[a](https://b.example)", '<p><a href="https://b.example" target="_blank" rel="noopener noreferrer">a</a></p>'),
        ("[a](javascript:alert(1))", "<p>[a](javascript:alert(1))</p>"),
        ("<script>a</script>", "<p>&lt;script&gt;a&lt;/script&gt;</p>"),
        ("# A, B & `C`\n\n## A\n\n## A", 'id="guide-settings/a-b--c"'),
        ("| a | |\n|---|---|\n| b | c |", "<th>a</th>\n<td></td>"),
        ("a\n\n<!-- b -->\n\nc", "<p>a</p>\n<p>c</p>"),
        ("## A\n\n## A", 'id="guide-settings/a-1"'),
        ("    <b> & c", "<code>&lt;b&gt; &amp; c\n</code>"),
    ],
)
def test_markdown_becomes_html(markdown: str, html: str) -> None:
    assert html in render_guide("settings", markdown, {"settings", "modal"}).html


def test_an_image_is_left_out() -> None:
    html = render_guide("settings", "![a](images/page.png)", {"settings"}).html
    assert html.strip() == "<p></p>"


def test_the_guide_to_the_settings_names_every_setting(tmp_path: Path) -> None:
    """Even where the files of docs/ are not installed."""
    for folder in (DOCS, tmp_path):
        html = guides(folder)["settings"].html
        for entry in ON_PAGE:
            assert f"<code>{entry.key}</code>" in html, entry.key
            assert f"<code>{entry.variable}</code>" in html, entry.variable
    assert list(guides(tmp_path)) == ["settings"]
