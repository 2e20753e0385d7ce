# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A stand-in for the HPB on loopback. It uses exactly the HPB's messages, faults included.

Modelled on nextcloud-spreed-signaling's public behaviour (1.2.4, 2.0.2, 2.1.1; see `versions`). Media goes through
`sandbox.sfu`. In one process with a test: `HpbStandIn`. As its own process: `python -m sandbox.hpb`.
"""

from sandbox.hpb.faults import Faults
from sandbox.hpb.nextcloud_client import Nextcloud, NextcloudClient, TrustingNextcloud
from sandbox.hpb.server import HpbStandIn
from sandbox.hpb.versions import HPB_VERSIONS, V1_2_4, V2_0, V2_1, HpbVersion

__all__ = [
    "HPB_VERSIONS",
    "V1_2_4",
    "V2_0",
    "V2_1",
    "Faults",
    "HpbStandIn",
    "HpbVersion",
    "Nextcloud",
    "NextcloudClient",
    "TrustingNextcloud",
]
