# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One harness per surface: what comes from the HPB, from participants through it, from strangers by UDP, and from Nextcloud."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgpack
from aioice import Candidate, ice, stun
from fastapi import FastAPI

from ex_app.application import create_app
from ex_app.call_store import FILE_NAME, CallStore
from ex_app.errors import NextcloudError
from ex_app.identity import AppIdentity
from ex_app.nextcloud.gateway import AppApiGateway, parse_ice_servers
from ex_app.nextcloud.tasks import DETECT, TRANSLATE, parse_pairs, parse_task
from ex_app.nextcloud.translator import WEBHOOK, NextcloudTranslator
from ex_app.routes.talk import describe_pairs
from ex_app.settings.read import read_settings
from ex_app.settings.table import ON_PAGE
from live_transcription.audio.frame_queue import FrameQueue
from live_transcription.audio.pipeline import AudioPipeline
from live_transcription.call.roster import Roster
from live_transcription.call.targets import Targets
from live_transcription.errors import NegotiationFailed
from live_transcription.signaling.events import (
    CandidateReceived,
    OfferReceived,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
)
from live_transcription.stt.kyutai.modal import replies as modal_replies
from live_transcription.stt.kyutai.moshi import replies as moshi_replies
from live_transcription.types import AudioGap, Secret
from live_transcription.webrtc.audio_transport import AudioTransport
from live_transcription.webrtc.candidate import MAX_CANDIDATES, format_candidate, parse_candidate
from live_transcription.webrtc.consent import Consent
from live_transcription.webrtc.frame_encryption import EncryptionFilter
from live_transcription.webrtc.ice_connection import IceConnection
from live_transcription.webrtc.ice_servers import parse_servers
from live_transcription.webrtc.jitter_buffer import JitterBuffer
from live_transcription.webrtc.rtcp import ReceptionReporter
from live_transcription.webrtc.rtp import MalformedRtp, SourceLatch, parse_rtp
from live_transcription.webrtc.sdp import LocalTransport, build_answer, parse_offer
from sandbox.hpb import V1_2_4, V2_0, V2_1
from sandbox.hpb.errors import Refusal
from sandbox.hpb.frames import media_data
from sandbox.hpb.media import HANDLED
from tests.ex_app.fakes import ENVIRONMENT, SECRET, FakeEngine, FakeNextcloud, credentials
from tests.fuzz import mutators
from tests.fuzz.driver import Harness
from tests.unit.signaling.golden import ROOM, in_room
from tests.unit.webrtc.publisher import Publisher

#: What Nextcloud says about a task and its provider's languages.
TASK = {"task": {"id": 7, "customId": "x", "status": "STATUS_SUCCESSFUL", "output": {"output": "Bonjour"}}}
LANGUAGES = [{"name": "French", "value": "fr"}, {"name": "Chinese", "value": "zh-Hans"}, {"name": "Any", "value": DETECT}]
CORPUS = Path(__file__).parent / "corpus"


def corpus(name: str) -> list[str]:
    return (CORPUS / name).read_text(encoding="utf-8").splitlines()


def frames() -> list[Any]:
    return [json.loads(line) for line in corpus("frames.jsonl")]


def offers() -> list[str]:
    return [json.loads(line) for line in corpus("offers.jsonl")]


def octets(name: str) -> list[bytes]:
    return [bytes.fromhex(line) for line in corpus(name)]


