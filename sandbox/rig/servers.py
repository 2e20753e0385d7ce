# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Configuration and command lines of the rig's servers, each in its own directory."""

from __future__ import annotations

import secrets
from pathlib import Path

from sandbox.ports import free_port
from sandbox.rig.certificate import CertificateKind, write_certificate
from sandbox.rig.installed import LOOPBACK_SHIM, hpb_build, janus_modules, janus_program, turn_program
from sandbox.rig.janus_admin import JanusAdmin
from sandbox.rig.process import ServerProcess

#: Ports that coturn relays from; with a TURN-only network Janus reaches no others.
TURN_RELAY_PORTS = (49152, 49407)
TURN_USER = "rig"

_JANUS = """\
general: {{
  configs_folder = "{home}"
  plugins_folder = "{home}/plugins"
  transports_folder = "{home}/transports"
  events_folder = "{home}/none"
  loggers_folder = "{home}/none"
  debug_level = 4
  debug_timestamps = true
  debug_colors = false
  session_timeout = 60
  admin_secret = "{admin_secret}"
}}
certificates: {{
  cert_pem = "{certificate}"
  cert_key = "{key}"
}}
media: {{
  ipv6 = {ipv6}
}}
nat: {{
  full_trickle = true
  ice_enforce_list = "{address}"
  ignore_mdns = true
}}
"""
_JANUS_WEBSOCKETS = """\
general: {{
  json = "compact"
  ws = true
  ws_port = {port}
  ws_ip = "127.0.0.1"
  wss = false
}}
admin: {{
  admin_ws = true
  admin_ws_port = {admin_port}
  admin_ws_ip = "127.0.0.1"
}}
"""
_HPB = """\
[http]
listen = 127.0.0.1:{port}
[sessions]
hashkey = {hash_key}
blockkey = {block_key}
[clients]
internalsecret = {internal_secret}
[backend]
backends = rig
timeout = 5
connectionsperhost = 8
[rig]
url = {nextcloud_url}/
secret = {signaling_secret}
[nats]
url = nats://loopback
[mcu]
type = janus
url = ws://127.0.0.1:{janus_port}/
"""


def janus(home: Path, certificate: CertificateKind, *, turn_only: bool, address: str, admin: JanusAdmin) -> ServerProcess:
    """Janus with its videoroom plugin and websockets transport, media on `address`. Raises RigUnavailable."""
    program, port = janus_program(), free_port()
    for kind, library in (("plugins", "libjanus_videoroom.so"), ("transports", "libjanus_websockets.so")):
        folder = home / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / library).unlink(missing_ok=True)
        (folder / library).symlink_to(janus_modules(kind) / library)
    certificate_path, key_path = write_certificate(home, certificate)
    configuration = _JANUS.format(
        home=home,
        certificate=certificate_path,
        key=key_path,
        admin_secret=admin.secret,
        ipv6="true" if ":" in address else "false",
        address=address,
    )
    (home / "janus.jcfg").write_text(configuration, encoding="utf-8")
    websockets = _JANUS_WEBSOCKETS.format(port=port, admin_port=admin.port)
    (home / "janus.transport.websockets.jcfg").write_text(websockets, encoding="utf-8")
    environment = {"LD_PRELOAD": str(LOOPBACK_SHIM)}
    if turn_only:
        environment["RIG_UDP_PEERS"] = "{}-{}".format(*TURN_RELAY_PORTS)
    command: list[str | Path] = [program, "--configs-folder", home, "--config", home / "janus.jcfg"]
    return ServerProcess("Janus", command, port=port, log=home / "janus.log", environment=environment)


def hpb(
    home: Path, *, series: str, nextcloud_url: str, signaling_secret: str, internal_secret: str, janus_port: int
) -> ServerProcess:
    """The HPB, one backend, Janus as its SFU. Raises RigUnavailable."""
    build, port = hpb_build(series), free_port()
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / "server.conf"
    configuration.write_text(
        _HPB.format(
            port=port,
            hash_key=secrets.token_hex(16),
            block_key=secrets.token_hex(16),
            internal_secret=internal_secret,
            nextcloud_url=nextcloud_url.rstrip("/"),
            signaling_secret=signaling_secret,
            janus_port=janus_port,
        ),
        encoding="utf-8",
    )
    return ServerProcess("the HPB", [build.program, "-config", configuration], port=port, log=home / "hpb.log")


def turn(home: Path, *, credential: str) -> ServerProcess:
    """coturn on loopback, long-term credentials of `TURN_USER`. Raises RigUnavailable."""
    program, port = turn_program(), free_port()
    home.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [
        program, "-n", "--no-cli", "--no-tls", "--no-dtls", "--allow-loopback-peers", "--lt-cred-mech",
        "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={port}", "--realm=rig",
        f"--min-port={TURN_RELAY_PORTS[0]}", f"--max-port={TURN_RELAY_PORTS[1]}", f"--user={TURN_USER}:{credential}",
        f"--pidfile={home / 'turn.pid'}", f"--userdb={home / 'turn.sqlite'}", "--log-file=stdout", "--simple-log", "--verbose",
    ]  # fmt: skip
    return ServerProcess("coturn", command, port=port, log=home / "turn.log")
