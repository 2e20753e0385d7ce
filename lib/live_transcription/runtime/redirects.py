# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Redirects: no client of this app follows one. The error names the new address instead.

A client sends a key, a secret, the HMAC of a hello, or audio, and only to the host that an administrator entered. A redirect
would pass it to a host chosen by the server or, over plain http, by anyone on the network path.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from websockets.asyncio.client import connect

from live_transcription.runtime.hosts import origin_of
from live_transcription.texts import Text

_HTTP_OF = {"ws": "http", "wss": "https"}


class RefusingConnect(connect):
    """`websockets.connect` without redirects: raises `InvalidStatus` instead."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@dataclass(frozen=True, slots=True)
class Redirect:
    """An answer with an HTTP status of 3xx. `origin`: scheme, host and port of the new address, never more of it.

    `origin` is "" if the answer names no usable address, or another path of the same server. `to_itself`: the same address
    again, possibly with another query.
    """

    origin: str = ""
    same_server: bool = False
    to_itself: bool = False

    def describe(self, server: str) -> tuple[Text, Text]:
        """What happened, and what to do. The first sentence begins with `server`, such as "The server at example.com"."""
        if self.origin:
            what = Text("{server} redirects to {origin}.", server=server, origin=self.origin)
            return what, Text("Enter that address instead, and keep the path.")
        if self.same_server:
            what = Text("{server} redirects to another path.", server=server)
            return what, Text("Check the path of the address and the web server's rules.")
        return Text("{server} redirects, but gives no usable address.", server=server), Text("Check the address.")


def redirect_of(url: str, status: int, location: str) -> Redirect | None:
    """The redirect in an answer with this `status` to a request for `url`; None if it is none. `location`: the header or ""."""
    if not 300 <= status < 400 or status == 304:
        return None
    if not location.strip():
        return Redirect()
    asked = _as_http(url)
    try:
        found = urljoin(asked, location.strip())
        same_path = urlsplit(found).path == urlsplit(asked).path
    except ValueError:
        return Redirect()
    origin = origin_of(found)
    if origin and origin_of(_as_http(found)) == origin_of(asked):
        return Redirect(same_server=True, to_itself=same_path)
    return Redirect(origin)


def _as_http(url: str) -> str:
    """The address with http or https instead of ws or wss, since servers answer an upgrade with these schemes."""
    scheme, separator, rest = url.partition("://")
    return _HTTP_OF.get(scheme.lower(), scheme) + separator + rest