class Signaling(Harness):
    """Whatever the HPB sends: parsing, the session, the roster, who gets captions."""

    name = "signaling"
    log_octets = 1_000_000  # a line a frame: it takes a broken HPB
    short = 3_000
    _words = (
        "offer",
        "candidate",
        "endOfCandidates",
        "room",
        "session",
        "event",
        "join",
        "update",
        "participants",
        "pub-1",
        ROOM,
    )

    def __init__(self) -> None:
        self._frames = frames()
        self._roster = Roster()
        self._targets = Targets(self._roster)
        for number in range(5):
            self._targets.add(f"nc-{number}", f"user-{number}", 0.0)
        self._client = in_room()

    def case(self, random: Random) -> str:
        return mutators.json_text(random, self._frames, self._words)

    async def feed(self, case: str) -> None:
        if not self._client.in_room:
            self._client = in_room()
            self._targets.reset(0.0, own_session_id="session-1")
        self._client.channel("pub-1").request_offer()
        if len(case) % 4:
            self._client.receive_text(case, 1.0)
        else:
            for share in self._client.receive_large(case, 1.0):
                assert 0.0 <= share <= 1.0
        for event in self._client.take_events():
            if isinstance(event, ParticipantsJoined | ParticipantsUpdated | ParticipantsLeft):
                self._targets.apply(event, 1.0)
            if isinstance(event, OfferReceived | CandidateReceived):
                assert (event.publisher, event.room_type) == ("pub-1", "video"), "nobody else was asked"
        assert len(self._targets.recipients("pub-1", 1.0)) <= 5 + len(self._roster)
        if len(self._roster) > 500:
            self._targets.reset(1.0, own_session_id="session-1")
        while self._client.next_frame() is not None:
            pass


class Participants(Harness):
    """What participants write, as far as the HPB relays it to us: none is an offer or candidate, and none fills the log."""

    name = "participants"
    log_octets = 1_000
    short = 4_000
    _words = ("offer", "candidate", "endOfCandidates", "requestoffer", "sendoffer", "video", "sid", "bitrate", "pub-1", "Type")

    def __init__(self) -> None:
        messages = [frame["message"]["data"] for frame in frames() if frame["type"] == "message"]
        self._data = [*messages, {"type": "endOfCandidates", "roomType": "video", "sid": "1"}, {"type": "raiseHand"}]
        self._client = in_room()
        self._client.channel("pub-1").request_offer()
        self._now = 1.0

    def case(self, random: Random) -> tuple[str, Any]:
        data = mutators.json_value(random, random.choice(self._data), self._words)
        if isinstance(data, dict) and random.random() < 0.5:
            data["from"] = "pub-1"
        return random.choice(("session", "session", "room", "call", "user")), data

    async def feed(self, case: tuple[str, Any]) -> None:
        recipient, data = case
        if recipient == "session" and any(_is_for_the_sfu(data, hpb_version) for hpb_version in (V1_2_4, V2_0, V2_1)):
            return
        self._now += 0.001
        sender = {"type": recipient, "sessionid": "pub-1"}
        self._client.receive_text(json.dumps({"type": "message", "message": {"sender": sender, "data": data}}), self._now)
        assert self._client.in_room
        assert self._client.take_events() == []


def _is_for_the_sfu(data: Any, hpb_version: Any) -> bool:
    """Whether the HPB keeps a message to a session: it reads it as one for the SFU, or refuses it."""
    try:
        read = media_data(data, hpb_version)
    except Refusal:
        return True
    return read is not None and read.get("type") in HANDLED


class Offers(Harness):
    name = "offers"
    log_octets = 0
    short = 2_500
    _words = (
        "m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=a 0 b c", "a=mid:0", "a=group:BUNDLE 0 1 2", "a=rtpmap:111 opus/48000/2",
        "a=inactive",
        "a=candidate:1 1 udp 1 192.0.2.1 9 typ host", "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level", "a=sframe",
        "a=setup:active", "a=ice-lite", "a=end-of-candidates", "a=ssrc:1 cname:x", "111 " * 60, "a=" + "x" * 900,
    )  # fmt: skip

    def __init__(self) -> None:
        self._offers = offers()
        candidate = Candidate("1", 1, "udp", 7, "192.0.2.1", 9_000, "host")
        self._local = LocalTransport("abcd", "p" * 22, ("sha-256", "AB:" * 31 + "AB"), (candidate,))

    def case(self, random: Random) -> str:
        seed = random.choice(self._offers)
        return mutators.lines(random, seed, self._words) if random.random() < 0.8 else mutators.text(random, seed, self._words)

    async def feed(self, case: str) -> None:
        try:
            offer = parse_offer(case)
            answer = build_answer(offer, self._local, 1, 1)
            assert len(answer) <= 2 * len(case) + 500
            assert answer.isascii()
            assert sum(line.startswith("m=") and line.split(" ")[1] != "0" for line in answer.split("\r\n")) == 1
            assert len(offer.candidates) <= MAX_CANDIDATES
        except NegotiationFailed:
            return


