#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
# Renew requirements/*.txt from pyproject.toml. Hashes are written; no address of a registry is.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "uv is needed: pip install uv"; exit 2; }
export UV_NO_CONFIG=1
oldest=$(sed -n 's/^requires-python = ">=\(.*\)"$/\1/p' pyproject.toml)
compile() {
  uv pip compile --universal --python-version "$oldest" --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet "$@"
}
compile pyproject.toml --extra embedded "$@" -o requirements/runtime.txt
compile pyproject.toml --extra embedded --group dev "$@" -c requirements/runtime.txt -o requirements/dev.txt
compile --group cuda "$@" -c requirements/runtime.txt -o requirements/cuda.txt
oldest=3.12  # of the container on Modal
compile --group modal "$@" -c requirements/dev.txt -o requirements/modal.txt
echo "requirements/runtime.txt, dev.txt, cuda.txt and modal.txt are renewed"
