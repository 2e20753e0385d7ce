# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Say in one line what is wrong with this Python, before anything is installed. Runs on any Python 3.

require_python.py [VENV]    VENV: an environment that must have been made with this Python, if it exists
"""

import os
import sys

#: The oldest supported version; the same as `requires-python` in pyproject.toml.
OLDEST = (3, 11, 4)


def maker(venv):
    """The version and the program that made an environment; two empty texts if there is none."""
    try:
        with open(os.path.join(venv, "pyvenv.cfg")) as file:
            lines = [line.partition("=") for line in file]
    except OSError:
        return "", ""
    values = {name.strip(): value.strip() for name, _, value in lines}
    return values.get("version", ""), values.get("executable", "")


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
if len(sys.argv) > 1:
    version, program = maker(sys.argv[1])
    own = ".".join(str(part) for part in sys.version_info[:3])
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    if version and (version != own or (program and os.path.realpath(program) != base)):
        sys.exit(
            "PYTHON is "
            + base
            + " ("
            + own
            + "), but "
            + sys.argv[1]
            + " was made with "
            + (program or "Python")
            + " ("
            + version
            + "). "
            "Remove that directory to make it again, leave PYTHON out, or add VENV=another/directory."
        )
