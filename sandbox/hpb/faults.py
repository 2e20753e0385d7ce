# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Faults of signaling on demand. (Loss and delay of packets: `sandbox.sfu.Impairment`.)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

OfferRefusal: TypeAlias = Literal["", "client_not_found", "processing_failed", "not_allowed", "silence"]
OfferShape: TypeAlias = Literal["", "broken", "empty", "no-audio", "no-opus"]


@dataclass(slots=True)
class Faults:
    """All off by default; may be changed at any time.

    `delay_s`: holds every frame to clients back. `offer_refusal`: how requests for offers fail ("silence": no answer at
    all), the next `offer_refusals` of them (-1: all). `offer_shape`: what offers look like. `drop_candidates`: of the
    trickled kind, none arrive.
    """

    delay_s: float = 0.0
    offer_refusal: OfferRefusal = ""
    offer_refusals: int = -1
    offer_shape: OfferShape = ""
    drop_candidates: bool = False

    def refuses_offer(self) -> bool:
        """Asked once per request; counts `offer_refusals` down."""
        if not self.offer_refusal or self.offer_refusals == 0:
            return False
        self.offer_refusals -= 1 if self.offer_refusals > 0 else 0
        return True

    def distort(self, offer: str) -> str:
        if self.offer_shape == "broken":
            return offer.replace("m=audio 9 ", "m=audio nine ").replace("a=rtpmap:", "a=rtpmap:x")
        if self.offer_shape == "empty":
            return ""
        if self.offer_shape == "no-audio":
            return offer.replace("m=audio 9 ", "m=audio 0 ").replace("a=sendonly", "a=inactive")
        if self.offer_shape == "no-opus":
            lines = [line for line in offer.split("\r\n") if not line.startswith("a=fmtp:")]
            return "\r\n".join(lines).replace("opus/48000/2", "PCMU/8000")
        return offer
