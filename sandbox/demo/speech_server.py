# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A stand-in for the GPU server that the app streams speech to, as a process of its own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from sandbox.demo.processes import Child

#: How long the GPU of the stand-in for Modal takes to wake up when the calls begin, in seconds.
COLD_START_S = 4.0

#: What the app calls the engines of a remote server.
NAMES = {"modal": "Kyutai on Modal", "moshi": "a moshi-server"}


@dataclass(frozen=True, slots=True)
class SpeechServer:
    """`environment`: the variables with which the app uses it. `name`: the server that it stands in for."""

    kind: str
    name: str
    environment: Mapping[str, str] = field(repr=False)
    child: Child
    _http_url: str

    async def fall_asleep(self) -> bool:
        """Modal: the next session finds a cold start. False for a server that never sleeps."""
        if self.kind != "modal":
            return False
        await self._admin("cold")
        return True

    async def words(self) -> int:
        """Number of words emitted so far in all sessions."""
        state = await self._admin("state")
        return sum(int(session["words"]) for session in state["sessions"])

    async def _admin(self, verb: str) -> dict[str, list[dict[str, str]]]:
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            answer = await client.get(f"{self._http_url}/admin/{verb}")
            answer.raise_for_status()
            return dict(answer.json())


@asynccontextmanager
async def speech_server(
    kind: str, words: str, language: str, environment: Mapping[str, str], logs: Path
) -> AsyncIterator[SpeechServer]:
    """`kind`: "modal" or "moshi". `words`: where it has its words from ("located", "transcribed"), the latter in `language`.

    Raises ProcessFailed.
    """
    arguments = ["--words", words, "--language", language]
    if kind == "modal":
        key, secret = f"wk-{secrets.token_hex(8)}", f"ws-{secrets.token_hex(8)}"
        arguments += ["--cold-start", str(COLD_START_S), "--key", key, "--secret", secret]
    else:
        key, secret = secrets.token_hex(8), ""
        arguments += ["--api-key", key]
    child = Child(
        "The speech-to-text server",
        f"sandbox.stt_servers.{kind}",
        log=logs / "speech_to_text.log",
        environment=environment,
        arguments=arguments,
        answers=True,
    )
    async with child:
        ready = await child.answer()
        settings = (
            {
                "LT_MODAL_URL": ready["stream_url"],
                "MODAL_KEY": key,
                "MODAL_SECRET": secret,
                # It is not at modal.run; without this the app would keep the credentials to itself.
                "LT_MODAL_CREDENTIALS_ANYWHERE": "true",
            }
            if kind == "modal"
            else {"LT_MOSHI_URL": ready["stream_url"], "LT_MOSHI_KEY": key}
        )
        yield SpeechServer(kind, NAMES[kind], settings, child, ready["http_url"])