class Candidates(Harness):
    name = "candidates"
    log_octets = 0
    short = 8_000
    _words = (
        "udp",
        "tcp",
        "typ",
        "host",
        "raddr",
        "rport",
        "::1",
        "ff02::1",
        "0.0.0.0",
        "x.local",
        "candidate:",
        "end-of-candidates",
    )

    def __init__(self) -> None:
        self._candidates = [*corpus("candidates.txt"), "candidate:1 1 udp 1 2001:db8::1 9 typ srflx raddr 10.0.0.1 rport 9"]
        self._connection: IceConnection | None = None
        self._fed = 0

    def case(self, random: Random) -> str:
        return mutators.text(random, random.choice(self._candidates), self._words)

    async def feed(self, case: str) -> None:
        if self._connection is None or self._fed % 500 == 0:
            self._connection = IceConnection(lambda _: None, lambda _: None)
        self._fed += 1
        try:
            candidate = parse_candidate(case)
        except NegotiationFailed:
            return
        if candidate is not None:
            self._connection.add_remote(candidate)
            assert format_candidate(candidate).isascii()
        assert len(self._connection.remote_candidates) <= MAX_CANDIDATES


class Datagrams(Harness):
    """Datagrams of strangers, at sockets before, during and after the handshake. The audio of the last one continues."""

    name = "datagrams"
    log_octets = 1_000
    short = 4_000

    def __init__(self) -> None:
        self._seeds = octets("datagrams.txt")

    def case(self, random: Random) -> tuple[int, bytes, bool]:
        """Which socket, what, and whether it carries our ufrag, as only the SFU knows it."""
        seed = random.choice(self._seeds)
        return random.randrange(3), mutators.octets(random, seed, self._seeds), random.random() < 0.3

    async def feed(self, case: tuple[int, bytes, bool]) -> None:
        which, data, with_ufrag = case
        connection, protocol = self._sockets[which]
        if with_ufrag and len(data) >= 20:
            name = connection.username_prefix + b"x"
            attribute = b"\x00\x06" + len(name).to_bytes(2) + name + bytes(-len(name) % 4)
            body = attribute + data[20:][: -(len(data) % 4) or None]
            data = b"\x00\x01" + len(body).to_bytes(2) + data[4:20] + body
        protocol.datagram_received(data, ("127.0.0.1", 9))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        before = IceConnection(lambda _: None, lambda _: None)
        await before.bind("127.0.0.1")
        offer = parse_offer(offers()[0])
        during = AudioTransport(offer, lambda *_: None)
        await during.connection.bind("127.0.0.1")
        pair = ice.CandidatePair(during.connection._protocols[0], Candidate("1", 1, "udp", 1, "127.0.0.1", 8, "host"))
        during.connection._nominated[1] = pair
        handshake = asyncio.create_task(during.dtls.handshake(offer.transport.fingerprints))
        publisher = Publisher()
        receiving = asyncio.create_task(publisher.subscriber.run())
        try:
            await publisher.negotiate()
            await publisher.receive(3)
            after = publisher.peers[-1].transport.connection
            self._sockets = [(connection, connection._protocols[0]) for connection in (before, during.connection, after)]
            yield
            assert not handshake.done(), "no stranger ends a handshake"
            await publisher.receive(10)
            assert len(publisher.peers) == 1
        finally:
            receiving.cancel()
            during.dtls.link.put(None)
            await asyncio.wait([receiving, handshake])
            if not handshake.cancelled():
                handshake.exception()
            await publisher.peer.close()
            await during.aclose()
            await before.close()


