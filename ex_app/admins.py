# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Who may administrate: Nextcloud's group `admin`, as AppAPI's access level ADMIN has it.

AppAPI keeps everybody else out before we hear of them. That wall is checked again here, since a mistake in one line of
`info.xml` would open it: who is known to be no administrator is refused. While Nextcloud does not answer that question
AppAPI's word stands, or nobody could mend the settings of a Nextcloud in trouble.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from ex_app.errors import NextcloudError, NotAllowed
from ex_app.nextcloud.gateway import NextcloudGateway

logger = logging.getLogger(__name__)

#: How long an answer serves, in seconds.
FRESH_S = 60.0
#: Longest wait in seconds for Nextcloud's answer.
ASK_S = 3.0
_MAX_USERS = 200


class Admins:
    def __init__(self, nextcloud: NextcloudGateway, now: Callable[[], float] = time.monotonic) -> None:
        self._nextcloud = nextcloud
        self._now = now
        self._known: OrderedDict[str, tuple[bool, float]] = OrderedDict()

    async def require(self, user_id: str | None) -> None:
        """Raises NotAllowed for nobody, and for a user who is known to be no administrator."""
        if not user_id:
            raise NotAllowed("This is for administrators only: the request names no user.")
        known = self._known.get(user_id)
        if known is None or self._now() - known[1] > FRESH_S:
            await self._ask(user_id)
            known = self._known.get(user_id)
        if known is not None and not known[0]:
            raise NotAllowed("This is for administrators only.")

    async def _ask(self, user_id: str) -> None:
        try:
            async with asyncio.timeout(ASK_S):
                answer = await self._nextcloud.is_admin(user_id)
        except (NextcloudError, TimeoutError):
            logger.info("Nextcloud did not tell whether a user is an administrator; AppAPI's word stands")
            return
        self._known[user_id] = (answer, self._now())
        self._known.move_to_end(user_id)
        while len(self._known) > _MAX_USERS:
            self._known.popitem(last=False)
