# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Let this environment import the sources in place (like an editable install, without a build)."""

import pathlib
import sysconfig

root = pathlib.Path(__file__).resolve().parent.parent
link = pathlib.Path(sysconfig.get_paths()["purelib"]) / "live_transcription_sources.pth"
link.write_text(f"{root / 'lib'}\n{root}\n", encoding="utf-8")
