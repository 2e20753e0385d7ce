# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The messages of Talk's bot. Source: Talk's docs, "Bots and Webhooks", section "Sending a chat message"."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import quote

import niquests

from ex_app.errors import BotRefused, NextcloudError
from ex_app.identity import AppIdentity
from live_transcription.types import Secret

#: The bot as moderators see it in the settings of a conversation. Talk stores one version of these texts for all users.
NAME = "Transcripts of calls"
DESCRIPTION = (
    "Asks at the start of each call whether to keep a transcript. Nothing is kept unless a moderator agrees. The bot receives "
    "all messages of this conversation, but reads only those that begin with !transcript, and stores none of them."
)
#: Where AppAPI sends the events of the conversations.
ROUTE = "/talk_bot"
SEND_S = 10.0


class BotMessages:
    """Writes messages of the bot. `secret`: from its registration; empty before it.

    The requests have no credentials but their signature, so they need neither the app's secret nor an enabled app.
    """

    def __init__(self, identity: AppIdentity) -> None:
        self._identity = identity
        self._session: niquests.AsyncSession | None = None
        self.secret = Secret("")

    async def send(self, room: str, text: str, *, silent: bool = False) -> None:
        """Write `text` (Markdown) into a conversation; `silent`: without notifications.

        Raises BotRefused if the bot may not write there, and NextcloudError if it could not.
        """
        if not self.secret or not self._identity.nextcloud_url:
            raise NextcloudError("The bot is not registered with Talk yet.")
        random = secrets.token_hex(32)
        # Over the text alone, not over the body.
        signature = hmac.new(self.secret.reveal().encode(), (random + text).encode(), hashlib.sha256).hexdigest()
        address = f"{self._identity.nextcloud_url}/ocs/v2.php/apps/spreed/api/v1/bot/{quote(room, safe='')}/message"
        try:
            answer = await self._open_session().post(
                address,
                json={"message": text, "referenceId": secrets.token_hex(16), "replyTo": 0, "silent": silent},
                headers={
                    "OCS-APIRequest": "true",
                    "Accept": "application/json",
                    "X-Nextcloud-Talk-Bot-Random": random,
                    "X-Nextcloud-Talk-Bot-Signature": signature,
                },
                timeout=SEND_S,
                allow_redirects=False,
                # The session's setting alone has no effect if REQUESTS_CA_BUNDLE is set.
                verify=None if self._identity.verify_certificates else False,
            )
            status = answer.status_code or 0
        except (niquests.RequestException, OSError) as error:
            reason, status = type(error).__name__, 0
        # Raised here, so that no library's exception, which may contain the request, is the context.
        if status in (200, 201):
            return
        if status == 401:
            raise BotRefused("The bot is not enabled in this conversation.", fix="Enable it in the conversation's settings.")
        if status == 429:
            raise BotRefused(
                "Nextcloud blocks the bot's messages because of too many failed attempts.",
                fix="Wait 30 minutes, or remove the block in Nextcloud: occ security:bruteforce:reset ADDRESS.",
            )
        if status:
            raise NextcloudError("Nextcloud answered a message of the bot with {status}.", status=str(status))
        raise NextcloudError(
            "Nextcloud could not be reached ({reason}).", fix="Check that the app can reach NEXTCLOUD_URL.", reason=reason
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> niquests.AsyncSession:
        if self._session is None:
            self._session = niquests.AsyncSession()
            self._session.verify = self._identity.verify_certificates
        return self._session
