# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Write frpc's configuration for HaRP, from the environment that AppAPI gives the container: `frpc_config.py FILE`.

HaRP (github.com/nextcloud/HaRP) reaches the app through frp: frpc logs in at HaRP's frps with the shared key as metadata,
by mutual TLS where AppAPI has put certificates below /certs/frp, and forwards port APP_PORT at HaRP to our unix socket.
"""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Mapping

import jinja2

TEMPLATES = pathlib.Path(__file__).resolve().parent.parent / "templates"
CERTIFICATES = pathlib.Path("/certs/frp")
UNIX_SOCKET = "/tmp/exapp.sock"  # noqa: S108  AppAPI's own default


class HarpSettingError(ValueError):
    """A variable of HaRP is missing or malformed. The message never holds its value."""


def toml_string(text: str) -> str:
    """`text` as a TOML basic string in ASCII. Braces are escaped too: frpc expands Go templates before it reads TOML."""
    plain = (
        character if " " <= character <= "~" and character not in '"\\{}' else f"\\U{ord(character):08x}" for character in text
    )
    return f'"{"".join(plain)}"'


def render(environment: Mapping[str, str], certificates: pathlib.Path = CERTIFICATES) -> str:
    """The text of frpc.toml. It holds the shared key. Raises HarpSettingError."""
    # frpc.toml is no HTML; the filter `toml` does its escaping.
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        autoescape=False,  # noqa: S701
    )
    templates.filters["toml"] = toml_string
    complete = all((certificates / name).is_file() for name in ("ca.crt", "client.crt", "client.key"))
    return templates.get_template("frpc.toml.j2").render(
        server_address=_needed(environment, "HP_FRP_ADDRESS"),
        server_port=_port(environment, "HP_FRP_PORT"),
        token=_needed(environment, "HP_SHARED_KEY"),
        app_id=environment.get("APP_ID") or "live_transcription",
        remote_port=_port(environment, "APP_PORT"),
        unix_socket=environment.get("HP_EXAPP_SOCK") or UNIX_SOCKET,
        certificates=str(certificates) if complete else "",
    )


def _needed(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise HarpSettingError(f"HP_SHARED_KEY is set, so HaRP is meant, but {name} is not. AppAPI sets it for a HaRP daemon.")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise HarpSettingError(f"{name} holds characters that are no text.")
    return value


def _port(environment: Mapping[str, str], name: str) -> int:
    text = _needed(environment, name)
    if text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535:
        return int(text)
    raise HarpSettingError(f"{name} is no port number.")


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: frpc_config.py FILE", file=sys.stderr)
        return 2
    try:
        text = render(os.environ)
    except HarpSettingError as error:
        print(f"HaRP: {error}", file=sys.stderr)
        return 2
    target = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(target, "w", encoding="ascii") as file:
        file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
