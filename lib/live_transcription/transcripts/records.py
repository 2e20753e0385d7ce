# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The content of a journal's records: the transcript's description, its entries, starts of the app and notes, as JSON. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from live_transcription.transcript import GapReason, SpeakerKind
from live_transcription.transcripts.model import Entry, Missing, Spoken, TranscriptInfo

VERSION = 1


@dataclass(frozen=True, slots=True)
class Start:
    """The app continues the transcript after a restart, at this Unix time in seconds."""

    at: float


@dataclass(frozen=True, slots=True)
class Note:
    """A value of the transcript's owner, such as what was delivered last. It replaces earlier notes with the same name."""

    name: str
    value: str = field(repr=False)


Record: TypeAlias = TranscriptInfo | Entry | Start | Note


class UnknownRecord(Exception):
    """The record is authentic, but another version of the app has written it."""


def encode(record: Record) -> bytes:
    return json.dumps(_encode(record), ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def decode(content: bytes) -> Record:
    """Raises UnknownRecord."""
    try:
        found = json.loads(content)
        return _decode(found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UnknownRecord from None


def _encode(record: Record) -> Mapping[str, Any]:
    match record:
        case TranscriptInfo():
            return {
                "is": "transcript",
                "version": VERSION,
                "room": record.room_token,
                "title": record.title,
                "started_at": record.started_at,
                "zone": record.zone,
                "call_started_at": record.call_started_at,
            }
        case Spoken():
            return {
                "is": "spoken",
                "id": record.id,
                "name": record.name,
                "kind": record.kind.value,
                "text": record.text,
                "language": record.language,
                "final": record.final,
                "time": [record.started_at, record.ended_at],
                "translations": dict(record.translations),
            }
        case Missing():
            time = [record.started_at, record.ended_at]
            return {"is": "missing", "reason": record.reason.value, "time": time, "name": record.name}
        case Start():
            return {"is": "start", "at": record.at}
        case Note():
            return {"is": "note", "name": record.name, "value": record.value}


def _decode(found: Any) -> Record:
    match found["is"]:
        case "transcript":
            if found["version"] != VERSION:
                raise UnknownRecord
            call = found["call_started_at"]
            started_at = _number(found["started_at"])
            return TranscriptInfo(
                _text(found["room"]),
                _text(found["title"]),
                started_at,
                _text(found["zone"]),
                None if call is None else _number(call),
            )
        case "spoken":
            run, number = found["id"]
            started_at, ended_at = found["time"]
            return Spoken(
                (int(run), int(number)),
                _text(found["name"]),
                SpeakerKind(found["kind"]),
                _text(found["text"]),
                _text(found["language"]),
                bool(found["final"]),
                _number(started_at),
                _number(ended_at),
                {_text(code): _text(text) for code, text in found["translations"].items()},
            )
        case "missing":
            started_at, ended_at = found["time"]
            return Missing(GapReason(found["reason"]), _number(started_at), _number(ended_at), _text(found["name"]))
        case "start":
            return Start(_number(found["at"]))
        case "note":
            return Note(_text(found["name"]), _text(found["value"]))
    raise UnknownRecord


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UnknownRecord
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise UnknownRecord
    return float(value)
