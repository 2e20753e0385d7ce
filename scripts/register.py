# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Register the app with AppAPI: print the occ commands, or run them with `--occ`.

    register.py DAEMON [--env LT_HPB_URL=…] [--env LT_INTERNAL_SECRET]      a Docker or HaRP daemon, which starts the image
    register.py --manual http://APP-HOST:PORT --nextcloud URL               an app that you start yourself (`make run`)

`--env NAME` without a value takes the value from this shell. The printed command contains a reference ("$NAME"), so no secret
is shown. With `--manual`, the secret and the rest of the app's environment are written to build/manual/app.env, which only you
can read. Register a manual app before you start it: AppAPI counts requests of an unknown app as failed logins, and blocks its
address for 30 minutes. Needs Python 3.9 or newer and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import secrets
import shlex
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

ROOT = pathlib.Path(__file__).resolve().parent.parent
INFO_XML = ROOT / "appinfo" / "info.xml"
MANUAL = ROOT / "build" / "manual"
MANUAL_DAEMON = "manual_install"
#: As AppAPI counts them.
ACCESS_LEVELS = {"PUBLIC": 0, "USER": 1, "ADMIN": 2}


if sys.version_info < (3, 9):  # noqa: UP036  this script alone runs on servers with an older Python
    sys.exit("Python 3.9 or newer is needed to register the app; this is " + sys.version.split()[0] + ".")


class RegistrationError(Exception):
    """The arguments are invalid; the message says why."""


def variables(info: ET.Element) -> list[str]:
    """The declared environment variables; AppAPI passes no other."""
    return [element.text or "" for element in info.iterfind("external-app/environment-variables/variable/name")]


def with_image(xml: str, image: str) -> str:
    """info.xml with another image: `registry/name:tag`."""
    registry, _, rest = image.partition("/")
    name, _, tag = rest.rpartition(":")
    if not (registry and name and tag):
        raise RegistrationError("Write the image as registry/name:tag, such as registry.example.org/live_transcription:10.0.0.")
    for element, value in (("registry", registry), ("image", name), ("image-tag", tag)):
        before, rest = xml.split(f"<{element}>", 1)
        xml = f"{before}<{element}>{value}{rest[rest.index(f'</{element}>') :]}"
    return xml


def manual_info(info: ET.Element, *, port: int, secret: str) -> dict[str, Any]:
    """The value of `--json-info` for a manual-install daemon."""
    routes = [
        {
            "url": route.findtext("url"),
            "verb": route.findtext("verb"),
            "access_level": ACCESS_LEVELS[route.findtext("access_level") or ""],
            "headers_to_exclude": json.loads(route.findtext("headers_to_exclude") or "[]"),
            "bruteforce_protection": json.loads(route.findtext("bruteforce_protection") or "[]"),
        }
        for route in info.iterfind("external-app/routes/route")
    ]
    return {
        "id": info.findtext("id"),
        "name": info.findtext("name"),
        "daemon_config_name": MANUAL_DAEMON,
        "version": info.findtext("version"),
        "secret": secret,
        "port": port,
        "routes": routes,
    }


def docker_commands(
    info: ET.Element, daemon: str, info_xml: str, settings: list[str], image: str, *, local_image: bool
) -> list[list[str]]:
    """occ's arguments, each setting as NAME=value or NAME. Raises RegistrationError for a variable that is not declared."""
    unknown = sorted({setting.partition("=")[0] for setting in settings} - set(variables(info)))
    if unknown:
        raise RegistrationError(f"{', '.join(unknown)}: AppAPI passes only variables that info.xml declares.")
    commands = []
    if local_image:
        registry = image.partition("/")[0]
        commands.append(["app_api:daemon:registry:add", f"--registry-from={registry}", "--registry-to=local", daemon])
    register = ["app_api:app:register", info.findtext("id") or "", daemon, "--info-xml", info_xml]
    for setting in settings:
        register += ["--env", setting]
    commands.append([*register, "--wait-finish"])
    return commands


def manual_commands(info: ET.Element, app: str, nextcloud: str, secret: str) -> list[list[str]]:
    address, server = urlsplit(app), urlsplit(nextcloud)
    try:
        port = address.port
    except ValueError:
        port = None
    if address.scheme not in ("http", "https") or not address.hostname or not port:
        raise RegistrationError(
            "Write the address at which Nextcloud reaches the app as http://HOST:PORT, with a port of 1 to 65535."
        )
    if server.scheme not in ("http", "https") or not server.hostname:
        raise RegistrationError("Write Nextcloud's address as https://HOST, such as https://cloud.example.com.")
    described = json.dumps(manual_info(info, port=port, secret=secret), separators=(",", ":"))
    return [
        [
            "app_api:daemon:register",
            MANUAL_DAEMON,
            "Manual install",
            "manual-install",
            address.scheme,
            address.hostname,
            nextcloud,
        ],
        ["app_api:app:register", info.findtext("id") or "", MANUAL_DAEMON, "--json-info", described, "--wait-finish"],
    ]


def manual_environment(info: ET.Element, port: int, nextcloud: str, secret: str, storage: pathlib.Path) -> dict[str, str]:
    """The environment that AppAPI would give a container."""
    return {
        "AA_VERSION": "32.0.0",
        "APP_ID": info.findtext("id") or "",
        "APP_VERSION": info.findtext("version") or "",
        "APP_SECRET": secret,
        "APP_HOST": "0.0.0.0",
        "APP_PORT": str(port),
        "APP_PERSISTENT_STORAGE": str(storage),
        "NEXTCLOUD_URL": nextcloud,
    }


