# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Calls resume after a restart."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ex_app import call_store as module
from ex_app.application import create_app
from ex_app.call_store import FILE_NAME, STALE_S, VERSION, CallStore, StoredCalls, parse, serialise, since_boot
from ex_app.lifecycle import Lifecycle
from live_transcription.status import CallSnapshot
from tests.ex_app.fakes import ENVIRONMENT, FakeEngine, FakeNextcloud

NOW = 1_750_000_000.0
BOOT = ("the boot", 5000.0)
ROOMS: dict[str, dict[str, str | None]] = {"abc": {"nc1": "user-1", "nc2": None}}


def store_of(engine: FakeEngine, storage: Path | None, now: float = NOW, boot: tuple[str, float] | None = BOOT) -> CallStore:
    return CallStore(engine, storage, lambda: now, boot_clock=lambda: boot, sleep=lambda _: asyncio.sleep(0))


async def at_once() -> None:
    """The app is enabled and knows its settings."""


@asynccontextmanager
async def kept(engine: FakeEngine, storage: Path | None, now: float = NOW, **clock: Any) -> AsyncIterator[CallStore]:
    """A running store; the process is killed when the block ends."""
    store = store_of(engine, storage, now, **clock)
    task = asyncio.create_task(store.run(at_once))
    try:
        yield store
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  a thread writes
            await asyncio.sleep(0.001)


def rooms_in(storage: Path) -> list[str] | None:
    """The stored rooms; None if there is no file."""
    with suppress(FileNotFoundError):
        return [call.room_token for call in parse((storage / FILE_NAME).read_bytes()).calls]
    return None


async def write_down(storage: Path, rooms: dict[str, dict[str, str | None]] = ROOMS, **clock: Any) -> None:
    """Run the app with these rooms, and kill it."""
    async with kept(FakeEngine(rooms=dict(rooms)), storage, **clock):
        await until(lambda: rooms_in(storage) == list(rooms))


def taken_up(storage: Path, now: float = NOW, boot: tuple[str, float] | None = BOOT) -> dict[str, dict[str, str | None]]:
    engine = FakeEngine()
    store_of(engine, storage, now, boot).restore()
    return engine.rooms


async def test_calls_resume_after_the_app_was_killed(tmp_path: Path) -> None:
    await write_down(tmp_path)
    assert os.stat(tmp_path / FILE_NAME).st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == [FILE_NAME]
    assert taken_up(tmp_path) == ROOMS


async def test_a_stop_stores_the_current_calls(tmp_path: Path) -> None:
    engine = FakeEngine(rooms=dict(ROOMS))
    async with kept(engine, tmp_path) as store:
        await until(lambda: rooms_in(tmp_path) == ["abc"])
        engine.rooms["def"] = {"nc3": "user-2"}
        await store.leave_all()
        assert engine.rooms == {}
        await asyncio.sleep(0.02)
        assert engine.rooms == {}, "an app that ends restores nothing"
    assert taken_up(tmp_path) == {**ROOMS, "def": {"nc3": "user-2"}}


async def test_ended_calls_are_removed_from_the_file(tmp_path: Path) -> None:
    engine = FakeEngine(rooms=dict(ROOMS))
    async with kept(engine, tmp_path):
        await until(lambda: rooms_in(tmp_path) == ["abc"])
        engine.rooms.clear()
        await until(lambda: rooms_in(tmp_path) == [])
    assert b"abc" not in (tmp_path / FILE_NAME).read_bytes()


# How long ago that was.


async def test_calls_do_not_resume_after_a_long_downtime(tmp_path: Path) -> None:
    await write_down(tmp_path)
    assert taken_up(tmp_path, NOW + STALE_S + 1, ("the boot", BOOT[1] + STALE_S + 1)) == {}
    assert taken_up(tmp_path, NOW + STALE_S + 1, ("another boot", 20.0)) == {}
    assert taken_up(tmp_path, NOW + STALE_S + 1, None) == {}


@pytest.mark.parametrize("step_s", [-0.1, -1.0, -300.0, -86_400.0, 300.0, 86_400.0])
async def test_a_changed_clock_loses_no_call_within_one_boot(tmp_path: Path, step_s: float) -> None:
    await write_down(tmp_path)
    assert taken_up(tmp_path, NOW + 5 + step_s, ("the boot", BOOT[1] + 5)) == ROOMS


@pytest.mark.parametrize("boot", [None, ("another boot", 20.0)])
@pytest.mark.parametrize("step_s", [-0.1, -1.0, -600.0, 600.0])
async def test_after_a_reboot_a_clock_step_of_minutes_loses_no_call(
    tmp_path: Path, step_s: float, boot: tuple[str, float] | None
) -> None:
    await write_down(tmp_path)
    assert taken_up(tmp_path, NOW + 5 + step_s, boot) == ROOMS


