# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The Modal app: `{workspace}--kyutai-stt-rust-kyutaisttrustservice-serve.modal.run`. Deploy it with `make modal-deploy`.

A container has a GPU, moshi-server (Rust, compiled into the image for that GPU) and the proxy. Weights live on a volume, so
that only the first container ever downloads them. Versions and hashes of all of it: `deploy.pins`, `requirements/modal.txt`.
"""

from __future__ import annotations

from pathlib import Path

import modal
import modal.experimental

from deploy import settings as deployment
from deploy.model_server import ModelServer
from deploy.moshi_config import commit_now, fetch_weights, moshi_config
from deploy.pins import CUDA_IMAGE, RUST_VERSION, RUSTUP_SHA256, RUSTUP_VERSION, Weights, commit_of, unverified, verify
from deploy.proxy import Proxy, ProxySettings

SETTINGS = deployment.load()

WEIGHTS = Path("/weights")
MODEL = WEIGHTS / "stt-1b-en_fr-candle" / SETTINGS.model_revision
MODEL_SERVER = "127.0.0.1:8998"

_REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements" / "modal.txt"
_RUSTUP = f"https://static.rust-lang.org/rustup/archive/{RUSTUP_VERSION}/x86_64-unknown-linux-gnu/rustup-init"

_BUILD_PACKAGES = (
    *("build-essential", "ca-certificates", "cmake", "curl", "git", "libopus-dev", "libssl-dev", "pkg-config"),
    "python3-dev",  # moshi-server links Python for modules that are not used here; the proxy's Python is another one
)

image = (
    modal.Image.from_registry(CUDA_IMAGE, add_python="3.12")
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
        f"curl --proto '=https' -fsSLo /tmp/rustup-init {_RUSTUP}",
        f"echo '{RUSTUP_SHA256}  /tmp/rustup-init' | sha256sum -c",
        f"chmod +x /tmp/rustup-init && /tmp/rustup-init -y --profile minimal --default-toolchain {RUST_VERSION}",
        f"cargo install --locked --features cuda moshi-server@{SETTINGS.moshi_version}",
        # The image is not used unless the crate was this one.
        f"echo '{SETTINGS.crate_sha256} ' $(ls /root/.cargo/registry/cache/*/moshi-server-{SETTINGS.moshi_version}.crate)"
        " | sha256sum -c",
    )
    .pip_install_from_requirements(str(_REQUIREMENTS), extra_options="--require-hashes")
    .env(SETTINGS.as_environment())
    .add_local_python_source("deploy")
)

weights_volume = modal.Volume.from_name(SETTINGS.volume, create_if_missing=True)

app = modal.App(deployment.APP_NAME, image=image)


def prepare_weights() -> Weights:
    """Download what is missing, and verify all of it. Raises WeightsChanged."""
    commit = commit_of(MODEL, SETTINGS.model_revision, commit_now)
    fetch_weights(MODEL, commit)
    weights = verify(MODEL, commit)
    weights_volume.commit()
    return weights


@app.function(volumes={str(WEIGHTS): weights_volume}, timeout=3600)
def download_weights() -> None:
    """Fill the volume without a GPU, so that no GPU waits for a download, and verify the files at each deployment."""
    weights = prepare_weights()
    print("Trusted, since this is the first download:" if weights.trusted else "Verified:", f"revision {weights.revision}")
    for name, value in weights.sha256.items():
        print(f"  {value}  {name}")


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
        if unverified(MODEL):
            prepare_weights()
        directory = Path("/tmp/moshi")  # noqa: S108  a container of our own
        directory.mkdir(exist_ok=True)
        config = directory / "config.toml"
        text = moshi_config(MODEL, batch_size=SETTINGS.batch_size, log_directory=directory, temperature=SETTINGS.temperature)
        config.write_text(text, encoding="utf-8")
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
