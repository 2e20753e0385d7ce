# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The asyncio shell against a real websocket server in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from live_transcription.call.roster import Roster
from live_transcription.config import HpbConfig
from live_transcription.errors import RoomRefused, SignalingRefused
from live_transcription.observability import metrics
from live_transcription.runtime.backoff import Backoff
from live_transcription.signaling import hello_guard
from live_transcription.signaling.connection import LARGE_FRAME_CHARS, MAX_FRAME_BYTES, SignalingConnection
from live_transcription.signaling.event_queue import EventQueue
from live_transcription.signaling.events import (
    OfferReceived,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
    SessionInterrupted,
    SessionStarted,
    SignalingEnded,
    SignalingEvent,
    SubscribeFailed,
)
from live_transcription.signaling.hello_guard import HelloGuard
from live_transcription.signaling.messages import SLICE_ENTRIES
from live_transcription.signaling.protocol import Timeouts
from live_transcription.signaling.requests import Recipient
from live_transcription.types import Caption, Secret
from tests.unit.signaling.hpb_stub import SECRET, HpbStub, hpb_stub

ROOM = "room-token"
CAPTION = Caption(speaker="speaker-1", text="hello there", language="en")


def config(stub: HpbStub, secret: str = SECRET) -> HpbConfig:
    return HpbConfig(url=stub.url, internal_secret=Secret(secret), backend_url="https://cloud.example.com")


def connection(stub: HpbStub, *, guard: HelloGuard | None = None, secret: str = SECRET, **options: Any) -> SignalingConnection:
    options.setdefault("backoff", Backoff(lambda: 0.1, first_s=0.01, cap_s=0.05))
    return SignalingConnection(config(stub, secret), ROOM, guard=guard or HelloGuard(), **options)


@asynccontextmanager
async def running(client: SignalingConnection) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(client.run())
    try:
        yield task
    finally:
        await client.close()
        await asyncio.wait([task])


async def next_of(client: SignalingConnection, kind: type[SignalingEvent]) -> Any:
    async with asyncio.timeout(5):
        event = await client.next_event()
    assert isinstance(event, kind), event
    return event


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the server side has no event to wait for
            await asyncio.sleep(0.005)


def leave(session_id: str) -> dict[str, Any]:
    return {"type": "event", "event": {"target": "room", "type": "leave", "leave": [session_id]}}


async def test_joins_the_room_and_says_bye() -> None:
    async with hpb_stub() as stub:
        client = connection(stub)
        async with running(client) as task:
            started = await next_of(client, SessionStarted)
            assert (started.resumed, started.server_version) == (False, "2.0.2")
            assert client.in_room
            assert "recipient-call" in started.features
            assert stub.frames("room") == [{"type": "room", "room": {"roomid": ROOM}, "id": "2"}]
        assert task.done()
        assert task.exception() is None
        assert not client.in_room
        assert len(stub.frames("bye")) == 1
        assert stub.sessions == {}
        with pytest.raises(SignalingEnded):
            await client.next_event()


async def test_captions_queued_before_close_are_sent_before_the_bye() -> None:
    async with hpb_stub() as stub:
        client = connection(stub)
        async with running(client):
            await next_of(client, SessionStarted)
            for _ in range(50):
                assert client.send_caption(Recipient("listener-1"), CAPTION)
            assert client.send_caption(Recipient(None), CAPTION)
            await client.close()
        kinds = [frame["type"] for frame in stub.received]
        assert kinds == ["hello", "room", *["message"] * 51, "bye"]


async def test_a_cut_is_resumed_without_joining_again() -> None:
    async with hpb_stub() as stub:
        client = connection(stub)
        async with running(client):
            first = await next_of(client, SessionStarted)
            await stub.cut()
            await next_of(client, SessionInterrupted)
            assert not client.send_caption(Recipient("listener-1"), CAPTION)
            client.channel("speaker-1").send_answer("sid-1", "v=0")
            again = await next_of(client, SessionStarted)
            assert (again.resumed, again.session_id) == (True, first.session_id)
            await until(lambda: stub.frames("message"))
            assert stub.frames("message")[0]["message"]["data"]["type"] == "answer"
            assert len(stub.full_hellos()) == 1
            assert len(stub.frames("room")) == 1


def captions(stub: HpbStub) -> list[str]:
    return [frame["message"]["data"]["message"] for frame in stub.frames("message")]


