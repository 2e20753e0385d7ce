# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The peers of a container in the rehearsal: a Nextcloud that answers the app's few requests, and HaRP's frps."""

from __future__ import annotations

import base64
import contextlib
import json
import pathlib
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


def free_port(first: int = 0) -> int:
    """A port of loopback that nobody listens on; from `first` on, or anywhere."""
    for port in range(first, first + 100):
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return int(candidate.getsockname()[1])
    raise OSError("no free port")


def head(secret: str) -> dict[str, str]:
    """AppAPI's headers (docs.nextcloud.com, ExApp authentication)."""
    return {
        "AA-VERSION": "32.0.0",
        "EX-APP-ID": "live_transcription",
        "EX-APP-VERSION": "10.0.0",
        "AUTHORIZATION-APP-API": base64.b64encode(f":{secret}".encode()).decode(),
    }


def request(method: str, url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body; status 0 where nobody answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, method=method, headers=headers or {}), timeout=3) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except (OSError, urllib.error.URLError):
        return 0, b""


class _Server:
    """An HTTP server on loopback, in a thread of its own."""

    def __init__(self) -> None:
        owner = self

        class Requests(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                text = json.dumps(owner.reply(self.command, self.path, body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  BaseHTTPRequestHandler's names

            def log_message(self, *_: object) -> None:
                """Nothing; the containers' logs say enough."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def reply(self, method: str, path: str, body: bytes) -> Any:
        raise NotImplementedError

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Nextcloud(_Server):
    """Says that the app is not enabled yet, and notes its progress. `progress`: per cent, -1 for a failure (see `error`)."""

    def __init__(self) -> None:
        super().__init__()
        self.progress: list[int] = []
        self.error = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reply(self, method: str, path: str, body: bytes) -> Any:
        data: Any = []
        path = path.partition("?")[0]
        if path.endswith("/ex-app/state"):
            data = 0
        elif path.endswith("/ex-app/status") and method == "PUT":
            report = json.loads(body)
            self.error = report.get("error") or ""
            self.progress.append(-1 if self.error else int(report["progress"]))
        elif "/cloud/capabilities" in path:
            data = {
                "version": {"major": 32, "minor": 0, "micro": 0, "string": "32.0.0"},
                "capabilities": {"app_api": {"version": "32.0.0"}},
            }
        code = 100 if "/ocs/v1.php" in path else 200
        return {"ocs": {"meta": {"status": "ok", "statuscode": code, "message": "OK"}, "data": data}}


class Frps(_Server):
    """frps as HaRP runs it. `logins`: the token of each login; `port`: where frpc has to go."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.logins: list[str] = []
        self._key = key

    def reply(self, method: str, path: str, body: bytes) -> Any:  # noqa: ARG002
        token = json.loads(body)["content"]["metas"].get("token", "")
        self.logins.append(token)
        return {"reject": False, "unchange": True} if token == self._key else {"reject": True, "reject_reason": "token"}


@contextlib.contextmanager
def frps(program: pathlib.Path, certificates: pathlib.Path, key: str, work: pathlib.Path) -> Iterator[Frps]:
    """With HaRP's configuration: TLS with client certificates is demanded, logins are judged by a plugin."""
    with Frps(key) as peer:
        plugin, peer.port = peer.port, free_port()
        configuration = work / "frps.toml"
        configuration.write_text(
            f"""
bindAddr = "127.0.0.1"
bindPort = {peer.port}
proxyBindAddr = "127.0.0.1"
transport.tls.force = true
transport.tls.certFile = "{certificates}/server.crt"
transport.tls.keyFile = "{certificates}/server.key"
transport.tls.trustedCaFile = "{certificates}/ca.crt"
maxPortsPerClient = 1
allowPorts = [{{ start = 23000, end = 23999 }}]
[[httpPlugins]]
name = "login"
addr = "127.0.0.1:{plugin}"
path = "/frp_handler"
ops = ["Login"]
""",
            encoding="utf-8",
        )
        with (
            (work / "frps.log").open("wb") as output,
            subprocess.Popen([program, "-c", configuration], stdout=output, stderr=output) as process,
        ):
            try:
                deadline = time.monotonic() + 10
                while not _listens(peer.port):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise OSError(f"frps does not start: {(work / 'frps.log').read_text(encoding='utf-8')}")
                    time.sleep(0.1)
                yield peer
            finally:
                process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def harp_certificates(directory: pathlib.Path) -> pathlib.Path:
    """An authority, a server's and a client's certificate, as HaRP makes them for its tunnel."""
    directory.mkdir()

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    openssl(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
        "-subj",
        "/CN=harp.nc",
        "-days",
        "2",
    )
    for name, host in (("server", "harp.nc"), ("client", "harp.client.nc")):
        (directory / f"{name}.ext").write_text(f"subjectAltName = DNS:{host}\n", encoding="ascii")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={host}")
        authority = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", *authority, "-out", f"{name}.crt", "-days", "2", "-extfile", f"{name}.ext"
        )
    return directory
