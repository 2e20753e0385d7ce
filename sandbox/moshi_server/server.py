# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""moshi-server as a process on loopback, with the configuration that `deploy/` writes but the sizes of the handmade weights."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

from deploy.moshi_config import DELAY_STEPS, MODEL_FILE, PATH, moshi_config
from sandbox.moshi_server.installed import moshi_program, weights_directory
from sandbox.moshi_server.weights import DEAF_MODEL_FILE, LATE_DELAY_STEPS, LATE_MODEL_FILE, NETWORK, REPEATING_MODEL_FILE
from sandbox.ports import free_port
from sandbox.rig.process import ServerProcess

#: A busy machine takes this long to load the weights, in seconds.
_START_S = 60.0
_MODELS = {"": MODEL_FILE, "deaf": DEAF_MODEL_FILE, "repeating": REPEATING_MODEL_FILE}
_EXTRA_HEADS = "\n[modules.asr.model.extra_heads]\nnum_heads = 4\ndim = 6\n"


class MoshiServer(ServerProcess):
    """`start` and `stop` it; a restart keeps the port. Raises MoshiUnavailable if it is not built.

    `pause_heads` False: as Kyutai's 2.6B model for English, which has none and whose words come 2.56 s behind the audio.
    `fault`: of the model, `deaf` (it says nothing) or `repeating` (it says one word all the time).
    Its log level is `warn`, as in `deploy/`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        batch_size: int = 2,
        pause_heads: bool = True,
        fault: str = "",
        port: int | None = None,
    ) -> None:
        port = port or free_port()
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "config.toml"
        text = small_config(directory, batch_size=batch_size, pause_heads=pause_heads, fault=fault)
        config.write_text(text, encoding="utf-8")
        self.batch_size = batch_size
        #: Its arguments, for those who start it themselves.
        self.command = [str(moshi_program()), "worker", "--config", str(config), "--addr", "127.0.0.1", "--port", str(port)]
        self.command += ["--log", "warn"]
        super().__init__("moshi-server", self.command, port=port, log=directory / "moshi-server.log", ready_timeout_s=_START_S)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def http_url(self) -> str:
        return f"http://{self.address}"

    @property
    def stream_url(self) -> str:
        return f"ws://{self.address}{PATH}"


def small_config(directory: Path, *, batch_size: int, pause_heads: bool = True, fault: str = "") -> str:
    """The configuration of `deploy.moshi_config` for the handmade weights."""
    text = moshi_config(weights_directory(), batch_size=batch_size, log_directory=directory)
    for name, value in asdict(NETWORK).items():
        text = _replaced(rf"^{name} = \d+$", f"{name} = {value}", text)
    text = _replaced(re.escape(f"/{MODEL_FILE}"), f"/{_MODELS[fault]}", text)
    if not pause_heads:
        text = _replaced(re.escape(_EXTRA_HEADS), "", text)
        text = _replaced(re.escape(f"/{MODEL_FILE}"), f"/{LATE_MODEL_FILE}", text)
        text = _replaced(rf"^asr_delay_in_tokens = {DELAY_STEPS}$", f"asr_delay_in_tokens = {LATE_DELAY_STEPS}", text)
    return text


def _replaced(pattern: str, new: str, text: str) -> str:
    """The first match, which must be there: the pause heads, at the end, have a `num_heads` of their own."""
    text, count = re.subn(pattern, lambda _: new, text, count=1, flags=re.MULTILINE)
    if not count:
        raise ValueError(f"nothing in the configuration matches {pattern}")
    return text