class Rtp(Harness):
    """A publisher's packets, down to the frames for speech-to-text; the clock runs as it does for 50 packets per second."""

    name = "rtp"
    log_octets = 1_000
    short = 4_000

    def __init__(self) -> None:
        self._packets = octets("rtp.txt")
        self._types = frozenset(packet[1] & 0x7F for packet in self._packets)
        self._latch, self._reporter, self._jitter = SourceLatch(), ReceptionReporter(), JitterBuffer()
        self._encryption = EncryptionFilter()
        self._queue = FrameQueue()
        self._pipeline = AudioPipeline(self._queue)
        self._now, self._filled = 0.0, 0

    def case(self, random: Random) -> bytes:
        packet = bytearray(random.choice(self._packets))
        if random.random() < 0.6:  # a sound header, so that it gets somewhere
            packet[2:4] = random.choice((random.randrange(65_536), random.randrange(100))).to_bytes(2)
            packet[4:8] = random.choice((random.randrange(2**32), 960 * random.randrange(1_000))).to_bytes(4)
            payload = mutators.octets(random, bytes(packet[12:]), self._packets)
            if random.random() < 0.3:  # it ends as if one of two senders had encrypted it
                counter = random.randrange(1_000).to_bytes(4)
                payload += bytes(20) + random.choice((b"SSRC", b"CRSS")) + bytes(4) + counter + b"\x0c\x01"
            return bytes(packet[:12]) + payload
        return mutators.octets(random, bytes(packet), self._packets)

    async def feed(self, case: bytes) -> None:
        self._now += 0.02
        items = self._jitter.poll(self._now)
        try:
            parsed = parse_rtp(case, self._types, 1)
        except MalformedRtp:
            parsed = None
        if parsed is not None and self._latch.accepts(parsed[0], self._now):
            ssrc, packet = parsed
            self._reporter.received(ssrc, packet.sequence_number, packet.timestamp, self._now)
            items += self._jitter.push(packet, ssrc, self._now)
        for item in items:
            self._filled += item.duration if isinstance(item, AudioGap) else 0
            assert len(self._encryption.push(item)) <= 100, "few items wait for a decision"
            self._pipeline.feed(item)
        assert self._filled <= self._now * 48_000 + 4_801, "no more is filled than time has passed"
        assert self._queue.buffered_s <= 10.1
        self._reporter.report(self._now)


class Rtcp(Harness):
    """Sender reports, and STUN that claims to be the SFU's consent."""

    name = "rtcp-and-consent"
    log_octets = 0
    short = 8_000

    def __init__(self) -> None:
        self._reports = octets("rtcp.txt")
        self._reporter = ReceptionReporter()
        self._reporter.received(1, 1, 1, 0.0)
        self._consent = Consent(bytes(stun.Message(stun.Method.BINDING, stun.Class.REQUEST)), "p" * 22, 0.0)
        self._now = 0.0

    def case(self, random: Random) -> tuple[bytes, int]:
        return mutators.octets(random, random.choice(self._reports), self._reports), random.randrange(2**32)

    async def feed(self, case: tuple[bytes, int]) -> None:
        report, number = case
        self._now += 0.1
        self._reporter.sender_report(report, self._now)
        assert len(self._reporter.report(self._now)) < 200
        request = self._consent.request()
        response = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=request[8:20])
        response.add_message_integrity(b"p" * 22)
        true, random = bytes(response), Random(number)
        forged = mutators.octets(random, true)
        if forged[:2] + forged[4:44] != true[:2] + true[4:44]:  # the length is none of what is signed
            assert not self._consent.given(forged, self._now)


