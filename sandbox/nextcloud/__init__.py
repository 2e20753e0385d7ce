# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A stand-in for Nextcloud on loopback: the parts of Talk that the HPB and the app use, and AppAPI. It fails on demand."""

from sandbox.nextcloud.app_api import AppApi, ExApp, ExAppUnreachable
from sandbox.nextcloud.faults import Fault, FaultKind, Faults
from sandbox.nextcloud.rooms import Room, TalkSession
from sandbox.nextcloud.server import Nextcloud
from sandbox.nextcloud.talk import ExAppAnswer, Talk

__all__ = [
    "AppApi",
    "ExApp",
    "ExAppAnswer",
    "ExAppUnreachable",
    "Fault",
    "FaultKind",
    "Faults",
    "Nextcloud",
    "Room",
    "Talk",
    "TalkSession",
]
