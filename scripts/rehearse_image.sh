#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# Builds the real image without a container engine's daemon, and runs its command as AppAPI would: directly on a port, behind
# HaRP with and without certificates, and as an unprivileged user (scripts/rehearse_container.py). Leaves build/rehearsal/report.json.
#
# Needs Debian or Ubuntu, root, buildah and debootstrap; exits with 77, and says why, where they cannot be had. Safe to run again: the
# base system (also as an image) and frp, below build/rehearsal/, are kept; the container and its image are removed (KEEP=1 keeps the image).
#
#   BASE_IMAGE     use this image instead of a base system made with debootstrap
#   INSTALL=1      install buildah and debootstrap where they are missing
set -euo pipefail
cd "$(dirname "$0")/.."

HERE=$PWD/build/rehearsal
IMAGE=localhost/live_transcription-rehearsal
SUITE=$(sed -n 's/^ARG BASE_IMAGE=.*:\(.*\)-slim$/\1/p' Dockerfile)
BASE=${BASE_IMAGE:-localhost/live_transcription-rehearsal-$SUITE}
BASE_TAR=$HERE/$SUITE.tar
FRP_VERSION=$(sed -n 's/^ARG FRP_VERSION=//p' Dockerfile)
FRP_MODULE_SUM=h1:o9Kqxe9axV5HVsdXs1ruBfd/UrplpVHN/dlQqHJNgdw= # of the Go checksum database
export STORAGE_DRIVER=${STORAGE_DRIVER:-vfs} BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}

say() { printf 'rehearsal: %s\n' "$*"; }
skip() { say "not possible here: $*"; exit 77; }

[ "$(id -u)" = 0 ] || skip "root is needed"
missing=()
for tool in buildah debootstrap curl openssl unshare; do command -v $tool >/dev/null || missing+=("$tool"); done
if [ ${#missing[@]} -gt 0 ]; then
  [ -n "${INSTALL:-}" ] && command -v apt-get >/dev/null || skip "${missing[*]} missing; INSTALL=1 installs them on Debian"
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  install() { apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null 2>&1; }
  install || { apt-get update -q >/dev/null 2>&1 && install; } || skip "apt-get could not install ${missing[*]}"
fi
unshare --mount true 2>/dev/null || skip "no mount namespace may be made (a container without that right)"
mkdir -p "$HERE"
[ -e /etc/containers/policy.json ] || skip "/etc/containers/policy.json is missing (Debian: golang-github-containers-common)"

work=$(mktemp -d /tmp/rehearsal.XXXXXX)
container=
clean_up() {
  [ -z "$container" ] || buildah rm "$container" >/dev/null 2>&1 || true
  if [ -z "${KEEP:-}" ]; then
    buildah rmi --force "$IMAGE" >/dev/null 2>&1 || true
    buildah rmi --prune >/dev/null 2>&1 || true
  fi
  rm -rf "$work"
}
trap clean_up EXIT
started=$SECONDS

# ---- the base image ----
if [ -z "${BASE_IMAGE:-}" ]; then
  if [ ! -e "$BASE_TAR" ]; then
    say "making a base system (debootstrap $SUITE)"
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | grep -m1 '/debian$' || true)
    [ -n "$mirror" ] || skip "apt knows no Debian mirror"
    debootstrap --variant=minbase "$SUITE" "$work/base" "$mirror" >"$HERE/debootstrap.log" 2>&1 || { tail -3 "$HERE/debootstrap.log"; skip "debootstrap failed"; }
    # What makes the published -slim image slim.
    rm -rf "$work"/base/var/cache/apt/* "$work"/base/var/lib/apt/lists/* "$work"/base/usr/share/{doc,man,info,locale,lintian}/* "$work"/base/var/log/*
    tar -C "$work/base" --numeric-owner -cf "$BASE_TAR.new" . && mv "$BASE_TAR.new" "$BASE_TAR"
    rm -rf "$work/base"
  fi
  if ! buildah inspect --type image "$BASE" >/dev/null 2>&1; then
    mkdir -p "$work/base-context"
    ln "$BASE_TAR" "$work/base-context/base.tar" 2>/dev/null || cp "$BASE_TAR" "$work/base-context/base.tar"
    printf 'FROM scratch\nADD base.tar /\nCMD ["bash"]\n' >"$work/base-context/Dockerfile"
    buildah build --quiet --format docker --tag "$BASE" "$work/base-context" >/dev/null
    rm -rf "$work/base-context"
  fi
fi

# ---- frp: the release where it can be fetched, else built from the same source, else a stand-in ----
architecture=$(dpkg --print-architecture)
name=frp_${FRP_VERSION}_linux_$architecture
build_arguments=()
frps=
build_frp() {
  command -v go >/dev/null || return 1
  say "building frp $FRP_VERSION from source (about two minutes, once)"
  local source
  source=$(cd "$work" && GOFLAGS=-mod=mod go mod download -json "github.com/fatedier/frp@v$FRP_VERSION" 2>"$HERE/frp.log") || return 1
  grep -qF "\"Sum\": \"$FRP_MODULE_SUM\"" <<<"$source" || { say "frp's source is not the pinned one"; return 1; }
  # Its go.mod holds a replace directive, so that `go install …@version` refuses it.
  cp -r "$(sed -n 's/.*"Dir": "\(.*\)".*/\1/p' <<<"$source")" "$work/frp"
  chmod -R u+w "$work/frp"
  mkdir -p "$HERE/$name"
  for program in frpc frps; do
    (cd "$work/frp" && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags '-s -w' -tags "$program" -o "$HERE/$name/$program" "./cmd/$program") \
      >>"$HERE/frp.log" 2>&1 || return 1
  done
  cp "$work/frp/LICENSE" "$HERE/$name/LICENSE"
}
if [ -x "$HERE/$name/frps" ]; then
  frp=kept
