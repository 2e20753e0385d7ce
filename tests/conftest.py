# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A test that fails shows what the servers in it had to say meanwhile."""

from __future__ import annotations

from collections.abc import Generator

import pytest

_LINES = 60


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    factory: pytest.TempPathFactory | None = getattr(item.config, "_tmp_path_factory", None)
    if report.failed and factory is not None:
        for log in sorted(factory.getbasetemp().rglob("*.log")):
            if log.stat().st_mtime >= call.start:
                lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:]
                report.sections.append((f"{log.parent.name}/{log.name}, its last lines", "\n".join(lines)))
    return report
