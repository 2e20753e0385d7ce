#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
# Prints where Debian's Python is, the one in the image, which has faults that other patch releases of 3.11 do not have; makes
# it ready for virtual environments. Exit code 77 where it is not to be had.
set -euo pipefail
skip() { echo "not the Python of the image: $1" >&2; exit 77; }

export DEBIAN_FRONTEND=noninteractive
[ "$(. /etc/os-release && echo "$ID$VERSION_ID")" = debian12 ] || skip "this is not Debian 12"
ready() { /usr/bin/python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
install() { apt-get install -y -q --no-install-recommends python3 python3-venv >/dev/null 2>&1; }
ready || install || { apt-get update -q >/dev/null 2>&1 && install; } || skip "apt-get could not install python3-venv"
ready || skip "/usr/bin/python3 makes no virtual environments"
echo /usr/bin/python3
