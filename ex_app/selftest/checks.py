# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The checks: Nextcloud, the HPB, STUN and TURN, speech-to-text, and translation, each with real requests.

The last one, `calls`, makes no requests: it repeats what the health of the app says beyond the other checks.
"""

from __future__ import annotations

import asyncio
from difflib import SequenceMatcher

from ex_app.engine import Engine
from ex_app.errors import NextcloudError
from ex_app.health import AppHealth
from ex_app.nextcloud.gateway import NextcloudGateway
from ex_app.nextcloud.translator import NextcloudTranslator
from ex_app.selftest.recording import LANGUAGE, TEXT, load_speech
from ex_app.selftest.run import Run, Sequence, Step
from ex_app.settings.store import SavedSettings
from ex_app.settings.table import BY_VARIABLE, ENGINE_NAMES
from live_transcription.errors import ConfigurationError, LiveTranscriptionError, TranslationError
from live_transcription.observability.conditions import SHORTAGES
from live_transcription.observability.health import ENGINE, FAILED, MEDIA, OK, WARNING
from live_transcription.status import Dependency
from live_transcription.texts import Text
from live_transcription.types import TRANSLATION_DEADLINE_S, Frame

#: In the order of the self-test.
CHECKS = ("nextcloud", "hpb", "ice", "stt", "translation", "calls")
#: Lowest similarity at which a text counts as that of the recording.
UNDERSTOOD = 0.6
#: What is translated, its language, and the languages to try before the others.
GREETING, GREETING_LANGUAGE, _PREFERRED = "Good morning", "en", ("fr", "de", "es")
#: Seconds that a provider may take in the self-test. In calls it is `TRANSLATION_DEADLINE_S`.
TRANSLATION_S = 30.0
#: Longest text of a provider to show.
_SHOWN_CHARS = 200
#: Seconds that an engine may take to start, for the progress bar.
_START_S = {"modal": 90.0, "embedded": 5.0, "moshi": 3.0}


class Checks:
    """Each check adds its steps to a run, and raises an error of `live_transcription.errors` if one fails."""

    def __init__(
        self,
        engine: Engine,
        nextcloud: NextcloudGateway,
        saved: SavedSettings,
        health: AppHealth,
        translator: NextcloudTranslator | None = None,
    ) -> None:
        self._engine = engine
        self._nextcloud = nextcloud
        self._saved = saved
        self._health = health
        self._translator = translator

    async def run(self, check: str, run: Run, engine: str = "") -> None:
        """`check`: one of `CHECKS`. `engine`: the one that `stt` checks; "" for all engines in use."""
        match check:
            case "nextcloud":
                await self._check_nextcloud(run)
            case "hpb":
                await self._check_hpb(run)
            case "ice":
                await self._check_ice(run)
            case "translation":
                await self._check_translation(run)
            case "calls":
                self._check_calls(run)
            case _:
                await self._check_stt(run, engine)

    async def _check_nextcloud(self, run: Run) -> None:
        try:
            await self._ask_nextcloud(run)
        except NextcloudError as error:
            self._health.nextcloud.note(error)
            raise
        for problem in self._health.invalid_settings():
            run.begin("settings.invalid", Text(label_of(problem))).warn(problem.message, problem.fix)

    async def _ask_nextcloud(self, run: Run) -> None:
        with run.step("nextcloud.reach", Text("Nextcloud answers")) as step:
            step.detail = Text("Nextcloud {version}", version=await self._nextcloud.server_version())
        with run.step("nextcloud.talk", Text("Calls are not end-to-end encrypted")) as step:
            talk = await self._nextcloud.talk()
            step.detail = Text("Talk {version}", version=talk.version) if talk is not None else Text("")
            if talk is None:
                step.warn(Text("Talk is not installed."), Text("Install Talk (app spreed) in Nextcloud."))
            elif talk.encrypts_calls:
                step.warn(
                    Text("Talk encrypts calls end to end. Such audio cannot be transcribed."),
                    Text(
                        "Captions need calls without end-to-end encryption. To turn it off in Talk, run: "
                        "occ config:app:set spreed call_end_to_end_encryption --value=false --type=boolean"
                    ),
                )
        with run.step("nextcloud.enabled", Text("The app is enabled")):
            if not await self._nextcloud.is_enabled():
                raise NextcloudError("The app is disabled in Nextcloud.", fix="Enable Live Transcription under Apps.")
        with run.step("nextcloud.settings", Text("The saved settings can be read")):
            await self._saved.refresh()

    async def _check_hpb(self, run: Run) -> None:
        config = self._saved.current.engine_config()
        if isinstance(config, ConfigurationError):
            for problem in self._saved.current.blocking:
                run.begin("hpb.setting", Text(label_of(problem))).fail(problem)
            raise config
        run.begin("hpb.settings", Text("The settings are complete")).succeed()
        with run.sequence("hpb.connect", Text("The backend can be reached")) as steps:
            report = await self._engine.probe_hpb(
                config.hpb, lambda: steps.next("hpb.hello", Text("The backend accepts the app"))
            )
            steps.current.detail = Text("Version {version}", version=report.version)
        run.begin("hpb.media", Text("It has a media server")).succeed()

    async def _check_ice(self, run: Run) -> None:
        try:
            with run.step("ice.ask", Text("Talk lists its STUN and TURN servers")):
                servers = await self._nextcloud.ice_servers()
        except NextcloudError as error:
            self._health.nextcloud.note(error)
            raise
        if not servers:
            await self._engine.probe_ice(servers)  # the outcome for earlier servers no longer counts
            # A direct path to the media server needs none. Only a call can show whether there is one.
            run.begin("ice.none", Text("No STUN or TURN server is configured")).succeed(
                Text(
                    "If this app reaches the media server directly, none is needed. Otherwise add one in Talk's administration "
                    "settings."
                )
            )
            return
        asking = run.begin("ice.servers", Text("The servers answer"))
        reports, unusable = await self._engine.probe_ice(servers)
        asking.succeed()
        for report in reports:
            name = f"{report.kind.upper()} {report.server}"
            step = run.begin(f"ice.{report.kind}", name)
            if report.problem:
                step.warn(
                    Text("{server}: {problem}.", server=name, problem=report.problem),
                    Text("Check it in Talk's administration settings, and check the firewall."),
                )
            else:
                step.succeed(report.address)
        if unusable:
            run.begin("ice.unusable", Text("Unusable addresses")).warn(
                Text("Malformed or unsupported addresses: {count}.", count=unusable),
                Text("Correct them in Talk's administration settings."),
            )
        if reports and all(report.problem for report in reports):
            asking.warn(
                Text("None of the servers works."),
                Text("Captions still work if this app reaches the media server directly. See the servers below."),
            )

    async def _check_stt(self, run: Run, engine: str) -> None:
        try:
            with run.step("stt.settings", Text("An engine is configured")):
                engines = (engine,) if engine else self._saved.current.engine.stt.in_use
                if not engines:
                    raise ConfigurationError(
                        "LT_STT_ORDER", "None of the selected engines is configured.", fix="Configure one, or select another."
                    )
        finally:
            for unused in self._health.unused_engines():
                if engine in ("", unused.name.removeprefix(ENGINE)):
                    title = Text("{engine}: configuration incomplete", engine=ENGINE_NAMES[unused.name.removeprefix(ENGINE)])
                    run.begin("stt.unused", title).warn(unused.cause, unused.fix)
        speech = await asyncio.to_thread(load_speech)
        failures: list[tuple[Step, Exception]] = []
        for name in engines:
            title = Text("{engine}: starting the engine", engine=ENGINE_NAMES[name])
            with run.sequence("stt.open", title, expected_s=_START_S[name]) as steps:
                try:
                    await self._check_engine(steps, name, speech)
                except Exception as error:  # noqa: BLE001  shown in its step; go on with the next engine
                    steps.current.fail(error)
                    failures.append((steps.current, error))
        if len(failures) == len(engines):
            raise failures[-1][1]
        # Captions work as long as one engine does, but an administrator should know.
        for step, _ in failures:
            step.downgrade()

    async def _check_engine(self, steps: Sequence, name: str, speech: Frame) -> None:
        def recognised(text: str) -> None:
            steps.current.detail = text

        text = await self._engine.probe_engine(
            name,
            speech,
            LANGUAGE,
            opened=lambda: steps.next("stt.transcribe", Text("{engine}: transcribing a sentence", engine=ENGINE_NAMES[name])),
            heard=recognised,
        )
        steps.current.detail = text
        if similarity(text) < UNDERSTOOD:
            steps.current.warn(Text("The text differs from the recording."), Text("It should be: {text}", text=TEXT))

    async def _check_translation(self, run: Run) -> None:
        """Whether Nextcloud's provider translates, and how fast. Captions work without one, so nothing here is a failure."""
        config = self._saved.current.engine_config()
        if self._translator is None or (not isinstance(config, ConfigurationError) and not config.translation):
            run.begin("translation.off", Text("Not tested: live translation is switched off in the settings")).succeed()
            return
        asking = run.begin("translation.ask", Text("Nextcloud has a translation provider"))
        try:
            offered = await self._translator.ask()
        except NextcloudError as error:
            self._health.nextcloud.note(error)
            asking.fail(error)
            asking.downgrade()
            return
        targets = [each for each in (*_PREFERRED, *offered.targets) if each.partition("_")[0] != GREETING_LANGUAGE]
        target = next((each for each in targets if each in offered.targets), None)
        if not offered.targets:
            asking.title = Text("Not tested: Nextcloud has no translation provider, so Talk does not offer translations")
        asking.succeed(Text("Languages: {count}", count=len(offered.targets)) if offered.targets else "")
        if target is None or GREETING_LANGUAGE not in offered.origins:
            if offered.targets:
                title = Text("Not tested: the provider does not translate from English")
                run.begin("translation.english", title).succeed()
            return
        step = run.begin("translation.task", Text("It translates a greeting"), expected_s=TRANSLATION_DEADLINE_S)
        try:
            began_at = asyncio.get_running_loop().time()
            async with asyncio.timeout(TRANSLATION_S):
                text = await self._translator.translate(GREETING, GREETING_LANGUAGE, target)
        except (TimeoutError, LiveTranscriptionError) as error:
            too_slow = TranslationError(
                "The translation was not done after {seconds} s.",
                seconds=int(TRANSLATION_S),
                fix="Check the provider. One that runs from Nextcloud's cron job is too slow for captions.",
            )
            step.fail(error if isinstance(error, LiveTranscriptionError) else too_slow)
            step.downgrade()
            return
        step.detail = f"{offered.targets[target].native_name}: {' '.join(text.split())[:_SHOWN_CHARS]}"
        if _letters(text) in ("", _letters(GREETING)):
            step.warn(Text("This is no translation of: {text}", text=GREETING), Text("Check the provider."))
        elif asyncio.get_running_loop().time() - began_at > TRANSLATION_DEADLINE_S:
            step.warn(
                Text(
                    "The provider is slow. Readers get the original caption after {seconds} s.",
                    seconds=int(TRANSLATION_DEADLINE_S),
                ),
                Text("Use a faster provider, or background job workers for it."),
            )
        else:
            step.succeed()

    def _check_calls(self, run: Run) -> None:
        """What only calls can show: audio arrives from the media server, and no limit is reached."""
        health = self._health.current()
        media = next((each for each in health.dependencies if each.name == MEDIA), Dependency(MEDIA))
        if media.state in (OK, WARNING, FAILED):
            step = run.begin("calls.media", Text("Audio arrives from the media server"))
        else:
            step = run.begin("calls.media", Text("Audio from the media server: only a call can show whether it arrives"))
        if media.state == FAILED:
            step.fail_with(media)
        elif media.state == WARNING:
            step.warn(media.cause, media.fix)
        else:
            step.succeed()
        for found in health.conditions:
            title = Text("Limits") if found.code in SHORTAGES else Text("Calls are not end-to-end encrypted")
            run.begin("calls.shortage", title).warn(found.message, found.fix)


def label_of(problem: ConfigurationError) -> str:
    """On the page, a setting goes by its label."""
    return BY_VARIABLE[problem.setting].label if problem.setting in BY_VARIABLE else problem.setting


def similarity(text: str) -> float:
    """Similarity of a text to that of the recording, from 0 to 1."""
    return SequenceMatcher(None, _letters(text), _letters(TEXT)).ratio()


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())
