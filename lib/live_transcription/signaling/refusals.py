# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The HPB's refusals, explained for an administrator."""

from __future__ import annotations

import math

from live_transcription.errors import SignalingRefused
from live_transcription.runtime.hosts import host_of

#: The server's feature that says that an SFU (Janus) is connected.
FEATURE_SFU = "mcu"
#: Reason of a refusal of our own: the server has no SFU.
NO_SFU = "no_sfu"
TOO_MANY_REQUESTS = "too_many_requests"
#: Reason of our own refusal: one more failed hello could lock the app out.
TOO_MANY_TRIES = "too_many_tries"
_TOO_OLD_CODES = ("invalid_hello_version", "unsupported-version", "invalid_format")
#: Answers to a hello that the server does not count as a failed login.
UNCOUNTED = frozenset({TOO_MANY_REQUESTS, TOO_MANY_TRIES, NO_SFU, "invalid_client_type", *_TOO_OLD_CODES})

_TOO_OLD = (
    "The high-performance backend does not understand this client: it is too old.",
    "Update nextcloud-spreed-signaling to version 1.2.4 or newer.",
)
_WRONG_SECRET = (
    "The high-performance backend refused the internal secret.",
    "Set LT_INTERNAL_SECRET to the value of internalsecret in the section [clients] of the signaling server's server.conf.",
)


def hello_refusal(code: str, backend_url: str) -> SignalingRefused | None:
    """The error for an answer to `hello` that only an administrator can change; None if the next attempt may succeed.

    The administrator may change the HPB's configuration without our notice, so `HelloGuard` keeps trying.
    """
    match code:
        case "invalid_token" | "auth_failed" | "auth-failed":
            message, fix = _WRONG_SECRET
        case "invalid_backend":
            message = f"The high-performance backend does not serve the Nextcloud server {host_of(backend_url)}."
            fix = "Add this address to a backend in the signaling server's server.conf, or correct it in this app's settings."
        case "invalid_client_type":
            message = "The high-performance backend accepts no internal clients."
            fix = (
                "Set internalsecret under [clients] in the signaling server's server.conf, and LT_INTERNAL_SECRET to the same."
            )
        case "too_many_requests":
            message = "The high-performance backend has locked out this address after too many failed logins."
            fix = "Check LT_INTERNAL_SECRET, then restart the high-performance backend, or wait for 30 minutes."
        case _ if code in _TOO_OLD_CODES:
            message, fix = _TOO_OLD
        case _:
            return None
    return SignalingRefused(message, fix=fix, reason=code)


def too_many_tries(seconds: float) -> SignalingRefused:
    """`seconds`: until the next attempt is safe."""
    return SignalingRefused(
        "The high-performance backend has refused the app several times. Another attempt could lock it out for 30 minutes.",
        fix=f"Correct the internal secret. The app tries again in {math.ceil(seconds / 60)} minutes.",
        reason=TOO_MANY_TRIES,
    )


def no_sfu() -> SignalingRefused:
    return SignalingRefused(
        "The high-performance backend has no media server, so no audio can be received from it.",
        fix="Install Janus and set it in the section [mcu] of the signaling server's server.conf.",
        reason=NO_SFU,
    )
