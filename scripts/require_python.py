# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Say in one line what is wrong with this Python, before anything is installed. Runs on any Python 3."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  this script runs before anything is known
    have = ".".join(str(part) for part in sys.version_info[:2])
    sys.exit("Python 3.11 or newer is needed; this is " + have + ". Name another one, as in: make demo PYTHON=python3.12")
try:
    import ensurepip  # noqa: F401
    import venv  # noqa: F401
except ImportError:
    sys.exit("This Python lacks the venv module. On Debian and Ubuntu: apt install python3-venv")
