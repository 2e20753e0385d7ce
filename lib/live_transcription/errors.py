# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""All errors of the engine, in one tree.

LiveTranscriptionError
├── ConfigurationError            a setting is missing or malformed
├── RequestError                  the service cannot do what its caller asked for
│   ├── UnknownLanguage, UnknownTranslation, CallNotFound, NotATarget, TranslationUnavailable
│   └── CallUnavailable           the call cannot be joined now
│       ├── OutOfDescriptors      a further call would take file descriptors that running calls need
│       └── TooManyCalls          as many calls are transcribed as the settings allow
├── SignalingError                the HPB
│   ├── SignalingUnreachable, SignalingRedirected, SignalingProtocolError, RoomRefused
│   └── SignalingRefused          an administrator has to act: wrong secret, unknown backend, no SFU, locked out
├── WebrtcError                   one publisher's transport
│   ├── NegotiationFailed, PublisherUnavailable, NoAudio
│   └── TransportLost             NoMediaPath: it was never established
├── AudioError
│   └── OpusError
├── TranslationError              a provider of translations
└── SttError                      one speech-to-text backend or stream
    ├── SttExpired, SttProtocolError
    ├── SttAtCapacity             SttBudgetSpent: a limit that the administrator set
    ├── SttUnavailable            not reachable, or the connection broke
    │   ├── SttStarting, SttStalled, SttRedirected, SttUntrusted
    │   └── SttUnhealthy          it works, but not well enough for captions: SttDeaf, SttSlow, SttRepeating
    └── SttRefused, SttModelError an administrator has to act; SttWrongModel: the server runs an unsuitable model

Each class has a stable `code` for logs, metrics and answers; `retryable` says whether a later retry makes sense. The message
says what happened and why, `fix` what an administrator can do. Neither ever contains a secret, a name, or speech. Both are
templates with values (`live_transcription.texts`), so that the settings page can show them in the reader's language.
"""

from __future__ import annotations

import copyreg
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from live_transcription.texts import Text, Value, join, setting_name

_E = TypeVar("_E", bound=BaseException)


class LiveTranscriptionError(Exception):
    """Base of all errors. `str()` is the message for an administrator: what happened and why, then `fix`.

    `template` and `fix` are constant; `values` are inserted into both. Either can be a `Text` of another error.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, template: str, *, fix: str = "", **values: Value) -> None:
        self.message = Text(template, **values)
        super().__init__(self.message)
        self.fix = Text(fix, **values)

    @property
    def template(self) -> str:
        return self.message.template

    @property
    def fix_template(self) -> str:
        return self.fix.template

    @property
    def values(self) -> Mapping[str, Value]:
        return {**self.fix.values, **self.message.values}

    @property
    def text(self) -> Text:
        """The message and the fix."""
        return join(self.message, self.fix)

    def __str__(self) -> str:
        return str(self.text)

    def __reduce__(self) -> tuple[Any, ...]:
        # The attributes, not the arguments, restore the error, since each class has arguments of its own.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class ConfigurationError(LiveTranscriptionError):
    """`setting` is the name of the environment variable or setting at fault. Templates name it as `{setting}`."""

    code = "configuration"

    def __init__(self, setting: str, template: str, *, fix: str = "", **values: Value) -> None:
        super().__init__(template, fix=fix, setting=setting_name(setting), **values)
        self.setting = setting


class RequestError(LiveTranscriptionError):
    code = "request"


class UnknownLanguage(RequestError):
    code = "unknown_language"


class UnknownTranslation(RequestError):
    """Captions cannot be translated into this language, or are in this language already."""

    code = "unknown_translation"


class CallNotFound(RequestError):
    code = "call_not_found"


class NotATarget(RequestError):
    """The session has not asked for captions."""

    code = "not_a_target"


class TranslationUnavailable(RequestError):
    """There is no provider of translations."""

    code = "no_translation"


class CallUnavailable(RequestError):
    """The call could not be joined in time, or at all."""

    code = "call_unavailable"
    retryable = True


class OutOfDescriptors(CallUnavailable):
    """A further call would take file descriptors that running calls need."""

    code = "out_of_descriptors"


class TooManyCalls(CallUnavailable):
    """As many calls are transcribed as the settings allow."""

    code = "too_many_calls"


class SignalingError(LiveTranscriptionError):
    code = "signaling"
    retryable = True


class SignalingUnreachable(SignalingError):
    """There is no connection, or it broke: DNS, TCP, TLS, HTTP status of the upgrade, missed pongs."""

    code = "signaling_unreachable"


class SignalingRedirected(SignalingUnreachable):
    """The server answers with a redirect, which is never followed. Retried, since the web server may be corrected."""

    code = "signaling_redirected"


