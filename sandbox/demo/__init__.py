# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The demo, on this machine only: `python -m sandbox.demo`, or `make demo`.

Two calls, one English and one French. In each somebody talks (a recording, over real WebRTC) and somebody else has asked for
captions; the ExApp runs as a process of its own and is driven as AppAPI and Talk drive it. What the readers receive is shown.
"""
