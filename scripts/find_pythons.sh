#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# Prints the path of each Python on this machine that the app supports and that can make virtual environments: one for each
# minor version (the newest release of it), the newest version first. Looks on PATH and where pyenv and uv install.
#
#   scripts/find_pythons.sh [3.13]     3.13: only that minor version
#
# Exits with 77 if there is none.
set -euo pipefail
cd "$(dirname "$0")"

shopt -s nullglob
IFS=: read -ra directories <<<"$PATH"
candidates=(/usr/bin/python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3 "$HOME"/.local/share/uv/python/*/bin/python3)
for directory in "${directories[@]}"; do candidates+=("$directory"/python3 "$directory"/python3.[0-9]*[0-9]); done

found=$(for candidate in "${candidates[@]}"; do
  # A shim of pyenv may stand for a Python that is not selected; it then fails here.
  "$candidate" require_python.py >/dev/null 2>&1 || continue
  "$candidate" -c 'import sys; v = sys.version_info
if sys.prefix == sys.base_prefix and sys.implementation.name == "cpython" and v.releaselevel == "final":
    print(v.major, v.minor, v.micro, sys.executable)'
done | sort -u -k1,1nr -k2,2nr -k3,3nr | awk -v only="${1:-}" '!seen[$1 "." $2]++ && (only == "" || only == $1 "." $2) { print $4 }')

[ -n "$found" ] || { echo "There is no supported Python${1:+ $1} on this machine." >&2; exit 77; }
echo "$found"
