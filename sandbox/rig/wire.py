# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A client's messages on a websocket, read from the bytes of its connection (RFC 6455)."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

_MAX_LINE = 16_384


class ClientMessages:
    """The JSON messages of one connection, from its first byte on, without compression. Other HTTP requests have none."""

    def __init__(self) -> None:
        self._reader = StreamReader()
        self._found: list[dict[str, Any]] = []
        self._parser = self._parse()
        next(self._parser)

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take bytes; returns the messages that they complete."""
        self._reader.feed_data(data)
        next(self._parser)
        found, self._found = self._found, []
        return found

    def _parse(self) -> Generator[None, None, None]:
        upgrade = False
        while line := (yield from self._reader.read_line(_MAX_LINE)):
            if line == b"\r\n":
                break
            upgrade |= line.lower().startswith(b"upgrade: websocket")
        while not upgrade:
            self._reader.discard()
            yield
        text = b""
        while True:
            frame = yield from Frame.parse(self._reader.read_exact, mask=True)
            if frame.opcode in (Opcode.TEXT, Opcode.CONT):
                text += frame.data
                if frame.fin:
                    self._found.append(json.loads(text))
                    text = b""
