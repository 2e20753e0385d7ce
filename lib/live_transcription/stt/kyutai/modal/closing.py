# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Why Kyutai's proxy on Modal closed a session. Pure.

The proxy closes every session with code 1000 and an empty reason, so the reason is inferred from the history of the session.
"""

from __future__ import annotations

from live_transcription.errors import SttAtCapacity, SttError, SttExpired, SttUnavailable

#: Seconds without audio after which a close means that the session was idle. The proxy's limit is 30 s.
IDLE_S = 25.0
#: Age in seconds from which on a close means that the session reached the function's timeout of 30 minutes.
EXPIRY_S = 29 * 60.0
#: Seconds after the first audio within which a full model server makes the proxy close.
CAPACITY_S = 3.0


def close_error(
    code: int | None, *, age_s: float, since_first_audio_s: float | None, since_last_audio_s: float | None, tokens: int
) -> SttError:
    """The error with which the stream ends; all of them are retryable.

    `code` is the websocket's close code, None without a close frame. Times are in seconds before the close; those of audio are
    None if none was sent. `tokens` is the number of tokens that the session has emitted.
    """
    quiet_s = age_s if since_last_audio_s is None else since_last_audio_s
    if quiet_s >= IDLE_S:
        return SttExpired("Kyutai on Modal closed an idle session.")
    # A proxy that does use close codes sends 1013, "try again later".
    refused = code == 1000 and since_first_audio_s is not None and since_first_audio_s < CAPACITY_S and not tokens
    if code == 1013 or refused:
        return SttAtCapacity(
            "Kyutai on Modal accepted the session and closed it at the first audio: its model server is full.",
            fix="Allow more containers, or more sessions in one.",
        )
    if age_s >= EXPIRY_S:
        return SttExpired("The session on Modal reached its age limit.")
    return SttUnavailable(
        "The connection to Kyutai on Modal broke.", fix="If this happens often, check the app's log on Modal."
    )
