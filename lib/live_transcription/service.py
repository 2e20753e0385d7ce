# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The engine's only door. Methods take and return plain values, so that calls can move to other processes behind it.

The service starts a call when somebody asks for captions in a room, and ends all calls at shutdown (`call.calls`). Talk waits
three seconds for an answer, so requests return within `call.calls.ANSWER_S`; a slow join continues in the call's task.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any

from live_transcription.audio_store.budget import PROCESS_BUDGET
from live_transcription.call.call import Call
from live_transcription.call.calls import GRACE_S, Calls
from live_transcription.call.problems import Problems
from live_transcription.capacity.descriptors import DescriptorReading, read_descriptors
from live_transcription.capacity.memory import MemoryReading
from live_transcription.capacity.watch import Capacity
from live_transcription.captions.masking import Masks
from live_transcription.config import ENGINES, EngineConfig, HpbConfig, SttConfig
from live_transcription.errors import (
    CallNotFound,
    CallUnavailable,
    ConfigurationError,
    LiveTranscriptionError,
    NotATarget,
    SttError,
    SttModelError,
    SttUnavailable,
    TooManyCalls,
    TranslationUnavailable,
    UnknownLanguage,
    UnknownTranslation,
)
from live_transcription.languages import AUTO, CHOICES
from live_transcription.observability import metrics
from live_transcription.observability.conditions import Change, ice_condition
from live_transcription.observability.health import ENGINE, HPB, MEDIA, TURN, Outcomes
from live_transcription.signaling.diagnosis import UNCOUNTED
from live_transcription.signaling.hello_guard import WINDOW_S, HelloGuard
from live_transcription.signaling.probe import probe_hpb
from live_transcription.status import (
    CallSnapshot,
    CaptionStatistics,
    Condition,
    Dependency,
    GpuUsage,
    HpbReport,
    IceReport,
    RecordedError,
    ServiceStatus,
    SpeechStatus,
)
from live_transcription.stt.engines import CurrentBackend, SttRegistry
from live_transcription.stt.probe import probe_speech
from live_transcription.stt.sockets import sockets
from live_transcription.texts import join
from live_transcription.transcripts.sink import TranscriptSink
from live_transcription.translation.lane import same_language
from live_transcription.translation.memory import ChosenLanguages
from live_transcription.translation.translator import NoTranslator, Translations, Translator
from live_transcription.types import Caption, Frame, IceServer, Language, TranslationLanguages
from live_transcription.webrtc.ice_servers import IceServerCache
from live_transcription.webrtc.probe import probe_ice

logger = logging.getLogger(__name__)

#: Seconds between two checks of all conditions.
OBSERVE_S = 1.0
#: Seconds for last words and byes when the app stops or is disabled: more than `GRACE_S`, since no request waits, and on a busy
#: machine last words take longer. Docker kills a container 10 s after SIGTERM.
SHUTDOWN_S = 5.0


