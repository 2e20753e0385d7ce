# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What AppAPI assigns to the app: its identity, and the address to listen on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from live_transcription.types import Secret

APP_ID = "live_transcription"
DEFAULT_PORT = 8080


@dataclass(frozen=True, slots=True)
class AppIdentity:
    """Identity and Nextcloud's address. With an empty `secret`, no request can be authenticated.

    `verify_certificates` applies to Nextcloud's certificate.
    """

    secret: Secret
    app_id: str = APP_ID
    version: str = "0"
    app_api_version: str = ""
    nextcloud_url: str = ""
    verify_certificates: bool = True


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen: on the unix socket if there is one (HaRP), otherwise on host and port."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    unix_socket: Path | None = None
