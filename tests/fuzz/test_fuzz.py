# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A short run of each harness; `make fuzz CASES=100000` is the long one."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

import pytest

from tests.fuzz.driver import Found, Harness, run
from tests.fuzz.harnesses import HARNESSES

SEED = int(os.environ.get("FUZZ_SEED", "1"))


@pytest.mark.parametrize("name", HARNESSES)
async def test_no_input_breaks_slows_or_bloats(name: str, record_testsuite_property: Callable[[str, object], None]) -> None:
    harness = HARNESSES[name]()
    report = await run(harness, harness.short, SEED)
    record_testsuite_property(f"fuzz {name}", f"{report.cases} cases, worst {report.cpu_s * 1e3:.1f} ms")


class Broken(Harness):
    """Does what no surface may do, by the number that the case is."""

    name = "broken"
    cpu_s = 0.02

    def case(self, random: Random) -> int:
        return random.randrange(10)

    async def feed(self, case: int) -> None:
        if case == 7:
            raise ValueError("seven")


class Slow(Broken):
    async def feed(self, case: int) -> None:
        if case == 7:
            sum(range(20_000_000))


@pytest.mark.parametrize(("harness", "what"), [(Broken, "seven"), (Slow, "ms of CPU")])
async def test_the_driver_finds_what_it_looks_for_and_says_how_to_see_it_again(harness: type[Harness], what: str) -> None:
    with pytest.raises(Found, match=what) as found:
        await run(harness(), 1_000, 3)
    assert "make fuzz ONLY=broken SEED=3 START=" in str(found.value)
    start = int(str(found.value).split("START=")[1].split()[0])
    with pytest.raises(Found, match=what):
        await run(harness(), 1, 3, start)
