#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# Builds the container image with docker, podman or buildah, whichever is installed (ENGINE selects one).
#
#   scripts/build_image.sh [IMAGE]     IMAGE: name and tag; default: what appinfo/info.xml names, which AppAPI will ask for
#
# COMPUTE_DEVICE: CPU (default), or CUDA for the variant with NVIDIA's libraries, whose default tag ends in -cuda.
# BASE_IMAGE: the Dockerfile's base under another name or with a digest. Without a digest, the tag is resolved first and the build made
# from the digest, so that it stands in the image's labels. Further arguments for the builder: BUILD_ARGUMENTS.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'image: %s\n' "$*"; }
fail() { say "$*"; exit 2; }

command -v python3 >/dev/null || fail "python3 is needed to read appinfo/info.xml; any Python 3 will do"
text() { python3 -c 'import sys; from xml.etree import ElementTree as E; print(E.parse("appinfo/info.xml").findtext(sys.argv[1]))' "$1"; }
install=external-app/docker-install
version=$(text version)
device=${COMPUTE_DEVICE:-CPU}
case $device in CPU) suffix= ;; CUDA) suffix=-cuda ;; *) fail "COMPUTE_DEVICE must be CPU or CUDA" ;; esac
image=${1:-$(text $install/registry)/$(text $install/image):$(text $install/image-tag)$suffix}
base=${BASE_IMAGE:-$(sed -n 's/^ARG BASE_IMAGE=//p' Dockerfile)}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain -- Dockerfile lib ex_app templates scripts requirements 2>/dev/null)" ] || revision+=-changed

works() { command -v "$1" >/dev/null && { [ "$1" != docker ] || docker info >/dev/null 2>&1; }; }
engine=${ENGINE:-}
for candidate in docker podman buildah; do
  if [ -z "$engine" ] && works "$candidate"; then engine=$candidate; fi
done
[[ $engine =~ ^(|docker|podman|buildah)$ ]] || fail "ENGINE must be docker, podman or buildah"
[ -n "$engine" ] || fail "docker (running), podman or buildah is needed to build an image"

if [[ $base != *@sha256:* && $base != localhost/* ]]; then
  case $engine in
    docker | podman)
      "$engine" pull --quiet "$base" >/dev/null
      digest=$("$engine" image inspect --format '{{index .RepoDigests 0}}' "$base")
      digest=${digest##*@} ;;
    buildah)
      buildah pull --quiet "$base" >/dev/null
      digest=$(buildah inspect --type image --format '{{.FromImageDigest}}' "$base") ;;
  esac
  [ -n "${digest:-}" ] || fail "the digest of $base could not be found out; give it in BASE_IMAGE"
  # The tag goes, a port in the registry's name stays.
  [[ ${base##*/} != *:* ]] || base=${base%:*}
  base=$base@$digest
fi

say "building $image with $engine from $base"
arguments=(--build-arg "BASE_IMAGE=$base" --build-arg "COMPUTE_DEVICE=$device" --build-arg "VERSION=$version" --build-arg "REVISION=$revision")
# The publisher's addresses become labels; a registry such as ghcr.io links the image to its repository by them.
arguments+=(--build-arg "VENDOR=$(text author)" --build-arg "URL=$(text website)" --build-arg "SOURCE=$(text repository)")
arguments+=(--build-arg "DOCUMENTATION=$(text documentation/admin)" --tag "$image")
# Only Docker's format keeps HEALTHCHECK.
[ "$engine" = docker ] || arguments+=(--format docker)
# shellcheck disable=SC2086  # several arguments
"$engine" build "${arguments[@]}" ${BUILD_ARGUMENTS:-} .
say "built $image"
