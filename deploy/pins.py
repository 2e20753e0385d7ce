# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Exact versions and hashes of everything that the container is built from, and their verification.

Python packages have theirs in `requirements/modal.txt`. For a model revision without known hashes, the first deployment writes
those of the files that it downloads to the volume, next to the files, and later deployments compare (trust on first use).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.moshi_config import AUDIO_TOKENIZER_FILE, FILES, MODEL_FILE, TEXT_TOKENIZER_FILE

CUDA_IMAGE = "nvidia/cuda:12.8.1-devel-ubuntu22.04@sha256:a99a1860ba8e2916e5c3e73b72ec4c4301653a84586e05bfc9a2aa2d58027e97"
RUSTUP_VERSION = "1.28.2"
#: Of `rustup-init` for x86_64-unknown-linux-gnu. It verifies the toolchain that it downloads.
RUSTUP_SHA256 = "20a06e644b0d9bd2fbdbfd52d42540bdde820ea7df86e92e533c073da0cdd43c"
RUST_VERSION = "1.90.0"
#: Of the crate `moshi-server`, by version. Its lock file has the hashes of all crates that it depends on.
CRATE_SHA256: Mapping[str, str] = {"0.6.4": "bd480dff27beaa4aae21aa805541f361e3f4c7481c6684361d103e6069233d5b"}

#: The revision of Kyutai's model that is deployed unless the settings name another one.
MODEL_REVISION = "095e38f6242006a93c2541149b181988397f5c7c"
#: Of the model's files, by revision.
MODEL_SHA256: Mapping[str, Mapping[str, str]] = {
    MODEL_REVISION: {
        MODEL_FILE: "b9e97c53229dce728d65c76bfa892f7b563c69d671899f0ebc6518582dddec6f",
        TEXT_TOKENIZER_FILE: "cd87dd5d17169151782ac700280ec057e5d658a9afbe238a048ea5ff318cce69",
        AUDIO_TOKENIZER_FILE: "09b782f0629851a271227fb9d36db65c041790365f11bbe5d3d59369cf863f50",
    }
}

#: The file next to the weights with their revision and hashes.
RECORD = "verified.json"
_BLOCK = 8 * 1024 * 1024


class WeightsChanged(RuntimeError):
    """A file of the model is not the expected one. The message names the file and says what to do."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What a deployment verified: the commit of the model's repository, and each file's sha256 and size in bytes.

    `trusted`: the hashes were not known before, so they are those of the first download.
    """

    revision: str
    sha256: Mapping[str, str]
    size: Mapping[str, int]
    trusted: bool


def commit_of(directory: Path, revision: str, resolve: Callable[[str], str]) -> str:
    """The commit to download: the one that was recorded, or what `revision` (a commit, branch or tag) means now."""
    record = read_record(directory)
    return record.revision if record is not None else resolve(revision)


def verify(directory: Path, commit: str) -> Weights:
    """Hash all files of the model, compare them with the known hashes, and record them. Raises WeightsChanged.

    Known are those of `MODEL_SHA256`, otherwise those of the record. Without either, the files are trusted.
    """
    record = read_record(directory)
    known = MODEL_SHA256.get(commit) or (record.sha256 if record is not None else None)
    found = {name: _sha256(directory / name) for name in FILES}
    for name, value in found.items():
        if known is not None and known.get(name) != value:
            raise WeightsChanged(
                f"{name} on the volume has the sha256 {value}, but {known.get(name)} is expected. It was damaged or replaced. "
                "Delete the file from the volume and deploy again, or deploy with another KYUTAI_VOLUME."
            )
    sizes = {name: (directory / name).stat().st_size for name in FILES}
    weights = Weights(commit, found, sizes, trusted=known is None)
    document = {"revision": commit, "sha256": found, "size": sizes}
    (directory / RECORD).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return weights


def unverified(directory: Path) -> list[str]:
    """The model's files that are missing, or do not have the recorded size, so that they have to be fetched and verified.

    A container calls this when it starts: hashing 2.4 GB would delay each start.
    """
    record = read_record(directory)
    if record is None:
        return list(FILES)
    return [name for name in FILES if _size(directory / name) != record.size.get(name)]


def read_record(directory: Path) -> Weights | None:
    """What an earlier deployment verified; None if there was none, or its record is unreadable."""
    try:
        found = json.loads((directory / RECORD).read_text("utf-8"))
        return Weights(str(found["revision"]), dict(found["sha256"]), dict(found["size"]), trusted=False)
    except (OSError, ValueError, KeyError, TypeError):  # `dict` raises the last two of what is no mapping
        return None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
