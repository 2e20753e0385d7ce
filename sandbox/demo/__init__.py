# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The demo, on this machine only: `python -m sandbox.demo`, or `make demo`.

Two calls. In the English one two people talk across each other, in the French one a single person talks (recordings, over
real WebRTC). In each, another participant has asked for captions. The ExApp is a process of its own and is driven as AppAPI
and Talk drive it. The page shows what the readers receive, and plays the sound of the call.
"""