class SignalingProtocolError(SignalingError):
    """The server violated its own protocol in a way that does not allow the session to continue."""

    code = "signaling_protocol"


class RoomRefused(SignalingError):
    """The HPB, or Nextcloud behind it, refuses the app access to this room."""

    code = "room_refused"


class SignalingRefused(SignalingError):
    """The HPB refuses this client until an administrator acts; `reason` is the server's error code."""

    code = "signaling_refused"
    retryable = False

    def __init__(self, template: str, *, fix: str = "", reason: str = "", **values: Value) -> None:
        super().__init__(template, fix=fix, **values)
        self.reason = reason


class WebrtcError(LiveTranscriptionError):
    code = "webrtc"
    retryable = True


class NegotiationFailed(WebrtcError):
    """An offer that cannot be answered: malformed SDP, no Opus, no audio, end-to-end encryption."""

    code = "negotiation_failed"


class PublisherUnavailable(WebrtcError):
    """The HPB has no stream of this publisher (`client_not_found`, `processing_failed`, `not_allowed`), or no offer came."""

    code = "publisher_unavailable"


class NoAudio(WebrtcError):
    """The SFU's offer has no audio: the participant publishes video only, though their in-call flags say audio."""

    code = "no_audio"


class TransportLost(WebrtcError):
    """ICE or DTLS failed or closed, or the SFU no longer consents to receive packets (RFC 7675)."""

    code = "transport_lost"


class NoMediaPath(TransportLost):
    """ICE found no path to the SFU, or the DTLS handshake failed: this subscription never received audio."""

    code = "no_media_path"


class AudioError(LiveTranscriptionError):
    code = "audio"


class OpusError(AudioError):
    """A payload that libopus refuses. Only this packet is lost."""

    code = "opus"


class TranslationError(LiveTranscriptionError):
    """A provider of translations did not answer, or refused or failed to translate."""

    code = "translation"
    retryable = True


class SttError(LiveTranscriptionError):
    code = "stt"
    retryable = True


class SttUnavailable(SttError):
    """The server is not reachable, or the connection broke."""

    code = "stt_unavailable"


class SttStarting(SttUnavailable):
    """The server is starting; the same request will succeed in a moment."""

    code = "stt_starting"


class SttStalled(SttUnavailable):
    """The server keeps the connection open and accepts audio, but sends nothing back."""

    code = "stt_stalled"


class SttUnhealthy(SttUnavailable):
    """The server answers, but its words show that it does not work well enough (`stt.fallback.stream_health`)."""

    code = "stt_unhealthy"


class SttDeaf(SttUnhealthy):
    """No words although the local voice detector finds speech."""

    code = "stt_deaf"


class SttSlow(SttUnhealthy):
    """The words lag far behind the speech, and the lag does not shrink."""

    code = "stt_slow"


class SttRepeating(SttUnhealthy):
    """The same word again and again."""

    code = "stt_repeating"


class SttRedirected(SttUnavailable):
    """The server answers with a redirect, which is never followed. Retried, since the web server may be corrected."""

    code = "stt_redirected"


class SttUntrusted(SttUnavailable):
    """The server's certificate is not trusted. Retryable, since certificates are renewed."""

    code = "stt_untrusted"


class SttAtCapacity(SttError):
    code = "stt_at_capacity"


class SttBudgetSpent(SttAtCapacity):
    """The administrator's limit of GPU minutes or connections is reached."""

    code = "stt_budget"


class SttExpired(SttError):
    """The session reached the server's limit of age or idle time. Another one can be opened at once."""

    code = "stt_expired"


class SttProtocolError(SttError):
    code = "stt_protocol"


class SttRefused(SttError):
    """Wrong credentials or address: an administrator has to act."""

    code = "stt_refused"
    retryable = False


class SttWrongModel(SttRefused):
    """The server runs a model that the app cannot use."""

    code = "stt_wrong_model"


class SttModelError(SttError):
    """The model's files are missing, damaged or not loadable."""

    code = "stt_model"
    retryable = False


def leaves_of(group: BaseExceptionGroup[_E]) -> list[_E]:
    """The errors in a group and in the groups within it, in order."""
    leaves: list[_E] = []
    for failure in group.exceptions:
        leaves += leaves_of(failure) if isinstance(failure, BaseExceptionGroup) else [failure]
    return leaves


def main_error(group: BaseExceptionGroup[_E]) -> _E:
    """The error of a group that decides what to do next.

    An error of this tree comes before any other, and one that no retry can cure before one that passes.
    """
    return min(leaves_of(group), key=_precedence)


def _precedence(failure: BaseException) -> tuple[bool, bool]:
    if isinstance(failure, LiveTranscriptionError):
        return False, failure.retryable
    return True, False
