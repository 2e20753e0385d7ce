# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""moshi-server as a process of the container: it is started, probed, and restarted when it dies or no longer transcribes.

An error of the GPU ends only moshi-server's model loop. Its process and its HTTP pages live on, new sessions get no `Ready`,
and no slot is freed again, so that it soon calls itself full. A hung process accepts connections and answers nothing. Only a
session shows either of them, so the watch opens one every few seconds. It takes a slot for milliseconds.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path

import msgpack
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from deploy.moshi_config import API_KEY, PATH
from deploy.proxy import modules_info
from deploy.session import is_full

logger = logging.getLogger(__name__)

_POLL_S = 0.25
_STOP_S = 5.0
#: Seconds between two probes, and for the answer to one.
PROBE_EVERY_S = 5.0
PROBE_S = 5.0
#: Seconds without an answer to any probe after which the process is restarted.
DEAD_S = 10.0
#: State of an established connection in /proc/net/tcp.
_ESTABLISHED = "01"


class ModelServerFailed(RuntimeError):
    """It ended, or was not ready in time; the container cannot be used."""


class Answer(Enum):
    """To a probe. `BUSY`: all slots are used by connected clients."""

    READY = "ready"
    BUSY = "busy"
    NONE = "none"


class Liveness:
    """Decides from the answers to probes when a process has to be restarted. Pure: `now` in seconds of a monotonic clock.

    A new process has `startup_s` seconds for its first answer. `ready`: it has answered already.
    """

    def __init__(self, now: float, startup_s: float, *, ready: bool = False) -> None:
        self.probe_at = now + PROBE_EVERY_S
        self._dead_at = now + (PROBE_EVERY_S + DEAD_S if ready else startup_s)

    def answered(self, answer: Answer, asked_at: float, now: float) -> bool:
        """Note an answer. Returns whether the process has to be restarted."""
        self.probe_at = now + PROBE_EVERY_S
        if answer is not Answer.NONE:
            # Counted from the next probe, since a process may die just before it.
            self._dead_at = now + PROBE_EVERY_S + DEAD_S
            return False
        # Until it is dead, probe without a pause, but never in a busy loop.
        self.probe_at = max(now, asked_at + 1.0)
        return now >= self._dead_at


class ModelServer:
    """`command` serves on `address` (`host:port`). `on_lost` is called once if it has died more than `most_restarts` times.

    A process that no longer answers is killed, which counts as a death.
    """

    def __init__(
        self, command: Sequence[str], address: str, *, on_lost: Callable[[], None] | None = None, most_restarts: int = 3
    ) -> None:
        self.address = address
        self._command = list(command)
        self._on_lost = on_lost or (lambda: None)
        self._most_restarts = most_restarts
        #: The latest process, None before `start`.
        self.process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self.restarts = 0

    def start(self, timeout_s: float) -> None:
        """Returns when a session could begin: the weights are loaded and the model is warm. Raises ModelServerFailed."""
        began = time.monotonic()
        self.process = subprocess.Popen(self._command)
        while self.probe(timeout_s) is not Answer.READY:
            if self.process.poll() is not None:
                raise ModelServerFailed(
                    f"moshi-server ended with {self.process.returncode} while it was starting; see its log."
                )
            if time.monotonic() - began > timeout_s:
                self.stop()
                raise ModelServerFailed(f"moshi-server was not ready after {timeout_s:.0f} s.")
            time.sleep(_POLL_S)
        logger.info("moshi-server is ready after %.1f s", time.monotonic() - began)
        self._watcher = threading.Thread(target=self._watch, args=(timeout_s,), name="model-server-watch", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        self._stopping.set()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self._watcher is not None:
            self._watcher.join(_STOP_S)

    def hears(self) -> bool:
        """It listens before its model is warm: only a session's `Ready` says that it is."""
        return self.probe(60.0) is Answer.READY

    def probe(self, timeout_s: float) -> Answer:
        """Open a session and wait for its first message."""
        deadline = time.monotonic() + timeout_s
        url, headers = f"ws://{self.address}{PATH}", {"kyutai-api-key": API_KEY}
        try:
            modules = modules_info(self.address)
            with connect(
                url,
                additional_headers=headers,
                compression=None,
                proxy=None,
                open_timeout=min(PROBE_S, timeout_s),
                close_timeout=1,
            ) as socket:
                message = msgpack.unpackb(socket.recv(timeout=max(0.1, deadline - time.monotonic())))
        except (OSError, ValueError, WebSocketException, msgpack.UnpackException):
            return Answer.NONE
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "Ready":
            return Answer.READY
        # A dead model loop frees no slot. The server is only busy if all used slots have clients.
        used = sum(int(module.get("used_slots", 0)) for module in modules[:1])
        if kind == "Error" and is_full(str(message.get("message"))) and _clients(self.address) >= used:
            return Answer.BUSY
        return Answer.NONE

    def _watch(self, startup_s: float) -> None:
        liveness = Liveness(time.monotonic(), startup_s, ready=True)
        while not self._stopping.wait(_POLL_S):
            assert self.process is not None
            now = time.monotonic()
            if self.process.poll() is None:
                if now < liveness.probe_at:
                    continue
                answer = self.probe(PROBE_S)
                if not liveness.answered(answer, now, time.monotonic()) or self._stopping.is_set():
                    continue
                logger.error("moshi-server does not answer: its model loop is dead or hangs")
                self.process.kill()
                self.process.wait()
            if self.restarts >= self._most_restarts:
                logger.error("moshi-server died %d times: this container takes no more sessions", self.restarts + 1)
                self._on_lost()
                return
            self.restarts += 1
            logger.warning("moshi-server died with %s: restart %d", self.process.returncode, self.restarts)
            self.process = subprocess.Popen(self._command)
            liveness = Liveness(time.monotonic(), startup_s)


def _clients(address: str) -> int:
    """The number of established connections to the server at this address of this machine (see proc(5), /proc/net/tcp)."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, _, state = line.split()[:4]
            count += local.endswith(port) and state == _ESTABLISHED
    return count
