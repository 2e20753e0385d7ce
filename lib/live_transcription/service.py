# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The engine's only door. Methods take and return plain values, so that calls can move to other processes behind it.

The service owns the calls: it starts one when somebody asks for captions in a room, restarts one that failed, and ends all
of them at shutdown. It answers within `ANSWER_S`, since Talk waits three seconds; slow joins go on in the call's own task.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any

from live_transcription.audio_store.budget import PROCESS_BUDGET
from live_transcription.call.call import Call
from live_transcription.call.pending_joins import Joining
from live_transcription.capacity.descriptors import Descriptors
from live_transcription.capacity.memory import MemoryReading
from live_transcription.capacity.watch import Capacity
from live_transcription.config import EngineConfig, HpbConfig, SttConfig
from live_transcription.errors import (
    CallNotFound,
    CallUnavailable,
    ConfigurationError,
    LiveTranscriptionError,
    SignalingError,
    SttError,
    SttModelError,
    TooManyCalls,
    UnknownLanguage,
    first_of,
)
from live_transcription.observability import metrics
from live_transcription.observability.conditions import (
    SHORTAGES,
    Change,
    Conditions,
    hpb_condition,
    media_condition,
    turn_condition,
)
from live_transcription.observability.exposition import caption_statistics, expose
from live_transcription.runtime.backoff import Restarts
from live_transcription.signaling.hello_guard import HelloGuard
from live_transcription.signaling.probe import HpbReport, probe_hpb
from live_transcription.status import CallSnapshot, CaptionStatistics, EngineState, RecordedError, ServiceStatus, SpeechStatus
from live_transcription.stt.engines import CurrentBackend, SttRegistry
from live_transcription.stt.probe import probe_speech
from live_transcription.types import Caption, Frame, IceServer, Language
from live_transcription.webrtc.ice_servers import IceServerCache
from live_transcription.webrtc.probe import IceReport, probe_ice

logger = logging.getLogger(__name__)

#: Seconds between two checks of all conditions.
OBSERVE_S = 1.0
#: Seconds for which the last problem with the HPB counts when no call is left to report it.
HPB_TROUBLE_S = 300.0
#: Seconds for which a TURN server's refusal counts while no subscription asks it again.
TURN_REFUSED_S = 600.0
#: Seconds that a request to end a call waits for the last words and the bye. Talk waits 3 s.
GRACE_S = 1.7
#: The same when the app stops or is disabled. No request waits then, and on a busy machine the last words take longer. Docker
#: kills a container 10 s after SIGTERM.
SHUTDOWN_S = 5.0


