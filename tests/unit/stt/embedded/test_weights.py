# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from live_transcription.errors import SttModelError
from live_transcription.languages import AUTO
from live_transcription.stt.embedded import weights
from live_transcription.stt.embedded.weights import BundledModel, ModelDirectory
from live_transcription.stt.embedded.whisper import WhisperEngine


@pytest.fixture
def bundle(tmp_path: Path) -> BundledModel:
    first, second = tmp_path / "one", tmp_path / "two"
    for directory in (first, second):
        directory.mkdir()
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (first / name).write_text(name, encoding="utf-8")
    (first / "model.bin.part1").write_bytes(b"first")
    (second / "model.bin.part2").write_bytes(b"second")
    return BundledModel((first, second), sha256=hashlib.sha256(b"firstsecond").hexdigest())


def test_the_parts_are_joined_in_order(bundle: BundledModel) -> None:
    files = bundle.read()
    assert files["model.bin"] == b"firstsecond"
    assert files["config.json"] == b"config.json"


def test_damaged_weights_are_not_loaded_and_the_error_says_what_to_do(bundle: BundledModel) -> None:
    (bundle.directories[1] / "model.bin.part2").write_bytes(b"secone")
    with pytest.raises(SttModelError, match=r"sha256 differs.*requirements/weights.txt"):
        WhisperEngine(bundle, frozenset({"en"})).load(1, 1)


def test_a_missing_part_is_a_typed_error(bundle: BundledModel) -> None:
    (bundle.directories[1] / "model.bin.part2").unlink()
    with pytest.raises(SttModelError, match="cannot be read"):
        bundle.read()


def test_the_administrators_directory_is_preferred_and_checked(tmp_path: Path) -> None:
    found = weights.find(tmp_path)
    assert found == ModelDirectory(tmp_path)
    with pytest.raises(SttModelError, match=r"lacks model\.bin, config\.json, tokenizer\.json, vocabulary\.json"):
        ModelDirectory(tmp_path).check()
    with pytest.raises(SttModelError, match="does not exist"):
        ModelDirectory(tmp_path / "nowhere").check()


@pytest.mark.parametrize(("tokens", "expected"), [(51_864, {"en"}), (51_865, {"en", "fr", AUTO}), (51_866, {"en", "fr", AUTO})])
@pytest.mark.parametrize("kind", ["txt", "json"])
def test_an_english_only_model_offers_english_only(tmp_path: Path, tokens: int, expected: set[str], kind: str) -> None:
    names = [f"token{n}" for n in range(tokens)]
    text = "\n".join(names) + "\n" if kind == "txt" else '[\n"' + '",\n"'.join(names) + '"\n]'
    (tmp_path / f"vocabulary.{kind}").write_text(text, encoding="utf-8")
    assert WhisperEngine(ModelDirectory(tmp_path), frozenset({"en", "fr"})).languages == expected
