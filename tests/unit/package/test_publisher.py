# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""publisher.toml is the one home of the publisher's addresses; a tree that names a publisher can be released."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import publisher
import pytest
import release
import sbom
from appstore import release_notes
from publisher import Publisher, PublisherError, in_documentation, load, placeholders, written

SOMEBODY = """\
author = "Somebody & Co"
website = "https://captions.test/"
files = "https://git.test/somebody/captions/blob/main/FILE"
raw_files = "https://git.test/somebody/captions/raw/main/FILE"
repository = "https://git.test/somebody/captions.git"
issues = "https://git.test/somebody/captions/issues"
security = "mailto:security@captions.test"
registry = "ghcr.io"
image = "somebody/live_transcription"
"""
COPIED = ("appinfo", "docs", "publisher.toml", "pyproject.toml", "README.md", "SECURITY.md", "CHANGELOG.md", "Dockerfile")


@pytest.fixture
def published(root: Path, tmp_path: Path) -> Path:
    """A copy of the tree in which somebody has entered their addresses and run `make publisher`."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, tree / name)
        else:
            shutil.copy(root / name, tree / name)
    (tree / "publisher.toml").write_text(SOMEBODY, encoding="utf-8")
    for path, text in written(tree, load(tree / "publisher.toml")).items():
        path.write_text(text, encoding="utf-8")
    return tree


def test_every_file_has_the_values_of_publisher_toml(root: Path) -> None:
    differing = [path.name for path, text in written(root, load()).items() if path.read_text(encoding="utf-8") != text]
    assert differing == [], "run `make publisher`"


def test_a_published_tree_names_its_publisher_everywhere(published: Path) -> None:
    info = ET.parse(published / "appinfo" / "info.xml").getroot()
    assert info.findtext("author") == "Somebody & Co"
    assert info.findtext("bugs") == "https://git.test/somebody/captions/issues"
    assert info.findtext("documentation/admin") == "https://git.test/somebody/captions/blob/main/docs/install.md"
    assert info.findtext("external-app/docker-install/registry") == "ghcr.io"
    assert info.findtext("screenshot", "").startswith("https://git.test/somebody/captions/raw/main/docs/images/")
    urls = tomllib.loads((published / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    assert urls["Issues"] == info.findtext("bugs")
    assert "(mailto:security@captions.test)" in (published / "SECURITY.md").read_text(encoding="utf-8")
    assert "ghcr.io/somebody/live_transcription:10.0.0" in (published / "docs" / "install.md").read_text(encoding="utf-8")
    for page in [published / "SECURITY.md", *(published / "docs").glob("*.md")]:
        assert "registry.example.com" not in page.read_text(encoding="utf-8"), page.name


def test_pictures_for_the_store_exist(root: Path) -> None:
    assert all((root / path).is_file() for path in publisher.SCREENSHOTS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pull registry.example.com/live_transcription:10.0.0 now", "pull r.test/a/live_transcription:11.2.3 now"),
        ("pull old.test:5000/x/live_transcription:10.0.0-cuda", "pull r.test/a/live_transcription:11.2.3-cuda"),
        ("--registry-from=old.test:5000 --registry-to=local", "--registry-from=r.test --registry-to=local"),
        # The official app, the reader's own registry, another image, and no image at all.
        *(
            (text, text)
            for text in ("ghcr.io/nextcloud/live_transcription:2.1.3", "registry.example.org/live_transcription:10.0.0")
        ),
        *((text, text) for text in ("docker.io/library/nextcloud:32.0.0", "live_transcription-10.0.0.tar.gz")),
    ],
)
def test_only_this_apps_image_is_replaced_in_documentation(text: str, expected: str) -> None:
    somebody = dataclasses.replace(load(), registry="r.test", image="a/live_transcription")
    assert in_documentation(text, somebody, "11.2.3") == expected


@pytest.mark.parametrize(
    ("old", "new", "wording"),
    [
        ('image = "somebody/live_transcription"', "", "missing: image"),
        ("author =", "authors =", "author, authors"),
        ('"https://captions.test/"', '""', "website must be a text"),
        ('"https://captions.test/"', '"http://captions.test/"', "website must be an https address"),
        ('"mailto:security@captions.test"', '"security@captions.test"', "security must be"),
        ("raw/main/FILE", "raw/main", "raw_files must contain FILE"),
        ('"ghcr.io"', '"https://ghcr.io"', "registry must be a host"),
        ('"somebody/live', '"Somebody/live', "image must be a lower-case name"),
        ("author =", "author", "cannot be read"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, wording: str) -> None:
    path = tmp_path / "publisher.toml"
    path.write_text(SOMEBODY.replace(old, new), encoding="utf-8")
    with pytest.raises(PublisherError, match=wording):
        load(path)


def test_nothing_is_released_while_a_placeholder_stands(root: Path) -> None:
    assert "registry" in placeholders(load())
    found = release.problems(root, "")
    assert any("example.com" in problem and "publisher.toml" in problem for problem in found)


def test_a_published_tree_can_be_released_under_its_own_tag_only(published: Path) -> None:
    assert placeholders(Publisher(**tomllib.loads(SOMEBODY))) == []
    assert release.problems(published, "v10.0.0") == []
    assert release.problems(published, "") == []
    assert release.problems(published, "v10.0.1") == ["The tag v10.0.1 is not v10.0.0, the version in appinfo/info.xml."]
    assert release.image_of(published) == "ghcr.io/somebody/live_transcription"


@pytest.mark.parametrize(
    ("file", "old", "new", "wording"),
    [
        ("CHANGELOG.md", "## [10.0.0]", "## [Unreleased]", "CHANGELOG.md has no section"),
        ("pyproject.toml", 'version = "10.0.0"', 'version = "10.0.1"', "pyproject.toml has version 10.0.1"),
        ("Dockerfile", "ARG VERSION=10.0.0", "ARG VERSION=9.0.0", "Dockerfile has version 9.0.0"),
        ("publisher.toml", "ghcr.io", "quay.io", "differs from publisher.toml"),
    ],
)
def test_what_was_forgotten_is_named(published: Path, file: str, old: str, new: str, wording: str) -> None:
    path = published / file
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    assert any(wording in problem for problem in release.problems(published, "v10.0.0"))


def test_the_store_finds_the_changes_of_this_version(root: Path) -> None:
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    notes = release_notes(changelog, release.version_of(root))
    assert notes.startswith("### ")
    # The store takes lines after a heading with a version up to the next such heading.
    assert re.search(r"^## (?:\[)?(?:v)?(\d+\.\d+(\.\d+)?)", changelog, re.MULTILINE)
    assert release_notes("## [1.2.0]\n\nnew\n\n## [1.1.0] - 2026-01-01\nold\n", "1.1.0") == "old"
    assert release_notes("## [1.2.0]\n\nnew\n\n## [1.1.0]\nold\n", "1.2.0") == "new"
    assert release_notes("## [1.2.0]\n\n## [1.1.0]\nold\n", "1.2.0") == ""
    assert release_notes("## [11.2.0]\nx\n", "1.2.0") == ""


def test_the_builder_gets_the_publishers_addresses_as_labels(root: Path, tmp_path: Path) -> None:
    called = tmp_path / "called"
    engine = tmp_path / "podman"
    engine.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{called}\n', encoding="ascii")
    engine.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ENGINE": "podman", "BASE_IMAGE": "localhost/base"}
    subprocess.run([root / "scripts/build_image.sh"], env=environment, check=True, capture_output=True)
    given = dict(line.split("=", 1) for line in called.read_text(encoding="utf-8").splitlines() if re.match(r"[A-Z_]+=", line))
    chosen = load()
    assert given["SOURCE"] == chosen.repository
    assert given["URL"] == chosen.website
    assert given["VENDOR"] == chosen.author
    assert given["DOCUMENTATION"] == chosen.page("docs/install.md")
    dockerfile = (root / "Dockerfile").read_text(encoding="utf-8")
    labels = dict(re.findall(r'org\.opencontainers\.image\.([a-z.]+)="\$\{(\w+)\}"', dockerfile))
    assert {labels[name] for name in ("source", "url", "vendor", "documentation")} == {
        "SOURCE",
        "URL",
        "VENDOR",
        "DOCUMENTATION",
    }
    assert all(f"\nARG {argument}" in dockerfile for argument in labels.values())


def test_the_bill_of_materials_lists_what_the_image_installs(root: Path) -> None:
    text = sbom.bill(root, "arm64", debian_lines=["libc6 2.41-12 arm64", "curl 8.14.1-2 arm64"])
    found = {component["name"]: component for component in json.loads(text)["components"]}
    locked = (root / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    numpy = re.findall(r"^numpy==(\S+) ; python_full_version >= '3.12'", locked, re.MULTILINE)
    assert [found["numpy"]["version"]] == numpy, "the image has Python 3.13"
    assert found["aiortc"]["purl"].startswith("pkg:pypi/aiortc@")
    assert re.fullmatch(r"[0-9a-f]{64}", found["aiortc"]["hashes"][0]["content"])
    assert found["frpc"]["hashes"][0]["content"] in (root / "Dockerfile").read_text(encoding="utf-8")
    assert found["libc6"]["purl"].startswith("pkg:deb/debian/libc6@2.41-12?arch=arm64")
    assert {name for name in found if "whisper-base" in name}
    assert "nvidia-cublas-cu12" not in found
    assert "nvidia-cublas-cu12" in sbom.bill(root, "amd64", cuda=True)
    assert sbom.bill(root, "arm64", debian_lines=["curl 8.14.1-2 arm64", "libc6 2.41-12 arm64"]) == text


def test_actions_of_others_are_pinned_and_workflows_run_what_exists(root: Path) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for workflow in (root / ".github" / "workflows").glob("*.yml"):
        text = workflow.read_text(encoding="utf-8")
        for action, version in re.findall(r"uses: ([\w./-]+)@(\S+)", text):
            assert action.startswith("actions/") or re.fullmatch(r"[0-9a-f]{40}", version), (
                f"{workflow.name}: {action}@{version}"
            )
        for target in re.findall(r"run: make ([a-z][a-z-]*)", text):
            assert f"\n{target}: " in makefile, f"{workflow.name}: make {target}"
        for script in re.findall(r"\bscripts/\w+\.(?:py|sh)", text):
            assert (root / script).is_file(), f"{workflow.name}: {script}"
        assert "example.com" not in text, f"{workflow.name}: addresses come from publisher.toml"