def repeated() -> float:
    return metrics.registry.get_sample_value("live_transcription_captions_repeated_total") or 0.0


async def test_captions_lost_in_a_dead_connection_are_sent_again_once_and_counted() -> None:
    before = repeated()
    async with hpb_stub() as stub:
        client = connection(stub)
        async with running(client):
            await next_of(client, SessionStarted)
            stub.connections[0].transport.pause_reading()
            for text in ("one", "two"):
                assert client.send_caption(Recipient("listener-1"), Caption("speaker-1", text, "en"))
            await until(lambda: client.in_flight == 2)
            assert captions(stub) == []
            await stub.cut()
            await next_of(client, SessionInterrupted)
            assert (await next_of(client, SessionStarted)).resumed
            await until(lambda: len(captions(stub)) >= 2)
        assert captions(stub) == ["one", "two"]
        assert repeated() == before + 2


async def test_a_request_for_an_offer_lost_in_a_dead_connection_is_sent_again() -> None:
    """Otherwise the speaker is not transcribed until the request times out."""
    async with hpb_stub() as stub:
        client = connection(stub)
        async with running(client):
            await next_of(client, SessionStarted)
            stub.connections[0].transport.pause_reading()
            client.channel("speaker-1").request_offer()
            await until(lambda: client.in_flight == 1)
            await stub.cut()
            await next_of(client, SessionInterrupted)
            assert (await next_of(client, SessionStarted)).resumed
            await until(lambda: stub.frames("message"))
        (request,) = stub.frames("message")
        assert request["message"]["data"]["type"] == "requestoffer"


async def test_captions_that_were_read_are_not_sent_again_after_a_cut() -> None:
    async with hpb_stub() as stub:
        client = connection(stub)
        async with running(client):
            await next_of(client, SessionStarted)
            client.send_caption(Recipient("listener-1"), CAPTION)
            await until(lambda: client.in_flight == 0 and captions(stub))
            await stub.cut()
            await next_of(client, SessionInterrupted)
            await next_of(client, SessionStarted)
        assert captions(stub) == [CAPTION.text]


async def test_a_forgotten_session_is_replaced_on_the_same_websocket() -> None:
    async with hpb_stub() as stub:
        client = connection(stub)
        async with running(client):
            first = await next_of(client, SessionStarted)
            stub.forget_sessions()
            await stub.cut()
            await next_of(client, SessionInterrupted)
            again = await next_of(client, SessionStarted)
            assert not again.resumed
            assert again.session_id != first.session_id
            assert len(stub.connections) == 2
            assert len(stub.frames("room")) == 2


async def test_a_wrong_secret_costs_one_failed_hello_for_ten_rooms() -> None:
    async with hpb_stub(hello_delay_s=0.05) as stub:
        guard = HelloGuard()
        clients = [connection(stub, guard=guard, secret="wrong") for _ in range(11)]
        async with contextlib.AsyncExitStack() as stack:
            for client in clients[:10]:
                await stack.enter_async_context(running(client))
            await asyncio.wait([asyncio.ensure_future(client.refused.wait()) for client in clients[:10]])
            await stack.enter_async_context(running(clients[10]))
            await clients[10].refused.wait()
            for client in clients:
                assert isinstance(client.last_error, SignalingRefused)
                assert client.last_error.reason == "invalid_token"
                assert "LT_INTERNAL_SECRET" in str(client.last_error)
                assert "wrong" not in str(client.last_error)
            assert len(stub.frames("hello")) == 1
            right = connection(stub, guard=guard)
            async with running(right):
                await next_of(right, SessionStarted)
            assert len(stub.frames("hello")) == 2


async def test_a_secret_changed_at_a_restart_costs_one_failed_hello_for_ten_rooms_and_ends_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hello_guard, "RETRY_AFTER_S", 0.3)
    async with hpb_stub() as stub:
        guard = HelloGuard()
        clients = [connection(stub, guard=guard) for _ in range(10)]
        tasks = [asyncio.create_task(client.run()) for client in clients]
        for client in clients:
            await next_of(client, SessionStarted)
        hellos = len(stub.full_hellos())
        stub.forget_sessions()
        stub.hello_error = "invalid_token"
        stub.hello_delay_s = 0.02
        await stub.cut()
        async with asyncio.timeout(5):
            for client in clients:
                await client.refused.wait()
        assert len(stub.full_hellos()) == hellos + 1
        stub.hello_error = None
        for client in clients:
            await next_of(client, SessionInterrupted)
            assert not (await next_of(client, SessionStarted)).resumed
            assert client.last_error is None
            assert not client.refused.is_set()
        await asyncio.gather(*(client.close() for client in clients))
        await asyncio.gather(*tasks)


