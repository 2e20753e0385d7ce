#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# Runs tests on each supported Python of this machine except that of the given environment. Each gets its own environment below
# build/, which stays. Called by `make test-pythons`.
#
#   scripts/test_pythons.sh PYTHON TEST…     PYTHON: of the environment whose version is left out
#
# LIMIT_S: seconds that one Python may take for set-up and tests (default 900).
set -euo pipefail
cd "$(dirname "$0")/.."

limit_s=${LIMIT_S:-900}
version='import sys; print("%d.%d" % sys.version_info[:2])'
done_already=$("$1" -c "$version")
shift

failed=()
for python in $(scripts/find_pythons.sh); do
  minor=$("$python" -c "$version")
  [ "$minor" != "$done_already" ] || continue
  # An environment of an older release of this Python is made again.
  "$python" scripts/require_python.py "build/python-$minor" 2>/dev/null || rm -rf "build/python-$minor"
  started=$SECONDS
  printf '==> %s\n' "$("$python" --version)"
  timeout "$limit_s" make --no-print-directory VENV="build/python-$minor" PYTHON="$python" TESTS="$* -p no:cacheprovider" test || failed+=("$minor")
  printf '==> Python %s: %d s\n' "$minor" $((SECONDS - started))
done
[ ${#failed[@]} -eq 0 ] || { echo "The tests failed on Python ${failed[*]}."; exit 1; }
