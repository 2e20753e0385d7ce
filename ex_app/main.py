# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app as a process: `python -m ex_app.main`. What it does is in `ex_app.process`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Runs until SIGTERM or SIGINT. Returns an exit code of `ex_app.process`.

    Loading the app takes a second or two. A signal that comes meanwhile ends the process at once with code 0. The server
    handles the signals from its start on.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    from ex_app.process import run  # noqa: PLC0415  (see above)

    return run(os.environ)


def _end(_number: int, _frame: FrameType | None) -> None:
    """Nothing runs yet, or nothing any more, that would have to be closed."""
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
