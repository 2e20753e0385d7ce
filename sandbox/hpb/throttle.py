# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The HPB's throttle: failed hellos are counted per address and action. Time is passed in.

The HPB has it since 1.3; 1.2.4 answers every wrong hello at once.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

ATTEMPTS = 10
WINDOW_S = 30 * 60.0
MEMORY_S = 12 * 3600.0
MAX_DELAY_S = 25.0


@dataclass(slots=True)
class Throttle:
    """Ten failures within 30 minutes block the address until the oldest of them is 30 minutes old; forgotten after 12 hours.

    `base_delay_s`: the delay of the answer to the first failure. It doubles with each failure (0 in tests).
    """

    base_delay_s: float = 0.1
    #: When hellos failed, by address and action.
    failures: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def blocked(self, address: str, action: str, now: float) -> bool:
        key = _network(address), action
        failures = [at for at in self.failures.get(key, ()) if now - at <= MEMORY_S]
        self.failures[key] = failures
        return len(failures) >= ATTEMPTS and now - failures[-ATTEMPTS] <= WINDOW_S

    def forget(self) -> None:
        self.failures.clear()

    def failed(self, address: str, action: str, now: float) -> float:
        """Count a failure; returns the seconds to hold its answer back."""
        failures = self.failures.setdefault((_network(address), action), [])
        delay = min(self.base_delay_s * (1 << min(len(failures), 16)), MAX_DELAY_S)
        failures.append(now)
        return delay


def _network(address: str) -> str:
    """The address itself, or the /64 network of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ipaddress.ip_network((parsed, 64), strict=False))
