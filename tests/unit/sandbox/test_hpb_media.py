# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Publishing and subscribing through the signaling stand-in, as an app's client and a user's browser do it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.mediastreams import AudioStreamTrack

from sandbox import loopback_ice
from sandbox.hpb import V2_0, V2_1, HpbStandIn, HpbVersion, TrustingNextcloud
from sandbox.hpb.media import HANGUP_S
from sandbox.sfu import Sfu
from tests.unit.sandbox.signaling_client import INTERNAL_SECRET, Client

ROOM = "abcd1234"


@pytest.fixture(autouse=True)
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", loopback_ice.loopback_addresses)


@asynccontextmanager
async def standing_in(sfu: Sfu, hpb_version: HpbVersion = V2_1, **options: Any) -> AsyncIterator[HpbStandIn]:
    async with (
        sfu,
        HpbStandIn(TrustingNextcloud(), sfu, internal_secret=INTERNAL_SECRET, hpb_version=hpb_version, **options) as hpb,
    ):
        yield hpb


class Call:
    """A user who publishes silence, and an app's client in the same room."""

    def __init__(self, hpb: HpbStandIn, user: Client, app: Client) -> None:
        self.hpb, self.user, self.app = hpb, user, app
        self.talker = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.listener = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    @classmethod
    @asynccontextmanager
    async def held(cls, hpb: HpbStandIn) -> AsyncIterator[Call]:
        async with Client(hpb) as user, Client(hpb) as app:
            await user.hello_user("user-1")
            await user.join(ROOM, "nc-1")
            await app.hello_internal()
            await app.join(ROOM)
            await app.until("event", "participants/update")
            call = cls(hpb, user, app)
            try:
                yield call
            finally:
                await call.listener.close()
                await call.talker.close()

    async def publish(self) -> None:
        self.talker.addTrack(AudioStreamTrack())
        await self.offer()

    async def offer(self) -> None:
        await self.talker.setLocalDescription(await self.talker.createOffer())
        payload = {"type": "offer", "sdp": self.talker.localDescription.sdp}
        offer = {"type": "offer", "roomType": "video", "sid": "17", "payload": payload}
        await self.user.to_session(self.user.session_id, offer)
        answer = await self.user.until("message", "answer")
        assert answer["sender"]["sessionid"] == self.user.session_id
        assert answer["data"]["sid"] == "17"
        await self.talker.setRemoteDescription(RTCSessionDescription(answer["data"]["payload"]["sdp"], "answer"))

    async def request_offer(self, **more: Any) -> None:
        await self.app.to_session(self.user.session_id, {"type": "requestoffer", "roomType": "video", **more}, "r1")

    async def answer(self, offer: dict[str, Any]) -> None:
        await self.listener.setRemoteDescription(RTCSessionDescription(offer["payload"]["sdp"], "offer"))
        await self.listener.setLocalDescription(await self.listener.createAnswer())
        payload = {"type": "answer", "sdp": self.listener.localDescription.sdp}
        answer = {"type": "answer", "roomType": "video", "sid": offer["sid"], "to": offer["from"], "payload": payload}
        await self.app.to_session(offer["from"], answer, "a1")

    async def heard(self) -> None:
        track = self.listener.getTransceivers()[0].receiver.track
        async with asyncio.timeout(10):
            await track.recv()


async def test_an_app_hears_a_user() -> None:
    async with standing_in(Sfu()) as hpb, Call.held(hpb) as call:
        await call.request_offer()  # before there is a stream: the server waits for it
        await call.publish()
        offer = await call.app.until("message", "offer")
        assert offer["sender"] == {"type": "session", "sessionid": call.user.session_id}
        assert offer["data"]["from"] == call.user.session_id
        assert offer["data"]["to"] == call.app.session_id
        assert offer["data"]["roomType"] == "video"
        await call.answer(offer["data"])
        await call.heard()

        assert await hpb.renegotiate(call.app.session_id) == 1
        again = (await call.app.until("message", "offer"))["data"]
        assert again["sid"] == offer["data"]["sid"]
        await call.answer(again)
        await call.heard()

        state = hpb.state()
        assert state["publishers"] == 1
        assert [subscriber["state"] for subscriber in state["subscribers"]] == ["connected"]


async def test_a_second_request_kills_the_first_peer_and_then_the_second() -> None:
    """As versions up to 2.1.1 do in about every second case: the end of the first is taken for that of its successor."""
    async with standing_in(Sfu()) as hpb, Call.held(hpb) as call:
        await call.publish()
        await call.request_offer()
        first = (await call.app.until("message", "offer"))["data"]
        await call.answer(first)
        await call.heard()
        await call.request_offer()
        second = (await call.app.until("message", "offer"))["data"]
        assert second["sid"] != first["sid"]
        async with asyncio.timeout(5):
            while call.listener.connectionState != "closed":  # noqa: ASYNC110  (aiortc announces it before it is set)
                await asyncio.sleep(0.01)
        await call.app.to_session(
            call.user.session_id,
            {"type": "answer", "roomType": "video", "sid": first["sid"], "payload": {"sdp": "v=0\r\n"}},
            "late",
        )
        assert (await call.app.until("error"))["code"] == "client_not_found"
        await call.request_offer()
        third = (await call.app.until("message", "offer"))["data"]
        assert third["sid"] != second["sid"]


