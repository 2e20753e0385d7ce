# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Differences between the HPB's versions that a client can notice."""

from __future__ import annotations

from dataclasses import dataclass

_OLD = frozenset({"audio-video-permissions", "dialout", "hello-v2", "incall-all", "switchto", "transient-data", "welcome"})
_MEDIA = frozenset({"mcu", "simulcast", "update-sdp"})


@dataclass(frozen=True, slots=True)
class HpbVersion:
    """`features` without the SFU's; `strict_room_type`: a message's data must name a known `roomType`, whatever its type is.

    `closes_orphans`: a publisher that goes takes its subscribers' peers along (2.0.3 on); before, they stay up and silent.
    `checks_descriptions`, `checks_candidates`: malformed ones have an error of their own. `tells_bandwidth`: the answer to a
    join has it. `empty_bye`: a farewell without a reason says so.
    """

    version: str
    features: frozenset[str]
    strict_room_type: bool = False
    closes_orphans: bool = False
    checks_descriptions: bool = False
    checks_candidates: bool = False
    tells_bandwidth: bool = False
    empty_bye: bool = False

    def client_features(self, *, mcu: bool) -> list[str]:
        return sorted(self.features | (_MEDIA if mcu else frozenset()))

    def internal_features(self, *, mcu: bool) -> list[str]:
        kept = (self.features - {"audio-video-permissions"}) | {"virtual-sessions"}
        return sorted(kept | (_MEDIA if mcu else frozenset()))

    def welcome_features(self, *, mcu: bool) -> list[str]:
        return sorted(self.features | {"virtual-sessions"} | (_MEDIA if mcu else frozenset()))


V1_2_4 = HpbVersion("1.2.4", _OLD, strict_room_type=True, empty_bye=True)
V2_0 = HpbVersion("2.0.2", _OLD | {"federation", "join-features", "offer-codecs", "recipient-call"}, checks_descriptions=True)
V2_1 = HpbVersion(
    "2.1.1",
    V2_0.features | {"chat-relay", "serverinfo", "transient-sessiondata"},
    closes_orphans=True,
    checks_descriptions=True,
    checks_candidates=True,
    tells_bandwidth=True,
)

HPB_VERSIONS = {hpb_version.version: hpb_version for hpb_version in (V1_2_4, V2_0, V2_1)}
