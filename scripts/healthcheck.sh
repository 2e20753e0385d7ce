#!/bin/sh
# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# The image's HEALTHCHECK: does the app answer its heartbeat, on the unix socket (HaRP) or on its port?
set -eu

ask() { exec curl --fail --silent --show-error --output /dev/null --max-time 3 --noproxy '*' "$@"; }

if [ -n "${HP_SHARED_KEY:-}" ]; then
  ask --unix-socket "${HP_EXAPP_SOCK:-/tmp/exapp.sock}" http://localhost/heartbeat
fi
host=${APP_HOST:-127.0.0.1}
case $host in
  0.0.0.0) host=127.0.0.1 ;;
  ::) host='[::1]' ;;
  *:*) host="[$host]" ;;
esac
ask "http://$host:${APP_PORT:-${PORT:-8080}}/heartbeat"
