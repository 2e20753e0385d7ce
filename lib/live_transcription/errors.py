# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The one tree of errors.

LiveTranscriptionError
├── ConfigurationError            a setting is missing or malformed
├── RequestError                  the service cannot do what its caller asked for
│   ├── UnknownLanguage, CallNotFound, NotTranscribing, AtCapacity
│   └── CallUnavailable           the call cannot be joined now; `cause_code` names the reason
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
└── SttError                      one speech-to-text backend or stream
    ├── SttUnavailable            SttRedirected, SttUntrusted, SttStarting, SttStalled
    ├── SttAtCapacity, SttExpired, SttProtocolError
    └── SttRefused, SttModelError

Each class has a `code` (stable, for logs, metrics and answers); `retryable` says whether a later retry makes sense. The message
says what happened and why; `fix` says what an administrator can do. Neither ever contains a secret, a name, or speech.
"""

from __future__ import annotations

from typing import ClassVar


class LiveTranscriptionError(Exception):
    """Base of all; `str()` is the message for an administrator."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message} {self.fix}" if self.fix else self.message


class ConfigurationError(LiveTranscriptionError):
    """`setting` is the name of the environment variable or setting at fault."""

    code = "configuration"

    def __init__(self, setting: str, message: str, *, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.args = (setting, message)  # what a copy in another process is made of
        self.setting = setting


class RequestError(LiveTranscriptionError):
    code = "request"


class UnknownLanguage(RequestError):
    code = "unknown_language"


class CallNotFound(RequestError):
    code = "call_not_found"


class NotTranscribing(RequestError):
    code = "not_transcribing"
    retryable = True


class AtCapacity(RequestError):
    code = "at_capacity"
    retryable = True


class CallUnavailable(RequestError):
    """The call could not be joined in time, or at all; `cause_code` is the code of the error behind it."""

    code = "call_unavailable"
    retryable = True

    def __init__(self, message: str, *, fix: str = "", cause_code: str = "") -> None:
        super().__init__(message, fix=fix)
        self.cause_code = cause_code


class OutOfDescriptors(CallUnavailable):
    """A further call would take file descriptors that running calls need."""

    code = "out_of_descriptors"

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message, fix=fix, cause_code=self.code)


class TooManyCalls(CallUnavailable):
    """As many calls are transcribed as the settings allow."""

    code = "too_many_calls"


class SignalingError(LiveTranscriptionError):
    code = "signaling"
    retryable = True


class SignalingUnreachable(SignalingError):
    """No connection, or it broke: DNS, TCP, TLS, HTTP status of the upgrade, missed pongs."""

    code = "signaling_unreachable"


class SignalingRedirected(SignalingUnreachable):
    """The server answers with a redirect, which is never followed. Tried again, since a web server's rules may be mended."""

    code = "signaling_redirected"


class SignalingProtocolError(SignalingError):
    """The server said something that breaks its own protocol at a point where we cannot go on."""

    code = "signaling_protocol"


class RoomRefused(SignalingError):
    """The HPB or Nextcloud behind it does not let us into this room."""

    code = "room_refused"


class SignalingRefused(SignalingError):
    """The HPB refuses this client until an administrator acts; `reason` is the server's error code."""

    code = "signaling_refused"
    retryable = False

    def __init__(self, message: str, *, fix: str = "", reason: str = "") -> None:
        super().__init__(message, fix=fix)
        self.reason = reason


class WebrtcError(LiveTranscriptionError):
    code = "webrtc"
    retryable = True


class NegotiationFailed(WebrtcError):
    """An offer that we cannot answer: broken SDP, no Opus, no audio, encrypted end to end."""

    code = "negotiation_failed"


class PublisherUnavailable(WebrtcError):
    """The HPB has no stream of this publisher (`client_not_found`, `processing_failed`, `not_allowed`), or no offer came."""

    code = "publisher_unavailable"


class NoAudio(WebrtcError):
    """The SFU's offer has no audio: the participant publishes video only, though their in-call flags say audio."""

    code = "no_audio"


class TransportLost(WebrtcError):
    """ICE or DTLS failed or closed, or the SFU no longer consents to receive from us (RFC 7675)."""

    code = "transport_lost"


class NoMediaPath(TransportLost):
    """ICE found no path to the SFU, or the DTLS handshake failed: this subscription never received audio."""

    code = "no_media_path"


class AudioError(LiveTranscriptionError):
    code = "audio"


class OpusError(AudioError):
    """A payload that libopus refuses. Costs that packet only."""

    code = "opus"


class SttError(LiveTranscriptionError):
    code = "stt"
    retryable = True


class SttUnavailable(SttError):
    """Not reachable, still starting, or the connection broke."""

    code = "stt_unavailable"


class SttRedirected(SttUnavailable):
    """The server answers with a redirect, which is never followed. Tried again, since a web server's rules may be mended."""

    code = "stt_redirected"


class SttUntrusted(SttUnavailable):
    """The server's certificate is not trusted. Retryable, since certificates are renewed."""

    code = "stt_untrusted"


class SttStarting(SttUnavailable):
    """The server is starting; the same request will succeed in a moment."""

    code = "stt_starting"


class SttStalled(SttUnavailable):
    """The server keeps the connection open and accepts audio, but sends nothing back."""

    code = "stt_stalled"


class SttAtCapacity(SttError):
    code = "stt_at_capacity"


class SttExpired(SttError):
    """The session reached the server's limit of age or idle time; open another at once."""

    code = "stt_expired"


class SttProtocolError(SttError):
    code = "stt_protocol"


class SttRefused(SttError):
    """Wrong credentials or address: an administrator has to act."""

    code = "stt_refused"
    retryable = False


class SttModelError(SttError):
    """The model's files are missing, damaged or not loadable."""

    code = "stt_model"
    retryable = False


def first_of(group: BaseExceptionGroup[LiveTranscriptionError]) -> LiveTranscriptionError:
    """The first error of a group of groups."""
    failure = group.exceptions[0]
    return first_of(failure) if isinstance(failure, BaseExceptionGroup) else failure
