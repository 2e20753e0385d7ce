# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import pytest
from aioice import ice


@pytest.fixture(autouse=True)
def loopback_where_there_is_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiortc, the publisher, leaves out loopback even if the host has no other address."""
    if not ice.get_host_addresses(use_ipv4=True, use_ipv6=False):
        monkeypatch.setattr(ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
