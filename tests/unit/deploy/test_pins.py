# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The weights are verified: against known hashes, or against those of the first deployment."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deploy.moshi_config import FILES
from deploy.pins import MODEL_REVISION, MODEL_SHA256, RECORD, WeightsChanged, commit_of, read_record, unverified, verify

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_the_first_download_of_an_unknown_revision_is_trusted_and_later_ones_are_compared(weights: Path) -> None:
    assert unverified(weights) == list(FILES)
    first = verify(weights, COMMIT)
    assert first.trusted
    assert first.sha256[FILES[0]] == hashlib.sha256(FILES[0].encode()).hexdigest()
    assert unverified(weights) == []
    second = verify(weights, COMMIT)
    assert not second.trusted
    assert second.sha256 == first.sha256
    (weights / FILES[1]).write_bytes(FILES[1].encode()[::-1])
    assert unverified(weights) == [], "a start compares sizes only"
    with pytest.raises(WeightsChanged, match=FILES[1]):
        verify(weights, COMMIT)


def test_a_branch_stays_at_the_commit_of_the_first_deployment(weights: Path) -> None:
    commits = iter([COMMIT, "f" * 40])
    assert commit_of(weights, "main", lambda _: next(commits)) == COMMIT
    verify(weights, COMMIT)
    assert commit_of(weights, "main", lambda _: next(commits)) == COMMIT


def test_known_hashes_need_no_first_deployment(weights: Path) -> None:
    assert set(MODEL_SHA256[MODEL_REVISION]) == set(FILES)
    with pytest.raises(WeightsChanged, match="KYUTAI_VOLUME"):
        verify(weights, MODEL_REVISION)
    assert read_record(weights) is None


def test_a_start_notices_a_file_of_another_size(weights: Path) -> None:
    verify(weights, COMMIT)
    (weights / FILES[2]).write_bytes(b"")
    assert unverified(weights) == [FILES[2]]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"revision":"x","sha256":7,"size":{}}'])
def test_a_damaged_record_counts_as_none(weights: Path, content: str) -> None:
    (weights / RECORD).write_text(content)
    assert read_record(weights) is None
    assert unverified(weights) == list(FILES)