class Http(Harness):
    """The ASGI app: paths, headers, credentials, bodies in pieces, clients that leave."""

    name = "http"
    cpu_s = 0.25
    log_octets = 400_000  # saved settings and what is wrong with them: an administrator's doing
    short = 700
    _paths = (
        "/heartbeat", "/healthz", "/metrics", "/setup_checks", "/enabled", "/capabilities", "/api/v1/languages",
        "/api/v1/call/transcribe",
        "/api/v1/call/set-language", "/api/v1/call/leave", "/api/v1/translation/languages",
        "/api/v1/translation/set-target-language", WEBHOOK,
        "/admin/page", "/admin/docs/settings", "/admin/docs/x", "/admin/settings", "/admin/status",
        "/admin/test/x", "/js/settings.js", "/css/../main.py",
    )  # fmt: skip
    _bodies: tuple[Any, ...] = (
        {"roomToken": "abc123", "ncSessionId": "nc+1/=", "enable": True, "langId": "fr"},
        {"roomToken": "abc123", "langId": "en"},
        {"roomToken": "abc123", "ncSessionId": "nc", "langId": None},
        {"settings": {"lt_hpb_url": "https://hpb.example.com", "lt_gate": "true", "lt_internal_secret": "internal-secret-two"}},
        {"settings": {"lt_languages": None}},
        {"engine": "modal"},
        TASK,
    )

    def case(self, random: Random) -> dict[str, Any]:
        path = random.choice(self._paths)
        headers = credentials() if random.random() < 0.8 else {}
        headers |= {"X-Live-Transcription": "1", "Content-Type": "application/json"} if random.random() < 0.8 else {}
        if random.random() < 0.3:
            own = ("Content-Length", "Range", "Host", "Accept-Language", "If-None-Match", "Origin", "Authorization")
            name = random.choice((*headers, *own))
            headers[name] = mutators.text(random, headers.get(name, "0"))
        secret = random.choice((SECRET, SECRET[:-1], SECRET + "\0", ""))
        if random.random() < 0.1:
            headers["AUTHORIZATION-APP-API"] = mutators.text(random, base64.b64encode(f"user-1:{secret}".encode()).decode())
        body = mutators.json_text(random, self._bodies, ("abc123", "lt_gate", "settings", "user-1")).encode(
            "utf-8", "surrogatepass"
        )
        return {
            "method": random.choice(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"))
            if random.random() < 0.7
            else "POST",
            "path": mutators.text(random, path, ("/", "..", "%2e")) if random.random() < 0.2 else path,
            "query": random.choice((b"", b"lang=fr", b"lang=%00", b"enabled=1", b"enabled=x", b"lang=%ff%00", b"%")),
            "headers": {name: value.encode("latin-1", "replace") for name, value in headers.items()},
            "chunks": [body] if random.random() < 0.8 else [body[:7], body[7:]],
            "leaves": random.random() < 0.05,
        }

    async def feed(self, case: dict[str, Any]) -> None:
        if case["method"] == "POST" and case["path"].startswith("/admin/"):  # the checks themselves are no surface
            return
        status, answer = await self._ask(case)
        assert status < 500 or status in (503, 550), status
        for secret in (SECRET, ENVIRONMENT["LT_INTERNAL_SECRET"], "internal-secret-two"):
            assert secret.encode() not in answer
        self._engine.rooms.clear()
        self._engine.applied.clear()
        self._nextcloud.values.clear()
        self._nextcloud.pages.clear()
        self._nextcloud.lines.clear()

    async def _ask(self, case: Mapping[str, Any]) -> tuple[int, bytes]:
        scope = {
            "type": "http", "method": case["method"], "path": case["path"], "raw_path": case["path"].encode("utf-8", "replace"),
            "query_string": case["query"],
            "headers": [(name.lower().encode(), value) for name, value in case["headers"].items()],
            "client": ("192.0.2.7", 1), "server": ("app", 80), "scheme": "http", "root_path": "", "http_version": "1.1",
            "asgi": {"version": "3.0"},
        }  # fmt: skip
        chunks = list(case["chunks"])
        answer = bytearray()
        status = 0

        async def receive() -> dict[str, Any]:
            if not chunks or (case["leaves"] and len(chunks) == 1):
                return {"type": "http.disconnect"}
            body = chunks.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            answer.extend(message.get("body", b""))
            for name, value in message.get("headers", ()):
                answer.extend(name + value)

        await self._app(scope, receive, send)
        return status, bytes(answer)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._engine, self._nextcloud = FakeEngine(), FakeNextcloud()
        self._app: FastAPI = create_app(
            ENVIRONMENT, self._engine, self._nextcloud, translator=NextcloudTranslator(self._nextcloud)
        )
        async with self._app.router.lifespan_context(self._app):
            yield


class SettingsValues(Harness):
    """What stands in the environment, and what was saved."""

    name = "settings"
    _marker = "q7Zk9xW2"
    log_octets = 0
    short = 3_000
    _values = (
        "https://hpb.example.com/standalone-signaling", "wss://x.modal.run/", "true", "0", "en,fr", "modal,moshi", "80",
        "direct",
        "wk-abcdefgh", "ws-abcdefgh", "/tmp/x", "65535", "https://[::1%25x]/", "a-very-secret-value",
    )  # fmt: skip

    def __init__(self) -> None:
        self._variables = (
            [entry.variable for entry in ON_PAGE] + list(ENVIRONMENT) + ["APP_HOST", "APP_PORT", "SKIP_CERT_VERIFY"]
        )
        self._keys = [entry.key for entry in ON_PAGE]

    def case(self, random: Random) -> tuple[dict[str, str], dict[str, str]]:
        def value() -> str:
            chosen = random.choice(self._values)
            return mutators.text(random, chosen) if random.random() < 0.5 else chosen

        given = {random.choice(self._variables): value() for _ in range(4)}
        saved = {random.choice(self._keys): value() for _ in range(3)}
        secret = random.choice([entry for entry in ON_PAGE if entry.secret])
        given[secret.variable] = saved[secret.key] = value() + self._marker + value()
        return ENVIRONMENT | given, saved

    async def feed(self, case: tuple[dict[str, str], dict[str, str]]) -> None:
        environment, saved = case
        settings = read_settings(environment, saved)
        shown = repr(settings) + " ".join(map(str, settings.problems))
        assert self._marker not in shown, "a part of each secret"


class StoredCalls(Harness):
    """The file of running calls, as a broken disk or another version may leave it."""

    name = "stored-calls"
    log_octets = 400_000  # a line a start
    short = 2_500

    def __init__(self) -> None:
        call = {"room": "abc123", "language": "en", "targets": [["nc-1", "user-1"], ["nc-2", None]]}
        room = {"room": "abc123", "language": "en", "targets": [{"session": "nc-1", "user": "user-1"}, {"session": "nc-2"}]}
        self._seeds: list[Any] = [
            {"at": 1_000.0, "calls": [call, call]},
            {"version": 2, "at": 1_000.0, "boot": {"id": "b", "at": 1.0}, "rooms": [room, room], "calls": [call, call]},
        ]

    def case(self, random: Random) -> bytes:
        written = mutators.json_text(random, self._seeds, ("abc123", "at", "room", "targets")).encode("utf-8", "surrogatepass")
        return mutators.octets(random, written) if random.random() < 0.2 else written

    async def feed(self, case: bytes) -> None:
        (self._storage / FILE_NAME).write_bytes(case)
        engine = FakeEngine()
        CallStore(engine, self._storage, lambda: 1_001.0).restore()
        assert all(len(room) <= 64 for room in engine.rooms)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with tempfile.TemporaryDirectory() as directory:
            self._storage = Path(directory)
            yield


class Modal(Harness):
    name = "modal-replies"
    log_octets = 0
    short = 8_000
    _seeds: tuple[Any, ...] = (
        {"text": " hello", "final": False, "vad_end": False, "start_s": 0.1, "end_s": 0.4},
        {"type": "token", "text": "wörld", "start_time": 1, "stop_time": 2},
        {"type": "vad_end"},
        {"type": "ping"},
        {"type": "error", "code": "capacity", "message": "no free slot"},
        [{"type": "token", "text": "a"}, {"type": "vad_end"}],
    )

    def case(self, random: Random) -> str | bytes:
        written = mutators.json_text(random, self._seeds, ("token", "text", "error", "start_s"))
        return written if random.random() < 0.7 else mutators.octets(random, written.encode("utf-8", "replace"))

    async def feed(self, case: str | bytes) -> None:
        for reply in modal_replies.parse_message(case):
            if isinstance(reply, modal_replies.TokenReply):
                reply.text.encode()


class Moshi(Harness):
    name = "moshi-replies"
    log_octets = 0
    short = 8_000
    _seeds = tuple(
        bytes(msgpack.packb(message))
        for message in (
            {"type": "Ready"},
            {"type": "Word", "text": "hello", "start_time": 0.5},
            {"type": "EndWord", "stop_time": 1.25},
            {"type": "Step", "step_idx": 7, "prs": [0.1, 0.2, 0.9, 0.0], "buffered_pcm": 0},
            {"type": "Marker", "id": 3},
            {"type": "Error", "message": "no free slot"},
        )
    )

    def case(self, random: Random) -> bytes:
        return mutators.octets(random, random.choice(self._seeds), self._seeds)

    async def feed(self, case: bytes) -> None:
        reply = moshi_replies.parse_message(case)
        if isinstance(reply, moshi_replies.Word):
            reply.text.encode()


class NextcloudAnswers(Harness):
    """Whatever Nextcloud answers is a value of the right kind, or a NextcloudError."""

    name = "nextcloud"
    log_octets = 0
    short = 4_000
    _seeds: tuple[Any, ...] = (
        {"version": {"string": "32.0.3", "major": 32}, "capabilities": {}},
        {"id": "user-1", "groups": ["admin", "staff"]},
        [{"configkey": "lt_gate", "configvalue": "true"}, {"configkey": "lt_hpb_url", "configvalue": None}],
        {"stunservers": [{"urls": ["stun:stun.example.com:443"]}], "turnservers": []},
        {"turnservers": [{"urls": "turn:[2001:db8::1]:443?transport=tcp", "username": "1:x", "credential": "turn-secret"}]},
        True,
        TASK,
        {"types": {TRANSLATE: {"inputShapeEnumValues": dict.fromkeys(("origin_language", "target_language"), LANGUAGES)}}},
    )
    _words = (
        "version",
        "string",
        "groups",
        "admin",
        "stun:x",
        "turn:[::1]:99999",
        "turns:x?transport=udp",
        "configkey",
        "lt_gate",
    )

    def __init__(self) -> None:
        self._gateway = AppApiGateway(AppIdentity(Secret(SECRET), nextcloud_url="http://127.0.0.1:9"))
        self._answer: Any = None

        async def answered(*_arguments: Any, **_more: Any) -> Any:
            return self._answer

        self._gateway._ocs = answered  # type: ignore[method-assign]

    def case(self, random: Random) -> Any:
        return mutators.json_value(random, random.choice(self._seeds), self._words)

    async def feed(self, case: Any) -> None:
        self._answer = case
        gateway = self._gateway
        for request in (gateway.server_version, gateway.is_enabled, gateway.ice_servers):
            try:
                await request()
            except NextcloudError:
                continue
        try:
            values = await gateway.read_values(["lt_gate"])
            assert all(isinstance(value, str) for value in values.values())
        except NextcloudError:
            pass
        servers, refused = parse_servers(parse_ice_servers(case))
        assert refused >= 0
        assert "turn-secret" not in repr(servers)
        json.dumps(describe_pairs(parse_pairs(case).languages), ensure_ascii=False).encode()
        task = parse_task(case)
        assert task is None or task.output is None or isinstance(task.output, str)


HARNESSES: dict[str, type[Harness]] = {
    kind.name: kind
    for kind in (
        Signaling,
        Participants,
        Offers,
        Candidates,
        Datagrams,
        Rtp,
        Rtcp,
        Http,
        SettingsValues,
        StoredCalls,
        Modal,
        Moshi,
        NextcloudAnswers,
    )
}
