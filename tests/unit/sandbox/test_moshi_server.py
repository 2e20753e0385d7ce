# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The handmade weights of moshi-server, as files, and the script that builds the server."""

from __future__ import annotations

import json
import math
import shutil
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from deploy.moshi_config import AUDIO_TOKENIZER_FILE, FILES, MODEL_FILE, TEXT_TOKENIZER_FILE
from sandbox.moshi_server import weights
from sandbox.moshi_server.server import small_config
from sandbox.moshi_server.speech import say, silence, tone
from sandbox.stt_servers.loudness import LoudWords

_ROOT = Path(__file__).resolve().parents[3]
_PYTHON_H = "import pathlib, sysconfig; raise SystemExit(not pathlib.Path(sysconfig.get_path('include'), 'Python.h').exists())"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("weights")
    weights.write_weights(made)
    return made


def header(path: Path) -> tuple[dict[str, dict[str, object]], int]:
    """The safetensors header, and where the data begins."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length)), 8 + length


@pytest.mark.parametrize("name", [MODEL_FILE, AUDIO_TOKENIZER_FILE, weights.LATE_MODEL_FILE])
def test_the_tensors_lie_end_to_end_and_fill_the_file(directory: Path, name: str) -> None:
    tensors, begin = header(directory / name)
    assert begin % 8 == 0
    at = 0
    for tensor in tensors.values():
        assert tensor["data_offsets"] == [at, at + 4 * math.prod(tensor["shape"])]
        at = tensor["data_offsets"][1]
    assert (directory / name).stat().st_size == begin + at


def test_zeros_take_no_space_on_the_disk(directory: Path) -> None:
    assert sum((directory / name).stat().st_blocks * 512 for name in FILES) < 100 * 2**20
    assert (directory / AUDIO_TOKENIZER_FILE).stat().st_size > 300 * 2**20


def test_the_tokenizer_has_each_word(directory: Path) -> None:
    content = (directory / TEXT_TOKENIZER_FILE).read_bytes()
    for word in weights.WORDS:
        begin, *_ = weights.TWO_PIECES.get(word, (word,))
        assert f"\u2581{begin}".encode() in content


def test_the_configuration_is_that_of_the_deployment_but_for_the_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asr = tomllib.loads(small_config(tmp_path, batch_size=3))["modules"]["asr"]
    assert (asr["type"], asr["batch_size"], asr["asr_delay_in_tokens"]) == ("BatchedAsr", 3, 6)
    assert asr["model"]["transformer"]["d_model"] == weights.NETWORK.d_model
    assert asr["model"]["extra_heads"] == {"num_heads": 4, "dim": 6}
    late = tomllib.loads(small_config(tmp_path, batch_size=3, pause_heads=False))["modules"]["asr"]
    assert "extra_heads" not in late["model"]
    assert late["asr_delay_in_tokens"] == weights.LATE_DELAY_STEPS
    assert Path(late["lm_model_file"]).is_file()


def test_the_stand_in_makes_the_same_words_of_loudness() -> None:
    source = LoudWords()
    audio = np.concatenate([silence(2.4), say(*weights.WORDS, frames=4, gap=2), tone(3, 2.6), silence(5)])
    for start in range(0, len(audio), 1920):
        source.feed(audio[start : start + 1920])
    assert [word.text for word in source.take_words(math.inf)] == [*weights.WORDS, weights.WORDS[2]]


#: Instead of cargo: tells a version, and "compiles" two crates, or fails.
_CARGO = """\
#!/bin/sh
if [ "$1" = --version ]; then echo "cargo {version} (0000000 2026-01-01)"; exit; fi
echo "   Compiling libc v0.2.0"; echo "   Compiling moshi v0.6.4"
while [ "$1" != --root ]; do shift; done
{then}
mkdir -p "$2/bin" && touch "$2/bin/moshi-server"
"""


def build(home: Path, cargo: str = "") -> subprocess.CompletedProcess[str]:
    """Run the script with no other programs than these, so that it can install nothing."""
    programs = home / "programs"
    programs.mkdir(exist_ok=True)
    for name, text in {"cargo": cargo, "cmake": "", "g++": "", "pkg-config": "#!/bin/sh\n"}.items():
        if text or name != "cargo":
            (programs / name).write_text(text, encoding="utf-8")
            (programs / name).chmod(0o755)
    for name in ("nice", "mkdir", "touch"):
        if not (programs / name).exists():
            (programs / name).symlink_to(shutil.which(name) or "/")
    environment = {"PATH": str(programs), "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, _ROOT / "scripts/build_moshi.py"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_without_cargo_the_build_says_so_in_one_sentence(tmp_path: Path) -> None:
    built = build(tmp_path)
    assert built.returncode == 77
    assert built.stdout == "moshi: not built: cargo, which compiles Rust, is not installed here (https://rustup.rs).\n"
    assert not built.stderr


def test_an_old_cargo_is_not_tried(tmp_path: Path) -> None:
    built = build(tmp_path, _CARGO.format(version="1.63.0", then=""))
    assert built.returncode == 77
    assert "not built: Rust 1.81 or newer is needed, and this is cargo 1.63.0" in built.stdout


def test_a_build_is_kept_once_it_is_whole(tmp_path: Path) -> None:
    if not Path("/usr/bin/python3").exists() or subprocess.run(["/usr/bin/python3", "-c", _PYTHON_H], check=False).returncode:
        pytest.skip("the headers of /usr/bin/python3 are not installed")
    broken = build(tmp_path, _CARGO.format(version="1.90.0", then='echo "error: could not compile"; exit 101'))
    assert broken.returncode == 77
    assert "error: could not compile" in broken.stdout
    assert "not built: cargo failed" in broken.stdout
    assert "compiled in" in build(tmp_path, _CARGO.format(version="1.90.0", then="")).stdout
    again = build(tmp_path)
    assert again.returncode == 0
    assert "is there" in again.stdout
    assert sorted(path.name.split("-")[1] for path in (tmp_path / "cache/live-transcription").iterdir()) == [
        "server",
        "weights",
    ]
