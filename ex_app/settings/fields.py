# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The settings that an administrator may change while the app runs: one table for reading, saving, the page and the docs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ex_app.settings.parsers import (
    absolute_path,
    boolean,
    call_count,
    engine_order,
    frame_length,
    hpb_address,
    known_language,
    known_languages,
    megabytes,
    modal_key,
    modal_secret,
    modal_workspace,
    nextcloud_address,
    receive_path,
    secret,
    speaker_count,
    stt_address,
)
from live_transcription.config import ENGINES
from live_transcription.languages import LANGUAGES


@dataclass(frozen=True, slots=True)
class Field:
    """One setting. `variable`: in the environment; `kind`: `text`, `url`, `secret`, `switch`, `choice`, `number`,
    `languages` or `order`; `default` as text, as it would be saved.
    """

    variable: str
    kind: str
    group: str
    label: str
    hint: str
    parse: Callable[[str], object] = field(repr=False)
    default: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    placeholder: str = ""

    @property
    def key(self) -> str:
        """Its name in Nextcloud's app configuration (`occ app_api:app:config:set live_transcription <key> …`)."""
        return key_of(self.variable)

    @property
    def secret(self) -> bool:
        return self.kind == "secret"


def key_of(variable: str) -> str:
    """`LT_HPB_URL` -> `lt_hpb_url`, `MODAL_KEY` -> `lt_modal_key`."""
    name = variable.lower()
    return name if name.startswith("lt_") else f"lt_{name}"


_ENGINE_NAMES = {"modal": "Modal", "moshi": "moshi-server", "embedded": "This machine"}

FIELDS: tuple[Field, ...] = (
    Field(
        "LT_HPB_URL", "url", "hpb", "Address of the high-performance backend",
        "The signaling server that Talk uses; see Talk's administration settings.",
        hpb_address, placeholder="https://cloud.example.com/standalone-signaling",
    ),
    Field(
        "LT_INTERNAL_SECRET", "secret", "hpb", "Internal secret",
        "internalsecret in the section [clients] of the signaling server's server.conf.", secret,
    ),
    Field(
        "LT_BACKEND_URL", "url", "hpb", "Nextcloud's address, as the backend knows it",
        "Only if it differs from the address that the app uses.", nextcloud_address,
        placeholder="https://cloud.example.com",
    ),
    Field(
        "LT_SKIP_CERT_VERIFY", "switch", "hpb", "Accept any certificate of the high-performance backend",
        "For test systems only: anyone on the network path can pose as the backend, read the captions and send wrong ones.",
        boolean, "false",
    ),
    Field(
        "LT_STT_ORDER", "order", "stt", "Engines, the preferred one first",
        "If an engine fails, the next one takes over. Engines that are not selected are not used.",
        engine_order, ",".join(ENGINES), tuple(_ENGINE_NAMES.items()),
    ),
    Field(
        "LT_STT_FALLBACK", "switch", "stt", "Take the next engine when one fails",
        "Off: only the first engine that is configured is used.", boolean, "true",
    ),
    Field(
        "MODAL_WORKSPACE", "text", "stt", "Modal: workspace", "The name of your workspace at modal.com.", modal_workspace,
    ),
    Field("MODAL_KEY", "secret", "stt", "Modal: key", "The proxy auth token's id, wk-…", modal_key),
    Field("MODAL_SECRET", "secret", "stt", "Modal: secret", "The proxy auth token's secret, ws-…", modal_secret),
    Field(
        "LT_MODAL_URL", "url", "stt", "Modal: full address",
        "Instead of the workspace, for a deployment with another name.", stt_address,
        placeholder="wss://…modal.run/v1/stream",
    ),
    Field(
        "LT_MODAL_CREDENTIALS_ANYWHERE", "switch", "stt", "Modal: send the key to hosts outside modal.run",
        "Off: key and secret go to *.modal.run only. The certificate is checked in either case.", boolean, "false",
    ),
    Field(
        "LT_MOSHI_URL", "url", "stt", "moshi-server: address",
        "Your own server with Kyutai's model. Without TLS (ws, http), audio and key are sent unencrypted.",
        stt_address, placeholder="wss://stt.example.com",
    ),
    Field("LT_MOSHI_KEY", "secret", "stt", "moshi-server: key", "Empty: the default key of moshi-server.", secret),
    Field(
        "LT_MOSHI_SKIP_CERT_VERIFY", "switch", "stt", "moshi-server: accept any certificate",
        "For test systems only: anyone on the network path can pose as the server, listen in and read the key.",
        boolean, "false",
    ),
    Field(
        "LT_MODEL_DIRECTORY", "text", "stt", "This machine: model directory",
        "A CTranslate2 Whisper model inside the container. Empty: the built-in model.", absolute_path,
        placeholder="/models/whisper-small",
    ),
    Field(
        "LT_DEFAULT_LANGUAGE", "choice", "captions", "Default language",
        "For conversations without a language setting.", known_language, "en",
        tuple((code, language.name) for code, language in LANGUAGES.items()),
    ),
    Field(
        "LT_LANGUAGES", "languages", "captions", "Languages to offer", "None selected: all languages that the engines support.",
        known_languages, "", tuple((code, language.name) for code, language in LANGUAGES.items()),
    ),
    Field(
        "LT_FRAME_MS", "choice", "advanced", "Length of an audio frame",
        "80 ms gives the best latency; 200 ms takes slightly less CPU.", frame_length, "80",
        (("80", "80 ms"), ("200", "200 ms")),
    ),
    Field(
        "LT_GATE", "switch", "advanced", "Send speech only",
        "Off: silence is transcribed and billed, too.", boolean, "true",
    ),
    Field(
        "LT_PREWARM", "switch", "advanced", "Start the engine when a call is joined",
        "Off: the engine starts at the first word, so the first captions are late.", boolean, "true",
    ),
    Field(
        "LT_RECEIVE_PATH", "choice", "advanced", "How audio is received",
        "The aiortc receiver takes several times as much CPU. Use it for comparison, or if no audio arrives.",
        receive_path, "direct", (("direct", "The app's own receiver"), ("stock", "The aiortc receiver")),
    ),
    Field(
        "LT_MAX_SPEAKERS", "number", "advanced", "Maximum concurrent speakers",
        "People who speak at the same time, in all calls together, 1 to 10000. Silent microphones do not count.",
        speaker_count, "500",
    ),
    Field(
        "LT_MAX_CALLS", "number", "advanced", "Maximum concurrent calls",
        "Calls with captions at the same time, 1 to 10000. Captions for further calls are refused.", call_count, "500",
    ),
    Field(
        "LT_MAX_MEMORY_MB", "number", "advanced", "Memory limit in MB",
        "Above 80 % of it, no new captions start. 0: only the limits of the container and the machine apply.",
        megabytes, "0",
    ),
)  # fmt: skip

#: Settings of earlier versions that no longer have an effect, and why.
RETIRED = {"LT_FINALS_ONLY": "Captions are never revised, so every version of Talk shows them once."}

BY_KEY = {entry.key: entry for entry in FIELDS}
BY_VARIABLE = {entry.variable: entry for entry in FIELDS}
GROUPS = ("hpb", "stt", "captions", "advanced")
