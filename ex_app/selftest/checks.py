# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The hops from a voice to a caption, each tried for real: Nextcloud, the HPB, STUN and TURN, speech-to-text."""

from __future__ import annotations

import asyncio
from difflib import SequenceMatcher

from ex_app.engine import Engine
from ex_app.errors import NextcloudError
from ex_app.nextcloud.gateway import NextcloudGateway
from ex_app.selftest.recording import LANGUAGE, TEXT, load_speech
from ex_app.selftest.run import Trial
from ex_app.settings.store import SavedSettings
from live_transcription.config import EngineConfig
from live_transcription.errors import ConfigurationError, SttUnavailable
from live_transcription.types import Frame

HOPS = ("nextcloud", "hpb", "ice", "stt")
#: From this likeness on, the engine has understood the recording.
UNDERSTOOD = 0.6


class Hops:
    """The steps of each test. Problems are raised as errors of `live_transcription.errors`; the trial reports them."""

    def __init__(self, engine: Engine, nextcloud: NextcloudGateway, saved: SavedSettings) -> None:
        self._engine = engine
        self._nextcloud = nextcloud
        self._saved = saved

    async def run(self, hop: str, trial: Trial, engine: str = "") -> None:
        """`engine`: which one the hop `stt` asks; "" for each that is in use."""
        match hop:
            case "nextcloud":
                await self._try_nextcloud(trial)
            case "hpb":
                await self._try_hpb(trial)
            case "ice":
                await self._try_ice(trial)
            case _:
                await self._try_stt(trial, engine)

    async def _try_nextcloud(self, trial: Trial) -> None:
        with trial.step("nextcloud.reach", "Nextcloud answers") as step:
            step.detail = f"Nextcloud {await self._nextcloud.server_version()}"
        with trial.step("nextcloud.enabled", "The app is enabled") as step:
            if not await self._nextcloud.is_enabled():
                raise NextcloudError("Nextcloud has the app disabled.", fix="Enable Live Transcription under Apps.")
        with trial.step("nextcloud.settings", "The saved settings can be read"):
            await self._saved.refresh()

    async def _try_hpb(self, trial: Trial) -> None:
        with trial.step("hpb.settings", "The settings are complete"):
            config = self._config()
        connect = trial.begin("hpb.connect", "The backend can be reached")
        hello = None

        def connected() -> None:
            nonlocal hello
            connect.succeed()
            hello = trial.begin("hpb.hello", "The backend accepts the app")

        try:
            report = await self._engine.probe_hpb(config.hpb, connected)
        except Exception as error:
            (hello or connect).fail(error)
            raise
        if hello is not None:
            hello.succeed(f"Version {report.version}")
        trial.begin("hpb.media", "It has a media server").succeed(", ".join(report.features))

    async def _try_ice(self, trial: Trial) -> None:
        with trial.step("ice.ask", "Talk names its STUN and TURN servers"):
            servers = await self._nextcloud.ice_servers()
        if not servers:
            trial.begin("ice.none", "No STUN or TURN server is set").warn(
                "Talk has no STUN or TURN server.",
                "Fine where this app reaches the media server directly; else set them in Talk's administration settings.",
            )
            return
        asking = trial.begin("ice.servers", "The servers answer")
        reports, refused = await self._engine.probe_ice(servers)
        asking.succeed()
        for report in reports:
            step = trial.begin(f"ice.{report.kind}", f"{report.kind.upper()} {report.server}")
            if report.problem:
                step.warn(
                    f"{report.kind.upper()} server {report.server}: {report.problem}.",
                    "Check it in Talk's administration settings, and that this machine may reach it.",
                )
            else:
                step.succeed(report.address)
        if refused:
            trial.begin("ice.unusable", "Addresses that cannot be used").warn(
                f"{refused} addresses are malformed or unsupported.", ""
            )
        if reports and all(report.problem for report in reports):
            asking.warn(
                "None of the servers works.",
                "Captions still work where this app reaches the media server directly; see the servers below.",
            )

    async def _try_stt(self, trial: Trial, engine: str) -> None:
        with trial.step("stt.settings", "An engine is configured"):
            in_use = self._saved.current.engines_in_use()
            engines = (engine,) if engine else in_use
            if not engines:
                raise ConfigurationError(
                    "LT_STT_ORDER",
                    "None of the engines that may be used is configured.",
                    fix="Choose another order of engines.",
                )
        speech = await asyncio.to_thread(load_speech)
        failure: Exception | None = None
        for name in engines:
            try:
                await self._try_engine(trial, name, speech)
            except Exception as error:  # noqa: BLE001  told in its step; the next engine may do
                failure = error
        # Where another engine takes over captions go on, yet the administrator wants to know.
        if failure is not None:
            raise failure

    async def _try_engine(self, trial: Trial, name: str, speech: Frame) -> None:
        opening = trial.begin("stt.open", name, expected_s={"modal": 90.0, "embedded": 5.0}.get(name, 3.0))
        hearing = None

        def opened() -> None:
            nonlocal hearing
            opening.succeed()
            hearing = trial.begin("stt.hear", name)

        def heard(text: str) -> None:
            if hearing is not None:
                hearing.detail = text

        try:
            text = await self._engine.probe_engine(name, speech, LANGUAGE, opened=opened, heard=heard)
        except Exception as error:
            (hearing or opening).fail(error)
            raise
        if hearing is None:
            return
        if not text:
            silent = SttUnavailable(
                f"The engine {name} took the recording and gave no text.", fix="See the log of the speech-to-text server."
            )
            hearing.fail(silent)
            raise silent
        if likeness(text) < UNDERSTOOD:
            hearing.warn("The text differs from the recording.", f"It should be: {TEXT}", detail=text)
        else:
            hearing.succeed(text)

    def _config(self) -> EngineConfig:
        config = self._saved.current.engine_config()
        if isinstance(config, ConfigurationError):
            raise config
        return config


def likeness(text: str) -> float:
    """Similarity of a text to that of the recording, from 0 to 1."""
    return SequenceMatcher(None, _letters(text), _letters(TEXT)).ratio()


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())
