# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A transcript as JSON, for programs. Pure. docs/transcripts.md describes the fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from live_transcription.transcripts.model import Entry, Snapshot, Spoken

FORMAT = "live-transcription-transcript"
#: Rises when a field changes its meaning or disappears. Readers must ignore fields that they do not know.
VERSION = 1


def json_document(snapshot: Snapshot) -> str:
    """The whole transcript. Offsets and lengths are in seconds, moments in ISO 8601 in the transcript's zone."""
    info = snapshot.info
    content = {
        "format": FORMAT,
        "version": VERSION,
        "conversation": {"token": info.room_token, "title": info.title},
        "zone": info.zone,
        "started_at": _moment(snapshot, info.started_at),
        "call_started_at": None if info.call_started_at is None else _moment(snapshot, info.call_started_at),
        "entries": [_entry(snapshot, entry) for entry in snapshot.entries],
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _entry(snapshot: Snapshot, entry: Entry) -> Mapping[str, Any]:
    times = {
        "started_at": _moment(snapshot, entry.started_at),
        "ended_at": _moment(snapshot, entry.ended_at),
        "offset": round(entry.started_at - snapshot.info.origin, 3),
        "length": round(entry.ended_at - entry.started_at, 3),
    }
    if isinstance(entry, Spoken):
        return {
            "type": "utterance",
            "id": f"{entry.id[0]}-{entry.id[1]}",
            **times,
            "speaker": {"name": entry.name, "kind": entry.kind.value},
            "language": entry.language,
            "text": entry.text,
            "complete": entry.final,
            "translations": dict(entry.translations),
        }
    return {"type": "gap", **times, "reason": entry.reason.value, "speaker": entry.name or None}


def _moment(snapshot: Snapshot, at: float) -> str:
    return snapshot.info.local_time(at).isoformat(timespec="milliseconds")
