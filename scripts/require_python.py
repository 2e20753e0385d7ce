# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Print in one line why this Python is unsuitable, before anything is installed. Runs on any Python 3."""

import sys

#: The oldest supported version; the same as `requires-python` in pyproject.toml.
OLDEST = (3, 11, 4)

if sys.version_info < OLDEST:
    found, oldest = (".".join(str(part) for part in version[:3]) for version in (sys.version_info, OLDEST))
    same_minor = sys.version_info[:2] == OLDEST[:2]
    why = "its asyncio time limits fail in cancelled tasks" if same_minor else "it lacks asyncio.TaskGroup and asyncio.timeout"
    sys.exit(
        "Python " + found + " (" + sys.executable + ") is too old: " + why + ". "
        "Python " + oldest + " or newer is needed. Name one, as in: make demo PYTHON=python3.13"
    )
try:
    import ensurepip  # noqa: F401
    import venv  # noqa: F401
except ImportError:
    sys.exit("This Python lacks the venv module. On Debian and Ubuntu: apt install python3-venv")