class TranscriptionService:
    """An async context manager. Everything that it started has ended when the block is left.

    With a `ConfigurationError` as `config` the service answers requests, but joins no call; its errors name the problem. `stt`
    then gives the settings of the engines, which are prepared and tested nevertheless.
    `ice_servers` fetches the STUN and TURN servers from Talk; while it fails, its last result is used. `translator` translates
    captions. `transcripts` receives the utterances of the calls whose transcript it keeps. `wall_clock` returns seconds since
    the epoch. `registry`, `read_memory` and `read_descriptors` replace the engines and the system in tests.
    """

    def __init__(
        self,
        config: EngineConfig | ConfigurationError,
        ice_servers: Callable[[], Awaitable[Sequence[IceServer]]],
        *,
        translator: Translator | None = None,
        transcripts: TranscriptSink | None = None,
        stt: SttConfig | None = None,
        registry: SttRegistry | None = None,
        wall_clock: Callable[[], float],
        read_memory: Callable[[], MemoryReading] | None = None,
        read_descriptors: Callable[[], DescriptorReading] = read_descriptors,
    ) -> None:
        self._config_error = config if isinstance(config, ConfigurationError) else None
        self._config = None if isinstance(config, ConfigurationError) else config
        stt = self._config.stt if self._config else stt or SttConfig()
        registry = registry if registry is not None else SttRegistry(stt, wall_clock=wall_clock)
        self._speech = CurrentBackend(registry, prewarm=stt.prewarm)
        self._budget = registry.budget
        self._limit_budget(stt)
        # The settings of the running calls and engines, also while the current settings are unusable.
        self._applied_hpb = self._config.hpb if self._config else None
        self._applied_stt = stt
        self._capacity = Capacity(
            audio=PROCESS_BUDGET,
            read=read_memory,
            read_descriptors=read_descriptors,
            engine_capacity=lambda: self._speech.capacity,
        )
        if self._config:
            self._capacity.limit(self._config.max_speakers, self._config.max_memory_mb)
        self._ice = IceServerCache(ice_servers)
        self._translations = Translations(translator or NoTranslator())
        self._translations.allowed = self._config is None or self._config.translation
        if self._config is not None:
            self._translations.masks = Masks(self._config.masked_words)
        self._chosen_languages = ChosenLanguages()
        self._transcripts = transcripts
        self._guard = HelloGuard()
        self._wall_clock = wall_clock
        self._calls = Calls(self._new_call, self._record)
        self._captions_sent = 0
        self._errors: deque[RecordedError] = deque(maxlen=20)
        self._stack = AsyncExitStack()
        self._tasks: asyncio.TaskGroup | None = None
        self._outcomes = Outcomes()
        self._problems = Problems(self._outcomes)

    async def __aenter__(self) -> TranscriptionService:
        self._stack.push_async_callback(self._speech.aclose)
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        for work, name in (
            (self._capacity.watch(), "watch capacity"),
            (self._watch_conditions(), "watch conditions"),
            (self._translations.run(), "translations"),
        ):
            self._stack.callback(self._tasks.create_task(work, name=name).cancel)
        await self._stack.enter_async_context(self._calls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def prepare(self) -> None:
        """Prepare the preferred engine: check and load its weights. Raises SttError."""
        await self._speech.warm()

    def apply(self, config: EngineConfig | ConfigurationError, stt: SttConfig | None = None) -> None:
        """Apply new settings at once. Running calls continue and use the new engines from their next stream on; they join again
        if the HPB's address or secret has changed. Invalid settings block new calls and do not affect running ones; `stt` then
        gives the settings of the engines, if they are valid.
        """
        if isinstance(config, ConfigurationError):
            self._config_error, self._config = config, None
            self._problems.forget_hpb(self._now())
            if stt is not None:
                self._apply_stt(stt)
            return
        old, self._config, self._config_error = self._config, config, None
        self._translations.allowed = config.translation
        self._translations.masks = Masks(config.masked_words)
        self._capacity.limit(config.max_speakers, config.max_memory_mb)
        self._apply_stt(config.stt)
        if old is None or old.hpb != config.hpb:
            self._problems.forget_hpb(self._now())
        if self._applied_hpb not in (None, config.hpb):
            self._calls.rejoin_all()
        self._applied_hpb = config.hpb
        if old is None or old != config:
            logger.info("New settings are applied", extra={"calls": len(self._calls)})

    def _apply_stt(self, stt: SttConfig) -> None:
        if self._applied_stt == stt:
            return
        self._outcomes.forget(*(each.name for each in self._outcomes.engines() if _changed(each.name, self._applied_stt, stt)))
        self._limit_budget(stt)
        registry = SttRegistry(stt, budget=self._budget, wall_clock=self._wall_clock)
        old_engines = self._speech.replace(registry, prewarm=stt.prewarm)
        self._applied_stt = stt
        self._run(self._speech.retire(old_engines), "retire engines")
        if len(self._calls):
            self._run(self._warm_quietly(), "warm new engines")

    def export(self) -> tuple[CallSnapshot, ...]:
        """The calls with at least one target."""
        return self._calls.export()

    def restore(self, snapshots: Sequence[CallSnapshot]) -> None:
        """Start these calls again, in the background. Targets that do not appear within a minute are removed.

        If a room has a call already, the targets of the snapshot are added to it.
        """
        for snapshot in snapshots:
            users = dict(snapshot.targets)
            for nc_session_id, language in snapshot.translations:
                self._chosen_languages.choose(snapshot.room_token, nc_session_id, users.get(nc_session_id), language)
        self._calls.restore(snapshots)

    # Requests of an administrator.

    def speech_status(self) -> SpeechStatus:
        return SpeechStatus(
            engines=self._speech.registry.health(),
            open_sockets=sockets.open,
            socket_s=sockets.seconds,
            reconnects=int(metrics.total_of(metrics.stt_reconnects)),
            dropped_s=metrics.total_of(metrics.stt_dropped_audio_seconds),
            gpu=self._budget.status(*self._clocks()) if "modal" in self._speech.registry.engines() else None,
        )

    def gpu_usage(self) -> GpuUsage:
        """The estimated GPU time on Modal of today, to be stored for `restore_gpu_usage`."""
        return self._budget.usage(*self._clocks())

    def restore_gpu_usage(self, usage: GpuUsage) -> None:
        """Continue from what an earlier process has used. Call it before the first call is joined."""
        self._budget.restore(usage)

    async def probe_hpb(self, config: HpbConfig, connected: Callable[[], None]) -> HpbReport:
        """See `signaling.probe.probe_hpb`. If the HPB accepts the hello, calls that it has refused try again at once."""
        return await self._probe_hpb(config, connected, urgent=True)

    async def check_hpb(self) -> None:
        """Test the HPB of the current settings, and note the outcome in the status, unless calls do that.

        The test sends no hello that `HelloGuard` does not allow. A refused secret is tested again only when the HPB no longer
        counts the refusal, so that all other attempts remain for an administrator.
        """
        if self._config is None or len(self._calls):
            return
        config, now, before = self._config.hpb, self._now(), self._outcomes.of(HPB).code
        last = self._problems.hpb_refusal
        if last is not None and last[0].reason not in UNCOUNTED and now < last[1] + WINDOW_S:
            return
        try:
            await self._probe_hpb(config, lambda: None, urgent=False)
        except LiveTranscriptionError as failure:
            # One line for an outage, not one a minute.
            if failure.code != before and self._uses(config):
                logger.warning("A check of the high-performance backend failed: %s", failure, extra={"code": failure.code})
                self._record(failure)

    def _uses(self, config: HpbConfig) -> bool:
        return self._config is not None and config == self._config.hpb

    async def _probe_hpb(self, config: HpbConfig, connected: Callable[[], None], *, urgent: bool) -> HpbReport:
        """Test the HPB. The outcome counts unless other settings apply by then."""
        try:
            report = await probe_hpb(config, connected, guard=self._guard, urgent=urgent)
        except LiveTranscriptionError as failure:
            if self._uses(config):
                self._problems.hpb_failed(failure, self._now(), self._wall_clock())
            raise
        if self._uses(config):
            self._problems.hpb_succeeded(self._wall_clock())
        return report

    async def probe_ice(self, servers: Sequence[IceServer]) -> tuple[tuple[IceReport, ...], int]:
        """See `webrtc.probe.probe_ice`."""
        reports, unusable = await probe_ice(servers)
        if reports or unusable:
            self._problems.turn_tested(ice_condition(reports, unusable), self._now(), self._wall_clock())
        else:
            self._outcomes.forget(TURN)
        return reports, unusable

    async def probe_engine(
        self, name: str, speech: Frame, language: str, *, opened: Callable[[], None], heard: Callable[[str], None]
    ) -> str:
        """Transcribe `speech` with one engine (`modal`, `moshi`, `embedded`). Raises SttError; see `stt.probe`."""
        registry = self._speech.registry
        engine = registry.engine(name)
        if engine is None:
            raise SttModelError("The engine {engine} is not configured or not installed.", fix="See the settings.", engine=name)
        try:
            text = await probe_speech(engine, speech, language, opened=opened, on_text=heard)
            if not text:
                raise SttUnavailable(
                    "The engine {engine} accepted the recording but returned no text.",
                    fix="See the log of the speech-to-text server.",
                    engine=name,
                )
        except SttError as failure:
            registry.note(name, failure)
            raise
        else:
            registry.note(name, None)
        finally:
            if registry is self._speech.registry:  # the settings may have changed meanwhile
                self._outcomes.observe_engines(registry.health(), self._wall_clock())
                self._outcomes.confirm(ENGINE + engine.name, self._wall_clock())
        return text

    async def enable(
        self, room_token: str, nc_session_id: str, *, language: str | None = None, user_id: str | None = None
    ) -> None:
        """Send captions to this session of the room. Idempotent; returns when the call is joined.

        `language`: that of the room, which it may have since another app with more languages was installed. If it cannot be
        transcribed, the call is captioned in the default language.

        Raises CallUnavailable if the call is not joined within `ANSWER_S`, and at once while the HPB refuses the app.
        """
        call = self._calls.active(room_token) or self._calls.start(room_token, self._language_of(room_token, language))
        was_target = call.has_target(nc_session_id)
        call.add_target(nc_session_id, user_id)
        if not was_target and (chosen := self._chosen_languages.get(room_token, nc_session_id, user_id)) is not None:
            call.translate(nc_session_id, chosen)
        if not call.joined.is_set() or call.refused.is_set():
            await self._calls.wait_until_joined(call, nc_session_id, was_target=was_target)

    async def disable(self, room_token: str, nc_session_id: str) -> None:
        """Stop captions for this session. No error if it has none."""
        if call := self._calls.get(room_token):
            call.remove_target(nc_session_id)

    async def keep_transcribing(self, room_token: str, *, language: str | None = None) -> None:
        """Transcribe this room although nobody may read captions, as long as `transcripts` keeps its transcript. Idempotent.

        `language`: as for `enable`. Returns at once; until the call is joined, the transcript has a gap. The call ends when
        nobody has been in it for `no_target_linger_s`. Raises CallUnavailable.
        """
        if self._transcripts is not None and self._transcripts.keeps(room_token):
            call = self._calls.active(room_token) or self._calls.start(room_token, self._language_of(room_token, language))
            call.review_transcript()

    async def stop_keeping(self, room_token: str) -> None:
        """The transcript of this room is not kept any more. The call continues if somebody reads captions. Idempotent."""
        if call := self._calls.get(room_token):
            call.review_transcript()

    async def set_language(self, room_token: str, language: str) -> None:
        """Change the language of a room's captions from the next words on. Raises UnknownLanguage, CallNotFound."""
        if language not in self.languages():
            raise UnknownLanguage("This language cannot be transcribed.", fix="GET /api/v1/languages lists those that can.")
        call = self._calls.active(room_token)
        if call is None:
            raise CallNotFound("There is no transcription in this room.")
        call.set_language(language)

    async def set_translation(
        self, room_token: str, nc_session_id: str, language: str | None, *, user_id: str | None = None
    ) -> None:
        """Translate a session's captions into this language; None: send them as they are spoken.

        The choice is remembered for when the session, or its user in another session, asks for captions again.
        Raises TranslationUnavailable, UnknownTranslation, CallNotFound, NotATarget.
        """
        call = self._calls.active(room_token)
        if language is None:
            self._chosen_languages.choose(room_token, nc_session_id, user_id, None)
            if call is not None:
                call.translate(nc_session_id, None)
            return
        offered = self._translations.languages()
        if not offered.targets:
            raise TranslationUnavailable("There is no translation provider.", fix="Install one in Nextcloud.")
        if call is None:
            raise CallNotFound("There is no transcription in this room.")
        spoken = bool(offered.origins) if call.language == AUTO else call.language in offered.origins
        pair = spoken and language in offered.targets
        if not pair or same_language(language, call.language):
            raise UnknownTranslation("Captions of this call cannot be translated into this language.")
        if not call.translate(nc_session_id, language):
            raise NotATarget("This session has not asked for captions.")
        self._chosen_languages.choose(room_token, nc_session_id, user_id, language)

    async def leave(self, room_token: str) -> None:
        """End the captions of a room after its last words. No error if there are none."""
        if call := self._calls.get(room_token):
            await self._calls.end([call], GRACE_S)

    async def leave_all(self, grace_s: float | None = None) -> None:
        """End all calls. `grace_s`: seconds for last words and byes, `SHUTDOWN_S` if None; 0 cancels all calls."""
        await self._calls.end_all(SHUTDOWN_S if grace_s is None else grace_s)

    def languages(self) -> Mapping[str, Language]:
        """Languages that the engines understand and the settings allow; if there is none, all that the engines understand."""
        understood = self._speech.registry.languages()
        allowed = self._config.languages if self._config else ()
        return {code: language for code, language in understood.items() if code in allowed} or understood

    def translation_languages(self) -> TranslationLanguages:
        """The languages that captions can be translated from and into now; from `AUTO`, too, if calls can be set to it."""
        offered = self._translations.languages()
        if not offered.origins or AUTO not in self.languages():
            return offered
        return TranslationLanguages({**offered.origins, AUTO: CHOICES[AUTO]}, offered.targets)

    def status(self) -> ServiceStatus:
        joined = [call for call in self._calls if call.joined.is_set()]
        return ServiceStatus(
            calls=len(joined),
            speakers=sum(call.speaker_count for call in self._calls),
            targets=sum(call.target_count for call in joined),
            captions_sent=self._captions_sent,
            engines=self._speech.registry.engines(),
            last_errors=tuple(self._errors),
            problem=None if self._config_error is None else self._config_error.text,
            speakers_waiting=self._capacity.speakers_waiting,
            slots=self._capacity.slots,
            speakers_encrypted=sum(call.encrypted_count for call in self._calls),
            dependencies=self._dependencies(),
            conditions=self._problems.current(),
            memory=self._capacity.memory(),
            load=self._capacity.load(),
        )

    def _dependencies(self) -> tuple[Dependency, ...]:
        self._outcomes.observe_engines(self._speech.registry.health(), self._wall_clock())
        return *map(self._outcomes.of, (HPB, MEDIA, TURN)), *self._outcomes.engines()

    def caption_statistics(self) -> CaptionStatistics:
        return metrics.caption_statistics()

    def metrics(self) -> bytes:
        """All metrics in Prometheus' text format (`observability.metrics.CONTENT_TYPE`)."""
        return metrics.expose(self.status(), self.speech_status().gpu)

    def _language_of(self, room_token: str, language: str | None) -> str | None:
        """The language of a room's call, None for the default."""
        if language is None or language in self.languages():
            return language
        text = "This app does not transcribe a conversation's language (%.16r). The call is captioned in the default language."
        logger.warning(text, language, extra={"code": UnknownLanguage.code, "room": room_token})
        return None

    # Calls.

    def _new_call(self, room_token: str, language: str | None, replaces: Call | None) -> Call:
        """Build a call. Raises CallUnavailable.

        A call that replaces another one is subject to no limit, and uses the other one's settings while the current ones are
        unusable.
        """
        config = self._config or (None if replaces is None else replaces.config)
        if config is None:
            assert self._config_error is not None
            raise CallUnavailable(self._config_error.text)
        try:
            self._speech.registry.backend()
            call = Call(
                room_token,
                language or config.default_language,
                config,
                self._speech,
                guard=self._guard,
                ice_servers=self._ice.get,
                sharing=self._capacity,
                interval=self._capacity.interval,
                translations=self._translations,
                on_caption_sent=self._count_caption,
                on_stt_error=self._record,
                transcripts=self._transcripts,
            )
        except (ConfigurationError, SttError) as error:
            raise CallUnavailable(error.message, fix=error.fix) from None
        if replaces is None:
            self._check_limits(config, room_token)
        return call

    def _check_limits(self, config: EngineConfig, room_token: str) -> None:
        """Raise CallUnavailable if the app is at a limit."""
        try:
            running = sum(not call.ending for call in self._calls if call.room_token != room_token)
            if running >= config.max_calls:
                raise TooManyCalls(
                    "Captions are not available for this call: {count} other calls are being captioned, which is the maximum.",
                    fix="Try again when another call has ended, or ask an administrator to raise the maximum number of calls.",
                    count=running,
                )
            # Last, since it reserves what it grants.
            self._capacity.require_call()
        except CallUnavailable as refusal:
            metrics.calls_refused.labels(refusal.code).inc()
            raise

    async def _warm_quietly(self) -> None:
        try:
            await self._speech.warm()
        except SttError as failure:
            self._record(failure)

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        assert self._tasks is not None, "the service is used outside its block"
        self._tasks.create_task(work, name=name)

    # Conditions.

    async def _watch_conditions(self) -> None:
        """Check all conditions about once a second; log those that have begun or ended."""
        while True:
            now = self._now()
            hpb = None if self._config is None else self._config.hpb
            changes = self._problems.observe(
                tuple(self._calls),
                [*self._capacity.shortages(), *self._budget_conditions()],
                None if hpb is None else self._guard.refusal(hpb, now),
                now,
                accepted_at=float("-inf") if hpb is None else self._guard.accepted_at(hpb),
                at=self._wall_clock(),
            )
            for change in changes:
                self._log(change)
            await asyncio.sleep(OBSERVE_S)

    def _budget_conditions(self) -> Iterator[Condition]:
        engines = self._speech.registry.engines()
        return self._budget.conditions(*self._clocks(), alone=len(engines) == 1) if "modal" in engines else iter(())

    def _limit_budget(self, stt: SttConfig) -> None:
        self._budget.limit(stt.modal.minutes_per_day if stt.modal else 0, stt.modal.max_sockets if stt.modal else 0)

    def _clocks(self) -> tuple[float, float]:
        """Now, in seconds of the loop's clock and since the epoch."""
        return self._now(), self._wall_clock()

    def _log(self, change: Change) -> None:
        condition = change.condition
        if change.lasted_s is not None:
            logger.warning(
                "The condition %s ended after %.0f s.", condition.code, change.lasted_s, extra={"code": condition.code}
            )
            return
        metrics.conditions.labels(condition.code).inc()
        text = join(condition.message, condition.fix)
        logger.warning("%s", text, extra={"code": condition.code})
        self._errors.append(RecordedError(self._wall_clock(), condition.code, text))

    def _count_caption(self, _caption: Caption) -> None:
        self._captions_sent += 1

    def _record(self, failure: LiveTranscriptionError) -> None:
        self._errors.append(RecordedError(self._wall_clock(), failure.code, failure.text))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _changed(dependency: str, old: SttConfig, new: SttConfig) -> bool:
    """Whether the settings of an engine have changed. All engines that run on this machine are `embedded`."""
    name = dependency.removeprefix(ENGINE)
    section = name if name in ENGINES else "embedded"
    return bool(getattr(old, section) != getattr(new, section))