async def test_ten_rooms_with_the_right_secret_all_join() -> None:
    async with hpb_stub(hello_delay_s=0.02) as stub:
        guard = HelloGuard()
        clients = [connection(stub, guard=guard) for _ in range(10)]
        tasks = [asyncio.create_task(client.run()) for client in clients]
        for client in clients:
            await next_of(client, SessionStarted)
        await asyncio.gather(*(client.close() for client in clients))
        await asyncio.gather(*tasks)
        assert len(stub.full_hellos()) == 10


async def test_a_room_that_is_refused_ends_the_run() -> None:
    async with hpb_stub(refuse_room="no_such_room") as stub:
        client = connection(stub)
        with pytest.raises(RoomRefused, match="no_such_room"):
            await client.run()
        with pytest.raises(SignalingEnded):
            await client.next_event()
        await until(lambda: stub.frames("bye"))


async def test_a_server_without_sfu_is_refused_before_hello_and_tried_again() -> None:
    async with hpb_stub(features=["recipient-call"]) as stub:
        client = connection(stub)
        async with running(client):
            await client.refused.wait()
            assert isinstance(client.last_error, SignalingRefused)
            assert "Janus" in str(client.last_error)
            assert stub.frames("hello") == []
            stub.features = ["recipient-call", "mcu"]
            await next_of(client, SessionStarted)
            assert not client.refused.is_set()


async def test_a_server_that_answers_no_hello_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hello_guard, "UNANSWERED_INTERVAL_S", 0.1)
    async with hpb_stub(welcome=False, answers_hello=False) as stub:
        client = connection(stub, timeouts=Timeouts(welcome_s=0.01, hello_s=0.05, patient_hello_s=0.05))
        async with running(client):
            await until(lambda: len(stub.full_hellos()) >= 2)
            assert client.last_error is not None
            assert "no answer to hello" in str(client.last_error)
            stub.answers_hello = True
            await next_of(client, SessionStarted)
            assert client.last_error is None


async def test_a_frame_beyond_the_limit_ends_the_websocket_but_not_the_session() -> None:
    async with hpb_stub() as stub:
        client = connection(stub)
        async with running(client):
            await next_of(client, SessionStarted)
            await stub.tell("x" * (MAX_FRAME_BYTES + 1))
            await next_of(client, SessionInterrupted)
            assert (await next_of(client, SessionStarted)).resumed


async def test_broken_and_large_frames_do_no_harm() -> None:
    async with hpb_stub() as stub:
        client = connection(stub)
        async with running(client):
            await next_of(client, SessionStarted)
            people = [{"sessionid": f"speaker-{number}"} for number in range(20_000)]
            for frame in ("", "{", "[" * 60_000, json.dumps("x" * 65_536), '{"type":7}', '{"type":"event","event":[]}'):
                await stub.tell(frame)
            for session in stub.sessions.values():
                assert session.websocket is not None
                await session.websocket.send(b"\x00\xff")
            await stub.tell({"type": "event", "event": {"target": "room", "type": "join", "join": people}})
            joined: list[str] = []
            while len(joined) < len(people):
                event = await next_of(client, ParticipantsJoined)
                joined += [participant.session_id for participant in event.participants]
            assert joined == [person["sessionid"] for person in people]
            assert client.in_room


async def test_offers_answers_and_refusals_of_one_publisher() -> None:
    async with hpb_stub() as stub:
        client = connection(stub)
        async with running(client):
            await next_of(client, SessionStarted)
            client.channel("speaker-1").request_offer()
            await until(lambda: stub.frames("message"))
            request = stub.frames("message")[0]
            await stub.tell({"id": request["id"], "type": "error", "error": {"code": "client_not_found", "message": "no"}})
            assert await next_of(client, SubscribeFailed) == SubscribeFailed("speaker-1", "client_not_found")
            body = {"type": "offer", "roomType": "video", "sid": "7", "payload": {"type": "offer", "sdp": "v=0"}}
            sender = {"type": "session", "sessionid": "speaker-1"}
            await stub.tell({"type": "message", "message": {"sender": sender, "data": body}})
            assert await next_of(client, OfferReceived) == OfferReceived("speaker-1", "video", "7", "v=0")


