#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
# Renew requirements/*.txt from pyproject.toml. Hashes are written; no address of a registry is.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "uv is needed: pip install uv"; exit 2; }
compile=(uv pip compile pyproject.toml --extra embedded --universal --python-version 3.11.4 --generate-hashes
         --no-emit-index-url --no-emit-find-links --no-header --quiet)
UV_NO_CONFIG=1 "${compile[@]}" "$@" -o requirements/runtime.txt
UV_NO_CONFIG=1 "${compile[@]}" "$@" --group dev -c requirements/runtime.txt -o requirements/dev.txt
echo "requirements/runtime.txt and requirements/dev.txt are renewed"
