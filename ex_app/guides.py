# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The guides for administrators in docs/, rendered from Markdown as the page's help.

They are shown inside Nextcloud's page, with its styles: AppAPI's proxy gives a page of the app's own a policy without styles.
A guide is at `#guide-NAME`, its headings are at `#guide-NAME/HEADING`, and links between guides point there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ex_app.settings.table import GROUPS, ON_PAGE, SETTINGS, Setting

_DOCS = Path(__file__).parent.parent / "docs"
#: The guides of the page in the order of its list. Those that are not installed are left out.
NAMES = (
    *("settings", "troubleshooting", "health", "monitoring", "engines", "modal", "moshi-server"),
    *("translation", "transcripts-guide", "encrypted-calls", "install", "privacy", "official-app", "removal"),
)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_NOT_IN_SLUGS = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, slots=True)
class Guide:
    name: str
    title: str
    html: str
    #: The ids of the headings, without the name of the guide.
    headings: tuple[str, ...]


@cache
def guides(folder: Path = _DOCS) -> dict[str, Guide]:
    """All installed guides by name; of the settings, at least the tables."""
    texts = {name: path.read_text(encoding="utf-8") for name in NAMES if (path := folder / f"{name}.md").is_file()}
    texts.setdefault("settings", f"# Settings\n\n{settings_tables()}")
    return {name: render_guide(name, texts[name], texts) for name in NAMES if name in texts}


def render_guide(name: str, text: str, known: Iterable[str]) -> Guide:
    """`known`: the names of the guides that links may lead to. The HTML has no scripts and loads nothing from other sites."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(_COMMENT.sub("", text))
    headings = tuple(_name_headings(name, tokens))
    title = next((_text_of(tokens[index + 1]) for index, token in enumerate(tokens) if token.tag == "h1"), name)
    for index, token in enumerate(tokens):
        if token.type == "th_open" and not tokens[index + 1].content:
            # The head of a column without a name would be an empty heading to a screen reader.
            token.tag = tokens[index + 2].tag = "td"
        if token.children:
            token.children = list(_links(name, token.children, frozenset(known)))
    markdown.add_render_rule("table_open", lambda *_: '<div class="lt-scroll" tabindex="0"><table>\n')
    markdown.add_render_rule("table_close", lambda *_: "</table></div>\n")
    markdown.add_render_rule("fence", lambda _, tokens, index, *__: _code(tokens[index]))
    markdown.add_render_rule("code_block", lambda _, tokens, index, *__: _code(tokens[index]))
    return Guide(name, title, markdown.renderer.render(tokens, markdown.options, {}), headings)


def _code(token: Token) -> str:
    text = token.content.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<pre class="lt-scroll" tabindex="0"><code>{text}</code></pre>\n'


def _name_headings(guide: str, tokens: list[Token]) -> Iterator[str]:
    """Give each heading the id that GitHub gives it, below that of the guide."""
    seen: Counter[str] = Counter()
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            slug = _NOT_IN_SLUGS.sub("", _text_of(tokens[index + 1]).lower()).replace(" ", "-")
            number = seen[slug]
            seen[slug] += 1
            slug = f"{slug}-{number}" if number else slug
            token.attrSet("id", f"guide-{guide}/{slug}")
            yield slug


def _text_of(inline: Token) -> str:
    return "".join(child.content for child in inline.children or () if child.type in ("text", "code_inline"))


def _links(guide: str, tokens: list[Token], known: frozenset[str]) -> Iterator[Token]:
    """Point links to guides and other sites. Any other link is replaced by its text. Images are removed."""
    kept: list[bool] = []
    for token in tokens:
        if token.type == "image":
            continue
        if token.type == "link_open":
            target = _target(guide, str(token.attrGet("href") or ""), known)
            kept.append(bool(target))
            if not target:
                continue
            token.attrSet("href", target)
            if not target.startswith("#"):
                token.attrSet("target", "_blank")
                token.attrSet("rel", "noopener noreferrer")
        elif token.type == "link_close" and not kept.pop():
            continue
        yield token


def _target(guide: str, href: str, known: frozenset[str]) -> str:
    if href.startswith(("https://", "http://")):
        return href
    path, _, heading = href.partition("#")
    name = path.removesuffix(".md") if path else guide
    if name not in known:
        return ""
    return f"#guide-{name}/{heading}" if heading else f"#guide-{name}"


def settings_tables() -> str:
    """The settings as Markdown, one table per group; a part of docs/settings.md."""
    return "\n".join(
        f"## {group.title}\n\n{group.intro}\n\n"
        "| setting | key | environment | default | meaning |\n|---|---|---|---|---|\n"
        + "".join(map(_row, (setting for setting in SETTINGS if setting.group == group.name)))
        for group in GROUPS
    )


def _row(setting: Setting) -> str:
    key = f"`{setting.key}`" if setting in ON_PAGE else ""
    default = f"`{setting.default}`" if setting.default else ""
    return f"| {setting.label} | {key} | `{setting.variable}` | {default} | {setting.hint} |\n"
