# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The self-test as plain text for a terminal, line by line while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

from ex_app.selftest.run import Run
from ex_app.translation import translated

#: Seconds between two looks at the run.
POLL_S = 0.3
_NAMES = {
    "nextcloud": "Nextcloud",
    "hpb": "High-performance backend",
    "ice": "STUN and TURN",
    "stt": "Speech-to-text",
    "translation": "Translation",
    "calls": "Calls",
}
_STATES = {"ok": "OK", "warning": "WARNING", "failed": "FAILED", "running": "RUNNING"}
_ANGLE = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"
_INDENT = " " * 12


async def report(run: Run, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> AsyncIterator[str]:
    """The lines of the report, each as soon as its step has ended; the verdict is the last one.

    From a failure on, a check is reported when it has ended, since it may find that the failure is only a warning.
    """
    shown, check = 0, ""
    while True:
        # Settings by their labels, as on the page.
        described = translated(run.describe(), "en")
        steps = described["steps"]
        for step in steps[shown:]:
            may_change = step["state"] == "running" or (step["state"] == "failed" and step["check"] == steps[-1]["check"])
            if may_change and not described["done"]:
                break
            if step["check"] != check:
                check = step["check"]
                yield _printable(_NAMES.get(check, check))
            for line in _lines(step):
                yield _printable(line)
            shown += 1
        if described["done"]:
            yield _verdict(described)
            return
        await sleep(POLL_S)


def passed(run: Run) -> bool:
    """Whether a run has ended without a failure; warnings are none."""
    described = run.describe()
    return bool(described["done"]) and described["state"] != "failed"


def _lines(step: Mapping[str, Any]) -> Iterator[str]:
    time = f" ({step['seconds']:.1f} s)" if step["seconds"] >= 0.1 else ""
    yield f"  {_STATES[step['state']]:<9} {step['title']}{time}"
    for text in (step["detail"], step["message"], f"What to do: {step['fix']}" if step["fix"] else ""):
        if text:
            yield _INDENT + text


def _verdict(described: Mapping[str, Any]) -> str:
    if described["state"] == "failed":
        return f"Failed at: {_NAMES.get(described['failing'], described['failing'])}"
    return "All checks passed, with warnings." if described["state"] == "warning" else "All checks passed."


def _printable(line: str) -> str:
    """Replace control characters, which a terminal obeys, and `<`, which begins a style in the output of `occ`.

    The line may contain text from a server.
    """
    return "".join(character if character.isprintable() else " " for character in line).replace("<", _ANGLE)