def test_the_time_since_boot_is_known() -> None:
    first, second = since_boot(), since_boot()
    if first is None or second is None:
        pytest.skip("this system does not tell its boot")
    assert first[0] == second[0]
    assert 0 < first[1] <= second[1]


# The form of the file.


def test_a_file_of_an_older_version_is_read(tmp_path: Path) -> None:
    calls = [{"room": "abc", "language": "en", "targets": [["nc1", "user-1"], ["nc2", None]]}]
    (tmp_path / FILE_NAME).write_text(json.dumps({"at": NOW, "calls": calls}))
    assert taken_up(tmp_path) == ROOMS


async def test_a_file_of_a_newer_version_is_read(tmp_path: Path) -> None:
    await write_down(tmp_path)
    path = tmp_path / FILE_NAME
    content = json.loads(path.read_text())
    content["version"] = VERSION + 7
    content["cluster"] = {"node": 1}
    content["boot"]["zone"] = "x"
    for room in content["rooms"]:
        room["lanes"] = [{"language": "fr"}]
        for target in room["targets"]:
            target["language"] = "fr"
        room["targets"][0].pop("user")
        room["targets"] += [{"phone": "without a session"}, "of another kind", None, {"session": 7}]
    content["rooms"] += [{"token": "of another kind"}, 7, {"room": "not a token!", "targets": []}]
    content["rooms"].append({"room": "def", "targets": [{"session": "nc3"}]})
    path.write_text(json.dumps(content))
    assert taken_up(tmp_path) == {"abc": {"nc1": None, "nc2": None}, "def": {"nc3": None}}


async def test_an_older_version_can_read_this_file(tmp_path: Path) -> None:
    """Version 1 requires a number `at`, and `calls` whose targets are pairs; it ignores the rest."""
    await write_down(tmp_path)
    content = json.loads((tmp_path / FILE_NAME).read_text())
    assert content["at"] == NOW
    assert content["calls"] == [{"room": "abc", "language": "en", "targets": [["nc1", "user-1"], ["nc2", None]]}]
    assert content["version"] == VERSION


NAMES = st.from_regex(r"\A[A-Za-z0-9]{1,64}\Z")
TARGETS = st.tuples(st.from_regex(r"\A[!-~]{1,300}\Z"), st.none() | st.text(st.characters(codec="utf-8"), max_size=255))
SNAPSHOTS = st.builds(
    CallSnapshot, NAMES, st.text(st.characters(codec="utf-8"), max_size=64), st.lists(TARGETS, min_size=1).map(tuple)
)


@given(
    st.lists(SNAPSHOTS).map(tuple),
    st.floats(-1e12, 1e12),
    st.none() | st.tuples(st.text("abc-", min_size=1), st.floats(0, 1e9)),
)
def test_a_written_file_is_read_unchanged(calls: tuple[CallSnapshot, ...], at: float, boot: tuple[str, float] | None) -> None:
    stored = StoredCalls(calls, at, boot)
    assert parse(serialise(stored)) == stored


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["room", "targets", "session", "id", "x"]), inner)
    ),
    max_leaves=8,
)
FILES = st.binary(max_size=200) | st.fixed_dictionaries(
    {}, optional={"at": JSON | st.just(NOW), "boot": JSON, "rooms": JSON, "calls": JSON, "version": JSON}
).map(lambda content: json.dumps(content).encode())


@given(FILES)
def test_the_app_starts_with_any_content_of_the_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    storage = tmp_path_factory.mktemp("storage")
    (storage / FILE_NAME).write_bytes(content)
    assert taken_up(storage) == {}


def test_the_app_starts_if_a_directory_replaces_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE_NAME).mkdir()
    assert taken_up(tmp_path) == {}
    assert "cannot be read" in caplog.text


# Storages that fail.


async def test_a_full_disk_keeps_the_old_file_and_the_write_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = FakeEngine(rooms=dict(ROOMS))
    tried = 0

    def fail(path: Path, content: bytes) -> None:
        nonlocal tried
        tried += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with kept(engine, tmp_path):
        await until(lambda: rooms_in(tmp_path) == ["abc"])
        with monkeypatch.context() as full:
            full.setattr(module, "replace_file", fail)
            engine.rooms["def"] = {"nc3": None}
            await until(lambda: tried > 20)
            assert rooms_in(tmp_path) == ["abc"]
            assert caplog.text.count("cannot be stored") == 1
        await until(lambda: rooms_in(tmp_path) == ["abc", "def"])


async def test_a_failed_write_leaves_only_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    await write_down(tmp_path)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="error"):
        module.replace_file(tmp_path / FILE_NAME, b"half")
    assert os.listdir(tmp_path) == [FILE_NAME]
    assert taken_up(tmp_path) == ROOMS