async def test_a_request_in_the_moment_of_a_hangup_comes_to_nothing() -> None:
    async with standing_in(Sfu()) as hpb, Call.held(hpb) as call:
        await call.publish()
        await call.request_offer()
        await call.answer((await call.app.until("message", "offer"))["data"])
        await call.heard()
        await call.listener.close()
        await asyncio.sleep(0.1)
        await call.request_offer()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(HANGUP_S):
                await call.app.until("message", "offer")
        await call.request_offer()
        await call.app.until("message", "offer")


@pytest.mark.parametrize("offers_added", [False, True])
async def test_a_microphone_that_is_added(offers_added: bool) -> None:
    """Janus 0.x offers it to those who have subscribed, Janus 1.x only to those who subscribe from then on."""
    async with standing_in(Sfu(offers_added=offers_added)) as hpb, Call.held(hpb) as call:
        call.talker.addTrack(VideoStreamTrack())
        await call.offer()
        await call.request_offer()
        first = (await call.app.until("message", "offer"))["data"]
        assert "m=audio" not in first["payload"]["sdp"]
        await call.answer(first)
        async with asyncio.timeout(5):
            while call.listener.connectionState != "connected":  # noqa: ASYNC110  (aiortc announces it before it is set)
                await asyncio.sleep(0.01)
        call.talker.addTrack(AudioStreamTrack())
        await call.offer()
        if not offers_added:
            await call.listener.close()
            await asyncio.sleep(HANGUP_S + 0.2)
            call.listener = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            await call.request_offer()
        second = (await call.app.until("message", "offer"))["data"]
        assert (second["sid"] == first["sid"]) is offers_added
        assert "m=audio" in second["payload"]["sdp"]
        await call.answer(second)
        track = next(each.receiver.track for each in call.listener.getTransceivers() if each.kind == "audio")
        async with asyncio.timeout(10):
            await track.recv()


async def test_nobody_publishing_is_client_not_found_after_the_wait() -> None:
    async with standing_in(Sfu(), offer_wait_s=0.02) as hpb, Call.held(hpb) as call:
        await call.request_offer()
        frame = await call.app.receive()
        while frame["type"] != "error":
            frame = await call.app.receive()
        assert (frame["id"], frame["error"]["code"]) == ("r1", "client_not_found")


@pytest.mark.parametrize("code", ["client_not_found", "processing_failed", "not_allowed"])
async def test_offers_are_refused_on_demand_as_often_as_asked(code: str) -> None:
    async with standing_in(Sfu()) as hpb, Call.held(hpb) as call:
        await call.publish()
        hpb.faults.offer_refusal, hpb.faults.offer_refusals = code, 1  # type: ignore[assignment]
        await call.request_offer()
        assert (await call.app.until("error"))["code"] == code
        await call.request_offer()
        await call.app.until("message", "offer")


@pytest.mark.parametrize(
    ("shape", "absent"), [("broken", "m=audio 9 "), ("empty", "v=0"), ("no-audio", "m=audio 9 "), ("no-opus", "opus/48000")]
)
async def test_offers_are_distorted_on_demand(shape: str, absent: str) -> None:
    async with standing_in(Sfu()) as hpb, Call.held(hpb) as call:
        await call.publish()
        hpb.faults.offer_shape = shape  # type: ignore[assignment]
        await call.request_offer()
        assert absent not in (await call.app.until("message", "offer"))["data"]["payload"]["sdp"]


async def test_trickled_candidates_follow_the_offer_unless_dropped() -> None:
    async with standing_in(Sfu(candidates="trickle")) as hpb, Call.held(hpb) as call:
        await call.publish()
        await call.request_offer()
        offer = (await call.app.until("message", "offer"))["data"]
        assert "a=candidate" not in offer["payload"]["sdp"]
        candidate = (await call.app.until("message", "candidate"))["data"]
        assert candidate["sid"] == offer["sid"]
        assert candidate["payload"]["candidate"]["candidate"].startswith("candidate:")
        assert candidate["payload"]["candidate"]["sdpMLineIndex"] == 0
        hpb.faults.drop_candidates = True
        await call.request_offer()
        await call.app.until("message", "offer")
        await call.app.silence()


FORGED = {"type": "offer", "roomType": "video", "sid": "7", "payload": {"type": "offer", "sdp": "v=0\r\n"}}


