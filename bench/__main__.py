# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`python -m bench NAME [ARGUMENT…]`, or `make bench NAME=…`: run a benchmark."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.common.programs import UnknownProgram, chosen

if __name__ == "__main__":
    try:
        module = chosen("".join(sys.argv[1:2]), Path(__file__).parent, "make bench")
    except UnknownProgram as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    os.execv(sys.executable, [sys.executable, "-m", f"bench.{module}", *sys.argv[2:]])
