#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# Lints .github/workflows with actionlint, which is built from its Go module (pinned by its checksum) into build/tools, once.
# If shellcheck is installed, it lints the shell commands of the workflows, too. Without Go, exits with 77 and says so.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=v1.7.12
SUM=h1:vQ4GeJN86C0QH+gTUQcs8McmK62OLT3kmakPMtEWYnY=

tool=$PWD/build/tools/actionlint-$VERSION/actionlint
if [ ! -x "$tool" ]; then
  command -v go >/dev/null || { echo "lint-workflows: Go is needed to build actionlint; install it, for example: apt install golang-go"; exit 77; }
  echo "lint-workflows: building actionlint $VERSION (once)"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  found=$(cd "$work" && GOFLAGS=-mod=mod go mod download -json "github.com/rhysd/actionlint@$VERSION") \
    || { echo "lint-workflows: the source of actionlint cannot be downloaded; check the network or GOPROXY"; exit 2; }
  grep -qF "\"Sum\": \"$SUM\"" <<<"$found" || { echo "lint-workflows: the source of actionlint is not the pinned one"; exit 2; }
  GOBIN=$(dirname "$tool") GOFLAGS=-mod=mod go install "github.com/rhysd/actionlint/cmd/actionlint@$VERSION"
fi
"$tool" -color
echo "lint-workflows: all workflows are valid"
