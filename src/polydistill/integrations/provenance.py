"""Whether a student can be made again: its code is in a commit, its data in DVC's remote."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polydistill
from polydistill.errors import StageError
from polydistill.integrations import git
from polydistill.integrations.dvc import stages as dvc
from polydistill.project.workspace import project_of

PACKAGE = Path(polydistill.__file__).parent
REQUIREMENTS_FILE = "requirements.lock"
NAMED = 5
"""The number of files that are named; the others are counted."""


@dataclass(frozen=True)
class Provenance:
    """Where a student comes from.

    Attributes:
        commit: Git's, of the code; None outside a repository.
        data_md5: DVC's hash of `data/`.
        requirements_sha256: Of `requirements.lock`; None where there is none.
        reasons: Why it cannot be made again; none if it can. They hold no path of this machine.
        detail: The output of a tool that failed.
    """

    commit: str | None
    data_md5: str
    requirements_sha256: str | None
    reasons: tuple[str, ...] = ()
    detail: str = ""

    @property
    def reproducible(self) -> bool:
        """Whether everything that a rerun needs is kept."""
        return not self.reasons


def examine(root: Path, entries: Mapping[str, Any]) -> Provenance:
    """Check whether the student in `root` can be made again, and push its data.

    Args:
        root: The project folder, or a workspace of it.
        entries: The modality's stages in `dvc.lock`.

    Raises:
        MissingDataError: There is no `data.dvc`.
    """
    commit, data_md5 = git.head_commit(project_of(root)), dvc.data_hash(root)
    lock = root / REQUIREMENTS_FILE
    requirements = hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else None
    reasons = _of_code(root, commit)
    if not (root / ".dvc").exists():
        reasons.append("data: no DVC project here, so no remote that keeps it")
        return Provenance(commit, data_md5, requirements, tuple(reasons))
    reasons += _of_state(root, entries)
    pushed, detail = _push(root)
    return Provenance(commit, data_md5, requirements, tuple(reasons + pushed), detail)


def _of_code(root: Path, commit: str | None) -> list[str]:
    """Compare the code here, and the code that runs, with the commit's."""
    if commit is None:
        return ["code: no git repository with a commit"]
    folders = {root / place: place for place in git.CODE if (root / place).exists()}
    has_code = (project_of(root) / "src").exists()  # else requirements.lock says which release runs
    if has_code and PACKAGE.resolve() != (root / "src" / "polydistill").resolve():
        folders[PACKAGE] = "src/polydistill"  # a workspace runs the project's, or an installed one
    files = git.code_differences(project_of(root), commit, folders)
    if not files:
        return []
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return [f"code: not as in commit {commit[:12]}: {', '.join(files[:NAMED])}{more}"]


def _of_state(root: Path, entries: Mapping[str, Any]) -> list[str]:
    """Ask DVC whether the data are those that `data.dvc` names, and the results what the files here make."""
    try:
        stale = dvc.status(root)
    except StageError:
        return ["stages: `dvc status` failed"]
    reasons = []
    if dvc.DATA_FILE.as_posix() in stale:
        reasons.append("data: here are other data than data.dvc names (`dvc add data`)")
    if stages := [stage for stage in stale if stage in entries]:
        reasons.append(f"stages: not up to date: {', '.join(stages)} (`dvc repro`)")
    return reasons


def _push(root: Path) -> tuple[list[str], str]:
    """Push the data to the remote; return why that failed, and what DVC printed."""
    try:
        dvc.push_data(root)
    except StageError as error:
        if dvc.NO_REMOTE in str(error):
            return ["data: no DVC remote (`dvc remote add --default`)"], ""
        return ["data: the push to DVC's remote failed"], str(error)
    return [], ""
