# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The language that each reader of a room has chosen last. Pure.

Talk does not repeat it when a reader turns captions off and on.
"""

from __future__ import annotations

from collections import OrderedDict

#: Number of readers whose language is remembered. The least recent one is forgotten first.
MAX_REMEMBERED = 10_000


class ChosenLanguages:
    """By room and user, for guests by room and session."""

    def __init__(self) -> None:
        self._languages: OrderedDict[tuple[str, bool, str], str] = OrderedDict()

    def choose(self, room_token: str, nc_session_id: str, user_id: str | None, language: str | None) -> None:
        """A reader has chosen a language; None: no translation."""
        key = _key(room_token, nc_session_id, user_id)
        self._languages.pop(key, None)
        if language is not None:
            self._languages[key] = language
            if len(self._languages) > MAX_REMEMBERED:
                self._languages.popitem(last=False)

    def get(self, room_token: str, nc_session_id: str, user_id: str | None) -> str | None:
        """The language that this reader has chosen last, if any."""
        return self._languages.get(_key(room_token, nc_session_id, user_id))


def _key(room_token: str, nc_session_id: str, user_id: str | None) -> tuple[str, bool, str]:
    return (room_token, user_id is None, nc_session_id if user_id is None else user_id)