def printable(argument: str, hidden: str = "") -> str:
    """An argument quoted for a shell. An argument that contains `hidden` becomes a reference to info.json."""
    if hidden and hidden in argument:
        return '"$(cat ' + shlex.quote(str(MANUAL / "info.json")) + ')"'
    return shlex.quote(argument)


def _kept_secret(path: pathlib.Path) -> str:
    """The secret of the last run, so that a running app stays registered; a new one if there is none."""
    with_prefix = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    kept = [line.removeprefix("APP_SECRET=") for line in with_prefix if line.startswith("APP_SECRET=")]
    return os.environ.get("APP_SECRET") or (kept[0] if kept else secrets.token_hex(64))


def _write_private(path: pathlib.Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _manual(options: argparse.Namespace, info: ET.Element) -> list[list[str]]:
    secret = _kept_secret(MANUAL / "app.env")
    commands = manual_commands(info, options.manual, options.nextcloud, secret)
    storage = MANUAL / "storage"
    storage.mkdir(parents=True, exist_ok=True)
    environment = manual_environment(info, urlsplit(options.manual).port or 0, options.nextcloud, secret, storage)
    _write_private(MANUAL / "app.env", "".join(f"{name}={value}\n" for name, value in environment.items()))
    _write_private(MANUAL / "info.json", commands[1][4])
    start = f"set -a; . {MANUAL / 'app.env'}; set +a; make run"
    print(
        f"# Written: {MANUAL / 'app.env'}. Register the app first: AppAPI blocks the address of an app that it does not know.\n"
        f"# As soon as the registration waits for the app, start it in another terminal:  {start}",
        flush=True,
    )
    return commands


def _docker(options: argparse.Namespace, info: ET.Element, xml: str) -> list[list[str]]:
    install = "external-app/docker-install/"
    image = (
        options.image or f"{info.findtext(install + 'registry')}/{info.findtext(install + 'image')}:{info.findtext('version')}"
    )
    path = INFO_XML
    if options.image:
        path = ROOT / "build" / "register" / "info.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(with_image(xml, image), encoding="utf-8")
    print(
        f"# occ reads {options.info_xml or path} on Nextcloud's machine or in its container; copy the file there if necessary."
    )
    return docker_commands(
        info, options.daemon, options.info_xml or str(path), options.env, image, local_image=options.local_image
    )


def run_occ(occ: list[str], arguments: list[str]) -> int:
    """occ's exit code. Raises RegistrationError if it cannot be started."""
    try:
        return subprocess.run([*occ, *arguments], check=False).returncode
    except OSError as error:
        raise RegistrationError(
            f"{occ[0]} cannot be started: {error.strerror}. Give the whole command, such as "
            '--occ "sudo -u www-data php /var/www/nextcloud/occ". Without --occ, the commands are printed.'
        ) from error


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("daemon", nargs="?", help="name of the deploy daemon (occ app_api:daemon:list)")
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME[=VALUE]", help="a setting; you can also enter it on the page later"
    )
    parser.add_argument("--image", help="another image than the one in info.xml: registry/name:tag")
    parser.add_argument(
        "--local-image", action="store_true", help="use an image on the daemon's machine; AppAPI does not pull it"
    )
    parser.add_argument("--info-xml", help="path of info.xml as Nextcloud sees it")
    parser.add_argument("--manual", metavar="URL", help="address of an app that you start yourself")
    parser.add_argument("--nextcloud", metavar="URL", help="Nextcloud's address, with --manual")
    parser.add_argument("--occ", help='run the commands with this, such as "sudo -u www-data php /var/www/nextcloud/occ"')
    options = parser.parse_args()
    if bool(options.daemon) == bool(options.manual) or bool(options.manual) != bool(options.nextcloud):
        parser.error("name a daemon, or use --manual and --nextcloud")
    try:
        return _register(options)
    except RegistrationError as error:
        print(f"register: {error}", file=sys.stderr)
    except OSError as error:
        print(f"register: {error.filename} cannot be read or written: {error.strerror}.", file=sys.stderr)
    return 2


def _register(options: argparse.Namespace) -> int:
    """Raises RegistrationError, OSError."""
    xml = INFO_XML.read_text(encoding="utf-8")
    info = ET.fromstring(xml)  # noqa: S314  our own file
    try:
        occ = shlex.split(options.occ or "")
    except ValueError as error:
        raise RegistrationError(f"--occ is no complete command: {error}.") from error
    if options.occ is not None and not occ:
        raise RegistrationError("--occ is empty. Give the command that runs occ, or leave it out to print the commands.")
    commands = _manual(options, info) if options.manual else _docker(options, info, xml)
    for command in commands:
        if occ:
            resolved = [
                f"{part}={os.environ.get(part, '')}" if part in options.env and "=" not in part else part for part in command
            ]
            # occ refuses a daemon that exists already. Only the last command decides.
            code = run_occ(occ, resolved)
            if code and command is commands[-1]:
                print(f"register: occ failed (exit code {code}); its output above says why.", file=sys.stderr)
                return code if code > 0 else 1
        else:
            words = [
                f'{part}="${part}"' if part in options.env and "=" not in part else printable(part, '"secret":"')
                for part in command
            ]
            print("occ " + " ".join(words))
    return 0


if __name__ == "__main__":
    sys.exit(main())
