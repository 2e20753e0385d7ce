# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# The scripts run as programs and import each other from their own directory.
sys.path.append(str(ROOT / "scripts"))


@pytest.fixture
def root() -> Path:
    """The source tree."""
    return ROOT


@pytest.fixture
def info_xml(root: Path) -> str:
    return (root / "appinfo" / "info.xml").read_text(encoding="utf-8")
