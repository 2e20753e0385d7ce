# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The container's command, with stand-ins for the app and for frpc."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the container's scripts are bash's")

#: Says that it runs; on SIGTERM that it says goodbye, and ends as uvicorn does: by the signal itself.
APP = """#!/bin/bash
if [[ $1 == */frpc_config.py ]]; then
  [ -z "${CONFIG_FAILS:-}" ] || exit 2
  echo config >"$2"; exit
fi
echo "app runs"
trap 'echo "app says goodbye"; trap - TERM; kill -TERM $$' TERM
while read -r line <"$ORDERS"; do exit "$line"; done
"""
FRPC = """#!/bin/bash
echo "tunnel runs with $(cat "$2")"
sleep 1000 & trap 'kill $!; echo "tunnel ends"; exit 0' TERM
read -r line <"$TUNNEL_ORDERS"; kill $!; exit "$line"
"""


class Supervised:
    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.output = home / "output"
        stand_ins = home / "bin"
        stand_ins.mkdir()
        for name, text in (("python3", APP), ("frpc", FRPC)):
            (stand_ins / name).write_text(text, encoding="ascii")
            (stand_ins / name).chmod(0o755)
        for name in ("orders", "tunnel-orders"):
            os.mkfifo(home / name)
        variables = {
            "PATH": f"{stand_ins}:{os.environ['PATH']}",
            "ORDERS": str(home / "orders"),
            "TUNNEL_ORDERS": str(home / "tunnel-orders"),
            "TMPDIR": str(home / "tmp"),
        }
        (home / "tmp").mkdir()
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [str(home / "scripts/supervise.sh")],
                stdout=output,
                stderr=output,
                env=variables | environment,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def order(self, name: str, code: int) -> None:
        (self.home / name).write_text(f"{code}\n", encoding="ascii")

    def end(self) -> int:
        return self.process.wait(20)


@pytest.fixture
def start(root: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []
    with tempfile.TemporaryDirectory() as directory:

        def supervise(**environment: str) -> Supervised:
            home = Path(directory)
            (home / "scripts").mkdir()
            shutil.copy(root / "scripts/supervise.sh", home / "scripts/supervise.sh")
            started.append(Supervised(home, environment))
            return started[-1]

        yield supervise
        for supervised in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(supervised.process.pid, signal.SIGKILL)
            supervised.process.wait()


def test_sigterm_lets_the_app_say_goodbye_and_ends_with_zero(start: Callable[..., Supervised]) -> None:
    supervised = start()
    supervised.wait_for(lambda: "app runs" in supervised.said())
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.end() == 0
    assert supervised.said().splitlines()[:2] == ["app runs", "app says goodbye"]
    assert "tunnel" not in supervised.said()


def test_the_tunnel_stays_until_the_app_has_ended(start: Callable[..., Supervised]) -> None:
    supervised = start(HP_SHARED_KEY="key")
    supervised.wait_for(lambda: "app runs" in supervised.said() and "tunnel runs with config" in supervised.said())
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.end() == 0
    supervised.wait_for(lambda: "tunnel ends" in supervised.said())
    assert supervised.said().index("goodbye") < supervised.said().index("tunnel ends")
    assert not list((supervised.home / "tmp").iterdir()), "the file with the shared key is left behind"


def test_a_tunnel_that_ends_is_started_again_and_the_app_goes_on(start: Callable[..., Supervised]) -> None:
    supervised = start(HP_SHARED_KEY="key")
    supervised.wait_for(lambda: "tunnel runs" in supervised.said())
    supervised.order("tunnel-orders", 7)
    supervised.wait_for(lambda: supervised.said().count("tunnel runs") == 2)
    assert "ended with code 7" in supervised.said()
    assert supervised.said().count("app runs") == 1
    assert supervised.process.poll() is None


@pytest.mark.parametrize(("code", "told"), [(3, 3), (0, 1)])
def test_an_app_that_ends_by_itself_ends_the_container_as_a_failure(
    start: Callable[..., Supervised], code: int, told: int
) -> None:
    supervised = start(HP_SHARED_KEY="key")
    supervised.wait_for(lambda: "tunnel runs" in supervised.said())
    supervised.order("orders", code)
    assert supervised.end() == told
    assert f"the app ended by itself with code {code}" in supervised.said()


def test_without_harps_settings_nothing_starts(start: Callable[..., Supervised]) -> None:
    supervised = start(HP_SHARED_KEY="key", CONFIG_FAILS="yes")
    assert supervised.end() == 2
    assert "app runs" not in supervised.said()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", ""])
def test_the_healthcheck_asks_the_heartbeat(root: Path, status: int, healthy: bool, host: str) -> None:
    asked = []

    class Heartbeat(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Heartbeat) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        environment = {"PATH": os.environ["PATH"], "APP_HOST": host, "APP_PORT": str(server.server_port)}
        code = subprocess.run([root / "scripts/healthcheck.sh"], env=environment, capture_output=True, check=False).returncode
        thread.join(20)
    assert asked == ["/heartbeat"]
    assert (code == 0) is healthy
