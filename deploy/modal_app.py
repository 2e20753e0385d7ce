# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The Modal app: `{workspace}--kyutai-stt-rust-kyutaisttrustservice-serve.modal.run`. Deploy it with `make modal-deploy`.

A container has a GPU, moshi-server (Rust, compiled into the image for that GPU) and the proxy. Weights live on a volume, so
that only the first container ever downloads them.
"""

from __future__ import annotations

from pathlib import Path

import modal
import modal.experimental

from deploy import settings as deployment
from deploy.model_server import ModelServer
from deploy.moshi_config import fetch_weights, missing_weights, moshi_config
from deploy.proxy import Proxy, ProxySettings

SETTINGS = deployment.load()

WEIGHTS = Path("/weights")
MODEL = WEIGHTS / "stt-1b-en_fr-candle" / SETTINGS.model_revision
MODEL_SERVER = "127.0.0.1:8998"

_CUDA_IMAGE = "nvidia/cuda:12.8.1-devel-ubuntu22.04"
_RUST = "1.90.0"

_BUILD_PACKAGES = (
    *("build-essential", "ca-certificates", "cmake", "curl", "git", "libopus-dev", "libssl-dev", "pkg-config"),
    "python3-dev",  # moshi-server links Python for modules that are not used here; the proxy's Python is another one
)

image = (
    modal.Image.from_registry(_CUDA_IMAGE, add_python="3.12")
    .env(
        {
            "DEBIAN_FRONTEND": "noninteractive",
            "PATH": "/root/.cargo/bin:/usr/local/nvidia/bin:/usr/local/cuda/bin:"
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "CUDA_COMPUTE_CAP": SETTINGS.price.capability,
            "PYO3_PYTHON": "/usr/bin/python3",
        }
    )
    .apt_install(*_BUILD_PACKAGES)
    .run_commands(
        f"curl --proto '=https' -fsSL https://sh.rustup.rs | sh -s -- -y --profile minimal --default-toolchain {_RUST}",
        f"cargo install --locked --features cuda moshi-server@{SETTINGS.moshi_version}",
    )
    .pip_install("huggingface_hub>=1,<3", "msgpack>=1.1,<2", "numpy>=2,<3", "websockets>=17,<18")
    .env(SETTINGS.as_environment())
    .add_local_python_source("deploy")
)

weights_volume = modal.Volume.from_name(SETTINGS.volume, create_if_missing=True)

app = modal.App(deployment.APP_NAME, image=image)


@app.function(volumes={str(WEIGHTS): weights_volume}, timeout=3600)
def download_weights() -> list[str]:
    """Fill the volume without a GPU, so that no GPU waits for a download. Returns what had been missing."""
    missing = missing_weights(MODEL)
    fetch_weights(MODEL, SETTINGS.model_revision)
    weights_volume.commit()
    return missing


@app.cls(
    gpu=SETTINGS.gpu,
    volumes={str(WEIGHTS): weights_volume},
    timeout=SETTINGS.timeout_s,
    startup_timeout=SETTINGS.startup_timeout_s,
    scaledown_window=SETTINGS.scaledown_s,
    min_containers=SETTINGS.min_containers,
    max_containers=SETTINGS.max_containers,
    region=SETTINGS.region or None,
)
@modal.concurrent(max_inputs=SETTINGS.sessions)
class KyutaiSTTRustService:
    """The names of class and method are part of the address."""

    @modal.enter()
    def start(self) -> None:
        if missing_weights(MODEL):
            fetch_weights(MODEL, SETTINGS.model_revision)
            weights_volume.commit()
        directory = Path("/tmp/moshi")  # noqa: S108  a container of our own
        directory.mkdir(exist_ok=True)
        config = directory / "config.toml"
        config.write_text(moshi_config(MODEL, batch_size=SETTINGS.batch_size, log_directory=directory), encoding="utf-8")
        address, port = MODEL_SERVER.split(":")
        # Its log at level info has a line for each 80 ms.
        command = ["moshi-server", "worker", "--config", str(config), "--addr", address, "--port", port, "--log", "warn"]
        self.model_server = ModelServer(command, MODEL_SERVER, on_lost=modal.experimental.stop_fetching_inputs)
        self.model_server.start(SETTINGS.startup_timeout_s - 15)

    @modal.exit()
    def stop(self) -> None:
        self.model_server.stop()

    @modal.asgi_app(requires_proxy_auth=True)
    def serve(self) -> Proxy:
        about = {"model": "kyutai/stt-1b-en_fr", "gpu": SETTINGS.gpu, "batch_size": SETTINGS.sessions}
        return Proxy(ProxySettings(MODEL_SERVER, idle_s=SETTINGS.idle_s, session_limit_s=SETTINGS.session_limit_s, about=about))
