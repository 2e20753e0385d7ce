# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A selective forwarding unit in pure Python that replaces Janus's videoroom, without decoding.

Publishers send it an offer and then Opus RTP; subscribers get an offer as Janus makes it (audio, optionally video) and the
publisher's packets with an SSRC and sequence numbers of their own, payloads, timestamps and audio levels (RFC 6464) unchanged.
"""

from sandbox.sfu.impairment import ImpairedPath, Impairment
from sandbox.sfu.publisher import Publisher, Source
from sandbox.sfu.sfu import Sfu, SfuError
from sandbox.sfu.subscriber import Subscriber

__all__ = ["ImpairedPath", "Impairment", "Publisher", "Sfu", "SfuError", "Source", "Subscriber"]
