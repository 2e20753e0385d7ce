# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The real Modal client deploys the app to a control plane on loopback."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

pytest.importorskip("modal", reason="the modal package is a development dependency")

from deploy.deploy import ROOT, service_url
from deploy.pins import CRATE_SHA256, RUSTUP_SHA256
from tests.unit.deploy.modal_control_plane import ControlPlane, control_plane

SERVICE = "KyutaiSTTRustService.*"


async def deployed(directory: Path, **settings: str) -> tuple[ControlPlane, int, str]:
    async with control_plane(str(directory)) as (plane, environment):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "modal", "deploy", "-m", "deploy.modal_app"),
            cwd=ROOT,
            env={**environment, **settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return plane, process.returncode, output.decode()


async def test_it_deploys_under_the_address_that_clients_know(tmp_path: Path) -> None:
    plane, status, output = await deployed(tmp_path)
    assert status == 0, output
    assert service_url(output) == "https://example--kyutai-stt-rust-kyutaisttrustservice-serve.modal.run"
    service = plane.functions[SERVICE]
    webhook = service.method_definitions["serve"].webhook_config
    assert webhook.requires_proxy_auth, "anybody could spend the admin's money"
    assert (service.resources.gpu_config.gpu_type, service.resources.gpu_config.count) == ("L4", 1)
    assert service.max_concurrent_inputs == 8
    assert service.autoscaler_settings.min_containers == 0
    assert service.timeout_secs == 1800
    assert [mount.mount_path for mount in service.volume_mounts] == ["/weights"]
    assert plane.volumes == ["kyutai-stt-weights"]
    assert not plane.functions["download_weights"].resources.gpu_config.gpu_type, "no GPU waits for a download"


async def test_the_image_compiles_for_its_gpu_and_holds_what_the_container_runs(tmp_path: Path) -> None:
    plane, status, output = await deployed(
        tmp_path, KYUTAI_GPU="A10G", KYUTAI_SESSIONS="20", KYUTAI_REGION="eu", KYUTAI_TIMEOUT_S="3600", KYUTAI_SCALEDOWN_S="300"
    )
    assert status == 0, output
    commands = [command for image in plane.images for command in image.dockerfile_commands]
    assert "ENV CUDA_COMPUTE_CAP=86" in commands
    assert any("cargo install --locked --features cuda moshi-server@0.6.4" in command for command in commands)
    assert "ENV KYUTAI_SESSIONS=20" in commands, "the container would build another app than was deployed"
    assert any(f"echo '{CRATE_SHA256['0.6.4']} '" in command and "sha256sum -c" in command for command in commands)
    assert any(f"{RUSTUP_SHA256}  /tmp/rustup-init" in command for command in commands)
    assert any("@sha256:" in command for command in commands if command.startswith("FROM nvidia/cuda"))
    assert any("pip install -r /.requirements.txt --require-hashes" in command for command in commands)
    compiled = next(place for place, command in enumerate(commands) if "cargo install" in command)
    settings = next(place for place, command in enumerate(commands) if "KYUTAI_SESSIONS" in command)
    assert compiled < settings, "a change of settings would compile again"
    for name in ("modal_app", "proxy", "session", "model_server", "moshi_config", "pins", "settings"):
        assert f"/root/deploy/{name}.py" in plane.source_files
    service = plane.functions[SERVICE]
    assert service.resources.gpu_config.gpu_type == "A10G"
    assert service.max_concurrent_inputs == 20
    assert service.timeout_secs == 3600
    assert service.autoscaler_settings.scaledown_window == 300
    assert list(service.scheduler_placement.regions) == ["eu"]


async def test_a_bad_setting_deploys_nothing(tmp_path: Path) -> None:
    plane, status, output = await deployed(tmp_path, KYUTAI_GPU="T4")
    assert status != 0
    assert "KYUTAI_GPU" in output
    assert not plane.functions
