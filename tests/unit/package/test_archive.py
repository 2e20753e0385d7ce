# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The store's archive."""

from __future__ import annotations

import base64
import gzip
import io
import os
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import appstore
import pytest
from appstore import PackagingError, archive, sign
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

NOON = 1_750_000_000


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree with more in it than belongs into the archive."""
    root = tmp_path / "tree"
    for name in (
        "appinfo/info.xml",
        "appinfo/notes.txt",
        "ex_app/img/app.svg",
        "ex_app/img/.app.svg.swp",
        "ex_app/l10n/fr.json",
        "ex_app/main.py",
        "lib/live_transcription/types.py",
        "CHANGELOG.md",
        "LICENSE",
        ".env",
        "README.md",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    (root / "ex_app/img/linked.svg").symlink_to(root / ".env")
    return root


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode("ascii")


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getmembers()


def test_only_metadata_goes_in_below_the_apps_id(tree: Path) -> None:
    assert [member.name for member in members(archive(tree, NOON))] == [
        "live_transcription/CHANGELOG.md",
        "live_transcription/LICENSE",
        "live_transcription/appinfo/info.xml",
        "live_transcription/img/app.svg",
        "live_transcription/l10n/fr.json",
    ]


def test_the_contents_are_the_files(tree: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive(tree, NOON))) as tar:
        file = tar.extractfile("live_transcription/img/app.svg")
        assert file is not None
        assert file.read() == b"ex_app/img/app.svg"


def test_the_same_sources_give_the_same_bytes(tree: Path) -> None:
    first = archive(tree, NOON)
    for path in tree.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1, 1))
            path.chmod(0o700)
    assert archive(tree, NOON) == first


def test_nobody_owns_what_is_in_it(tree: Path) -> None:
    data = archive(tree, NOON)
    for member in members(data):
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
        assert (member.mode, member.mtime) == (0o644, NOON)
    assert int.from_bytes(data[4:8], "little") == NOON
    assert not data[3] & 0x08, "gzip's header must not hold the name of a file"


def test_translations_may_be_missing_but_the_icon_not(tree: Path) -> None:
    (tree / "ex_app/l10n/fr.json").unlink()
    assert len(members(archive(tree, NOON))) == 4
    (tree / "ex_app/img/app.svg").unlink()
    with pytest.raises(PackagingError, match=r"ex_app/img is missing"):
        archive(tree, NOON)


def test_the_real_one_holds_what_nextcloud_reads(root: Path) -> None:
    names = {member.name for member in members(archive(root, NOON))}
    assert {"live_transcription/appinfo/info.xml", "live_transcription/img/app.svg", "live_transcription/LICENSE"} <= names
    assert not [name for name in names if name.endswith((".py", ".js", ".css"))]


def test_the_signature_is_the_one_that_the_store_verifies(tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    path = tmp_path / "app.tar.gz"
    path.write_bytes(gzip.compress(b"archive"))
    (tmp_path / "app.key").write_text(pem(key), encoding="ascii")
    signature = sign(path, tmp_path / "app.key")
    assert "\n" not in signature
    key.public_key().verify(base64.b64decode(signature), path.read_bytes(), padding.PKCS1v15(), hashes.SHA512())
    assert sign(path, pem(key)) == signature


def test_a_key_in_the_source_tree_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: rsa.RSAPrivateKey) -> None:
    monkeypatch.setattr(appstore, "ROOT", tmp_path)
    (tmp_path / "app.key").write_text(pem(key), encoding="ascii")
    with pytest.raises(PackagingError, match="lies in the source tree"):
        sign(tmp_path / "app.tar.gz", tmp_path / "app.key")


def test_what_is_no_key_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "app.tar.gz").write_bytes(b"x")
    with pytest.raises(PackagingError) as caught:
        sign(tmp_path / "app.tar.gz", "not a key")
    assert "not a key" not in str(caught.value)
    with pytest.raises(PackagingError, match="There is no key at"):
        sign(tmp_path / "app.tar.gz", tmp_path / "absent.key")


def test_nothing_is_signed_under_a_placeholder(root: Path, tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    (tmp_path / "app.key").write_text(pem(key), encoding="ascii")
    output = tmp_path / "out"
    arguments = [sys.executable, str(root / "scripts/appstore.py"), "--output", str(output), "--key", str(tmp_path / "app.key")]
    refused = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "example.com" in refused.stderr
    assert not output.exists()
    built = subprocess.run(arguments[:-2], capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    assert built.returncode == 0, built.stderr
    assert [path.name for path in output.iterdir()] == ["live_transcription-10.0.0.tar.gz"]


def test_krankerl_leaves_out_what_the_archive_leaves_out(root: Path) -> None:
    excluded = tomllib.loads((root / "krankerl.toml").read_text(encoding="utf-8"))["package"]["exclude"]
    tracked = subprocess.run(["git", "-C", str(root), "ls-files"], capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("this is no git checkout")
    tops = {name.split("/")[0] for name in tracked.stdout.splitlines()}
    left = {top for top in tops if not top.startswith(".") and f"/{top}" not in excluded}
    assert left == {"appinfo", "CHANGELOG.md", "LICENSE"}
