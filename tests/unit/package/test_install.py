# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Installing with pip: progress, and one sentence when the index, the disk or a package fails."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import install
import pytest

ZERO = "0" * 64


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "lock.txt"
    path.write_text(f"first==1.0 \\\n    --hash=sha256:{ZERO}\nsecond==2.0 \\\n    --hash=sha256:{ZERO}\n", encoding="utf-8")
    return path


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for `python -m pip`; a test writes what it does."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("MAKE_TARGET", "demo")
    return program


def run(monkeypatch: pytest.MonkeyPatch, lock: Path) -> int:
    monkeypatch.setattr(sys, "argv", ["install.py", "runtime", str(lock)])
    return install.main()


def test_each_package_gets_a_line(
    pip: Path, lock: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pip.write_text(
        "#!/bin/sh\ncat <<'OUT'\n"
        "Ignoring colorama: markers 'sys_platform == \"win32\"' don't match your environment\n"
        "Collecting first==1.0 (from -r lock.txt (line 1))\n"
        "  Downloading first-1.0-py3-none-any.whl (13 kB)\n"
        "Collecting second==2.0 (from -r lock.txt (line 2))\n"
        "  Using cached second-2.0-py3-none-any.whl (35.8 MB)\n"
        "Installing collected packages: first, second\nOUT\n",
        encoding="utf-8",
    )
    assert run(monkeypatch, lock) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "==> Installing the locked packages: 150 MB to download, 580 MB on disk, once"
    assert printed[1:] == ["    1/1 first 1.0 (13 kB)", "    2/1 second 2.0 (35.8 MB)", "    unpacking"]


def test_a_large_package_shows_how_much_has_come(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = install._Progress(str(tmp_path), 2)
    progress.line("Collecting first==1.0 (from -r lock.txt (line 1))")
    (tmp_path / "part").write_bytes(bytes(3_000_000))
    now = time.monotonic()
    progress.beat(now)
    assert capsys.readouterr().out == "", "not at once"
    progress.beat(now + 60)
    assert capsys.readouterr().out == "    … 60 s: 3 MB so far, at first 1.0\n"


@pytest.mark.parametrize(
    ("output", "wording"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "The disk is full"),
        ("OSError: [Errno 122] Disk quota exceeded", "make demo VENV="),
        (
            "WARNING: Retrying (Retry(total=4)) NewConnectionError\nERROR: No matching distribution found for x",
            "cannot be reached",
        ),
        ("socket.gaierror: Temporary failure in name resolution", "cannot be reached"),
        ("ReadTimeoutError: Read timed out.", "HTTPS_PROXY"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))", "PIP_CERT"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "not the locked one"),
        ("ERROR: No matching distribution found for numpy==2.5.5", "no build of a package for this Python"),
        ("[Errno 13] Permission denied: '/x'", "cannot be written"),
        ("Segmentation fault", "its last lines say why"),
    ],
)
def test_a_failure_ends_in_one_sentence(
    pip: Path, lock: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], output: str, wording: str
) -> None:
    pip.write_text(f"#!/bin/sh\ncat <<'OUT'\n{output}\nOUT\nexit 7\n", encoding="utf-8")
    assert run(monkeypatch, lock) == 7
    printed = capsys.readouterr().err
    assert output in printed
    last = printed.strip().splitlines()[-1]
    assert wording in last
    assert "Traceback" not in last


def test_a_full_disk_is_noticed_before_anything_is_downloaded(
    pip: Path, lock: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pip.write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    monkeypatch.setattr(install.shutil, "disk_usage", lambda path: SimpleNamespace(free=500_000_000))
    assert run(monkeypatch, lock) == 1
    printed = capsys.readouterr().err
    assert "need 730 MB: 500 are free" in printed
    assert "make demo VENV=/other/disk/venv" in printed


@pytest.fixture
def closed_index() -> Iterator[str]:
    """The address of an index that hangs up on every request."""

    class HangUp(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.connection.close()

        def log_message(self, *details: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), HangUp) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()
        thread.join()


def test_the_real_pip_without_an_index(root: Path, lock: Path, closed_index: str) -> None:
    environment = os.environ | {
        "PIP_INDEX_URL": closed_index,
        "PIP_RETRIES": "0",
        "PIP_NO_CACHE_DIR": "1",
        "MAKE_TARGET": "test",
    }
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, str(root / "scripts/install.py"), "runtime", str(lock), "--dry-run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("The package index cannot be reached.")
    assert "Traceback" not in done.stderr
