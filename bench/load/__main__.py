# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`python -m bench.load`: signaling, SFU and all participants, until the end of standard input (see `bench.common`).

Options are the first line: `nextcloud_url`, `signaling_secret`, `internal_secret`, `speakers`, `note`.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import numpy as np

from bench.common.figures import Lateness
from bench.common.json_lines import Commands, obey, options_line
from bench.load.participants import Population
from bench.load.schedule import Schedule
from bench.load.tape import load_tape
from sandbox import loopback_ice
from sandbox.hpb import HpbStandIn, TrustingNextcloud
from sandbox.sfu import Sfu


class Load:
    """The commands. Times are seconds of the monotonic clock."""

    def __init__(self, hpb: HpbStandIn, sfu: Sfu, schedule: Schedule, population: Population) -> None:
        self._hpb = hpb
        self._sfu = sfu
        self._schedule = schedule
        self._population = population
        self.commands: Commands = {
            "join": population.join,
            "leave": population.leave,
            "turn": population.turn,
            "reload": population.reload,
            "cut": self.cut,
            "kill_sfu": self.kill_sfu,
            "restart_hpb": self.restart_hpb,
            "counts": self.counts,
            "subscriptions": self.subscriptions,
            "lateness": self.lateness,
            "notes": self.notes,
        }

    async def cut(self, *, resume: bool) -> int:
        """Cuts the app's connections; without `resume` their sessions end with them. Returns how many there were."""
        apps = [session for session in self._hpb.hub.sessions.values() if session.internal]
        for session in apps:
            if resume:
                self._hpb.cut(session.id)
            else:
                await self._hpb.forget(session.id)
        return len(apps)

    async def kill_sfu(self, down_s: float, *, silently: bool) -> None:
        await self._hpb.kill_sfu(silently=silently)
        await asyncio.sleep(down_s)
        await self._population.publish_again()

    async def restart_hpb(self, down_s: float) -> list[dict[str, str]]:
        """Returns everybody's new sessions."""
        await self._hpb.restart(down_s)
        return await self._population.come_back()

    async def counts(self) -> dict[str, Any]:
        captions = self._population.captions
        return {
            **self._population.counts(),
            "apps": sum(session.internal for session in self._hpb.hub.sessions.values()),
            "rooms": len(self._hpb.hub.rooms),
            "subscribers": len(self._sfu.subscribers),
            "connected": sum(subscriber.state == "connected" for subscriber in self._sfu.subscribers),
            "messages": captions.messages,
            "revisable": captions.revisable,
        }

    async def subscriptions(self) -> list[dict[str, Any]]:
        """Each live subscription: its publisher's session, when it was up, and when its first packet went out."""
        to_monotonic = time.monotonic() - time.time()
        return [
            {
                "session": publisher,
                "connected_at": subscriber.connected_at,
                "sent_at": None if subscriber.first_sent_at is None else subscriber.first_sent_at + to_monotonic,
                "sent": subscriber.sent,
            }
            for session in self._hpb.hub.sessions.values()
            for (publisher, _), subscriber in session.subscribers.items()
        ]

    async def lateness(self) -> dict[str, float | int]:
        """Of the schedule, in milliseconds, and the packets that it sent, since this was asked last."""
        found, self._schedule.lateness = self._schedule.lateness.summary(), Lateness()
        packets, self._schedule.packets = self._schedule.packets, 0
        return {**found, "packets": packets}

    async def notes(self, path: str) -> dict[str, int]:
        """Writes an npz file: `starts`, `sent_<n>` for each of them, `shown_at`, `shown_in`; returns the rooms' numbers."""
        notes = self._population.notes()
        arrays: dict[str, Any] = {f"sent_{n}": np.array(times) for n, times in enumerate(notes["sent_at"])}
        captions = self._population.captions
        arrays["starts"] = np.array(notes["starts"], dtype=np.int64)
        arrays["shown_at"], arrays["shown_in"] = np.array(captions.shown_at), np.array(captions.shown_in, dtype=np.int64)
        np.savez(path, **arrays)
        return self._population.rooms


async def run(options: dict[str, Any]) -> None:
    nextcloud = TrustingNextcloud(options["nextcloud_url"], options["signaling_secret"])
    schedule = Schedule()
    async with Sfu() as sfu, HpbStandIn(nextcloud, sfu, internal_secret=options["internal_secret"]) as hpb:
        tape, speakers, note = load_tape(), max(1, options.get("speakers", 1)), options.get("note", False)
        population = Population(hpb.hub, sfu, schedule, tape, speakers=speakers, note=note)
        gc.collect()
        gc.freeze()
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(schedule.run(), name="schedule")
            await obey(Load(hpb, sfu, schedule, population).commands, url=hpb.url, packets=len(tape))
            sending.cancel()


if __name__ == "__main__":
    loopback_ice.install()
    asyncio.run(run(options_line()))
