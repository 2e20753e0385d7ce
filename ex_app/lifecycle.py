# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The lifecycle that AppAPI controls: heartbeat, initialisation in the background, enabling and disabling."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

from fastapi import APIRouter

from ex_app.background import Background
from ex_app.engine import Engine
from ex_app.errors import INTERNAL_ERROR, NextcloudError, NextcloudRefused, NotReady
from ex_app.nextcloud.gateway import NextcloudGateway, Page
from ex_app.nextcloud.schemes import InvalidScheme
from ex_app.responses import Answer
from live_transcription.errors import LiveTranscriptionError

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: One step of the initialisation; raises a LiveTranscriptionError, which AppAPI shows to the administrator.
InitStep: TypeAlias = Callable[[], Awaitable[None]]

#: A request that Nextcloud gets each time the app is enabled, and what it does, such as "add a form".
Registration: TypeAlias = tuple[str, Callable[[], Awaitable[None]]]

#: Delays in seconds between attempts to reach Nextcloud; the last one is repeated.
RETRY_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
#: Attempts to report progress, each of 60 s at most.
REPORT_ATTEMPTS = 10
#: Longest time in seconds for all calls to end when the app is disabled, if their own limit fails; AppAPI waits 60 s.
DISABLE_S = 30.0
#: Longest time in seconds to remove the page when the app is disabled.
PAGE_S = 15.0


