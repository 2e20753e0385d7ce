# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""docs/removal.md deletes every secret, with each of its commands."""

from __future__ import annotations

import re
from pathlib import Path

from ex_app.settings.table import ON_PAGE


def test_each_command_deletes_every_secret(root: Path) -> None:
    text = (root / "docs/removal.md").read_text(encoding="utf-8")
    loops = re.findall(r"for key in (.+); do", text)
    assert len(loops) == 2
    for keys in loops:
        assert set(keys.split()) == {setting.key for setting in ON_PAGE if setting.secret}
