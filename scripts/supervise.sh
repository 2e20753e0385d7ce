#!/bin/bash
# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# Runs the app, and with HaRP its tunnel (frpc), as children of the container's first process.
#
# The app decides: when it ends, the container ends with its exit code, and the engine's restart policy brings it back. A tunnel
# that ends is started again, since no call goes through it and none should end for it. SIGTERM goes to the app, which says goodbye
# in its calls; the tunnel stays until then, so that requests under way are answered.
set -uo pipefail

#: Docker kills 10 s after it has asked.
readonly GRACE_S=8
readonly TUNNEL_PAUSE_S=2
home=$(cd "$(dirname "$0")/.." && pwd)
app=
tunnel=
stopping=

ask_to_stop() {
  [ -z "$stopping" ] || return 0
  stopping=yes
  [ -z "$app" ] || kill -TERM "$app" 2>/dev/null
  # Without the app's output, which nobody could read to its end while this sleeps.
  (sleep "$GRACE_S" && kill -KILL "$app") >/dev/null 2>&1 &
  watchdog=$!
}

run_tunnel() { # configuration
  local frpc='' pause=''
  trap 'kill $frpc $pause 2>/dev/null; exit 0' TERM
  while :; do
    frpc -c "$1" &
    frpc=$!
    wait "$frpc"
    echo "supervise: the tunnel to HaRP ended with code $?; it is started again in $TUNNEL_PAUSE_S s" >&2
    sleep "$TUNNEL_PAUSE_S" &
    pause=$!
    wait "$pause"
  done
}

# From here on, so that a container which is stopped while it starts ends at once. As process 1 it would ignore the signal.
trap ask_to_stop TERM INT
watchdog=
# Where libraries want to leave something; the user has no home.
export HOME=${APP_PERSISTENT_STORAGE:-/tmp}
[ -w "$HOME" ] || export HOME=/tmp

if [ -n "${HP_SHARED_KEY:-}" ]; then
  configuration=$(mktemp -d "${TMPDIR:-/tmp}/harp.XXXXXX") || exit 1
  trap 'rm -rf -- "$configuration"' EXIT
  # At each start: AppAPI starts the container once without certificates, brings them, and starts it again.
  python3 "$home/scripts/frpc_config.py" "$configuration/frpc.toml" || exit
fi
[ -z "$stopping" ] || exit 0

cd "$home" || exit 1
python3 -m ex_app.main &
app=$!
if [ -n "${HP_SHARED_KEY:-}" ]; then
  run_tunnel "$configuration/frpc.toml" &
  tunnel=$!
fi
[ -z "$stopping" ] || kill -TERM "$app" 2>/dev/null

# A signal interrupts `wait`, which then says more than 128 while the app still runs.
while :; do
  wait "$app"
  code=$?
  kill -0 "$app" 2>/dev/null || break
done

if [ -n "$tunnel" ]; then
  kill -TERM "$tunnel" 2>/dev/null
  wait "$tunnel" 2>/dev/null
fi
if [ -n "$stopping" ]; then
  kill "$watchdog" 2>/dev/null
  case $code in
    0 | 143) exit 0 ;; # 143: the signal came before Python could catch it
    137) echo "supervise: the app did not end within $GRACE_S s and was killed" >&2 ;;
  esac
  exit "$code"
fi
echo "supervise: the app ended by itself with code $code" >&2
[ "$code" != 0 ] || code=1 # nobody asked it to, and the restart policy should bring it back
exit "$code"