class Lifecycle:
    """Tracks whether the app is enabled and initialised. `enabled` is None until Nextcloud has answered.

    `registrations`: made in the background each time the app is enabled. `on_enabled` and `on_disabled` are called at each
    change, `on_disabled` before the calls end.
    """

    def __init__(
        self,
        engine: Engine,
        nextcloud: NextcloudGateway,
        background: Background,
        init_steps: Sequence[InitStep] = (),
        *,
        page: Page | None = None,
        registrations: Sequence[Registration] = (),
        on_enabled: Callable[[], None] = lambda: None,
        on_disabled: Callable[[], None] = lambda: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.enabled: bool | None = None
        self.initialising = False
        #: Set while Nextcloud has the app enabled.
        self.serving = asyncio.Event()
        self._page = page
        self._registrations = registrations
        self._on_enabled = on_enabled
        self._on_disabled = on_disabled
        self._background = background
        self._engine = engine
        self._nextcloud = nextcloud
        self._init_steps = init_steps
        self._sleep = sleep
        self._confirmed = asyncio.Event()

    def start(self) -> None:
        """Ask Nextcloud whether the app is enabled, since AppAPI does not call it when the container restarts."""
        self._background.run("read enabled", self._read_enabled)

    def credentials_confirmed(self) -> None:
        """Nextcloud has used the app's secret: repeat the requests that it has refused."""
        self._confirmed.set()
        self._confirmed = asyncio.Event()

    def require_ready(self) -> None:
        """Raise NotReady if the app is disabled or initialising; Nextcloud may enable it before the initialisation ends."""
        if self.initialising:
            raise NotReady("Live transcription is still starting.", fix="Try again in a moment.")
        if self.enabled is False:
            # Talk would not ask a disabled app, so it may have been enabled in the meantime.
            self._background.run("read enabled", self._read_enabled)
            raise NotReady("Live transcription is disabled.", fix="Enable the app in Nextcloud.")

    def begin_init(self) -> None:
        """Start the initialisation, unless it is running."""
        if not self.initialising:
            self.initialising = True
            self._background.run("init", self._init)

    async def set_enabled(self, enabled: bool) -> None:
        """Enable or disable the app. Disabling ends all calls."""
        self._background.cancel("read enabled")
        self._set(enabled)
        logger.info("The app was %s", "enabled" if enabled else "disabled")
        if not enabled:
            try:
                async with asyncio.timeout(DISABLE_S):
                    await self._engine.leave_all()
            except TimeoutError:
                logger.error("Some calls did not end within %.0f s", DISABLE_S)
            await self._remove_page()

    def _set(self, enabled: bool) -> None:
        self.enabled = enabled
        if enabled:
            self.serving.set()
            # In the background, so that captions do not wait for the page.
            self._background.run("add the page", self._put_page)
            self._background.run("register", self._register)
            self._on_enabled()
        else:
            self.serving.clear()
            self._background.cancel("add the page")
            self._background.cancel("register")
            self._on_disabled()

    async def _put_page(self) -> None:
        if self._page is not None:
            await self._insist("add the settings page to Nextcloud's menu", partial(self._nextcloud.put_page, self._page))

    async def _register(self) -> None:
        """Register what Nextcloud shows only while the app is enabled; nothing has to be removed later."""
        for what, request in self._registrations:
            try:
                await self._insist(what, request, REPORT_ATTEMPTS)
            except InvalidScheme as error:
                logger.error("Did not %s. %s", what, error)

    async def _remove_page(self) -> None:
        """Remove the page while the request that disables the app runs: afterwards, Nextcloud refuses the app's requests."""
        if self._page is None:
            return
        try:
            async with asyncio.timeout(PAGE_S):
                await self._nextcloud.remove_page(self._page)
        except (NextcloudError, TimeoutError) as error:
            logger.warning("Could not remove the settings page from Nextcloud's menu. %s", error)

    async def _read_enabled(self) -> None:
        enabled = await self._insist("ask Nextcloud whether the app is enabled", self._nextcloud.is_enabled)
        if enabled is not None:
            self._set(enabled)
            logger.info("The app is %s in Nextcloud", "enabled" if enabled else "not enabled yet")
            if enabled and not self.initialising:
                # An earlier process may have ended before it reported the end of its initialisation; AppAPI ignores a repeat.
                await self._report(100)

    async def _init(self) -> None:
        percent = 0
        try:
            for number, step in enumerate(self._init_steps):
                percent = 100 * number // len(self._init_steps)
                await self._report(percent)
                await step()
        except LiveTranscriptionError as error:
            logger.error("The initialisation failed: %s", error, extra={"code": error.code})
            await self._report(percent, error.text)
            return
        except Exception:  # the administrator waits for the outcome in any case
            logger.exception("The initialisation failed unexpectedly")
            await self._report(percent, INTERNAL_ERROR)
            return
        finally:
            # Before the last report, since AppAPI enables the app during it.
            self.initialising = False
        await self._report(100)

    async def _report(self, percent: int, error: str = "") -> None:
        request = partial(self._nextcloud.report_progress, percent, error)
        await self._insist(f"report progress ({percent} %) to Nextcloud", request, REPORT_ATTEMPTS)

    async def _insist(self, what: str, request: Callable[[], Awaitable[T]], attempts: int | None = None) -> T | None:
        """Repeat a request until Nextcloud answers. Returns the answer; None after `attempts` failures."""
        for delay in itertools.islice(itertools.chain(RETRY_S, itertools.repeat(RETRY_S[-1])), attempts):
            confirmed = self._confirmed
            try:
                return await request()
            except NextcloudRefused as error:
                # AppAPI calls the app as soon as it is registered or enabled.
                delay = max(delay, error.retry_after_s)
                logger.warning("Could not %s; next attempt when Nextcloud calls, or in %.0f s. %s", what, delay, error)
                await self._sleep_unless(confirmed, delay)
            except NextcloudError as error:
                logger.warning("Could not %s; next attempt in %.0f s. %s", what, delay, error)
                await self._sleep(delay)
        logger.error("Gave up: could not %s", what)
        return None

    async def _sleep_unless(self, event: asyncio.Event, delay: float) -> None:
        """Sleep until the event is set, and no longer than the delay."""
        waits = [asyncio.ensure_future(self._sleep(delay)), asyncio.ensure_future(event.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def lifecycle_routes(lifecycle: Lifecycle) -> APIRouter:
    router = APIRouter()

    @router.get("/heartbeat")
    async def heartbeat() -> Answer:
        return Answer({"status": "ok"})

    @router.post("/init")
    async def init() -> Answer:
        lifecycle.begin_init()
        return Answer()

    @router.put("/enabled")
    async def enabled(enabled: str = "") -> Answer:
        if enabled not in ("0", "1", "true", "false"):
            return Answer({"error": "The parameter enabled must be 0 or 1."}, 400)
        await lifecycle.set_enabled(enabled in ("1", "true"))
        return Answer({"error": ""})

    return router
