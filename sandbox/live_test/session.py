# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The test call from beginning to end: one participant speaks a recording, another one reads the captions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from sandbox.caller import RemoteCaller
from sandbox.live_test import checks
from sandbox.live_test.advice import SELF_TEST, first_expected, not_in_call, refused_room
from sandbox.live_test.checklist import CannotGoOn, CheckFailed, Checklist
from sandbox.live_test.options import Options
from sandbox.live_test.talk_client import BACKEND_PATH, TalkClient, TalkRefused

NAMES = {"speaker": "Caption test (speaks)", "reader": "Caption test (reads)"}
_PUBLIC = 3
_MODERATORS = (1, 2, 6)
_LOBBY = 1
#: The HPB lists the participants to newcomers after this many seconds at most.
_ROSTER_S = 1.0


async def run(options: Options, say: Callable[[str], None]) -> bool:
    """True if something failed. `say` gets each line. The call is left in any case."""
    checklist = Checklist(say, checks.TITLES)
    try:
        async with AsyncExitStack() as stack:
            await _run(stack, options, checklist)
    except CannotGoOn:
        pass
    except BaseExceptionGroup as group:
        if group.subgroup(CannotGoOn) is None:
            error = first_expected(group)
            if error is None:
                raise
            with checklist.check("The call stays connected to the end"):
                raise CheckFailed(f"It broke off: {error or type(error).__name__}", SELF_TEST) from group
    for line in checklist.table():
        say(line)
    return checklist.failed


async def _run(stack: AsyncExitStack, options: Options, checklist: Checklist) -> None:
    tab = await stack.enter_async_context(_tab(options, options.user, options.password))
    await _look_at_nextcloud(tab, checklist)
    room, settings = await _look_at_room(tab, options, checklist)
    public = room.get("type") == _PUBLIC
    second = _tab(options, "", "") if public else _tab(options, options.user, options.password)
    second = await stack.enter_async_context(second)
    with checklist.check(checks.CALL, needed=True) as check:
        reader = await _enter(stack, settings, tab, options, "reader")
        await asyncio.sleep(_ROSTER_S)
        others = sum(1 for session, flags in reader.others.items() if flags and session != reader.session_id)
        if others:
            check.seen = f"others are in this call ({others}); they will hear the recording"
    with checklist.check(checks.AUDIO, needed=True):
        speaker = await _enter(stack, settings, second, options, "speaker")
    call = checks.TestCall(
        reader,
        speaker,
        tab,
        checklist,
        moderator=room.get("participantType") in _MODERATORS,
        room_language=str(room.get("liveTranscriptionLanguageId") or ""),
        quick=options.quick,
    )
    reader.captions.on_caption = call.show
    try:
        await call.run()
    finally:
        await call.clean_up()


def _tab(options: Options, user: str, password: str) -> TalkClient:
    return TalkClient(
        options.nextcloud_url,
        options.token,
        user=user,
        password=password,
        room_password=options.room_password,
        verify=options.verify,
    )


async def _look_at_nextcloud(tab: TalkClient, checklist: Checklist) -> None:
    with checklist.check(checks.NEXTCLOUD, needed=True) as check:
        try:
            found = await tab.capabilities()
        except TalkRefused as error:
            raise refused_room(error, guest=not tab.user) from None
        talk = found.get("capabilities", {}).get("spreed")
        if not talk:
            raise CheckFailed("This Nextcloud has no Talk, or not for this user.", "Install Talk (app spreed).")
        check.seen = f"Nextcloud {found.get('version', {}).get('string', '?')}, Talk {talk.get('version', '?')}"
    with checklist.check(checks.OFFERED, needed=True):
        in_calls = talk.get("config", {}).get("call", {})
        if in_calls.get("end-to-end-encryption"):
            raise CheckFailed(
                "Calls are end-to-end encrypted here: nobody but browsers can hear them.",
                "Switch the encryption of calls off in Talk's settings, or do without captions.",
            )
        if "live-transcription" not in in_calls:
            raise CheckFailed(
                "This version of Talk does not support live transcription.", "Update to Nextcloud 32 with Talk 22 or newer."
            )
        if not in_calls["live-transcription"]:
            raise CheckFailed(
                "Talk offers no captions: either it has no high-performance backend, or the app is not enabled.",
                "Set the backend in Talk's settings; `occ app_api:app:list` has to show live_transcription enabled.",
            )


async def _look_at_room(tab: TalkClient, options: Options, checklist: Checklist) -> tuple[dict[str, Any], dict[str, Any]]:
    with checklist.check(checks.ROOM, needed=True) as check:
        try:
            room, settings = await tab.room(), await tab.signaling_settings()
        except TalkRefused as error:
            raise refused_room(error, guest=not tab.user) from None
        if room.get("lobbyState") == _LOBBY and not tab.user:
            raise CheckFailed("The conversation's lobby is on.", "Switch it off, or set NEXTCLOUD_USER to a moderator.")
        if settings.get("signalingMode") == "internal" or not settings.get("server"):
            raise CheckFailed("Talk uses no high-performance backend.", "Set one up in Talk's administration settings.")
        public = room.get("type") == _PUBLIC
        if not public and not options.user:
            raise CheckFailed(
                "The conversation is not public.", "Allow guests, or set NEXTCLOUD_USER and NEXTCLOUD_APP_PASSWORD."
            )
        who = "a user reads" if tab.user else "a guest reads"
        check.seen = f"{who}, a guest speaks" if public else "one user does both, in two tabs"
    return room, settings


async def _enter(stack: AsyncExitStack, settings: dict[str, Any], tab: TalkClient, options: Options, role: str) -> RemoteCaller:
    """Into the call. Raises CheckFailed."""
    caller = RemoteCaller(
        settings["server"],
        tab,
        options.token,
        BACKEND_PATH,
        name=NAMES[role],
        publishes=role == "speaker",
        verify=options.verify,
    )
    try:
        return await stack.enter_async_context(caller)
    except (BaseExceptionGroup, Exception) as error:
        expected = first_expected(error)
        if expected is None:
            raise
        raise not_in_call(expected, caller, guest=not tab.user) from None