class TranscriptionService:
    """An async context manager; everything it started has ended when the block is left.

    `config` None or a `ConfigurationError`: the service answers, but joins no call and says why.
    `ice_servers` fetches the servers that Talk names now; the last good answer serves while it fails.
    """

    def __init__(
        self,
        config: EngineConfig | ConfigurationError,
        ice_servers: Callable[[], Awaitable[Sequence[IceServer]]],
        *,
        registry: SttRegistry | None = None,
        wall_clock: Callable[[], float],
        read_memory: Callable[[], MemoryReading] | None = None,
    ) -> None:
        self._problem = config if isinstance(config, ConfigurationError) else None
        self._config = None if isinstance(config, ConfigurationError) else config
        stt = self._config.stt if self._config else SttConfig()
        self._speech = CurrentBackend(registry if registry is not None else SttRegistry(stt), prewarm=stt.prewarm)
        # The settings of the running calls and engines, also while the current settings are unusable.
        self._applied_hpb = self._config.hpb if self._config else None
        self._applied_stt = stt
        self._descriptors = Descriptors()
        self._capacity = Capacity(descriptors=self._descriptors, audio=PROCESS_BUDGET, read=read_memory)
        if self._config:
            self._capacity.limit(self._config.max_speakers, self._config.max_memory_mb)
        self._restarts = Restarts(random.random)
        self._ice = IceServerCache(ice_servers)
        self._guard = HelloGuard()
        self._wall_clock = wall_clock
        self._calls: dict[str, Call] = {}
        self._call_tasks: dict[Call, asyncio.Task[LiveTranscriptionError | None]] = {}
        self._joining = Joining()
        self._captions_sent = 0
        self._errors: deque[RecordedError] = deque(maxlen=20)
        self._stack = AsyncExitStack()
        self._tasks: asyncio.TaskGroup | None = None
        self._conditions = Conditions()
        self._hpb_trouble: tuple[SignalingError, float] | None = None
        self._watching: tuple[asyncio.Task[None], ...] = ()

    async def __aenter__(self) -> TranscriptionService:
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._watching = (
            self._tasks.create_task(self._capacity.watch(), name="watch memory and load"),
            self._tasks.create_task(self._descriptors.watch(), name="watch descriptors"),
            self._tasks.create_task(self._watch_conditions(), name="watch conditions"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tasks = None  # no call starts any more, not even while these end
        await self.leave_all(GRACE_S)
        for watching in self._watching:
            watching.cancel()
        await self._stack.__aexit__(kind, error, trace)
        await self._speech.aclose()

    async def prepare(self) -> None:
        """Prepare the preferred engine: its weights are present, complete and loaded. Raises SttError."""
        await self._speech.warm()

    def apply(self, config: EngineConfig | ConfigurationError) -> None:
        """Apply new settings at once. Running calls continue, and use the new engines from their next stream on. If the HPB's
        address or secret has changed, they are restarted. Invalid settings block new calls, and do not affect running ones.
        """
        if isinstance(config, ConfigurationError):
            self._problem, self._config = config, None
            return
        old, self._config, self._problem = self._config, config, None
        self._capacity.limit(config.max_speakers, config.max_memory_mb)
        if self._applied_stt != config.stt:
            old_engines = self._speech.replace(SttRegistry(config.stt), prewarm=config.stt.prewarm)
            self._run(self._speech.retire(old_engines), "retire engines")
            if self._calls:
                self._run(self._warm_quietly(), "warm new engines")
        self._applied_stt = config.stt
        for call in self._calls.values():
            call.set_receive_path(config.receive_path)
        if self._applied_hpb not in (None, config.hpb):
            self._hpb_trouble = None
            for call in list(self._calls.values()):
                self._join_anew(call)
        self._applied_hpb = config.hpb
        if old is None or old != config:
            logger.info("New settings are applied", extra={"calls": len(self._calls)})

    def export(self) -> tuple[CallSnapshot, ...]:
        """The calls that somebody wants captions in."""
        calls = [call for call in self._calls.values() if not call.ending]
        return tuple(
            CallSnapshot(call.room_token, call.language, tuple((t.nc_session_id, t.user_id) for t in targets))
            for call in calls
            if (targets := call.targets())
        )

    def restore(self, snapshots: Sequence[CallSnapshot]) -> None:
        """Take calls up again; they are joined in the background. Targets that do not appear are forgotten after a minute.

        If the call of a room runs already, the targets of the snapshot are added to it.
        """
        too_many = 0
        for snapshot in snapshots:
            call = self._calls.get(snapshot.room_token)
            if not snapshot.targets:
                continue
            if call is None or call.ending:
                try:
                    call = self._start(snapshot.room_token, snapshot.language)
                except TooManyCalls:
                    too_many += 1
                    continue
                except CallUnavailable as failure:
                    logger.warning("A call was not taken up again: %s", failure, extra={"room": snapshot.room_token})
                    continue
            for nc_session_id, user_id in snapshot.targets:
                call.add_target(nc_session_id, user_id)
        if too_many:
            logger.warning("%d calls were not taken up again: the maximum number of concurrent calls is reached", too_many)

    # Requests of an administrator.

    def speech_status(self) -> SpeechStatus:
        statistics = self._speech.registry.statistics
        known = {report.backend: report for report in self._speech.registry.health()}
        states = tuple(
            EngineState(name, known[name].state.value, known[name].problem) if name in known else EngineState(name, "unknown")
            for name in self._speech.registry.engines()
        )
        return SpeechStatus(
            engines=states,
            open_sockets=statistics.open_sockets,
            socket_s=self._speech.socket_s(),
            reconnects=sum(statistics.reconnects.values()),
            dropped_s=statistics.dropped_s,
        )

    async def probe_hpb(self, config: HpbConfig, connected: Callable[[], None]) -> HpbReport:
        """As `signaling.probe.probe_hpb`. If the HPB accepts the hello, calls that it has refused try again at once."""
        report = await probe_hpb(config, connected, guard=self._guard)
        self._hpb_trouble = None
        return report

    async def probe_ice(self, servers: Sequence[IceServer]) -> tuple[tuple[IceReport, ...], int]:
        """As `webrtc.probe.probe_ice`."""
        return await probe_ice(servers)

    async def probe_engine(
        self, name: str, speech: Frame, language: str, *, opened: Callable[[], None], heard: Callable[[str], None]
    ) -> str:
        """The text that one engine (`modal`, `moshi`, `embedded`) makes of `speech`. Raises SttError; see `stt.probe`."""
        engine = self._speech.registry.engine(name)
        if engine is None:
            raise SttModelError(f"The engine {name} is not configured or not installed.", fix="See the settings.")
        return await probe_speech(engine, speech, language, opened=opened, on_text=heard)

    async def enable(
        self, room_token: str, nc_session_id: str, *, language: str | None = None, user_id: str | None = None
    ) -> None:
        """Send captions to this session of the room; idempotent. Returns once the call is joined.

        Raises UnknownLanguage. Raises CallUnavailable if the call is not joined within `ANSWER_S`, and at once while the HPB
        refuses the app.
        """
        self._check_language(language)
        call = self._calls.get(room_token)
        if call is None or call.ending:
            call = self._start(room_token, language)
        was_target = call.has_target(nc_session_id)
        call.add_target(nc_session_id, user_id)
        if not call.joined.is_set() or call.refused.is_set():
            await self._joining.wait(call, self._call_tasks[call], nc_session_id, was_target=was_target)

    async def disable(self, room_token: str, nc_session_id: str) -> None:
        """No more captions for this session; no error if it had none."""
        if call := self._calls.get(room_token):
            call.remove_target(nc_session_id)

    async def set_language(self, room_token: str, language: str) -> None:
        """Captions of this room in `language` from the next words on. Raises UnknownLanguage, CallNotFound."""
        self._check_language(language)
        call = self._calls.get(room_token)
        if call is None or call.ending:
            raise CallNotFound("There is no transcription in this room.")
        call.set_language(language)

    async def leave(self, room_token: str) -> None:
        """End this room's captions, last words included; no error if there are none."""
        if call := self._calls.get(room_token):
            await self._end([call], GRACE_S)

    async def leave_all(self, grace_s: float | None = None) -> None:
        """End all calls. `grace_s`: seconds for last words and byes, `SHUTDOWN_S` if None; 0 cancels all calls."""
        await self._end(list(self._call_tasks), SHUTDOWN_S if grace_s is None else grace_s)

    def languages(self) -> Mapping[str, Language]:
        """Those that the engines understand and the settings allow; all that are understood where none of these is allowed."""
        understood = self._speech.registry.languages()
        allowed = self._config.languages if self._config else ()
        return {code: language for code, language in understood.items() if code in allowed} or understood

    def status(self) -> ServiceStatus:
        calls = [call for call in self._calls.values() if call.joined.is_set()]
        return ServiceStatus(
            calls=len(calls),
            speakers=self._speakers(),
            targets=sum(call.target_count for call in calls),
            captions_sent=self._captions_sent,
            engines=self._speech.registry.engines(),
            last_errors=tuple(self._errors),
            problem=None if self._problem is None else str(self._problem),
            speakers_waiting=self._capacity.speakers_waiting,
            slots=self._capacity.slots,
            conditions=self._conditions.current(),
            memory=self._capacity.memory(),
            load=self._capacity.load(),
        )

    def caption_statistics(self) -> CaptionStatistics:
        return caption_statistics()

    def metrics(self) -> bytes:
        """All that the engine counts, in Prometheus' text format (`observability.metrics.CONTENT_TYPE`)."""
        return expose(self.status())

    def _check_language(self, language: str | None) -> None:
        if language is not None and language not in self.languages():
            raise UnknownLanguage("This language cannot be transcribed.", fix="GET /api/v1/languages lists those that can.")

    # Calls.

    def _start(self, room_token: str, language: str | None, *, replaces: Call | None = None) -> Call:
        """Start a call. Raises CallUnavailable.

        `replaces`: the call whose place it takes, so that no limit applies, nor what is wrong with new settings.
        """
        config = self._config or (None if replaces is None else replaces.config)
        if config is None or self._tasks is None:
            problem = self._problem or "The app is starting or stopping."
            raise CallUnavailable(str(problem), cause_code=getattr(problem, "code", "stopping"))
        call = self._new_call(config, room_token, language)
        if replaces is None:
            self._check_limits(config, room_token)
        self._calls[room_token] = call
        task = self._tasks.create_task(self._supervise(call), name="call")
        self._call_tasks[call] = task
        return call

    def _check_limits(self, config: EngineConfig, room_token: str) -> None:
        """Raise CallUnavailable if the app is at a limit. A call that replaces another one of its room does not count."""
        try:
            running = sum(not call.ending for token, call in self._calls.items() if token != room_token)
            if running >= config.max_calls:
                raise _too_many(running)
            # Last: it takes what it grants.
            self._descriptors.require_call()
        except CallUnavailable as refusal:
            metrics.calls_refused.labels(refusal.code).inc()
            raise

    def _new_call(self, config: EngineConfig, room_token: str, language: str | None) -> Call:
        try:
            self._speech.registry.backend()
            return Call(
                room_token,
                language or config.default_language,
                config,
                self._speech,
                guard=self._guard,
                ice_servers=self._ice.get,
                sharing=self._capacity,
                pace=self._capacity.pace,
                on_caption_sent=self._count_caption,
                on_stt_error=self._record,
            )
        except (ConfigurationError, SttError) as error:
            raise CallUnavailable(error.message, fix=error.fix, cause_code=error.code) from None

    async def _supervise(self, call: Call) -> LiveTranscriptionError | None:
        """Run the call to its end; the error that ended it, if any."""
        failure: LiveTranscriptionError | None = None
        broken = False
        began_at = asyncio.get_running_loop().time()
        try:
            try:
                await call.run()
            except* LiveTranscriptionError as failures:
                failure = first_of(failures)
                self._record(failure)
                logger.error("A call ended: %s", failure, extra={"room": call.room_token, "code": failure.code})
            except* Exception:  # the other calls go on, and this one is started again
                broken = True
                logger.exception("A call failed unexpectedly", extra={"room": call.room_token})
            if broken:  # not within `except*`, where Python 3.11.2 wraps a cancellation into a group
                ran_s = asyncio.get_running_loop().time() - began_at
                await call.wait_for_end(self._restarts.failed(call.room_token, ran_s))
                self._start_again(call)
        finally:
            self._forget(call)
        return failure

    def _start_again(self, failed: Call) -> None:
        if self._calls.get(failed.room_token) is not failed or failed.ending or self._tasks is None:
            return
        try:
            call = self._start(failed.room_token, failed.language, replaces=failed)
        except CallUnavailable as failure:
            self._record(failure)
            return
        call.take_over(failed)

    def _join_anew(self, old: Call) -> None:
        """The same call with the settings of now; the old session says its last words meanwhile."""
        if old.ending:
            return
        try:
            call = self._start(old.room_token, old.language, replaces=old)
        except CallUnavailable as failure:
            logger.warning("A call goes on with the old settings: %s", failure, extra={"room": old.room_token})
            return
        call.take_over(old)
        old.end()

    async def _warm_quietly(self) -> None:
        try:
            await self._speech.warm()
        except SttError as failure:
            self._record(failure)

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        assert self._tasks is not None, "the service is used outside its block"
        self._tasks.create_task(work, name=name)

    def _forget(self, call: Call) -> None:
        if self._calls.get(call.room_token) is call:
            del self._calls[call.room_token]
        self._call_tasks.pop(call, None)
        if call.room_token not in self._calls:  # no other call of the room has taken its place
            self._restarts.forget(call.room_token)

    async def _end(self, calls: Sequence[Call], grace_s: float) -> None:
        tasks = [self._call_tasks[call] for call in calls if call in self._call_tasks]
        for call in calls:
            call.end(within_s=grace_s)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                logger.warning("A call did not end within %.1f s and was cancelled", grace_s)
                task.cancel()

    # Conditions.

    async def _watch_conditions(self) -> None:
        while True:
            self._observe_conditions(asyncio.get_running_loop().time())
            await asyncio.sleep(OBSERVE_S)

    def _observe_conditions(self, now: float) -> None:
        """Check all conditions; log those that have begun or ended since the last check."""
        shortages = {shortage.code: shortage for shortage in self._capacity.shortages()}
        for code in SHORTAGES:
            self._conditions.observe(code, {"": shortages[code]} if code in shortages else {}, now)
        troubled, errors = self._hpb_troubles(now)
        hpb = {condition.code: condition for condition in (hpb_condition(error, troubled) for error in errors)}
        for code in ("hpb-unreachable", "hpb-refused"):
            self._conditions.observe(code, {"": hpb[code]} if code in hpb else {}, now)
        calls = list(self._calls.values())
        lost = {(call, who): failure for call in calls for who, failure in call.path_failures().items()}
        self._conditions.observe(
            "media-path", {source: media_condition(len(lost), failure) for source, failure in lost.items()}, now
        )
        answers = sorted((item for call in calls for item in call.turn_answers().items()), key=lambda item: item[1].at)
        refused = {server: answer.code for server, answer in dict(answers).items() if answer.code}
        recent = any(now - answer.at < TURN_REFUSED_S for _, answer in answers if answer.code)
        self._conditions.observe("turn-refused", {"": turn_condition(refused)} if refused and recent else {}, now)
        for change in self._conditions.changes(now):
            self._tell(change)

    def _hpb_troubles(self, now: float) -> tuple[int, list[SignalingError]]:
        """How many calls are not in their rooms, and why. The last problem is kept for `HPB_TROUBLE_S` after its call."""
        troubles = [trouble for call in self._calls.values() if (trouble := call.trouble) is not None]
        troubled = len(troubles)
        if troubles:
            self._hpb_trouble = (troubles[0], now)
        elif any(call.joined.is_set() for call in self._calls.values()):
            self._hpb_trouble = None
        elif self._hpb_trouble is not None and now - self._hpb_trouble[1] < HPB_TROUBLE_S:
            troubles = [self._hpb_trouble[0]]
        if self._config is not None and (refusal := self._guard.refusal(self._config.hpb, now)) is not None:
            troubles.append(refusal)
        return troubled, troubles

    def _tell(self, change: Change) -> None:
        condition = change.condition
        if change.lasted_s is not None:
            logger.warning(
                "The condition %s ended after %.0f s.", condition.code, change.lasted_s, extra={"code": condition.code}
            )
            return
        metrics.conditions.labels(condition.code).inc()
        text = f"{condition.message} {condition.fix}".strip()
        logger.warning("%s", text, extra={"code": condition.code})
        self._errors.append(RecordedError(self._wall_clock(), condition.code, text))

    def _speakers(self) -> int:
        return sum(call.speaker_count for call in self._calls.values())

    def _count_caption(self, _caption: Caption) -> None:
        self._captions_sent += 1

    def _record(self, failure: LiveTranscriptionError) -> None:
        self._errors.append(RecordedError(self._wall_clock(), failure.code, str(failure)))


def _too_many(calls: int) -> TooManyCalls:
    return TooManyCalls(
        f"Captions are not available for this call: {calls} other calls are being captioned, which is the maximum.",
        fix="Try again when another call has ended, or ask an administrator to raise the maximum number of calls.",
    )