elif curl -fsSL --connect-timeout 5 --max-time 120 -o "$work/frp.tar.gz" \
  "https://github.com/fatedier/frp/releases/download/v$FRP_VERSION/$name.tar.gz" 2>/dev/null; then
  # Verified like the one in the image.
  sum=$(sed -n "s/^ARG FRP_SHA256_${architecture^^}=//p" Dockerfile)
  echo "$sum  $work/frp.tar.gz" | sha256sum --check --quiet --strict
  tar -C "$HERE" -xzf "$work/frp.tar.gz" "$name/frpc" "$name/frps" "$name/LICENSE"
  touch "$HERE/$name/from-release"
elif ! build_frp; then
  say "no frp here (neither its release nor Go): a stand-in takes its place, and the tunnel is not tried"
  rm -rf "${HERE:?}/$name"
  mkdir -p "$work/stand-in/$name"
  printf '#!/bin/sh\nexec sleep infinity\n' >"$work/stand-in/$name/frpc"
  chmod +x "$work/stand-in/$name/frpc"
  echo "stand-in" >"$work/stand-in/$name/LICENSE"
fi
[ ! -x "$HERE/$name/frps" ] || frps=$HERE/$name/frps
frp=release
if [ ! -e "$HERE/$name/from-release" ]; then
  frp=$([ -n "$frps" ] && echo "built from source" || echo stand-in)
  mkdir -p "$work/frp-release"
  tar -C "$([ -n "$frps" ] && echo "$HERE" || echo "$work/stand-in")" -czf "$work/frp-release/$name.tar.gz" "$name"
  build_arguments+=(--volume "$work/frp-release:/run/frp-release:ro" --build-arg FRP_URL=file:///run/frp-release
    --build-arg "FRP_SHA256_${architecture^^}=$(sha256sum "$work/frp-release/$name.tar.gz" | cut -d' ' -f1)")
fi

# ---- the build; pip gets this machine's certificates, which do not stay in the image ----
certificates=/etc/ssl/certs/ca-certificates.crt
if [ -e $certificates ]; then
  printf '[global]\ncert = /run/certificates.crt\n' >"$work/pip.conf"
  build_arguments+=(--volume "$certificates:/run/certificates.crt:ro" --volume "$work/pip.conf:/etc/pip.conf:ro")
fi
say "building the image (frp: $frp)"
build_started=$SECONDS
ENGINE=buildah BASE_IMAGE=$BASE BUILD_ARGUMENTS="${build_arguments[*]}" scripts/build_image.sh "$IMAGE" >"$HERE/build.log" 2>&1 \
  || { tail -20 "$HERE/build.log"; say "the build failed (all of it: $HERE/build.log)"; exit 1; }
build_s=$((SECONDS - build_started))

container=$(buildah from --pull-never "$IMAGE")
root=$(buildah mount "$container")
buildah inspect --type image "$IMAGE" >"$work/image.json"
say "built in $build_s s; running it"

frps_argument=()
[ -z "$frps" ] || frps_argument=(--frps "$frps")
python3 scripts/rehearse_container.py --root "$root" --image-json "$work/image.json" --work "$work" --report "$HERE/report.json" \
  --build-seconds "$build_s" --frp "$frp" "${frps_argument[@]}"
say "passed in $((SECONDS - started)) s; $HERE/report.json"
