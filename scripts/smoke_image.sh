#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# Starts an image once with docker or podman, waits until it is healthy, checks its labels, and removes the container.
#
#   scripts/smoke_image.sh IMAGE     ENGINE: docker (default) or podman; HEALTHY_S: seconds to wait (default 60)
set -euo pipefail
cd "$(dirname "$0")/.."

image=${1:?name the image}
engine=${ENGINE:-docker}
say() { printf 'smoke: %s\n' "$*"; }
text() { python3 -c 'import sys; from xml.etree import ElementTree as E; print(E.parse("appinfo/info.xml").findtext(sys.argv[1]))' "$1"; }

label() { "$engine" image inspect --format "{{index .Config.Labels \"org.opencontainers.image.$1\"}}" "$image"; }
while read -r name element; do
  [ "$(label "$name")" = "$(text "$element")" ] || { say "label $name is '$(label "$name")', info.xml has '$(text "$element")'"; exit 1; }
done <<'LABELS'
version version
vendor author
url website
source repository
documentation documentation/admin
LABELS

# Nextcloud does not answer there; the app waits for it and is healthy nevertheless.
container=$("$engine" run --detach --env APP_ID=live_transcription --env APP_VERSION="$(text version)" --env APP_SECRET=smoke \
  --env APP_HOST=127.0.0.1 --env APP_PORT=23000 --env AA_VERSION=32.0.0 --env NEXTCLOUD_URL=http://127.0.0.1:1 \
  --env APP_PERSISTENT_STORAGE=/data --volume /data "$image")
trap '"$engine" rm --force --volumes "$container" >/dev/null' EXIT
started=$SECONDS
until "$engine" exec "$container" /app/scripts/healthcheck.sh >/dev/null 2>&1; do
  if [ "$("$engine" inspect --format '{{.State.Running}}' "$container")" != true ] || [ $((SECONDS - started)) -ge "${HEALTHY_S:-60}" ]; then
    "$engine" logs "$container" 2>&1 | tail -20
    say "$image did not become healthy"
    exit 1
  fi
  sleep 1
done
say "$image was healthy after $((SECONDS - started)) s"
