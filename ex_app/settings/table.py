# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The table of settings: all that reading, saving, the page, docs/settings.md and info.xml know about a setting is here.

To add a setting, add its field to `live_transcription.config` and its entry to `SETTINGS`, and run `make settings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from ex_app.settings import parsers
from live_transcription.config import AudioConfig, EmbeddedConfig, EngineConfig, HpbConfig, ModalConfig, MoshiConfig, SttConfig
from live_transcription.languages import CHOICES
from live_transcription.texts import Text

#: The parts of the engine's configuration, by the prefix of `Setting.target`.
SECTIONS: dict[str, type] = {
    "": EngineConfig, "hpb": HpbConfig, "audio": AudioConfig, "stt": SttConfig,
    "stt.modal": ModalConfig, "stt.moshi": MoshiConfig, "stt.embedded": EmbeddedConfig,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """A section of the page and of docs/settings.md. A group that is not `on_page` is read from the environment only."""

    name: str
    title: str
    intro: str
    on_page: bool = True


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `variable`: its environment variable. `target`: its field in `EngineConfig`, such as `hpb.url`.

    `kind` selects the control on the page: `text`, `url`, `secret`, `switch`, `choice`, `number`, `languages` or `order`.
    `required`: what to do if it is missing. `alias`: the setting whose value applies if this one is not set.
    """

    variable: str
    kind: str
    group: str
    label: str
    hint: str
    parse: Callable[[str], Any] = field(repr=False)
    target: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    placeholder: str = ""
    required: str = ""
    alias: str = ""
    #: The default as text if there is no `target` to take it from.
    own_default: str = ""

    @property
    def key(self) -> str:
        """Its name in Nextcloud's app configuration: `LT_HPB_URL` -> `lt_hpb_url`, `MODAL_KEY` -> `lt_modal_key`."""
        return key_of(self.variable)

    @property
    def engine(self) -> str:
        """The engine that it belongs to, "" if to none: `stt.modal.key` -> `modal`."""
        section, _, engine = self.target.rpartition(".")[0].partition(".")
        return engine if section == "stt" else ""

    @property
    def secret(self) -> bool:
        return self.kind == "secret"

    @property
    def default(self) -> str:
        """The default as text, as it would be saved; "" if there is none, or for a secret."""
        section, _, name = self.target.rpartition(".")
        found = next((each.default for each in fields(SECTIONS[section]) if each.name == name), MISSING)
        if isinstance(found, bool):
            return str(found == self.parse("true")).lower()
        if isinstance(found, tuple):
            return ",".join(found)
        return str(found) if isinstance(found, int | str) else self.own_default


def key_of(variable: str) -> str:
    name = variable.lower()
    return name if name.startswith("lt_") else f"lt_{name}"


GROUPS = (
    Group("hpb", "High-performance backend", "The signaling server of Talk's calls. It needs a media server."),
    Group("stt", "Speech-to-text", "Speech-to-text engines. Without a GPU server, this machine transcribes."),
    Group("captions", "Captions", "Languages of the captions."),
    Group("advanced", "Advanced", "The defaults suit most installations."),
    Group(
        "environment", "Environment only", "Not on the page, since they apply before saved settings are read.", on_page=False
    ),
)

_LANGUAGES = tuple((code, language.name) for code, language in CHOICES.items())
_HPB_EXAMPLE = "https://cloud.example.com/standalone-signaling"
_MODAL_EXAMPLE = "wss://example--app.modal.run/v1/stream"
_MOSHI_EXAMPLE = "wss://stt.example.com"
_MODAL_NEEDS = "Modal needs a workspace, a key and a secret. Until then, it is not used."

#: The engines as the page names them.
ENGINE_NAMES = {"modal": Text("Modal"), "moshi": Text("moshi-server"), "embedded": Text("This machine")}

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "LT_HPB_URL", "url", "hpb", "Address of the high-performance backend",
        "The signaling server that Talk uses; see Talk's administration settings.",
        parsers.server_address(_HPB_EXAMPLE), "hpb.url",
        placeholder=_HPB_EXAMPLE,
        required="Enter the address of Talk's high-performance backend, such as "
        "https://cloud.example.com/standalone-signaling.",
    ),
    Setting(
        "LT_INTERNAL_SECRET", "secret", "hpb", "Internal secret",
        "The internalsecret in the section [clients] of the signaling server's server.conf, not the secret in Talk's settings.",
        parsers.secret, "hpb.internal_secret",
        required="Enter the internalsecret of the section [clients] of the high-performance backend's server.conf.",
    ),
    Setting(
        "LT_BACKEND_URL", "url", "hpb", "Address of Nextcloud in the backend's settings",
        "Only needed if it differs from the address that this app uses.", parsers.nextcloud_address, "hpb.backend_url",
        placeholder="https://cloud.example.com",
    ),
    Setting(
        "LT_SKIP_CERT_VERIFY", "switch", "hpb", "Accept any certificate of the high-performance backend",
        "For test systems only: anyone on the network path can pose as the backend, read the captions and send false ones.",
        parsers.verification, "hpb.verify_certificates", alias="SKIP_CERT_VERIFY",
    ),
    Setting(
        "LT_STT_ORDER", "order", "stt", "Engines in order of preference",
        "If an engine fails, the next one takes over. Engines that are not selected are not used.", parsers.engine_order,
        "stt.order", tuple(ENGINE_NAMES.items()),
    ),
    Setting(
        "LT_STT_FALLBACK", "switch", "stt", "Use the next engine if one fails",
        "Off: only the first configured engine is used.", parsers.boolean, "stt.fallback",
    ),
    Setting(
        "MODAL_WORKSPACE", "text", "stt", "Modal: workspace", "The name of your workspace on modal.com.",
        parsers.modal_workspace, "stt.modal.workspace", required=_MODAL_NEEDS,
    ),
    Setting(
        "MODAL_KEY", "secret", "stt", "Modal: key", "The ID of a proxy auth token (wk-…).", parsers.modal_key,
        "stt.modal.key", required=_MODAL_NEEDS,
    ),
    Setting(
        "MODAL_SECRET", "secret", "stt", "Modal: secret", "The secret of the proxy auth token (ws-…).", parsers.modal_secret,
        "stt.modal.secret", required=_MODAL_NEEDS,
    ),
    Setting(
        "LT_MODAL_URL", "url", "stt", "Modal: full address", "Replaces the workspace if your deployment has another name.",
        parsers.server_address(_MODAL_EXAMPLE), "stt.modal.url", placeholder=_MODAL_EXAMPLE,
    ),
    Setting(
        "LT_MODAL_CREDENTIALS_ANYWHERE", "switch", "stt", "Modal: send the key to hosts outside modal.run",
        "Off: key and secret are only sent to *.modal.run. The certificate is always checked.", parsers.boolean,
        "stt.modal.credentials_anywhere",
    ),
    Setting(
        "LT_MODAL_MINUTES_PER_DAY", "number", "stt", "Modal: GPU minutes per day",
        "An estimate. When they are used up, the next engine takes over until midnight (UTC). 0: no limit.",
        parsers.whole_number(0, 1_000_000), "stt.modal.minutes_per_day",
    ),
    Setting(
        "LT_MODAL_SOCKETS", "number", "stt", "Modal: connections at once",
        "One per person who speaks. Beyond the limit, the next engine transcribes. 0: no limit.",
        parsers.whole_number(0, 10_000), "stt.modal.max_sockets",
    ),
    Setting(
        "LT_MOSHI_URL", "url", "stt", "moshi-server: address",
        "Your own server with Kyutai's model stt-1b-en_fr. Without TLS (ws, http), audio and key are sent unencrypted.",
        parsers.server_address(_MOSHI_EXAMPLE), "stt.moshi.url", placeholder=_MOSHI_EXAMPLE,
    ),
    Setting(
        "LT_MOSHI_KEY", "secret", "stt", "moshi-server: key", "Empty: the default key of moshi-server.", parsers.secret,
        "stt.moshi.key",
    ),
    Setting(
        "LT_MOSHI_SKIP_CERT_VERIFY", "switch", "stt", "moshi-server: accept any certificate",
        "For test systems only: anyone on the network path can pose as the server, listen in and read the key.",
        parsers.verification, "stt.moshi.verify_certificates",
    ),
    Setting(
        "LT_MODEL_DIRECTORY", "text", "stt", "This machine: model directory",
        "A CTranslate2 Whisper model inside the container. Empty: the built-in model.", parsers.absolute_path,
        "stt.embedded.model_directory", placeholder="/models/whisper-small",
    ),
    Setting(
        "LT_DEFAULT_LANGUAGE", "choice", "captions", "Default language", "For conversations without a language setting.",
        parsers.language, "default_language", _LANGUAGES,
    ),
    Setting(
        "LT_LANGUAGES", "languages", "captions", "Languages to offer",
        "None selected: all languages that the engines support. Automatic detects only the selected ones.",
        parsers.languages, "languages", _LANGUAGES,
    ),
    Setting(
        "LT_TRANSLATION", "switch", "captions", "Offer live translation",
        "Readers can choose a language while Nextcloud has a translation provider. Their captions are then sent to that "
        "provider, which may be outside this server.",
        parsers.boolean, "translation",
    ),
    Setting(
        "LT_MASKED_WORDS", "text", "captions", "Words to mask",
        "Captions show these words as asterisks. Separate words by commas and languages by semicolons. An asterisk stands for "
        "any ending.",
        parsers.masked_words, "masked_words", placeholder="en: damn, heck; de: verdammt*",
    ),
    Setting(
        "LT_TRANSCRIPTS", "switch", "captions", "Allow transcripts to be kept",
        "Talk gets a bot that moderators can enable in a conversation. It asks at the start of each call; the file goes to the "
        "moderator who agrees. Read docs/transcripts-guide.md before.",
        parsers.boolean, own_default="false",
    ),
    Setting(
        "LT_FRAME_MS", "choice", "advanced", "Length of an audio frame",
        "80 ms gives the best latency; 200 ms takes slightly less CPU.", parsers.frame_length, "audio.frame_ms",
        (("80", "80 ms"), ("200", "200 ms")),
    ),
    Setting(
        "LT_GATE", "switch", "advanced", "Send speech only", "Off: silence is transcribed and billed, too.", parsers.boolean,
        "audio.gate",
    ),
    Setting(
        "LT_PREWARM", "switch", "advanced", "Start the engine when a call is joined",
        "Off: the engine starts at the first word, so the first captions are late.", parsers.boolean, "stt.prewarm",
    ),
    Setting(
        "LT_MAX_SPEAKERS", "number", "advanced", "Maximum concurrent speakers",
        "People who speak at the same time, in all calls together, 1 to 10000. Silent microphones do not count.",
        parsers.whole_number(1, 10_000), "max_speakers",
    ),
    Setting(
        "LT_MAX_CALLS", "number", "advanced", "Maximum concurrent calls",
        "Calls with captions at the same time, 1 to 10000. Captions for further calls are refused.",
        parsers.whole_number(1, 10_000), "max_calls",
    ),
    Setting(
        "LT_MAX_MEMORY_MB", "number", "advanced", "Memory limit in MB",
        "Above 80 % of it, no new captions start. 0: only the limits of the container and the machine apply.",
        parsers.megabytes, "max_memory_mb",
    ),
    Setting(
        "LT_METRICS_TOKEN", "secret", "advanced", "Token for the metrics",
        "A monitoring server that sends it may read /metrics. At least 16 characters.",
        parsers.metrics_token,
    ),
    Setting(
        "LT_NEXTCLOUD_SKIP_CERT_VERIFY", "switch", "environment", "Accept any certificate of Nextcloud",
        "For test systems only: anyone on the network path can pose as Nextcloud and read the app's secret and all settings.",
        parsers.verification, alias="SKIP_CERT_VERIFY",
    ),
    Setting(
        "SKIP_CERT_VERIFY", "switch", "environment", "Accept any certificate of Nextcloud and the high-performance backend",
        "Applies to each of the two unless its own switch is set. For test systems only.", parsers.verification,
        own_default="false",
    ),
    Setting(
        "LT_METRICS_LISTEN", "text", "environment", "Address for the metrics",
        "A port of its own for /metrics and /healthz, such as 127.0.0.1:9464, [::1]:9464, or :9464 for all addresses. "
        "Empty: none. Without a token for the metrics, everyone who reaches the port can read them.", parsers.listening_address,
    ),
    Setting(
        "LOG_LEVEL", "choice", "environment", "Log level", "debug, info, warning, error or critical.", parsers.log_level,
        own_default="info",
    ),
)  # fmt: skip

#: Settings of earlier versions that no longer have an effect, and why.
RETIRED = {
    "LT_FINALS_ONLY": "Captions are never revised, so every version of Talk shows them once.",
    "LT_RECEIVE_PATH": "There is only one way to receive audio.",
}

#: Those that the page shows and Nextcloud saves.
ON_PAGE = tuple(setting for setting in SETTINGS if setting.group != "environment")
BY_KEY = {setting.key: setting for setting in ON_PAGE}
BY_VARIABLE = {setting.variable: setting for setting in SETTINGS}
