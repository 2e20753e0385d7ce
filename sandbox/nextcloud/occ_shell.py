# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`sandbox/occ …`: passes a command on to the Nextcloud that `make sandbox` runs, and prints its answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx

#: Where the running sandbox says how it can be asked; readable by its owner alone.
WHERE = Path("build") / "sandbox" / "occ.json"


def main(arguments: list[str]) -> int:
    try:
        where = json.loads(WHERE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        print("occ: the sandbox does not run. Start it with: make sandbox", file=sys.stderr)
        return 1
    code = 1
    try:
        with (
            httpx.Client(trust_env=False, timeout=None) as client,
            client.stream(
                "POST", f"{where['url']}/sandbox/occ", json=arguments, headers={"Sandbox-Occ": where["token"]}
            ) as answer,
        ):
            answer.raise_for_status()
            for line in answer.iter_lines():
                if line.startswith("exit:"):
                    code = int(line.removeprefix("exit:"))
                else:
                    print(line, flush=True)
    except httpx.HTTPError as error:
        print(f"occ: the sandbox does not answer ({type(error).__name__}). Start it with: make sandbox", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
