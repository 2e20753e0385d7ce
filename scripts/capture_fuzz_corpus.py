# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Capture the seeds of tests/fuzz: what a real HPB and Janus send to an internal client that subscribes to a publisher.

`PYTHONPATH=lib:. python scripts/capture_fuzz_corpus.py` writes tests/fuzz/corpus. Needs the rig (`make rig`). Secrets, ids and
addresses are replaced by constants of the same length, so that offsets in datagrams stay what they are.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from live_transcription.types import AudioPacket
from live_transcription.webrtc import audio_transport
from live_transcription.webrtc.ice_connection import IceSocket
from live_transcription.webrtc.rtcp import ReceptionReporter
from live_transcription.webrtc.subscriber import Subscriber
from sandbox import recording
from sandbox.caller import Caller, from_recording
from sandbox.nextcloud import Nextcloud
from sandbox.rig import HPB_SERIES, Rig, RigUnavailable

CORPUS = Path(__file__).parent.parent / "tests" / "fuzz" / "corpus"
#: Ids, secrets and tokens as they stand in frames; names of features look alike.
_ID = re.compile(r"[A-Za-z0-9_+/=-]{16,}")
_WORDS = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_NUMBER = re.compile(r"\b[0-9]{9,}\b")
_ICE_LINE = re.compile(r"(a=ice-(?:ufrag|pwd):)(\S+)")
_FINGERPRINT = re.compile(r"([0-9A-F]{2}:){31}[0-9A-F]{2}")
_SPEECH_S = 3.0
_MOST_DATAGRAMS = 60


class Scrubber:
    """Replaces each id by a constant of the same length, the same one wherever it stands."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def text(self, text: str) -> str:
        if "\n" not in text:
            return self._constant(text) if _ID.fullmatch(text) and not _WORDS.fullmatch(text) else text
        text = _FINGERPRINT.sub("AB:" * 31 + "AB", text)
        text = _ICE_LINE.sub(lambda match: match[1] + self._constant(match[2]), text)
        return _NUMBER.sub(lambda match: self._constant(match[0]), text)

    def value(self, value: Any) -> Any:
        """A JSON value with all text in it."""
        if isinstance(value, dict):
            return {key: self.value(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner) for inner in value]
        return self.text(value) if isinstance(value, str) else value

    def octets(self, data: bytes) -> bytes:
        for name, constant in self._names.items():
            data = data.replace(name.encode(), constant.encode())
        return data

    def _constant(self, name: str) -> str:
        if name not in self._names:
            digits = name.isdigit()
            mark = str(len(self._names) + 1) if digits else f"id{len(self._names) + 1}"
            self._names[name] = mark.ljust(len(name), "0" if digits else "x")[: len(name)]
        return self._names[name]


class Channel:
    """The subscriber's way to the publisher."""

    def __init__(self, socket: ClientConnection, publisher: str) -> None:
        self._socket = socket
        self._publisher = publisher
        self._sending: set[asyncio.Task[None]] = set()

    def request_offer(self) -> None:
        self._send({"type": "requestoffer", "roomType": "video"})

    def send_answer(self, sid: str, sdp: str) -> None:
        self._send({"type": "answer", "roomType": "video", "sid": sid, "payload": {"type": "answer", "sdp": sdp}})

    def send_candidate(self, sid: str, candidate: str, sdp_mid: str | None, sdp_m_line_index: int | None) -> None:
        ice = {"candidate": candidate, "sdpMid": sdp_mid, "sdpMLineIndex": sdp_m_line_index}
        self._send({"type": "candidate", "roomType": "video", "sid": sid, "payload": {"candidate": ice}})

    def _send(self, data: dict[str, Any]) -> None:
        recipient = {"type": "session", "sessionid": self._publisher}
        frame = {"id": "7", "type": "message", "message": {"recipient": recipient, "data": data}}
        self._sending.add(asyncio.create_task(self._socket.send(json.dumps(frame))))


