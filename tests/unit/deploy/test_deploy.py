# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from deploy import deploy as command
from deploy.moshi_config import FILES, missing_weights, moshi_config
from deploy.pins import CRATE_SHA256
from deploy.settings import BadSetting, Settings, cost_note, load


def test_settings_come_from_the_environment_and_survive_the_way_into_the_container() -> None:
    settings = load({"KYUTAI_GPU": "L40S", "KYUTAI_SESSIONS": "64", "KYUTAI_REGION": "eu", "UNRELATED": "x"})
    assert (settings.gpu, settings.sessions, settings.region) == ("L40S", 64, "eu")
    assert load(settings.as_environment()) == settings
    assert load({}) == Settings()
    assert load(Settings().as_environment()) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KYUTAI_GPU", "T4"),
        ("KYUTAI_SESSIONS", "17"),
        ("KYUTAI_SESSIONS", "0"),
        ("KYUTAI_SESSIONS", "eight"),
        ("KYUTAI_TIMEOUT_S", "30"),
        ("KYUTAI_IDLE_S", "120"),
        ("KYUTAI_MAX_CONTAINERS", "0"),
        ("KYUTAI_TEMPERATURE", "-0.1"),
        ("KYUTAI_TEMPERATURE", "nan"),
        ("KYUTAI_TEMPERATURE", "warm"),
        ("KYUTAI_MODEL_REVISION", "../../etc"),
        ("KYUTAI_MOSHI_SHA256", "'; rm -rf /"),
        ("KYUTAI_MOSHI_VERSION", "0.6.5"),
    ],
)
def test_a_setting_that_cannot_work_is_named(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name.replace("VERSION", "SHA256")):
        load({name: value})


@pytest.mark.parametrize(
    ("gpu", "capability"), [("A10", "86"), ("A10G", "86"), ("A100", "80"), ("L4", "89"), ("L40S", "89"), ("H100", "90")]
)
def test_each_gpu_is_compiled_for_its_compute_capability(gpu: str, capability: str) -> None:
    assert load({"KYUTAI_GPU": gpu}).price.capability == capability


def test_another_moshi_server_needs_its_hash() -> None:
    assert load({}).crate_sha256 == CRATE_SHA256["0.6.4"]
    settings = load({"KYUTAI_MOSHI_VERSION": "0.6.5", "KYUTAI_MOSHI_SHA256": "ab" * 32})
    assert settings.crate_sha256 == "ab" * 32
    assert load(settings.as_environment()) == settings


def test_the_session_ends_before_modal_cuts_it_and_before_the_model_forgets_it() -> None:
    settings = Settings()
    assert settings.session_limit_s < settings.timeout_s
    assert settings.batch_size > settings.sessions


def test_the_cost_note_names_price_and_bound() -> None:
    note = cost_note(Settings(gpu="L40S", sessions=32, max_containers=3))
    assert "1.95 USD" in note
    assert "5.85 USD" in note
    assert "costs nothing" in note
    assert "1168 USD a month" in cost_note(Settings(min_containers=2))


def test_moshi_reads_its_configuration_with_pauses_and_the_right_batch() -> None:
    config = tomllib.loads(moshi_config(Path("/weights/main"), batch_size=10, log_directory=Path("/tmp/moshi")))
    module = config["modules"]["asr"]
    assert config["authorized_ids"] == ["public_token"]
    assert (module["type"], module["path"], module["batch_size"]) == ("BatchedAsr", "/api/asr-streaming", 10)
    assert module["asr_delay_in_tokens"] == 6
    assert module["model"]["extra_heads"]["num_heads"] == 4
    assert {Path(value).name for name, value in module.items() if name.endswith("_file")} == set(FILES)


def test_the_temperature_is_a_setting() -> None:
    config = moshi_config(Path("/w"), batch_size=1, log_directory=Path("/tmp/moshi"), temperature=load({}).temperature)
    assert tomllib.loads(config)["modules"]["asr"]["temperature"] == 0.25
    assert load({"KYUTAI_TEMPERATURE": "0"}).temperature == 0


def test_moshi_server_serves_no_files_that_exist() -> None:
    config = tomllib.loads(moshi_config(Path("/w"), batch_size=1, log_directory=Path("/tmp/moshi")))
    assert Path(config["static_dir"]).parent == Path(config["log_dir"]), "not the directory with the configuration"


def test_missing_weights_are_named(tmp_path: Path) -> None:
    (tmp_path / FILES[0]).touch()
    assert missing_weights(tmp_path) == list(FILES[1:])


def test_the_workspace_is_read_off_the_address() -> None:
    printed = (
        "✓ Created web function KyutaiSTTRustService.serve => \n"
        "\x1b[35mhttps://example-org--kyutai-stt-rust-kyutaisttrustservice-serve.modal.run\x1b[0m\n"
        "View Deployment: https://modal.com/apps/example-org/main/deployed/kyutai-stt-rust\n"
    )
    url = command.service_url(printed)
    assert url == "https://example-org--kyutai-stt-rust-kyutaisttrustservice-serve.modal.run"
    assert "Modal workspace   example-org\n" in command.instructions(url)


def test_an_address_that_modal_shortened_is_to_be_entered_whole() -> None:
    text = command.instructions("https://a-workspace-with-a-long-name--kyutai-stt-rust-kyutaisttru-1a2b3c.modal.run")
    assert "wss://a-workspace-with-a-long-name--kyutai-stt-rust-kyutaisttru-1a2b3c.modal.run/v1/stream" in text


def test_without_a_token_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "has_token", lambda: False)
    assert command.main(["--yes"]) == 1
    captured = capsys.readouterr()
    assert "0.80 USD" in captured.out
    assert "modal token new" in captured.err


def test_cost_alone_needs_no_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--cost"]) == 0
    assert "USD" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answers", "summary"),
    [
        ([(303, ""), (0, "TimeoutError"), (200, '{"status":"ok","gpu":"L4"}')], "status ok, gpu L4"),
        ([(200, "<html>")], "an answer that is no JSON"),
        ([(200, "[1]")], "an answer that is no JSON"),
    ],
    ids=["the third time", "no JSON", "no object"],
)
def test_it_waits_for_the_first_container_and_says_what_to_enter(
    answers: list[tuple[int, str]], summary: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "https://example--kyutai-stt-rust-kyutaisttrustservice-serve.modal.run"
    ran: list[tuple[str, ...]] = []
    seen: list[dict[str, str]] = []

    def run(*arguments: str) -> tuple[int, str]:
        ran.append(arguments)
        return 0, f"=> {url}\n"

    def health(_url: str, headers: dict[str, str]) -> tuple[int, str]:
        seen.append(headers)
        return answers.pop(0)

    monkeypatch.setattr(command, "has_token", lambda: True)
    monkeypatch.setattr(command, "run_modal", run)
    monkeypatch.setattr(command, "health", health)
    monkeypatch.setattr("deploy.deploy.time.sleep", lambda _: None)
    monkeypatch.setenv("MODAL_KEY", "wk-secret")
    monkeypatch.setenv("MODAL_SECRET", "ws-secret")
    assert command.main(["--yes"]) == 0
    printed = capsys.readouterr().out
    assert [arguments[0] for arguments in ran] == ["deploy", "run"]
    assert seen[-1] == {"Modal-Key": "wk-secret", "Modal-Secret": "ws-secret"}
    assert summary in printed
    assert "Modal workspace   example\n" in printed
    assert "secret" not in printed.lower().replace("modal-secret", "").replace("modal_secret", "")
