# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Finds the programs of a folder by name, for `make bench` and `make acceptance`."""

from __future__ import annotations

from pathlib import Path


class UnknownProgram(Exception):
    """There is no program of that name; the message lists those that there are."""


def names(folder: Path) -> list[str]:
    """The modules and packages of a folder that can be run, sorted."""
    modules = [
        path.stem for path in folder.glob("*.py") if path.stem[0] != "_" and "\nif __name__ ==" in path.read_text("utf-8")
    ]
    return sorted([*modules, *(path.parent.name for path in folder.glob("*/__main__.py") if path.parent.name != "acceptance")])


def chosen(name: str, folder: Path, command: str) -> str:
    """`name` if it is a program of the folder. Raises UnknownProgram; `command`: how it is started, such as `make bench`."""
    known = names(folder)
    if name not in known:
        what = f"There is no {name!r}." if name else "NAME is missing."
        raise UnknownProgram(f"{what} Choose one: {command} NAME={'|'.join(known)}")
    return name
