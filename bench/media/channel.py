# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Signaling between a receiver's speakers and the generator, as lines of text."""

from __future__ import annotations

from collections.abc import Callable


class GeneratorChannel:
    """A `SubscriberChannel`. `tell`: news or requests, by name and arguments, that reach the generator."""

    def __init__(self, tell: Callable[..., None], peer: str) -> None:
        self._tell = tell
        self._peer = peer

    def request_offer(self) -> None:
        self._tell("offer", peer=self._peer)

    def send_answer(self, sid: str, sdp: str) -> None:
        del sid
        self._tell("answer", peer=self._peer, sdp=sdp)

    def send_candidate(self, sid: str, candidate: str, sdp_mid: str | None, sdp_m_line_index: int | None) -> None:
        """All candidates are host candidates, and those stand in the answer."""
