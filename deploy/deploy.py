# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`make modal-deploy`: check the Modal token, print the cost, deploy, fetch the weights, ask `/health`, and say what to
enter on the settings page.

    python -m deploy.deploy [--yes] [--cost] [--no-check]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.settings import APP_NAME, BadSetting, Settings, cost_note, load

ROOT = Path(__file__).resolve().parent.parent

_LABEL = f"--{APP_NAME}-kyutaisttrustservice-serve"
_URL = re.compile(r"https://[a-z0-9.-]+\.modal\.run")

#: A first container downloads nothing, but loads 2.5 GB and warms up.
HEALTH_S = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make modal-deploy", description="Deploy Kyutai's speech-to-text on Modal.")
    parser.add_argument("--yes", action="store_true", help="do not ask before deploying")
    parser.add_argument("--cost", action="store_true", help="say what it costs, and no more")
    parser.add_argument("--no-check", action="store_true", help="do not start a container to see whether it works")
    options = parser.parse_args(arguments)
    try:
        settings = load()
    except BadSetting as error:
        return _fail(str(error))
    print(cost_note(settings), end="\n\n")
    if options.cost:
        return 0
    if not has_token():
        return _fail(
            "No Modal token was found. Get one with: .venv/bin/modal token new (or set MODAL_TOKEN_ID, MODAL_TOKEN_SECRET)."
        )
    if not options.yes and not _agrees():
        return _fail("Nothing was deployed.")
    return deploy(settings, check=not options.no_check)


def deploy(settings: Settings, *, check: bool) -> int:
    print(f"==> 1/3 Building the image and deploying (the first time compiles moshi-server: 10-20 minutes) for {settings.gpu}")
    status, output = run_modal("deploy", "-m", "deploy.modal_app")
    if status:
        return _fail("The deployment failed. See Modal's output above.")
    url = service_url(output) or _ask_for_url()
    if url is None:
        return _fail("Modal deployed the app, but returned no address; look at modal.com/apps.")
    print("==> 2/3 Fetching the model's weights onto the volume (about 2.5 GB, once; without a GPU)")
    status, _ = run_modal("run", "-m", "deploy.modal_app::download_weights")
    if status:
        return _fail("The weights could not be fetched, or are not the expected ones. See Modal's output above.")
    print("==> 3/3 Starting a container")
    key, secret = os.environ.get("MODAL_KEY", ""), os.environ.get("MODAL_SECRET", "")
    if not check or not key or not secret:
        print("    Left out. Set MODAL_KEY and MODAL_SECRET (a proxy auth token) to have it checked.")
    elif not _wait_healthy(url, key, secret):
        return _fail(f"It did not get healthy within {HEALTH_S:.0f} s; see: .venv/bin/modal app logs {APP_NAME}")
    print(instructions(url))
    return 0


def service_url(output: str) -> str | None:
    """The service's address in what `modal deploy` printed."""
    urls = _URL.findall(re.sub(r"\x1b\[[0-9;]*m", "", output))
    return next((url for url in urls if "kyutai" in url), urls[0] if urls else None)


def instructions(url: str) -> str:
    """The values for the settings page. If Modal shortens the address of a long workspace name, the whole address is needed."""
    host = url.removeprefix("https://")
    label = host.removesuffix(".modal.run")
    if label.endswith(_LABEL):
        where = f"  Modal workspace   {label.removesuffix(_LABEL)}"
    else:
        where = f"  Server URL        wss://{host}/v1/stream   (Modal shortened the address, so it has to be entered whole)"
    return (
        "\nEnter in Nextcloud, Administration settings > Live Transcription, Speech-to-text on Modal:\n"
        f"{where}\n"
        "  Modal-Key         wk-…   (a proxy auth token: modal.com/settings/proxy-auth-tokens)\n"
        "  Modal-Secret      ws-…"
    )


def health(url: str, headers: Mapping[str, str]) -> tuple[int, str]:
    """Status and body of `/health`; (0, why) without an answer. No redirect is followed: it is how Modal says "not yet"."""
    opener = urllib.request.build_opener(_NoRedirect)
    request = urllib.request.Request(f"{url}/health", headers=dict(headers))  # noqa: S310  `service_url` finds https only
    try:
        with opener.open(request, timeout=170) as response:
            return response.status, response.read(10_000).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(1000).decode("utf-8", "replace")
    except OSError as error:
        return 0, type(error).__name__


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def _wait_healthy(url: str, key: str, secret: str) -> bool:
    began = time.monotonic()
    while time.monotonic() - began < HEALTH_S:
        status, body = health(url, {"Modal-Key": key, "Modal-Secret": secret})
        elapsed = time.monotonic() - began
        if status == 200:
            print(f"    Healthy after {elapsed:.0f} s: {_summary(body)}")
            return True
        if status == 401:
            print(
                "    Modal refuses MODAL_KEY and MODAL_SECRET (401). A proxy auth token is needed (wk-…, ws-…), no API token."
            )
            return False
        print(f"    {elapsed:4.0f} s: still starting ({status or body})")
        time.sleep(3)
    return False


def _summary(body: str) -> str:
    try:
        return ", ".join(f"{name} {value}" for name, value in json.loads(body).items())
    except (ValueError, AttributeError):
        return "an answer that is no JSON"


def _ask_for_url() -> str | None:
    """Modal prints no address where it found nothing to change."""
    import modal  # noqa: PLC0415  a second to import, and not needed for --cost

    try:
        url: str | None = modal.Cls.from_name(APP_NAME, "KyutaiSTTRustService")().serve.get_web_url()
    except modal.exception.Error:
        return None
    return url


def has_token() -> bool:
    from modal.config import config  # noqa: PLC0415  a second to import, and not needed for --cost

    return bool(config.get("token_id") and config.get("token_secret"))


def _agrees() -> bool:
    if not sys.stdin.isatty():
        return True
    return input("Deploy? [y/N] ").strip().lower() in {"y", "yes"}


def run_modal(*command: str) -> tuple[int, str]:
    """Run Modal's command line, show what it prints as it comes, and keep it."""
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "modal", *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"    {line}", end="", flush=True)
            lines.append(line)
    return process.returncode, "".join(lines)


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