@pytest.mark.parametrize("octets", [b"\xff\xfe", b"\xed\xa0\x80", b"\xc3"])
async def test_a_participants_invalid_utf8_does_not_end_the_connection(octets: bytes) -> None:
    """The HPB relays the octets of a participant's message as they are."""
    relayed = b'{"type":"message","message":{"sender":{"type":"room","sessionid":"s"},"data":{"type":"chat","text":"%s"}}}'
    async with hpb_stub() as stub:
        client = connection(stub)
        async with running(client):
            await next_of(client, SessionStarted)
            (session,) = stub.sessions.values()
            assert session.websocket is not None
            await session.websocket.send(relayed % octets, text=True)
            await stub.tell(leave("speaker-1"))
            assert await client.next_event() == ParticipantsLeft(("speaker-1",)), "on the same connection"
        assert len(stub.connections) == 1


async def test_a_stalled_call_slows_the_websocket_down_and_loses_nothing() -> None:
    async with hpb_stub() as stub:
        queue = EventQueue(4)
        client = connection(stub, event_queue=queue)
        async with running(client):
            await next_of(client, SessionStarted)
            for number in range(200):
                await stub.tell(leave(f"speaker-{number}"))
            await until(lambda: len(queue) == 4)
            for number in range(200):
                assert (await next_of(client, ParticipantsLeft)).session_ids == (f"speaker-{number}",)


async def test_a_room_of_ten_thousand_with_the_longest_ids() -> None:
    users = [
        {
            "inCall": 7,
            "lastPing": 1_760_000_000,
            "sessionId": f"{number:06d}".ljust(255, "s"),
            "nextcloudSessionId": f"{number:06d}".ljust(255, "n"),
            "participantPermissions": 254,
            "userId": f"user-{number}",
            "displayName": f"Participant {number}",
        }
        for number in range(10_000)
    ]
    update = {"roomid": ROOM, "users": users}
    async with hpb_stub() as stub:
        client = connection(stub)
        async with running(client):
            await next_of(client, SessionStarted)
            await stub.tell({"type": "event", "event": {"target": "participants", "type": "update", "update": update}})
            await stub.tell(leave("speaker-1"))
            roster = Roster()
            while len(roster) < len(users):
                roster.apply(await next_of(client, ParticipantsUpdated))
            assert len(roster.publishers()) == len(users)
            assert await next_of(client, ParticipantsLeft) == ParticipantsLeft(("speaker-1",)), "later frames come later"


async def test_a_stalled_call_buffers_a_limited_number_of_octets() -> None:
    people = [{"sessionid": f"speaker-{number}", "roomsessionid": "n" * 200} for number in range(2_000)]
    frame = json.dumps({"type": "event", "event": {"target": "room", "type": "join", "join": people}})
    limit, frames = len(frame), 40
    assert len(frame) > LARGE_FRAME_CHARS
    async with hpb_stub() as stub:
        queue = EventQueue(octets=limit)
        client = connection(stub, event_queue=queue)
        async with running(client):
            await next_of(client, SessionStarted)

            async def flood() -> None:
                for _ in range(frames):
                    await stub.tell(frame)

            flooding = asyncio.create_task(flood())
            await until(lambda: limit / 2 < queue.octets <= limit)
            assert not flooding.done(), "backpressure reaches the server"
            seen = 0
            while seen < frames * len(people):
                seen += len((await next_of(client, ParticipantsJoined)).participants)
                assert queue.octets <= limit
            await flooding


async def test_other_tasks_run_while_a_large_frame_is_received() -> None:
    people = [{"sessionid": f"speaker-{number}"} for number in range(20_000)]
    async with hpb_stub() as stub:
        queue = EventQueue()
        client = connection(stub, event_queue=queue)
        async with running(client):
            await next_of(client, SessionStarted)
            await stub.tell({"type": "event", "event": {"target": "room", "type": "join", "join": people}})
            seen = 0
            while seen < len(people):
                event = await next_of(client, ParticipantsJoined)
                assert len(event.participants) <= SLICE_ENTRIES
                assert len(queue) <= 1, "an event is taken before the next one is made"
                seen += len(event.participants)


