# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The end of the process: by a signal at any moment, by a second signal, and beside another process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from ex_app import process
from ex_app.instance_lock import FILE_NAME, StorageInUse, instance_lock
from ex_app.main import main
from live_transcription.observability.logging import Redactor
from tests.ex_app.fakes import ENVIRONMENT, credentials
from tests.ex_app.test_server import ROOT, TRANSCRIBE, Running, running

UNREACHABLE = ENVIRONMENT | {"NEXTCLOUD_URL": "http://127.0.0.1:9"}
BODY = {"ncSessionId": "nc1", "enable": True}


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal (proc(5), SigCgt)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(mask, 16) >> (number - 1) & 1)


async def ended(app: Running, number: signal.Signals) -> int:
    app.process.send_signal(number)
    async with asyncio.timeout(20):
        return await app.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_the_app_is_loaded_ends_it_at_once_with_code_0(number: signal.Signals) -> None:
    async with running("ex_app.main", UNREACHABLE, ready=False) as app:
        async with asyncio.timeout(10):
            # SIGINT has Python's own handler from the start.
            while not catches(app.process.pid, signal.SIGTERM):  # noqa: ASYNC110  another process
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert await ended(app, number) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_the_app_serves_ends_it_with_code_0(number: signal.Signals) -> None:
    async with running("ex_app.main", UNREACHABLE) as app:
        assert await ended(app, number) == 0


@pytest.mark.parametrize("wait_s", [0.3, 0.8, 1.3, 1.8])
async def test_a_signal_at_any_moment_of_the_start_ends_it_with_code_0(wait_s: float) -> None:
    async with running("ex_app.main", UNREACHABLE, ready=False) as app:
        async with asyncio.timeout(10):
            while not catches(app.process.pid, signal.SIGTERM):  # noqa: ASYNC110  another process
                await asyncio.sleep(0.001)
        await asyncio.sleep(wait_s)
        assert await ended(app, signal.SIGTERM) == 0


async def test_a_second_signal_ends_the_process_without_last_words() -> None:
    async with running("tests.ex_app.process", UNREACHABLE) as app:
        body = BODY | {"roomToken": "endless"}
        assert (await app.client.post(TRANSCRIBE, json=body, headers=credentials())).status_code == 200
        app.process.send_signal(signal.SIGTERM)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await app.process.wait()
        assert await ended(app, signal.SIGTERM) == 0


async def test_a_blocked_thread_does_not_delay_the_end_of_the_process() -> None:
    """A name server that does not answer blocks a thread for half a minute."""
    async with running("tests.ex_app.process", UNREACHABLE) as app:
        body = BODY | {"roomToken": "thread"}
        assert (await app.client.post(TRANSCRIBE, json=body, headers=credentials())).status_code == 200
        assert await ended(app, signal.SIGTERM) == 0


async def test_a_port_in_use_is_reported_in_plain_words() -> None:
    async with running("ex_app.main", UNREACHABLE) as first:
        port = str(first.client.base_url.port)
        async with running("ex_app.main", UNREACHABLE | {"APP_PORT": port}, ready=False) as second:
            out, _ = await second.process.communicate()
            assert second.process.returncode == process.COULD_NOT_START
            assert "cannot listen on" in out.decode()
            assert "Traceback" not in out.decode()


# One process per storage.


async def test_a_new_process_waits_until_the_old_one_has_ended(tmp_path: Path) -> None:
    """As in an update, while the old container ends its calls."""
    environment = UNREACHABLE | {"APP_PERSISTENT_STORAGE": str(tmp_path)}
    async with (
        running("ex_app.main", environment) as first,
        running("ex_app.main", environment, ready=False) as second,
    ):
        assert second.process.stdout is not None
        async with asyncio.timeout(30):
            while b"Another process of this app uses the storage" not in await second.process.stdout.readline():
                assert second.process.returncode is None
        assert await ended(first, signal.SIGTERM) == 0
        await second.healthy(30)
        await second.stop()


def test_a_second_process_on_the_same_storage_ends_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "instance_lock", partial(instance_lock, wait_s=0.0))
    monkeypatch.setattr(process, "configure_logging", lambda *arguments: Redactor())
    with instance_lock(tmp_path):
        assert process.run(UNREACHABLE | {"APP_PERSISTENT_STORAGE": str(tmp_path)}) == process.STORAGE_IN_USE
    assert "Another process of this app already uses the storage" in caplog.text


def test_the_wait_for_the_lock_is_bounded(tmp_path: Path) -> None:
    waited: list[float] = []
    with instance_lock(tmp_path), pytest.raises(StorageInUse), instance_lock(tmp_path, wait_s=12.0, sleep=waited.append):
        pass
    assert 11.5 <= sum(waited) <= 12.5
    with instance_lock(tmp_path, wait_s=0.0):
        pass


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    holder = (
        "import pathlib, sys, time; from ex_app.instance_lock import instance_lock\n"
        "with instance_lock(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'lib'}:{ROOT}"}
    with subprocess.Popen([sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StorageInUse), instance_lock(tmp_path, wait_s=0.0):
            pass
        other.kill()
        other.wait()
        with instance_lock(tmp_path, wait_s=0.0):
            assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_the_app_starts_with_an_unwritable_storage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with instance_lock(tmp_path / "file" / "below"):
        assert "cannot be written" in caplog.text
    with instance_lock(None):
        pass


def test_main_handles_signals_before_it_loads_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(signal, "signal", lambda number, handler: taken.append(number))
    monkeypatch.setattr(process, "run", lambda environment: len(taken))
    assert main() == 2
