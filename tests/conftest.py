# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""For all tests: a failed test shows the last lines of its servers' logs, and Hypothesis measures no time."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

_LINES = 60

settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=(HealthCheck.too_slow,))
settings.load_profile("any machine")


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
