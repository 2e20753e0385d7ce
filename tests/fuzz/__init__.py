# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Fuzzing of every surface that outsiders reach. `make fuzz` runs it; CI runs the short form.

`driver` runs a harness, `mutators` makes cases of seeds, `harnesses` has one harness per surface, and `corpus` holds seeds
from a real HPB and Janus, captured by scripts/capture_fuzz_corpus.py.
"""
