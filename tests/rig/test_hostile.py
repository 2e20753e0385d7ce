# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Hostile participants and strangers, with a real HPB and Janus."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbox import hostile
from sandbox.caller import Caller
from sandbox.rig import HPB_SERIES
from tests.rig.setting import SHORT_SPEECH, Setting, eventually, setting

REJECTED = "live_transcription_media_messages_rejected_total"
DROPPED = "live_transcription_datagrams_rejected_total"


@asynccontextmanager
async def captioned_publisher(talk: Setting, room: str) -> AsyncIterator[Caller]:
    """Who is captioned, so that the app has asked for their offer and taken it."""
    async with talk.speaker(room, speech=SHORT_SPEECH) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await listener.captions.wait(speaker=speaker.session_id)
        yield speaker


async def forged_offers_do_nothing(talk: Setting, room: str) -> None:
    async with captioned_publisher(talk, room) as guest:
        with hostile.listening_port() as (port, received):
            offer = hostile.forged_offer(port)
            forged, sockets, accepted = (
                await talk.app.metric(REJECTED, reason="forged"),
                talk.app.usage().udp,
                talk.link.accepted,
            )
            unasked = await talk.app.metric(REJECTED, reason="not asked for")
            (app,) = (session_id for session_id, flags in guest.others.items() if flags == 0)
            await hostile.send_to_room(guest, offer)
            await hostile.send_to_session(guest, app, hostile.relayed_by_mistake(offer))
            await hostile.send_to_session(guest, app, {**offer, "sid": 7})
            await hostile.send_to_room(guest, b'{"type":"chat","roomType":"video","text":"\xff\xfe"}')
            async with talk.speaker(talk.room(), "elsewhere") as stranger:
                await hostile.send_to_session(stranger, app, {"type": "sendoffer", "roomType": "video"})
                await eventually(
                    lambda: _more(talk, REJECTED, unasked, reason="not asked for"),
                    "the app rejects an offer that it did not ask for",
                )
            await asyncio.sleep(0.5)
            assert received() == [], "no STUN check reaches the address that the guest names"
            await eventually(lambda: _more(talk, REJECTED, forged + 2, reason="forged"), "the app rejects three forged offers")
            assert talk.app.usage().udp == sockets
            assert talk.link.accepted == accepted, "text that is no UTF-8 cuts no websocket"


@pytest.mark.asyncio(loop_scope="session")
async def test_offers_that_a_guest_forges_are_neither_answered_nor_checked(talk: Setting, room: str) -> None:
    await forged_offers_do_nothing(talk, room)


@pytest.mark.parametrize("series", [series for series in HPB_SERIES if series != "2.0"], indirect=True)
async def test_forged_offers_through_other_series_of_the_hpb(series: str, tmp_path: Path) -> None:
    async with setting(tmp_path, hpb_series=series) as talk:
        await forged_offers_do_nothing(talk, talk.room())


@pytest.mark.asyncio(loop_scope="session")
async def test_alerts_of_a_stranger_end_no_handshake(talk: Setting, room: str) -> None:
    pid, reconnects = talk.app.process.pid, "live_transcription_speaker_reconnects_total"
    assert pid is not None
    before, dropped = await talk.app.metric(reconnects), await talk.app.metric(DROPPED)

    async def spray() -> None:
        async for _ in hostile.spray(pid, [hostile.DTLS_ALERT, hostile.BROKEN_STUN]):
            pass

    spraying = asyncio.create_task(spray())
    try:
        async with talk.speaker(room) as speaker, talk.listener(room) as listener:
            assert (await listener.enable_captions("en")).ok
            speaker.play(SHORT_SPEECH)
            began = time.monotonic()
            await listener.captions.wait(speaker=speaker.session_id, timeout_s=20)
            assert await talk.app.metric(reconnects) == before, f"after {time.monotonic() - began:.1f} s"
            assert await talk.app.metric(DROPPED) > dropped, "they came during and after the handshake"
    finally:
        spraying.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await spraying
    log = talk.app.process.log.read_text(encoding="utf-8")
    assert "Handling a datagram failed" not in log
    assert "Exception in callback" not in log


async def _more(talk: Setting, name: str, than: float, **labels: str) -> bool:
    return await talk.app.metric(name, **labels) > than
