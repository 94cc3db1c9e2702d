"""Checks whether a student can be reproduced: its code must be in a commit, its data in DVC's remote."""

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
"""The number of files that a reason names; the others are counted."""


@dataclass(frozen=True)
class Provenance:
    """The origin of a student.

    Attributes:
        commit: The git commit of the code; None outside a repository.
        data_md5: DVC's hash of `data/`.
        requirements_sha256: The sha256 of `requirements.lock`; None without this file.
        reasons: The reasons why the student cannot be reproduced, without paths of this machine; empty if it can.
        detail: The output of a tool that failed.
    """

    commit: str | None
    data_md5: str
    requirements_sha256: str | None
    reasons: tuple[str, ...] = ()
    detail: str = ""

    @property
    def reproducible(self) -> bool:
        """Whether the student can be reproduced."""
        return not self.reasons


def examine(root: Path, entries: Mapping[str, Any]) -> Provenance:
    """Check whether the student in `root` can be reproduced, and push its data to DVC's remote.

    Args:
        root: The project folder or a workspace.
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
    """Return a reason if the code in `root`, or the installed package, differs from the commit."""
    if commit is None:
        return ["code: no git repository with a commit"]
    folders = {root / place: place for place in git.CODE if (root / place).exists()}
    has_code = (project_of(root) / "src").exists()  # otherwise requirements.lock pins the release
    if has_code and PACKAGE.resolve() != (root / "src" / "polydistill").resolve():
        folders[PACKAGE] = "src/polydistill"  # a workspace runs the installed package
    files = git.code_differences(project_of(root), commit, folders)
    if not files:
        return []
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return [f"code: not as in commit {commit[:12]}: {', '.join(files[:NAMED])}{more}"]


def _of_state(root: Path, entries: Mapping[str, Any]) -> list[str]:
    """Return reasons if `data/` differs from `data.dvc`, or stages are stale."""
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
    """Push the data to the remote; return the reasons why that failed, and the output of DVC."""
    try:
        dvc.push_data(root)
    except StageError as error:
        if dvc.NO_REMOTE in str(error):
            return ["data: no DVC remote (`dvc remote add --default`)"], ""
        return ["data: the push to DVC's remote failed"], str(error)
    return [], ""
