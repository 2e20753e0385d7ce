# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Shared parts of the benchmarks of the whole service: a Talk with many cheap participants, and the receiver of the audio.

`python -m bench.load` is signaling and SFU in one process. Its participants exist in signaling as real ones do; what they
publish is not received and decoded but taken from a tape of Opus that was encoded before. Its subscribing peers are real: ICE,
DTLS, SRTP. `python -m bench.load.stt` is a speech-to-text server that understands nothing, but recognises what part of the
tape it hears. Both note times of the monotonic clock, which processes of one machine share. All traffic stays on loopback.
"""