@pytest.mark.parametrize(
    "change", [{"bitrate": "x"}, {"sid": 7}, {"audiocodec": 1}, {"payload": {**FORGED["payload"], "x": 10**400}}]
)
async def test_an_offer_that_the_hpb_cannot_read_reaches_the_session_it_names(change: dict[str, Any]) -> None:
    async with standing_in(Sfu()) as hpb, Call.held(hpb) as call:
        await call.user.to_session(call.app.session_id, FORGED, "m1")
        assert (await call.user.until("error"))["code"] == "processing_failed", "it is for the SFU"
        await call.user.to_session(call.app.session_id, {**FORGED, **change})
        relayed = await call.app.until("message", "offer")
        assert (relayed["sender"]["type"], relayed["sender"]["sessionid"]) == ("session", call.user.session_id)
        await call.user.message({"type": "room"}, FORGED)
        assert (await call.app.until("message", "offer"))["sender"]["type"] == "room"


async def test_a_publisher_may_have_its_offer_sent_to_who_has_not_asked() -> None:
    async with standing_in(Sfu()) as hpb, Call.held(hpb) as call:
        await call.publish()
        await call.user.to_session(call.app.session_id, {"type": "sendoffer", "roomType": "video"})
        offer = await call.app.until("message", "offer")
        assert offer["sender"] == {"type": "session", "sessionid": call.user.session_id}
        await call.answer(offer["data"])
        await call.heard()


async def test_a_users_browser_may_only_hear_its_own_call() -> None:
    async with standing_in(Sfu()) as hpb, Call.held(hpb) as call, Client(hpb) as other:
        await call.publish()
        await other.hello_user("user-2")
        await other.join(ROOM, "nc-2")
        await other.to_session(call.user.session_id, {"type": "requestoffer", "roomType": "video"})
        assert (await other.until("error"))["code"] == "not_allowed"


async def test_publishing_needs_the_permission() -> None:
    async with standing_in(Sfu()) as hpb:
        nextcloud = hpb.hub.nextcloud
        assert isinstance(nextcloud, TrustingNextcloud)
        nextcloud.permissions = ["control"]
        async with Call.held(hpb) as call:
            payload = {"type": "offer", "sdp": "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"}
            await call.user.to_session(call.user.session_id, {"type": "offer", "roomType": "video", "payload": payload})
            assert (await call.user.until("error"))["code"] == "not_allowed"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"type": "offer", "roomType": "video", "payload": {"sdp": "v=0\r\nnonsense"}}, "processing_failed"),
        ({"type": "offer", "roomType": "video", "payload": {"sdp": 7}}, "invalid_sdp"),
        ({"type": "offer", "roomType": "elephant", "payload": {"sdp": "v=0"}}, "invalid_format"),
        ({"type": "candidate", "roomType": "video", "payload": {}}, "no_candidate"),
        ({"type": "candidate", "roomType": "video", "payload": {"candidate": 7}}, "invalid_candidate"),
        ({"type": "candidate", "roomType": "video", "payload": {"candidate": {"candidate": ""}}}, "client_not_found"),
    ],
)
async def test_malformed_media_messages_are_refused(data: dict[str, Any], code: str) -> None:
    async with standing_in(Sfu()) as hpb, Call.held(hpb) as call:
        await call.user.to_session(call.user.session_id, data)
        assert (await call.user.until("error"))["code"] == code
        await call.app.to_session(call.user.session_id, {"type": "answer", "payload": {"sdp": "v=0"}})
        assert (await call.app.until("error"))["code"] == "client_not_found"


@pytest.mark.parametrize(("hpb_version", "states"), [(V2_0, ["connected"]), (V2_1, [])])
async def test_who_leaves_stops_publishing_and_later_versions_close_the_subscribers(
    hpb_version: HpbVersion, states: list[str]
) -> None:
    async with standing_in(Sfu(), hpb_version) as hpb, Call.held(hpb) as call:
        await call.publish()
        await call.request_offer()
        await call.answer((await call.app.until("message", "offer"))["data"])
        await call.heard()
        await call.user.send(type="bye", bye={})
        await call.app.until("event", "room/leave")
        await call.user.socket.wait_closed()
        async with asyncio.timeout(5):
            while hpb.state()["publishers"] or [s["state"] for s in hpb.state()["subscribers"]] != states:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_subscribers_closed_or_a_media_server_killed_say_nothing_in_signaling() -> None:
    async with standing_in(Sfu()) as hpb, Call.held(hpb) as call:
        await call.publish()
        await call.request_offer()
        await call.answer((await call.app.until("message", "offer"))["data"])
        await call.heard()
        assert await hpb.close_subscribers(call.app.session_id) == 1
        await call.app.silence()
        assert call.listener.connectionState == "connected"
        await hpb.kill_sfu()
        await call.app.silence()
        assert hpb.state()["publishers"] == 0
