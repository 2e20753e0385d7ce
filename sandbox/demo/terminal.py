# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The calls in a terminal: finished utterances scroll, current ones are in live lines below. A log file has only the former."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TextIO

from sandbox.demo.view import RoomView

_COLOURS = ("36", "33", "35", "32")


class Terminal:
    """`out` is asked whether it is a terminal; NO_COLOR (no-color.org) is respected."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._live = out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._colour = self._live and not os.environ.get("NO_COLOR")
        self._begun = time.monotonic()
        self._rooms: list[RoomView] = []
        self._drawn = 0

    def say(self, text: str = "") -> None:
        """A line about what is going on."""
        self._write_line(self._paint("1", f"==> {text}") if text else "")

    def print(self, text: str) -> None:
        self._write_line(text)

    def show(self, rooms: list[RoomView]) -> None:
        """Show a live line for each of these rooms from now on."""
        self._rooms = rooms
        self._draw()

    def line(self, room: RoomView, name: str, text: str) -> None:
        """An utterance has ended."""
        minutes, seconds = divmod(int(time.monotonic() - self._begun), 60)
        self._write_line(f"{minutes:02d}:{seconds:02d} {self._label(room)} {name}: {text}")

    def changed(self) -> None:
        """Something changed in a live line."""
        self._erase()
        self._draw()

    def close(self) -> None:
        """The live lines go."""
        self._erase()
        self._rooms = []
        self._out.flush()

    def _label(self, room: RoomView) -> str:
        colour = _COLOURS[self._rooms.index(room) % len(_COLOURS)] if room in self._rooms else "36"
        return self._paint(colour, f"[{room.language}]")

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text

    def _write_line(self, text: str) -> None:
        self._erase()
        self._out.write(text + "\n")
        self._draw()
        self._out.flush()

    def _erase(self) -> None:
        if self._drawn:
            self._out.write(f"\x1b[{self._drawn}A\r\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        if not self._live or not self._rooms:
            return
        width = shutil.get_terminal_size().columns - 8
        for room in self._rooms:
            # The end of the text: what is new stands there.
            text = room.live if len(room.live) <= width else "…" + room.live[-(width - 1) :]
            mark = "●" if any(one.speaking for one in room.participants.values()) else "○"
            self._out.write(f"{self._label(room)} {mark} {self._paint('2', text)}\n")
        self._drawn = len(self._rooms)
        self._out.flush()
