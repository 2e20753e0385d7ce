# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The program: `python -m ex_app.main`. `ex_app.process` assembles and runs the app."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Run until SIGTERM or SIGINT. Returns an exit code of `ex_app.process`.

    Loading the app takes a second or two. A signal in the meantime ends the process at once with code 0. Once started, the
    server handles the signals.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    from ex_app.process import run  # noqa: PLC0415  (see above)

    return run(os.environ)


def _end(_number: int, _frame: FrameType | None) -> None:
    """End at once: before and after the server runs, there is nothing to close."""
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
