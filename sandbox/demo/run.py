# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The demo from beginning to end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from live_transcription.errors import main_error
from sandbox import loopback_ice
from sandbox.caller import CallFailed, SignalingError
from sandbox.demo.evaluation import Judgement
from sandbox.demo.page import page
from sandbox.demo.processes import ProcessFailed
from sandbox.demo.programme import CALLS, Programme, Turn, programme
from sandbox.demo.report import PRINTED, report
from sandbox.demo.room import CaptionsRefused, DemoRoom
from sandbox.demo.setup import SpeechToText, Stage, complaints, mean_join_s, set_up
from sandbox.demo.speech_server import COLD_START_S
from sandbox.demo.terminal import Terminal
from sandbox.demo.view import DemoView, Line, RoomView
from sandbox.nextcloud.serving import LoopbackServer

_PAUSE_S = 2.0


#: What can go wrong on a machine that is not ours; anything else is a defect and keeps its traceback.
_EXPECTED = (ProcessFailed, CaptionsRefused, CallFailed, SignalingError, OSError, TimeoutError)


class DemoFailed(Exception):
    """Something did not start, or ended by itself; the message says what."""


@dataclass(frozen=True, slots=True)
class Options:
    """`recordings`: names of those that are played instead of the usual ones. `programme` replaces both."""

    once: bool
    talk: str
    port: int
    recordings: tuple[str, ...]
    build: Path
    stt: str = "embedded"
    words: str = "located"
    programme: Programme | None = None


async def run(options: Options) -> int:
    """0: all well; 1: captions are wrong. Raises DemoFailed."""
    try:
        return await _run(options)
    except _EXPECTED as error:
        raise DemoFailed(_first(error)) from error
    except BaseExceptionGroup as group:
        expected = group.subgroup(_EXPECTED)
        if expected is None:
            raise
        raise DemoFailed(_first(expected)) from group


def _first(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        error = main_error(error)
    return str(error) or type(error).__name__


async def _run(options: Options) -> int:
    loopback_ice.install()
    terminal, view = Terminal(), DemoView()
    played = options.programme or programme(options.recordings)
    if options.stt != "embedded" and options.words == "transcribed":
        # The engine in the stand-in needs the language; Kyutai does not.
        played = played.only(played.languages[0])
    stt = SpeechToText(options.stt, options.words, played.languages[0])
    logs = options.build / "demo"

    def say(text: str) -> None:
        view.status = text
        view.changed()
        terminal.say(text)

    async with AsyncExitStack() as stack:
        address = await _serve_page(stack, view, played.credits(), options.port)
        say(f"The calls can be seen at {address}")
        try:
            stage = await stack.enter_async_context(set_up(options.talk, stt, logs.resolve(), say))
        except ImportError as error:
            raise ProcessFailed(f"A part is missing: {error}") from error
        if stage.speech is not None and await stage.speech.fall_asleep():
            say(f"The GPU sleeps; it will take {COLD_START_S:.0f} s to wake up, and no word may be lost")
        rooms = await _enter_rooms(stack, stage, view, terminal, played)
        say("Both calls are captioned" if len(rooms) == 2 else "The call is captioned")
        terminal.print(f"    Watch here, or at {address}" + ("" if options.once else " (Ctrl-C ends)"))
        terminal.show(view.rooms)
        try:
            judgements = await _perform(stage, rooms, played, terminal, once=options.once)
        finally:
            terminal.close()
        view.over = True
        say("The calls are over")
        joins = [room.join_to_audio_s for room in rooms]
        if None in joins:
            joins = [await mean_join_s(stage.app)]
        words_served = await stage.speech.words() if stage.speech is not None else None
        leaked = _leaks(logs / "app.log", judgements)
        found = report(
            judgements, joins, leaked=leaked, engine=options.stt, words_served=words_served, talking=len(played.lanes)
        )
        found.write(options.build / "demo.json")
        for line in found.lines():
            terminal.print(line)
        for complaint in complaints(logs / "app.log") if found.faults else ():
            terminal.print(f"The app logged: {complaint}")
        terminal.print(f"Written to {options.build / 'demo.json'}; logs in {logs}/")
        return 1 if found.faults else 0


async def _serve_page(stack: AsyncExitStack, view: DemoView, credits_: list[str], port: int) -> str:
    app = page(view, credits_)
    try:
        server = await stack.enter_async_context(LoopbackServer(app, port=port))
    except OSError:
        server = await stack.enter_async_context(LoopbackServer(app))

    def end_streams() -> None:
        view.over = True
        view.changed()

    stack.callback(end_streams)
    return server.url


async def _enter_rooms(
    stack: AsyncExitStack, stage: Stage, view: DemoView, terminal: Terminal, played: Programme
) -> list[DemoRoom]:
    def captioned(room: RoomView, lines: list[Line]) -> None:
        for line in lines:
            terminal.line(room, room.name_of(line.speaker), line.text)
        terminal.changed()

    rooms = []
    for language in played.languages:
        name, reader = CALLS.get(language, (language, "Dana"))
        room = RoomView(f"demo{language}", name, language)
        view.rooms.append(room)
        entering = DemoRoom(stage, view, room, played.speakers(language), reader, captioned)
        rooms.append(await stack.enter_async_context(entering))
    return rooms


async def _perform(
    stage: Stage, rooms: Sequence[DemoRoom], played: Programme, terminal: Terminal, *, once: bool
) -> list[Mapping[str, Judgement]]:
    """All lanes at once; without `once` until it is cancelled. Raises an ExceptionGroup of what `run` knows."""
    judgements: list[Mapping[str, Judgement]] = []
    by_language = {room.view.language: room for room in rooms}

    async def play(lane: tuple[Turn, ...]) -> None:
        turns: Iterator[Turn] = iter(lane) if once else cycle(lane)
        for turn in turns:
            room = by_language[turn.language]
            judgement = await room.perform(turn)
            if judgement is not None:
                judgements.append(judgement)
            if not once:
                figures = "  ".join(f"{name} {value:.2f}" for name, value in room.view.figures.items())
                terminal.print(f"      [{room.view.language}] {figures}")
                await asyncio.sleep(_PAUSE_S)

    async with asyncio.TaskGroup() as group:
        background = [group.create_task(room.show_speaking()) for room in rooms]
        background.append(group.create_task(stage.ex_app.ended()))
        if stage.signaling.watch is not None:
            background.append(group.create_task(stage.signaling.watch()))  # type: ignore[arg-type]
        if stage.speech is not None:
            background.append(group.create_task(stage.speech.child.ended()))
        await asyncio.gather(*(group.create_task(play(lane)) for lane in played.lanes))
        for task in background:
            task.cancel()
    return judgements


def _leaks(log: Path, judgements: list[Mapping[str, Judgement]]) -> bool:
    """Whether the app's log holds a phrase of a caption (five words in a row)."""
    logged = log.read_text(encoding="utf-8", errors="replace").lower() if log.exists() else ""
    for by_renderer in judgements:
        words = by_renderer[PRINTED].text.lower().split()
        if any(" ".join(words[start : start + 5]) in logged for start in range(len(words) - 4)):
            return True
    return False
