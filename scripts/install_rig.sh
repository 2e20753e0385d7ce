#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# Installs the rig (a real high-performance backend and Janus on loopback), on Debian 12 as root:
# Janus and coturn as system packages, the backend's builds below build/rig/, where nothing but the rig uses them.
# Safe to run again: installed parts stay as they are. Without root or apt it says so and exits with 77.
#
#   scripts/install_rig.sh [--with-2.1]     2.0.x and 1.2.4 are always installed; 2.1.x is built from source, with Go
set -euo pipefail
cd "$(dirname "$0")/.."

RIG=build/rig
POOL=pool/main/n/nextcloud-spreed-signaling
# Version, package version and sha256 of each pinned build; Debian's own index vouches for any other.
HPB_20=(2.0.2-2+b2 57f9ad5d0044cf12f6a4c112430e59d7fa8d2dbcf3fae3045b1c8794671c9c44 sid)
HPB_12=(1.2.4-3+b9 a7ea6de1822594504f97c79117bbf458d51e8a274df0013de0f6511c17381de2 trixie)
HPB_21=github.com/strukturag/nextcloud-spreed-signaling/v2/cmd/server@v2.1.1

say() { printf 'rig: %s\n' "$*"; }
skip() { say "not installed: $*"; exit 77; }

[ "$(uname -m)" = x86_64 ] || skip "the pinned builds are for x86_64, this is $(uname -m)"
command -v apt-get >/dev/null || skip "there is no apt-get here (Debian 12 is needed)"
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | grep -m1 '/debian$' || true)
[ -n "$mirror" ] || skip "apt knows no Debian mirror"

packages=()
[ -x /usr/bin/janus ] || packages+=(janus)
command -v turnserver >/dev/null || packages+=(coturn)
command -v cc >/dev/null || packages+=(gcc libc6-dev)
if [ ${#packages[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || skip "${packages[*]} missing, and only root may install packages"
  say "installing ${packages[*]}"
  # Packages of daemons must not start them.
  policy=/usr/sbin/policy-rc.d
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; trap 'rm -f /usr/sbin/policy-rc.d' EXIT; }
  export DEBIAN_FRONTEND=noninteractive
  install() { apt-get install -y -q --no-install-recommends "${packages[@]}" >>"$RIG/install.log" 2>&1; }
  mkdir -p "$RIG"
  install || { apt-get update -q >>"$RIG/install.log" 2>&1 && install; } \
    || { tail -5 "$RIG/install.log"; skip "apt-get could not install ${packages[*]} (all of it: $RIG/install.log)"; }
fi
mkdir -p "$RIG"

# From the mirror's current index, where the pinned build is gone: any build of that suite, checked by apt's signatures.
from_index() { # suite, target file
  local root=$RIG/apt-$1 options
  mkdir -p "$root"/{state/lists/partial,cache/archives/partial}
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" >"$root/sources.list"
  options=(-o Dir::Etc::SourceList="$PWD/$root/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State="$PWD/$root/state"
    -o Dir::Cache="$PWD/$root/cache" -o Dir::State::status=/dev/null -o Acquire::Languages=none -o APT::Sandbox::User=root
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
  apt-get "${options[@]}" update -q >>"$RIG/install.log" 2>&1
  (cd "$root" && apt-get "${options[@]}" download -q nextcloud-spreed-signaling >>../install.log 2>&1)
  mv "$root"/nextcloud-spreed-signaling_*.deb "$2"
  rm -rf "$root"
}

install_deb() { # name, package version, sha256, suite
  local home=$RIG/hpb-$1 deb=$RIG/hpb-$1.deb
  [ -x "$home/server" ] && { say "HPB $1 is there ($(cat "$home/version"))"; return; }
  say "fetching HPB $1 ($2)"
  local url=$mirror/$POOL/nextcloud-spreed-signaling_$2_amd64.deb version=$2
  if ! /usr/lib/apt/apt-helper download-file "$url" "$deb" "SHA256:$3" >>"$RIG/install.log" 2>&1; then
    say "build $2 is not on the mirror any more; taking what $4 has now"
    from_index "$4" "$deb"
    version=$(dpkg-deb -f "$deb" Version)
  fi
  mkdir -p "$home/tree"
  dpkg-deb -x "$deb" "$home/tree"
  mv "$home/tree/usr/bin/"*-server "$home/server.new" 2>/dev/null || mv "$home/tree/usr/bin/nextcloud-spreed-signaling" "$home/server.new"
  echo "$version" >"$home/version"
  mv "$home/server.new" "$home/server"
  rm -rf "$home/tree" "$deb"
}

install_go() { # name, module
  local home=$RIG/hpb-$1
  [ -x "$home/server" ] && { say "HPB $1 is there ($(cat "$home/version"))"; return; }
  command -v go >/dev/null || { say "HPB $1 left out: it is built from source, and there is no Go here"; return; }
  say "building HPB $1 (minutes)"
  mkdir -p "$home"
  if GOBIN=$PWD/$home go install "$2" >>"$RIG/install.log" 2>&1; then
    echo "${2##*@}" >"$home/version"
  else
    rm -rf "$home"
    say "HPB $1 left out: $(tail -1 "$RIG/install.log")"
  fi
}

install_deb 2.0 "${HPB_20[@]}"
install_deb 1.2 "${HPB_12[@]}"
for argument in "$@"; do
  case $argument in
    --with-2.1) install_go 2.1 "$HPB_21" ;;
    *) say "unknown argument $argument"; exit 2 ;;
  esac
done

shim=$RIG/loopback_shim.so
if [ ! -e $shim ] || [ sandbox/rig/loopback_shim.c -nt $shim ]; then
  cc -O2 -Wall -shared -fPIC -o $shim sandbox/rig/loopback_shim.c -ldl
  say "compiled $shim"
fi
say "ready: Janus $(dpkg-query -W -f '${Version}' janus), HPB $(cat "$RIG"/hpb-*/version | tr '\n' ' ')"