async def test_close_does_not_wait_for_a_stalled_call() -> None:
    async with hpb_stub() as stub:
        client = connection(stub, event_queue=EventQueue(1))
        async with running(client):
            await until(lambda: client.in_room)
            for number in range(200):
                await stub.tell(leave(f"speaker-{number}"))
            await client.close()
        assert len(stub.frames("bye")) == 1


async def test_close_is_idempotent_and_safe_at_any_time() -> None:
    async with hpb_stub() as stub:
        unused = connection(stub)
        await unused.close()
        await unused.run()
        client = connection(stub)
        task = asyncio.create_task(client.run())
        await asyncio.sleep(0)
        await asyncio.gather(client.close(), client.close())
        await client.close()
        await task
        client = connection(stub)
        async with running(client):
            await next_of(client, SessionStarted)
            await asyncio.gather(client.close(), client.close())
            await client.close()
        assert len(stub.frames("bye")) == 1


@pytest.mark.parametrize("stage", ["nothing listens", "no answer to the upgrade", "no answer to hello", "no answer to bye"])
async def test_close_cuts_a_server_that_does_not_answer(stage: str) -> None:
    """No task and no socket is left behind, whatever the server does."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    before = asyncio.all_tasks()
    async with hpb_stub(answers_hello=stage != "no answer to hello") as stub, asyncio.TaskGroup() as tasks:
        tcp = await asyncio.start_server(silent, "127.0.0.1", 0)
        async with tcp:
            settings = config(stub)
            if stage == "no answer to the upgrade":
                url = f"ws://127.0.0.1:{tcp.sockets[0].getsockname()[1]}"
                settings = HpbConfig(url, settings.internal_secret, settings.backend_url)
            elif stage == "nothing listens":
                settings = HpbConfig("ws://127.0.0.1:1", settings.internal_secret, settings.backend_url)
            client = SignalingConnection(settings, ROOM, guard=HelloGuard(), backoff=Backoff(lambda: 1.0, first_s=60, cap_s=60))
            run = tasks.create_task(client.run())
            match stage:
                case "nothing listens":
                    await until(lambda: client.last_error is not None)
                case "no answer to hello":
                    await until(lambda: stub.frames("hello"))
                case "no answer to bye":
                    await next_of(client, SessionStarted)
                    for session in stub.sessions.values():
                        assert session.websocket is not None
                        session.websocket.transport.pause_reading()
                case _:
                    await asyncio.sleep(0.05)
            async with asyncio.timeout(2):
                await client.close(timeout_s=0.1)
            assert run.done() or await asyncio.wait_for(run, 0.5) is None
            await stub.cut()
    assert asyncio.all_tasks() == before


async def test_cancelling_the_run_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    async with hpb_stub() as stub:
        client = connection(stub)
        task = asyncio.create_task(client.run())
        await next_of(client, SessionStarted)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(SignalingEnded):
            await client.next_event()
        await until(lambda: len(stub.ended) == 1)
    assert asyncio.all_tasks() == before


async def test_missed_pongs_break_the_websocket() -> None:
    async with hpb_stub() as stub:
        client = connection(stub, timeouts=Timeouts(ping_interval_s=0.05, pong_s=0.05))
        async with running(client):
            await next_of(client, SessionStarted)
            stub.connections[0].transport.pause_reading()
            interrupted = await next_of(client, SessionInterrupted)
            assert interrupted.reason == "the server answers no pings"
            assert (await next_of(client, SessionStarted)).resumed


async def test_neither_secrets_nor_words_reach_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with hpb_stub() as stub:
            client = connection(stub)
            async with running(client):
                await next_of(client, SessionStarted)
                client.send_caption(Recipient("listener-1"), CAPTION)
                await until(lambda: stub.frames("message"))
                await stub.cut()
                await next_of(client, SessionInterrupted)
                await next_of(client, SessionStarted)
    lines = [
        str(record.__dict__) for record in caplog.records if record.name.startswith(("live_transcription", "websockets.client"))
    ]
    assert lines
    for private in (CAPTION.text, SECRET, "resume-", stub.full_hellos()[0]["hello"]["auth"]["params"]["token"]):
        assert not any(private in line for line in lines)