async def test_a_thread_that_cannot_start_only_delays_the_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_thread(*arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    engine = FakeEngine(rooms=dict(ROOMS))
    with monkeypatch.context() as short:
        short.setattr(asyncio, "to_thread", no_thread)
        async with kept(engine, tmp_path):
            await asyncio.sleep(0.02)
            assert rooms_in(tmp_path) is None
            short.undo()
            await until(lambda: rooms_in(tmp_path) == ["abc"])


async def test_a_late_write_does_not_replace_a_newer_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is slow: the app stops while a thread has yet to write older calls."""
    engine = FakeEngine(rooms=dict(ROOMS))
    begun, go_on = threading.Event(), threading.Event()
    main = threading.get_ident()

    def slow(stored: StoredCalls) -> bytes:
        if threading.get_ident() != main:
            begun.set()
            go_on.wait(5)
        return serialise(stored)

    monkeypatch.setattr(module, "serialise", slow)
    async with kept(engine, tmp_path) as store:
        await until(begun.is_set)
        engine.rooms["def"] = {"nc3": None}
        await store.leave_all()
        go_on.set()
        await asyncio.sleep(0.05)
    assert rooms_in(tmp_path) == ["abc", "def"]


async def test_an_unwritable_storage_is_logged_and_calls_continue(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    engine = FakeEngine(rooms=dict(ROOMS))
    async with kept(engine, tmp_path / "file" / "below"):
        await until(lambda: "cannot be stored" in caplog.text)
    assert engine.rooms
    async with kept(engine, None):
        await asyncio.sleep(0.01)


# When the app is enabled.


@asynccontextmanager
async def app_with(engine: FakeEngine, nextcloud: FakeNextcloud, storage: Path) -> AsyncIterator[Lifecycle]:
    """The app until it is killed: what it writes at its end does not count."""
    app = create_app(ENVIRONMENT, engine, nextcloud, calls=store_of(engine, storage))
    file = storage / FILE_NAME
    async with app.router.lifespan_context(app):
        yield app.state.lifecycle
        content = file.read_bytes() if file.exists() else None
    if content is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(content)


async def test_calls_resume_once_the_app_is_enabled_and_its_settings_are_known(tmp_path: Path) -> None:
    await write_down(tmp_path)
    engine, nextcloud = FakeEngine(), FakeNextcloud(values={"lt_hpb_url": "https://saved.example.com"})
    async with app_with(engine, nextcloud, tmp_path):
        await until(lambda: engine.rooms)
        assert engine.applied, "the saved settings apply before calls are joined"
        assert engine.rooms == ROOMS
    assert rooms_in(tmp_path) == ["abc"], "a stop loses no call"


async def test_calls_are_stored_however_late_the_app_is_enabled(tmp_path: Path) -> None:
    """AppAPI marks an app as enabled before its init, so that it can read settings, and calls `/enabled` later."""
    engine, nextcloud = FakeEngine(), FakeNextcloud(enabled=False)
    async with app_with(engine, nextcloud, tmp_path) as lifecycle:
        await until(lambda: lifecycle.enabled is False and nextcloud.reads)
        await asyncio.sleep(0.02)
        assert rooms_in(tmp_path) is None
        await lifecycle.set_enabled(True)
        engine.rooms.update(ROOMS)
        await until(lambda: rooms_in(tmp_path) == ["abc"])
    assert taken_up(tmp_path) == ROOMS


async def test_calls_resume_after_the_app_was_disabled_and_enabled(tmp_path: Path) -> None:
    """As in an update, with another process in between."""
    engine, nextcloud = FakeEngine(), FakeNextcloud()
    async with app_with(engine, nextcloud, tmp_path) as lifecycle:
        await until(lambda: lifecycle.enabled)
        engine.rooms.update(ROOMS)
        await until(lambda: rooms_in(tmp_path) == ["abc"])
        engine.rooms["def"] = {"nc3": None}
        await lifecycle.set_enabled(False)
        assert engine.rooms == {}
        await asyncio.sleep(0.02)
        assert rooms_in(tmp_path) == ["abc", "def"], "the file keeps the calls while the app is disabled"
        await lifecycle.set_enabled(True)
        await until(lambda: engine.rooms)
        assert list(engine.rooms) == ["abc", "def"]
        engine.rooms.pop("abc")
        await until(lambda: rooms_in(tmp_path) == ["def"])


async def test_disabling_the_app_right_after_its_start_loses_no_call(tmp_path: Path) -> None:
    await write_down(tmp_path)
    engine, nextcloud = FakeEngine(), FakeNextcloud(enabled=False)
    async with app_with(engine, nextcloud, tmp_path) as lifecycle:
        await until(lambda: lifecycle.enabled is False)
        await lifecycle.set_enabled(False)
    assert rooms_in(tmp_path) == ["abc"]


def test_the_language_of_translated_captions_is_stored() -> None:
    call = CallSnapshot("abc", "en", (("nc1", "user-1"), ("nc2", None)), (("nc2", "fr"),))
    assert parse(serialise(StoredCalls((call,), NOW, BOOT))).calls == (call,)
