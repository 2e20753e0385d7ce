# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The host of an address, and all rules on host names. Pure."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

#: One label of a DNS name (RFC 1123, section 2.1). Container engines also allow underscores in the names of services.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_STRICT_LABEL = r"(?!xn--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_LONGEST_NAME = 253


def is_host(name: str) -> bool:
    """Whether `name` is a DNS name (internationalised ones too), an IPv4 address, or an IPv6 address without brackets."""
    if ":" in name:
        return _ip(name.partition("%")[0]) is not None
    try:
        name = name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return False
    return len(name) <= _LONGEST_NAME + 1 and _NAME.fullmatch(name) is not None


def is_subdomain(host: str, domain: str) -> bool:
    """Whether `host`, as written in an address, is a plain DNS name below `domain`. Decides where credentials may be sent.

    Only letters, digits, hyphens and dots are allowed. False for everything that another parser might read as another host: IP
    addresses and zone identifiers, user names, ports, percent-encoding, other alphabets (also xn--), empty labels, a final dot.
    """
    if not host.isascii() or len(host) > _LONGEST_NAME:
        return False
    return re.fullmatch(rf"(?:{_STRICT_LABEL}\.)+{re.escape(domain)}", host.lower()) is not None


def host_of(url: str) -> str:
    """Host and port for messages and logs, without user name, password, path or query."""
    parts, port = _split(url)
    host = _bracketed(parts.hostname or "?")
    return f"{host}:{port}" if port else host


def is_loopback(url: str) -> bool:
    """Whether `url` names this machine: no proxy is used, and unencrypted data stays on the machine."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    address = _ip(host)
    return address.is_loopback if address is not None else host == "localhost"


def origin_of(url: str) -> str:
    """`https://host:port` of an http(s) or ws(s) address, without a default port; "" for any other text.

    Contains no user name, password, path or query, and only characters that are safe in messages and logs.
    """
    parts, port = _split(url)
    host = parts.hostname or ""
    if parts.scheme not in _DEFAULT_PORTS or "%" in host or not host.isascii() or not is_host(host) or port == 0:
        return ""
    return f"{parts.scheme}://{_bracketed(host)}" + (f":{port}" if port and port != _DEFAULT_PORTS[parts.scheme] else "")


def _split(url: str) -> tuple[SplitResult, int | None]:
    """The parts of an address, and its port. A malformed address has empty parts."""
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError:
        return SplitResult("", "", "", "", ""), None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address; None for names, and for addresses with a zone."""
    try:
        return ipaddress.ip_address(host) if "%" not in host else None
    except ValueError:
        return None