class Tap:
    """Remembers what passes through the receive path."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        received, parse, report = IceSocket.datagram_received, audio_transport.parse_rtp, ReceptionReporter.sender_report

        def take_datagram(protocol: IceSocket, data: bytes | str, address: tuple[Any, ...]) -> None:
            assert isinstance(data, bytes)
            self.datagrams.append(data)
            received(protocol, data, address)

        def take_rtp(data: bytes, types: frozenset[int], level_id: int | None) -> tuple[int, AudioPacket] | None:
            self.rtp.append(data)
            return parse(data, types, level_id)

        def take_rtcp(reporter: ReceptionReporter, data: bytes, now: float) -> None:
            self.rtcp.append(data)
            report(reporter, data, now)

        IceSocket.datagram_received = take_datagram  # type: ignore[method-assign]
        audio_transport.parse_rtp = take_rtp
        ReceptionReporter.sender_report = take_rtcp  # type: ignore[method-assign]


async def hello(socket: ClientConnection, rig: Rig, backend: str) -> list[str]:
    """Returns the frames that came so far."""
    frames = [str(await socket.recv())]
    random = secrets.token_hex(32)
    token = hmac.new(rig.internal_secret.encode(), random.encode(), hashlib.sha256).hexdigest()
    auth = {"type": "internal", "params": {"random": random, "token": token, "backend": backend + "/"}}
    await socket.send(
        json.dumps({"id": "1", "type": "hello", "hello": {"version": "2.0", "features": ["internal-incall"], "auth": auth}})
    )
    frames.append(str(await socket.recv()))
    return frames


async def capture(series: str) -> list[str]:
    """Frames of one call on this series of the HPB."""
    async with Nextcloud() as nextcloud:
        rig = Rig(nextcloud.url, nextcloud.signaling_secret, hpb_series=series, directory=Path(tempfile.mkdtemp()))
        async with rig, connect(rig.signaling_url, proxy=None) as socket:
            nextcloud.hpb_url = rig.hpb_url
            room = nextcloud.talk.rooms.create().token
            frames = await hello(socket, rig, nextcloud.url)
            await socket.send(json.dumps({"id": "2", "type": "room", "room": {"roomid": room}}))
            speech = from_recording(recording.load("en-short"))
            async with Caller(rig.signaling_url, nextcloud, room, "speaker-1", "speaker-1", speech, video=True) as speaker:
                subscriber = Subscriber(Channel(socket, speaker.session_id), (), lambda _: None)
                receiving = asyncio.create_task(subscriber.run())
                async with Caller(rig.signaling_url, nextcloud, room, "guest", "guest", publishes=False) as guest:
                    await guest.connection.send(
                        {"type": "message", "message": {"recipient": {"type": "room"}, "data": {"type": "raiseHand"}}}
                    )
                    try:
                        async with asyncio.timeout(_SPEECH_S):
                            async for frame in socket:
                                frames.append(str(frame))
                                take(subscriber, json.loads(frame))
                    except TimeoutError:
                        pass
                receiving.cancel()
                await asyncio.wait([receiving])
            try:
                async with asyncio.timeout(0.5):
                    async for frame in socket:
                        frames.append(str(frame))
            except TimeoutError:
                pass
            return frames


def take(subscriber: Subscriber, frame: dict[str, Any]) -> None:
    data = frame.get("message", {}).get("data", {})
    if data.get("type") == "offer":
        subscriber.offer(data["sid"], data["payload"]["sdp"])
    elif data.get("type") == "candidate":
        subscriber.candidate(data["sid"], data["payload"]["candidate"].get("candidate"), None, None)


def write(name: str, lines: Iterable[str]) -> None:
    kept = list(dict.fromkeys(lines))
    (CORPUS / name).write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    print(f"{name}: {len(kept)} lines, {(CORPUS / name).stat().st_size} octets")


def by_kind(datagrams: list[bytes]) -> list[bytes]:
    """Some of each first octet and length, so that no kind crowds out the others."""
    chosen: dict[tuple[int, int], bytes] = {}
    for datagram in datagrams:
        if datagram:
            chosen.setdefault((datagram[0], len(datagram)), datagram)
    return list(chosen.values())[:_MOST_DATAGRAMS]


async def main() -> None:
    CORPUS.mkdir(parents=True, exist_ok=True)
    tap, scrubber, frames = Tap(), Scrubber(), list[str]()
    for series in HPB_SERIES:
        try:
            frames += [json.dumps(scrubber.value(json.loads(frame))) for frame in await capture(series)]
        except RigUnavailable as error:
            print(error)
    messages = [json.loads(frame).get("message", {}).get("data", {}) for frame in frames]
    write("frames.jsonl", frames)
    write("offers.jsonl", (json.dumps(each["payload"]["sdp"]) for each in messages if each.get("type") == "offer"))
    write("candidates.txt", (each["payload"]["candidate"]["candidate"] for each in messages if each.get("type") == "candidate"))
    write("datagrams.txt", (scrubber.octets(datagram).hex() for datagram in by_kind(tap.datagrams)))
    write("rtp.txt", (packet.hex() for packet in by_kind(tap.rtp)))
    write("rtcp.txt", (packet.hex() for packet in by_kind(tap.rtcp)))


if __name__ == "__main__":
    asyncio.run(main())
