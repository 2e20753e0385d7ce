# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""moshi-server as a process of the container: it is started, tested until it transcribes, and restarted if it dies."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

import msgpack
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from deploy.moshi_config import API_KEY, PATH
from deploy.proxy import modules_info

logger = logging.getLogger(__name__)

_POLL_S = 0.25
_STOP_S = 5.0


class ModelServerFailed(RuntimeError):
    """It ended, or was not ready in time; the container cannot be used."""


class ModelServer:
    """`command` serves on `address` (`host:port`). `on_lost` is called once if it has died more than `most_restarts` times."""

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
        while not self.hears():
            if self.process.poll() is not None:
                raise ModelServerFailed(
                    f"moshi-server ended with {self.process.returncode} while it was starting; see its log."
                )
            if time.monotonic() - began > timeout_s:
                self.stop()
                raise ModelServerFailed(f"moshi-server was not ready after {timeout_s:.0f} s.")
            time.sleep(_POLL_S)
        logger.info("moshi-server is ready after %.1f s", time.monotonic() - began)
        self._watcher = threading.Thread(target=self._watch, name="model-server-watch", daemon=True)
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
        try:
            modules_info(self.address)
            url = f"ws://{self.address}{PATH}"
            headers = {"kyutai-api-key": API_KEY}
            with connect(url, additional_headers=headers, compression=None, proxy=None, open_timeout=5) as socket:
                message = msgpack.unpackb(socket.recv(timeout=60))
        except (OSError, ValueError, WebSocketException, msgpack.UnpackException):
            return False
        return isinstance(message, dict) and message.get("type") == "Ready"

    def _watch(self) -> None:
        while not self._stopping.wait(_POLL_S):
            if self.process is None or self.process.poll() is None:
                continue
            if self.restarts >= self._most_restarts:
                logger.error("moshi-server died %d times: this container takes no more sessions", self.restarts + 1)
                self._on_lost()
                return
            self.restarts += 1
            logger.warning("moshi-server died with %s: restart %d", self.process.returncode, self.restarts)
            self.process = subprocess.Popen(self._command)
