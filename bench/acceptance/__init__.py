# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Long acceptance runs against a real HPB and Janus: one module per scenario, run by `make acceptance`.

A scenario module is a program (`python -m bench.acceptance.mutes`). It ends with `sys.exit(scenario.main(...))`, which prints
each target as met or missed, with the machine's load, and writes `build/bench/acceptance-<name>.json`. CI runs the short forms
in `tests/rig`.
"""
