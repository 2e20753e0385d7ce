# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Where `make moshi` stores moshi-server and its weights, outside the checkout, so that all checkouts share one build."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from pathlib import Path

from deploy.moshi_config import DELAY_STEPS, FILES
from deploy.settings import Settings
from sandbox.moshi_server import weights

#: The version that `deploy/` installs on Modal's GPUs.
VERSION = Settings().moshi_version


class MoshiUnavailable(Exception):
    """The server is not built; the message says how to get it."""


def cargo() -> str | None:
    """The path of cargo, which builds the server; None where there is none."""
    return shutil.which("cargo") or shutil.which("cargo", path=Path.home() / ".cargo" / "bin")


def cache_directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "live-transcription"


def server_directory() -> Path:
    """One per version of the server and, as it links system libraries, per system."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        system = {}
    name = f"{system.get('ID', platform.system().lower())}{system.get('VERSION_ID', '')}"
    return cache_directory() / f"moshi-server-{VERSION}-{name}-{platform.machine()}"


def moshi_program() -> Path:
    """Raises MoshiUnavailable."""
    program = server_directory() / "bin" / "moshi-server"
    if not program.exists():
        raise MoshiUnavailable(f"moshi-server {VERSION} is not built: run 'make moshi' (needs cargo, about 20 minutes)")
    return program


def weights_directory() -> Path:
    """The handmade weights, written now if they are not there. Another version of the generator gets another directory."""
    recipe = Path(weights.__file__).read_bytes() + f"{FILES} {DELAY_STEPS}".encode()
    key = hashlib.sha256(recipe).hexdigest()[:12]
    directory = cache_directory() / f"moshi-weights-{key}"
    if not directory.exists():
        new = directory.with_name(f"{directory.name}.{os.getpid()}")
        weights.write_weights(new)
        try:
            new.rename(directory)
        except OSError:  # another process was faster
            shutil.rmtree(new)
    return directory
