# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The TLS context that all client connections share."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
import threading
from pathlib import Path

import pytest

from live_transcription.runtime.tls import client_context
from tests.certificates import self_signed
from tests.stranger import stranger


@pytest.fixture(autouse=True)
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's file of trusted certificates. Each test has its own, so no context of another test is used again."""
    path = tmp_path / "bundle.pem"
    self_signed(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


async def test_all_connections_share_a_context_that_a_thread_makes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[threading.Thread] = []
    original = ssl.create_default_context

    def make() -> ssl.SSLContext:
        made.append(threading.current_thread())
        return original()

    monkeypatch.setattr(ssl, "create_default_context", make)
    contexts = await asyncio.gather(*(client_context(verify=True) for _ in range(50)))
    assert len(set(map(id, contexts))) == 1
    assert len(made) == 1
    assert made[0] is not threading.main_thread()
    assert await client_context(verify=True) is contexts[0]


async def test_verified_and_unverified_connections_have_different_contexts() -> None:
    strict, lax = await client_context(verify=True), await client_context(verify=False)
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (lax.verify_mode, lax.check_hostname) == (ssl.CERT_NONE, False)
    assert await client_context(verify=True) is strict


async def test_a_certificate_added_later_is_trusted_without_a_restart(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "server.pem"
    async with stranger(tls=self_signed(other)) as server:
        host, port = server.host.split(":")
        before = await client_context(verify=True)
        assert await client_context(verify=True) is before
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(host, int(port), ssl=before)
        shutil.copy(other, bundle)
        os.utime(bundle, ns=(1, 1))
        _, writer = await asyncio.open_connection(host, int(port), ssl=await client_context(verify=True))
        writer.close()
        await writer.wait_closed()


async def test_certificates_that_could_not_be_read_are_read_again(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # OpenSSL gives a context that trusts nobody, and no error, when there is no descriptor left to open the file.
    with monkeypatch.context() as short:
        short.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        assert (await client_context(verify=True)).cert_store_stats()["x509"] == 0
    assert (await client_context(verify=True)).cert_store_stats()["x509"] == 1


async def test_a_system_without_trusted_certificates_still_gets_a_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere/certs")
    assert (await client_context(verify=True)).verify_mode is ssl.CERT_REQUIRED


def test_no_other_module_makes_a_context() -> None:
    root = Path(__file__).parents[3]
    found = [
        str(path.relative_to(root))
        for package in ("lib", "ex_app")
        for path in (root / package).rglob("*.py")
        if re.search(r"create_default_context\(|SSLContext\(|ssl=True", path.read_text(encoding="utf-8"))
    ]
    assert found == ["lib/live_transcription/runtime/tls.py"]
