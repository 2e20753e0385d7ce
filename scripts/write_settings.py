# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Write the table of settings (`ex_app.settings.table`) into docs/settings.md and appinfo/info.xml."""

from __future__ import annotations

import pathlib
import re
import sys
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "lib")]

from ex_app.guides import settings_tables  # noqa: E402
from ex_app.settings.table import SETTINGS, Setting  # noqa: E402

DOCS, INFO_XML = ROOT / "docs" / "settings.md", ROOT / "appinfo" / "info.xml"
_START, _END = "<!-- settings: written by `make settings` -->\n", "<!-- end of settings -->"
#: Added to secrets in info.xml, since AppAPI asks for its variables when it installs the app.
_PLAIN_TEXT = "The container engine stores values entered here in plain text; the settings page stores them encrypted."


def with_tables(page: str) -> str:
    """docs/settings.md with the tables of today."""
    before, _, rest = page.partition(_START)
    return f"{before}{_START}\n{settings_tables()}\n{_END}{rest.partition(_END)[2]}"


def with_variables(xml: str) -> str:
    """info.xml with the variables of today."""
    block = "".join(map(_variable, SETTINGS))
    pattern = r"(<environment-variables>\n).*?(\t\t</environment-variables>)"
    return re.sub(pattern, lambda found: found[1] + block + found[2], xml, flags=re.DOTALL)


def _variable(setting: Setting) -> str:
    description = f"{setting.hint} {_values(setting)}".strip()
    lines = [f"<name>{setting.variable}</name>", f"<display-name>{escape(setting.label)}</display-name>"]
    lines.append(f"<description>{escape(description)}</description>")
    # AppAPI passes defaults to the app as if they had been entered, so that an alias would never apply.
    if setting.default and not setting.alias:
        lines.append(f"<default>{escape(setting.default)}</default>")
    inner = "".join(f"\t\t\t\t{line}\n" for line in lines)
    return f"\t\t\t<variable>\n{inner}\t\t\t</variable>\n"


def _values(setting: Setting) -> str:
    """The accepted values, which the settings page shows by the control instead."""
    choices = ", ".join(value for value, _ in setting.choices)
    return {
        "secret": _PLAIN_TEXT,
        "switch": "Enter true or false.",
        "choice": f"Enter one of {choices}." if choices else "",
        "order": f"Enter some of {choices}, separated by commas.",
        "languages": f"Enter some of {choices}, separated by commas; empty for all.",
    }.get(setting.kind, "")


def main() -> None:
    for path, write in ((DOCS, with_tables), (INFO_XML, with_variables)):
        path.write_text(write(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
