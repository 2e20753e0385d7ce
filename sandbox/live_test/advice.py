# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Explains errors to administrators, and what to do."""

from __future__ import annotations

import ssl

from live_transcription.errors import leaves_of
from sandbox.caller import CallFailed, RemoteCaller, SignalingError
from sandbox.live_test.checklist import CheckFailed
from sandbox.live_test.talk_client import TalkRefused

SELF_TEST = "Open Live transcription in the administrator's menu and run the self-test; it names what fails."
#: What joining and publishing may raise on a server that is not as it should be.
EXPECTED = (TalkRefused, SignalingError, CallFailed, TimeoutError, ConnectionError)


def first_expected(error: BaseException) -> BaseException | None:
    """The first error of a group that a server may have caused; None if there is none."""
    leaves = leaves_of(error) if isinstance(error, BaseExceptionGroup) else [error]
    return next((leaf for leaf in leaves if isinstance(leaf, EXPECTED)), None)


def refused_room(error: TalkRefused, *, guest: bool) -> CheckFailed:
    if error.status == 0:
        return _unreachable(error)
    if error.status == 401:
        return CheckFailed("Nextcloud refuses the user or the app password.", "Make a new app password; then try again.")
    if error.status == 403:
        return CheckFailed("The conversation wants a password.", "Set TALK_ROOM_PASSWORD.")
    if error.status == 404 and guest:
        return CheckFailed(
            "The conversation does not exist, or guests may not join it.",
            'Check TALK_ROOM_TOKEN. Switch "Allow guests to join" on, or set NEXTCLOUD_USER and NEXTCLOUD_APP_PASSWORD.',
        )
    if error.status == 404:
        return CheckFailed(
            "The conversation does not exist, or this user is not in it.", "Check TALK_ROOM_TOKEN, or add the user to it."
        )
    if error.status == 429:
        return CheckFailed(
            "Nextcloud slows this address down after failed tries.", "Wait half an hour, or lift it in Nextcloud."
        )
    return CheckFailed(str(error), "See Nextcloud's log.")


def refused_captions(error: TalkRefused) -> CheckFailed:
    if error.error == "app":
        return CheckFailed("Nextcloud has the app live_transcription not enabled.", "Enable Live Transcription under Apps.")
    if error.error == "in-call":
        return CheckFailed("Talk does not see us in the call.", "Try again; if it stays, see Nextcloud's log.")
    if error.status == 0:
        return _unreachable(error)
    return CheckFailed(f"{error}: the app did not take it.", SELF_TEST)


def not_in_call(error: BaseException, caller: RemoteCaller | None, *, guest: bool) -> CheckFailed:
    """Why somebody did not get into the call."""
    if isinstance(error, TalkRefused) and error.status == 403:
        fix = "Start the call in a browser first, or set NEXTCLOUD_USER." if guest else "Let this user start calls."
        return CheckFailed("No call runs, and this participant may not start one.", fix)
    if isinstance(error, TalkRefused) and error.status == 412:
        return CheckFailed("The conversation's lobby is closed to us.", "Open the lobby, or let a moderator test.")
    if isinstance(error, TalkRefused):
        return refused_room(error, guest=guest)
    if isinstance(error, SignalingError) and error.code == "not_allowed":
        return CheckFailed("The speaker may not publish audio.", "Give participants the permission to enable the microphone.")
    if isinstance(error, SignalingError):
        return CheckFailed(
            f"The high-performance backend refuses Talk's participant ({error.code}).",
            "Its [backend] section has to name this Nextcloud with the secret of Talk's settings; see its log.",
        )
    trouble = caller.connection.trouble if caller is not None else None
    if caller is not None and caller.joined:
        return CheckFailed(
            "The call was joined, but no audio gets to the media server.",
            "Open Janus's UDP ports to this machine, or set a TURN server in Talk's settings.",
        )
    if isinstance(trouble, ssl.SSLError):
        return CheckFailed(
            "The certificate of the high-performance backend is not trusted here.",
            "Repair its certificate chain, or set SKIP_CERT_VERIFY=true on a test system.",
        )
    what = type(trouble).__name__ if trouble is not None else "it does not answer"
    return CheckFailed(
        f"The high-performance backend cannot be reached from here ({what}).",
        "Check its address in Talk's settings, and that the proxy before it passes websockets on.",
    )


def _unreachable(error: TalkRefused) -> CheckFailed:
    if "SSL" in error.error:
        fix = "Repair Nextcloud's certificate chain, or set SKIP_CERT_VERIFY=true on a test system."
        return CheckFailed("Nextcloud's certificate is not trusted here.", fix)
    return CheckFailed(f"Nextcloud cannot be reached ({error.error}).", "Check NEXTCLOUD_URL, and open it from this machine.")
