# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Settings of the deployment, each an environment variable at the time of `make modal-deploy`; docs/modal.md lists them.

The container gets them in its own environment (`as_environment`), so that both sides build the same app.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from deploy.pins import CRATE_SHA256, MODEL_REVISION

#: Part of the address `{workspace}--kyutai-stt-rust-kyutaisttrustservice-serve.modal.run`, with the class's and method's names.
APP_NAME = "kyutai-stt-rust"

#: moshi-server's own limits: it forgets a session after 120 s without audio.
_IDLE_LIMIT_S = 110
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: A commit, branch or tag: also the name of a directory.
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class BadSetting(ValueError):
    """`str()` names the variable and says what it may be."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """`usd_per_hour`: Modal's price when this was written, for the cost note. `capability`: CUDA's, to compile for."""

    usd_per_hour: float
    capability: str
    most_sessions: int


#: GPUs that can do the model's bfloat16 and are worth their price for it. `most_sessions`: what they keep up with, carefully.
GPUS: Mapping[str, Gpu] = {
    "L4": Gpu(0.80, "89", 16),
    "A10": Gpu(1.10, "86", 24),
    "A10G": Gpu(1.10, "86", 24),
    "L40S": Gpu(1.95, "89", 64),
    "A100": Gpu(2.10, "80", 64),
    "H100": Gpu(3.95, "90", 128),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """`sessions`: speakers that share a container; one more starts another, up to `max_containers`.

    `timeout_s` is the age at which Modal ends a session, whatever it does; the proxy ends it cleanly 30 s earlier.
    `scaledown_s`: how long an idle container is kept, and paid for. `min_containers` above 0 never sleeps, and never stops
    costing. `region` empty: Modal chooses, which is cheapest. `temperature`: 0 always takes the model's most likely word, which
    may then repeat itself or stay silent for long; Kyutai's own service uses 0.25. `moshi_sha256`: the hash of the crate of a
    `moshi_version` that `deploy.pins` does not know.
    """

    gpu: str = "L4"
    sessions: int = 8
    region: str = ""
    timeout_s: int = 1800
    startup_timeout_s: int = 600
    idle_s: int = 30
    scaledown_s: int = 60
    min_containers: int = 0
    max_containers: int = 10
    volume: str = "kyutai-stt-weights"
    model_revision: str = MODEL_REVISION
    moshi_version: str = "0.6.4"
    moshi_sha256: str = ""
    temperature: float = 0.25

    def __post_init__(self) -> None:
        if self.gpu not in GPUS:
            raise BadSetting(f"{_variable('gpu')} is '{self.gpu}', but may be {', '.join(GPUS)}.")
        for name, least, most in (
            ("sessions", 1, GPUS[self.gpu].most_sessions),
            ("timeout_s", 120, 86_400),
            ("startup_timeout_s", 60, 3600),
            ("idle_s", 5, _IDLE_LIMIT_S),
            ("scaledown_s", 2, 1200),
            ("min_containers", 0, 100),
            ("max_containers", max(1, self.min_containers), 1000),
        ):
            if not least <= getattr(self, name) <= most:
                raise BadSetting(f"{_variable(name)} is {getattr(self, name)}, but must lie between {least} and {most}.")
        if not 0 <= self.temperature <= 2:  # False for NaN, too
            raise BadSetting(f"{_variable('temperature')} is {self.temperature}, but must lie between 0 and 2.")
        if not _REVISION.fullmatch(self.model_revision):
            raise BadSetting(f"{_variable('model_revision')} is not the name of a commit, branch or tag.")
        if not _SHA256.fullmatch(self.crate_sha256):
            raise BadSetting(
                f"{_variable('moshi_sha256')} must be the sha256 of the crate moshi-server {self.moshi_version}, "
                "64 hexadecimal digits: it is not known here."
            )

    @property
    def batch_size(self) -> int:
        """Two more than the sessions: one that is not free yet after its session has ended, and one for the liveness probe."""
        return self.sessions + 2

    @property
    def crate_sha256(self) -> str:
        return self.moshi_sha256 or CRATE_SHA256.get(self.moshi_version, "")

    @property
    def session_limit_s(self) -> int:
        return self.timeout_s - 30

    @property
    def price(self) -> Gpu:
        return GPUS[self.gpu]

    def as_environment(self) -> dict[str, str]:
        return {_variable(field.name): str(getattr(self, field.name)) for field in fields(self)}


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings out of `KYUTAI_…` variables (default: of this process). Raises BadSetting."""
    environment = os.environ if environment is None else environment
    given: dict[str, str | int | float] = {}
    for field in fields(Settings):
        text = environment.get(_variable(field.name), "").strip()
        if not text:
            continue
        try:
            given[field.name] = {"int": int, "float": float}.get(str(field.type), str)(text)
        except ValueError as error:
            kind = "whole number" if field.type == "int" else "number"
            raise BadSetting(f"{_variable(field.name)} is '{text}', but must be a {kind}.") from error
    return Settings(**given)  # type: ignore[arg-type]


def cost_note(settings: Settings) -> str:
    """The expected cost, as text for the person who pays."""
    price = settings.price.usd_per_hour
    always = (
        f"{settings.min_containers} container(s) never sleep: about {settings.min_containers * price * 730:.0f} USD a month."
        if settings.min_containers
        else "With nobody speaking it costs nothing."
    )
    return (
        f"A container with one {settings.gpu} costs about {price:.2f} USD an hour (plus CPU and memory; see modal.com/pricing) "
        f"while at least one speaker's connection is open, and {settings.scaledown_s} s after the last.\n"
        f"It serves {settings.sessions} speakers at once; the next one starts another, up to {settings.max_containers}, "
        f"so at most {settings.max_containers * price:.2f} USD an hour.\n{always}"
    )


def _variable(name: str) -> str:
    return f"KYUTAI_{name.upper()}"
