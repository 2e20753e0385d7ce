# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The options of the test, from the environment, so that no password appears in the list of processes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

ENVIRONMENT = """\
environment:
  NEXTCLOUD_URL            address of Nextcloud, such as https://cloud.example.com
  TALK_ROOM_TOKEN          the conversation: last part of its link, https://cloud.example.com/call/TOKEN
  NEXTCLOUD_USER           optional: who reads the captions; a moderator of the conversation can try the language, too.
                           Without, two guests come, and the conversation has to be public.
  NEXTCLOUD_APP_PASSWORD   of that user: Settings, Security, "Create new app password"
  TALK_ROOM_PASSWORD       optional: of the conversation
  SKIP_CERT_VERIFY         optional: true accepts any certificate
"""
_TOKEN = re.compile(r"[A-Za-z0-9]{4,30}")


class BadOptions(Exception):
    """The message names the variable."""


@dataclass(frozen=True, slots=True)
class Options:
    nextcloud_url: str
    token: str
    user: str = ""
    password: str = field(default="", repr=False)
    room_password: str = field(default="", repr=False)
    verify: bool = True
    quick: bool = False


def read_options(environment: Mapping[str, str], *, quick: bool = False) -> Options:
    """Raises BadOptions."""

    def given(name: str) -> str:
        return environment.get(name, "").strip()

    url, token = given("NEXTCLOUD_URL"), given("TALK_ROOM_TOKEN")
    missing = [name for name, value in (("NEXTCLOUD_URL", url), ("TALK_ROOM_TOKEN", token)) if not value]
    if missing:
        raise BadOptions(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set.")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise BadOptions("NEXTCLOUD_URL has to look like https://cloud.example.com.")
    if "/call/" in parts.path:
        raise BadOptions("NEXTCLOUD_URL is Nextcloud's address alone; what follows /call/ goes into TALK_ROOM_TOKEN.")
    # Of a whole link only the last part counts.
    token = token.rstrip("/").rpartition("/")[2]
    if not _TOKEN.fullmatch(token):
        raise BadOptions("TALK_ROOM_TOKEN is the last part of the conversation's link: letters and digits.")
    user, password = given("NEXTCLOUD_USER"), given("NEXTCLOUD_APP_PASSWORD")
    if bool(user) != bool(password):
        raise BadOptions("NEXTCLOUD_USER and NEXTCLOUD_APP_PASSWORD belong together: set both, or neither to come as a guest.")
    return Options(
        nextcloud_url=url.removesuffix("/").removesuffix("/index.php"),
        token=token,
        user=user,
        password=password,
        room_password=given("TALK_ROOM_PASSWORD"),
        verify=given("SKIP_CERT_VERIFY").lower() not in ("true", "1", "yes"),
        quick=quick,
    )
