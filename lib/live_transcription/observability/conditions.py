# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Conditions: current problems that prevent captions, from beginning to end. Pure: `now` in seconds of any monotonic clock.

A problem is reported once or repeatedly, and cleared when it is over. `changes` returns each beginning and each end once, so an
outage of 500 rooms is one line in the log.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from live_transcription.errors import LiveTranscriptionError, SignalingRefused
from live_transcription.status import Condition, IceReport
from live_transcription.texts import Text, join


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition begins when one source has reported it for `after_s` seconds, or when `sources` report it at once."""

    after_s: float = 0.0
    sources: int = 0


#: Every code, in the order in which an administrator reads them.
RULES: Mapping[str, Rule] = {
    # A resume takes half a second, a restart of the backend a few.
    "hpb-unreachable": Rule(after_s=5.0),
    # A backend that has just been started has no media server for a moment.
    "hpb-refused": Rule(after_s=5.0),
    # A single subscription may fail by chance; its next attempt then succeeds within 6 s.
    "media-path": Rule(after_s=5.0, sources=3),
    "turn-refused": Rule(),
    "encrypted": Rule(),
    "descriptors": Rule(),
    "memory": Rule(),
    "speakers": Rule(),
    "subscriptions": Rule(),
    "load": Rule(),
    "modal-minutes": Rule(),
    # A short peak needs no warning.
    "modal-sockets": Rule(after_s=5.0),
}
#: The conditions that report a limit of the app, its machine or its budget, not a failure.
SHORTAGES = ("descriptors", "memory", "speakers", "subscriptions", "load", "modal-minutes", "modal-sockets")
#: The conditions that are no outcome of a dependency.
WITHOUT_DEPENDENCY = ("encrypted", *SHORTAGES)


@dataclass(frozen=True, slots=True)
class Change:
    """A condition has begun, or has ended after `lasted_s` seconds (None: it has begun)."""

    condition: Condition
    lasted_s: float | None = None


class _Sightings:
    """The reports of one code: the time of each source's first report, and the newest text."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self.first_seen: dict[Hashable, float] = {}
        self.begun_at: float | None = None

    def begins(self, rule: Rule, now: float) -> bool:
        lasts = any(now - since >= rule.after_s for since in self.first_seen.values())
        return lasts or 0 < rule.sources <= len(self.first_seen)


class Conditions:
    """The registry. `source` identifies what has the problem (a subscription, a server); it is never shown."""

    def __init__(self) -> None:
        self._sightings: dict[str, _Sightings] = {}

    def report(self, condition: Condition, now: float, source: Hashable = "") -> None:
        """`source` has this problem now. A repeated report only replaces the text."""
        sightings = self._sightings.setdefault(condition.code, _Sightings(condition))
        sightings.condition = condition
        sightings.first_seen.setdefault(source, now)

    def clear(self, code: str, source: Hashable = "") -> None:
        """`source` no longer has this problem. No error if it had none."""
        if (sightings := self._sightings.get(code)) is not None:
            sightings.first_seen.pop(source, None)

    def observe(self, code: str, problems: Mapping[Hashable, Condition], now: float) -> None:
        """Set all reports of one code, by source: report these, and clear all others."""
        if (sightings := self._sightings.get(code)) is not None:
            for source in sightings.first_seen.keys() - problems.keys():
                self.clear(code, source)
        for source, condition in problems.items():
            self.report(condition, now, source)

    def changes(self, now: float) -> tuple[Change, ...]:
        """The conditions that have begun or ended since the last call. Call it about once a second."""
        found: list[Change] = []
        for code, sightings in list(self._sightings.items()):
            if sightings.begun_at is None and sightings.begins(RULES.get(code, Rule()), now):
                sightings.begun_at = now
                found.append(Change(sightings.condition))
            elif not sightings.first_seen:
                del self._sightings[code]
                if sightings.begun_at is not None:
                    found.append(Change(sightings.condition, now - sightings.begun_at))
        return tuple(found)

    def current(self) -> tuple[Condition, ...]:
        """The conditions that have begun and not ended, as of the last `changes`, in the order of `RULES`."""
        begun = [sightings.condition for sightings in self._sightings.values() if sightings.begun_at is not None]
        order = list(RULES)
        return tuple(sorted(begun, key=lambda each: order.index(each.code) if each.code in order else len(order)))


def hpb_condition(error: LiveTranscriptionError, calls: int) -> Condition:
    """The condition behind failed attempts to reach the high-performance backend. `calls`: number of affected calls."""
    code = "hpb-refused" if isinstance(error, SignalingRefused) else "hpb-unreachable"
    match calls:
        case 0:
            effect = Text("Calls get no captions.")
        case 1:
            effect = Text("1 call gets no captions.")
        case _:
            effect = Text("{count} calls get no captions.", count=calls)
    return Condition(code, join(effect, error.message), error.fix)


def media_condition(speakers: int, error: LiveTranscriptionError) -> Condition:
    """The condition for `speakers` whose audio does not arrive."""
    cause = Text("No audio arrives from the media server.")
    return Condition("media-path", join(untranscribed(speakers), cause, error.message), error.fix)


def encrypted_condition(speakers: int) -> Condition:
    """The condition for `speakers` whose audio is end-to-end encrypted."""
    return Condition.of(
        "encrypted",
        "Some audio is end-to-end encrypted, so it cannot be transcribed. Speakers without captions: {count}.",
        "Captions need calls without end-to-end encryption. To turn it off in Talk, run: "
        "occ config:app:set spreed call_end_to_end_encryption --value=false --type=boolean",
        count=str(speakers),
    )


def untranscribed(speakers: int) -> Text:
    """How many speakers get no captions; not for 0."""
    if speakers == 1:
        return Text("1 speaker is not being transcribed.")
    return Text("{count} speakers are not being transcribed.", count=speakers)


def turn_condition(servers: Mapping[str, int]) -> Condition:
    """`servers`: the STUN error code by the TURN server's address."""
    refusals = ", ".join(f"{server} ({code})" for server, code in sorted(servers.items()))
    return Condition(
        "turn-refused",
        Text(
            "A TURN server refuses the app: {servers}. Without a direct path to the media server, captions need TURN.",
            servers=refusals,
        ),
        Text("Check the TURN servers and their secret in Talk's administration settings."),
    )


def ice_condition(reports: Sequence[IceReport], unusable: int) -> Condition | None:
    """The problem that a test of the STUN and TURN servers has found, if any. `unusable`: number of addresses not tested."""
    fix = Text("Check them in Talk's administration settings, and check the firewall.")
    failed = [
        Text("{server}: {problem}.", server=f"{report.kind.upper()} {report.server}", problem=report.problem)
        for report in reports
        if report.problem
    ]
    if failed:
        return Condition("ice-servers", join(*failed), fix)
    if unusable:
        return Condition("ice-servers", Text("Malformed or unsupported addresses: {count}.", count=unusable), fix)
    return None
