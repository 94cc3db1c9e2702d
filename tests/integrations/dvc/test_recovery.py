from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from polydistill.errors import MissingDataError, StoreError
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.dvc.recovery import GOOD_LOCK, RWLOCK, recover, running
from tests.toy_project import make_toy_project
from tests.versioned_project import commit, git

REPOSITORY = Path(__file__).parents[3]
LOCK = """\
schema: '2.0'
stages:
  embed@text-first:
    cmd: polydistill embed text first
    deps:
    - path: data/text/corpus.parquet
      hash: md5
      md5: 8d777f385d3dfec8815d20f7496026dc
      size: 1074
    params:
      params.resolved.yaml:
        seed: 0
        text.corpus:
          path: data/text/corpus.parquet
    outs:
    - path: artifacts/text/embeddings/corpus/first
      hash: md5
      md5: 3c59dc048e8850243be8079a5c74d079.dir
      size: 5358
      nfiles: 2
"""
LATER = LOCK.replace("size: 5358", "size: 5359")
HOLDER = {"pid": 1, "cmd": "dvc repro"}
RWLOCKS = json.dumps({"write": {"artifacts": HOLDER}, "read": {"data": [HOLDER]}})


def project(root: Path, lock: str | bytes) -> Path:
    (root / "dvc.lock").write_bytes(lock if isinstance(lock, bytes) else lock.encode())
    return root


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = project(tmp_path_factory.mktemp("kept"), LOCK)
    recover(root)
    return root


@settings(deadline=None)
@given(cut=st.integers(0, len(LOCK) - 1))
def test_a_lock_file_that_is_cut_anywhere_is_restored_or_one_that_dvc_reads(
    kept: Path, cut: int
) -> None:
    (kept / GOOD_LOCK).write_text(LOCK)
    project(kept, LATER[:cut])

    recover(kept)

    left = (kept / "dvc.lock").read_text()
    assert left in {LOCK, LATER[:cut]}
    if left != LOCK:  # cut at the end of a complete line
        assert left.endswith("\n")
        require_readable(left)


def require_readable(text: str) -> None:
    """Check a `dvc.lock` with DVC's own parser and schema."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import parse_yaml

    COMPILED_LOCKFILE_SCHEMA(parse_yaml(text, "dvc.lock"))


@pytest.mark.parametrize("damaged", [b"", b"\x00" * 512, b"schema: '2.0'\nstages:\n", b"[1]\n"])
def test_a_lock_file_without_a_copy_comes_back_from_git_or_is_removed(
    tmp_path: Path, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    root = project(tmp_path, damaged)

    recover(root)

    assert not (root / "dvc.lock").exists()
    git(root, "init", "--quiet")
    project(root, LOCK)
    commit(root, "The lock")
    project(root, damaged)
    recover(root)
    assert (root / "dvc.lock").read_text() == LOCK
    found = [record.getMessage() for record in caplog.records]
    assert "killed process: removed" in found[0]
    assert "restored from git" in found[1]


def test_conflict_markers_are_named_and_left_to_the_user(tmp_path: Path) -> None:
    text = LOCK.replace("    cmd", "<<<<<<< HEAD\n    cmd")
    root = project(tmp_path, text)

    with pytest.raises(StoreError, match=r"conflict markers of git \(line 4\).*git checkout"):
        recover(root)

    assert (root / "dvc.lock").read_text() == text


@pytest.mark.parametrize("kind", ["cut", "empty", "list", "dead", "reused"])
def test_dvcs_lock_on_paths_is_removed_if_its_process_has_ended(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    of = {"dead": ended.pid, "reused": os.getpid()}.get(kind, 1)
    whole = RWLOCKS.replace('"pid": 1', f'"pid": {of}')
    content = {"cut": whole[:-7], "empty": "", "list": "[1]"}.get(kind, whole)
    path = tmp_path / RWLOCK
    path.parent.mkdir(parents=True)
    path.write_text(content)
    if kind == "reused":  # the process with this id has started since
        os.utime(path, (1e9, 1e9))

    recover(tmp_path)

    assert not path.exists()
    assert "was killed: removed" in caplog.text


def test_dvcs_lock_on_paths_stays_while_its_process_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / RWLOCK
    path.parent.mkdir(parents=True)
    for content in (RWLOCKS.replace('"pid": 1', f'"pid": {os.getpid()}'), "{}"):
        path.write_text(content)

        recover(tmp_path)

        assert path.read_text() == content
    assert running(tmp_path) == set()
    assert caplog.record_tuples == []


def test_a_killed_dvc_starts_again_and_ends_with_the_same_lock_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    root = make_toy_project(tmp_path / "project")
    states = [dvc.reproduce(root, stage).state for stage in ("fetch-data@text", "validate@text")]
    lock = (root / "dvc.lock").read_bytes()
    (root / "dvc.lock").write_bytes(lock[: len(lock) * 2 // 3])
    (root / RWLOCK).write_text('{"write": {"')

    again = dvc.reproduce(root, "validate@text").state

    assert states == ["ran", "ran"]
    assert again == "unchanged"
    assert (root / "dvc.lock").read_bytes() == lock
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    "content", ["", "outs: 1\n", "outs:\n- path: data\n", "<<<<<<< HEAD\n", "\x00"]
)
def test_a_damaged_pointer_to_the_data_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "data.dvc").write_text(content)

    with pytest.raises(StoreError, match=r"data.dvc must name the hash.*git checkout"):
        dvc.data_hash(tmp_path)


def test_a_lock_file_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").mkdir()

    with pytest.raises(StoreError, match="must be a readable file"):
        dvc.lock_entries(tmp_path, "text")


def test_a_removed_lock_file_has_no_stages(tmp_path: Path) -> None:
    project(tmp_path, yaml.safe_dump({"schema": "2.0"})[:-3])

    with pytest.raises(MissingDataError, match="has no stage"):
        dvc.lock_entries(tmp_path, "text")


def test_files_that_a_killed_dvc_was_writing_are_removed(tmp_path: Path) -> None:
    unfinished = "._j5JZdHRGIyxb4ZqlyxHZg.tmp"
    kept = [tmp_path / "reports/text" / name for name in (".a.tmp", "report.json")]
    for path in (*kept, tmp_path / "reports/text" / unfinished, tmp_path / "data" / unfinished):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / RWLOCK).parent.mkdir(parents=True)
    (tmp_path / RWLOCK).write_text("")

    recover(tmp_path)

    assert sorted(path for path in tmp_path.glob("[dr]*/**/*") if path.is_file()) == kept
