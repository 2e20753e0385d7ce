#!/bin/bash
# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# The container's command. AppAPI runs update-ca-certificates in the container as the image's user, so that user has to be root;
# this script does what needs root (the volume's owner) and continues as an unprivileged user.
set -euo pipefail

user=live_transcription
storage=${APP_PERSISTENT_STORAGE:-}

if [ "$(id -u)" != 0 ]; then
  # Started with --user, or by Kubernetes with runAsNonRoot: there is nothing to give up.
  exec /app/scripts/supervise.sh
fi

if [ -n "$storage" ]; then
  mkdir -p -- "$storage"
  # A new volume belongs to root. Some volumes (NFS) refuse: then what counts is whether the user may write there.
  chown -R --no-dereference "$user:$user" -- "$storage" 2>/dev/null \
    || echo "start: the owner of $storage could not be changed; user $user (uid $(id -u "$user")) must be able to write there" >&2
fi
# Left behind by a container that was killed; only its owner could take it over.
rm -f -- "${HP_EXAPP_SOCK:-/tmp/exapp.sock}"

give_up=(setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all)
if ! "${give_up[@]}" -- true 2>/dev/null; then
  # Without CAP_SETPCAP the bounding set stays; no_new_privs makes it useless all the same.
  give_up=(setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs)
fi
if ! "${give_up[@]}" -- true; then
  echo "start: root's rights cannot be given up here. Leave the container its default capabilities, or start it with --user $(id -u "$user")." >&2
  exit 1
fi
exec "${give_up[@]}" -- /app/scripts/supervise.sh
