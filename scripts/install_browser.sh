#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# Installs Debian's Chromium for the browser tests, as root. Safe to run again. If that is not possible, says why and exits with 77.
set -euo pipefail

skip() { echo "browser: not installed: $*"; exit 77; }

if [ -x /usr/bin/chromium ]; then
  echo "browser: $(/usr/bin/chromium --version 2>/dev/null) is there"
  exit 0
fi
command -v apt-get >/dev/null || skip "there is no apt-get here"
[ "$(id -u)" = 0 ] || skip "only root may install packages"
echo "browser: installing chromium"
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core >/dev/null 2>&1; }
install || { apt-get update -q >/dev/null 2>&1 && install; } || skip "apt-get could not install chromium"
/usr/bin/chromium --version
