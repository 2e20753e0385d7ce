# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Start processes that the kernel kills when their parent dies for any reason."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Literal


def tethered(command: Sequence[str], signal: Literal["TERM", "KILL"] = "KILL") -> list[str]:
    """The command to run instead of `command`; the same where there is no setpriv(1), as on other systems than Linux."""
    return ["setpriv", "--pdeathsig", signal, *command] if shutil.which("setpriv") else list(command)
