"""Reproducibility of a version. Checks its code and data, pushes the data, and attaches files and tags."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

import polydistill
from polydistill.config.params import PARAMS_FILE, RESOLVED_FILE
from polydistill.errors import MissingDataError, ParamsError, StageError, StoreError
from polydistill.integrations import git
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.mlflow.store import (
    COMMIT_TAG,
    LOCK_TAG,
    connected,
    missing_explained,
    model_name,
)
from polydistill.integrations.mlflow.tracker import set_tags
from polydistill.project.workspace import DATA_FILE, LOCK_FILE, project_of
from polydistill.registry.publication import dvc_hash, hashes

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PACKAGE = Path(polydistill.__file__).parent
REQUIREMENTS_FILE = "requirements.lock"
NAMED = 5
"""Largest number of files that a reason names. Further files are only counted."""
ATTACHED = "project"
"""The artifact folder of a run for the attached project files."""
NEEDED = (PARAMS_FILE.name, DATA_FILE, LOCK_FILE, "dvc.yaml")
REPRODUCIBLE, REASON = "reproducible", "reproducible_reason"
COMMIT, DATA = "git_commit", "data_md5"
REQUIREMENTS, FILES = "requirements_sha256", "attached_files"
MAX_REASON = 500
URI = re.compile(r"models:/(?P<name>[^@/]+)(@(?P<alias>[^@/]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class Provenance:
    """The origin of a student.

    Attributes:
        commit: The git commit of the code; None outside a repository.
        data_md5: DVC's hash of `data/`.
        requirements_sha256: The sha256 of `requirements.lock`; None without this file.
        reasons: The reasons why the student cannot be reproduced, without local paths; empty if it can be reproduced.
        detail: The output of DVC, if the push of the data failed.
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


@dataclass(frozen=True)
class Attachments:
    """The downloaded attachments of a version.

    Attributes:
        model: The name of the registered model.
        version: The number of the version.
        modality: The modality of the student.
        commit: The git commit of the code that trained the student.
        folder: The folder with the downloaded files: `project/…`, `distill.json`, `scores.json`.
    """

    model: str
    version: int
    modality: str
    commit: str
    folder: Path

    @property
    def files(self) -> list[Path]:
        """The attached files of the project."""
        return sorted((self.folder / ATTACHED).iterdir())

    def read(self, name: str) -> dict[str, Any]:
        """Return the content of a downloaded JSON file, such as `distill.json`."""
        content: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return content


def stamp(
    client: MlflowClient, root: Path, version: tuple[str, int], entries: Mapping[str, Any]
) -> Provenance:
    """Attach the files that reproducing a version requires, push its data, and tag it as reproducible or not.

    A version that is already tagged as reproducible is not changed.

    Args:
        client: A client of the tracking store.
        root: The project folder.
        version: The name of the registered model, and the number of the version.
        entries: The modality's stages in `dvc.lock`.

    Raises:
        MissingDataError: There is no `data.dvc`.
    """
    name, number = version[0], str(version[1])
    known = client.get_model_version(name, number)
    if known.tags.get(REPRODUCIBLE) == "true":
        return Provenance(known.tags.get(COMMIT), known.tags[DATA], known.tags.get(REQUIREMENTS))
    found, run_id = examine(root, entries), str(known.run_id)
    wanted = (*NEEDED, RESOLVED_FILE.name, REQUIREMENTS_FILE)
    files = [file for file in wanted if (root / file).exists()]
    for file in files:
        client.log_artifact(run_id, str(root / file), ATTACHED)
    if found.commit:
        set_tags(client, run_id, {COMMIT_TAG: found.commit})
    tags = {
        REPRODUCIBLE: str(found.reproducible).lower(),
        REASON: "; ".join(found.reasons)[:MAX_REASON],
        COMMIT: found.commit,
        DATA: found.data_md5,
        REQUIREMENTS: found.requirements_sha256,
        FILES: " ".join(f"{ATTACHED}/{file}" for file in files),
    }
    for tag, value in tags.items():
        if value:
            client.set_model_version_tag(name, number, tag, value)
    if found.reproducible and REASON in known.tags:
        client.delete_model_version_tag(name, number, REASON)
    return found


def version_at(client: MlflowClient, uri: str) -> ModelVersion:
    """Return the version with a URI such as `models:/student-text@champion` or `models:/student-text/3`.

    Raises:
        ParamsError: `uri` has another form.
    """
    match = URI.fullmatch(uri)
    if match is None:
        raise ParamsError(
            f"A version is written models:/student-text@champion or models:/student-text/3, got {uri!r}."
        )
    if match["alias"]:
        return client.get_model_version_by_alias(match["name"], match["alias"])
    return client.get_model_version(match["name"], match["version"])


def download_attachments(root: Path, uri: str, folder: Path) -> Attachments:
    """Download the attachments of a version.

    Args:
        root: The project folder.
        uri: `models:/student-text@champion` or `models:/student-text/3`.
        folder: An existing, empty folder for the files.

    Raises:
        ParamsError: `uri` has another form.
        MissingDataError: There is no such version, it is not reproducible, or an attached file is missing.
        StoreError: See `verified`.
        StageError: The tracking store does not answer.
    """
    with connected(root) as client, missing_explained(uri):
        version = version_at(client, uri)
        name = version.name
        if version.tags.get(REPRODUCIBLE) != "true":
            reason = version.tags.get(REASON, "no reason is given")
            if REPRODUCIBLE not in version.tags:
                reason = "it was published by an earlier release"
            raise MissingDataError(
                f"{name} version {version.version} is not reproducible: {reason}.\n"
                "Fix that, and `polydistill publish` again while its files are in the project folder."
            )
        run = client.get_run(str(version.run_id))
        for artifact in (ATTACHED, "distill.json", "scores.json"):
            path = client.download_artifacts(run.info.run_id, artifact, str(folder))
            verified(client, version, Path(path))
    modality, commit = str(run.data.tags["modality"]), str(version.tags[COMMIT])
    found = Attachments(name, int(version.version), modality, commit, folder)
    missing = sorted({*NEEDED} - {file.name for file in found.files})
    if missing:
        raise MissingDataError(f"{', '.join(missing)} is not attached to {uri}: publish it again.")
    return found


def verified(client: MlflowClient, version: ModelVersion, path: Path) -> Path:
    """Return the path of a downloaded file or folder, whose name is that of a stage's output, after checking its hash.

    The expected hash is in the attached `dvc.lock`, which is checked with the version's tag. A version of an earlier
    release, which has no tag or no `dvc.lock`, is not checked.

    Raises:
        StoreError: The file or folder, or `dvc.lock`, is not the one that was published.
    """
    tag, lock = version.tags.get(LOCK_TAG), f"{ATTACHED}/{LOCK_FILE}"
    if tag is None or lock not in version.tags.get(FILES, "").split():
        return path
    with TemporaryDirectory() as folder:
        local = client.download_artifacts(str(version.run_id), lock, folder)
        modality = version.name.removeprefix(model_name(""))
        try:
            entries = dvc.entries_in(Path(local), modality)
        except (
            MissingDataError,
            yaml.YAMLError,
            ValueError,
            AttributeError,
        ):  # cut, or another type
            entries = {}
    wrong = None if dvc.lock_digest(entries) == tag else lock
    for stage in (f"distill@{modality}", f"evaluate@{modality}"):
        for output, md5 in hashes(entries, stage, "outs").items():
            if wrong is None and Path(output).name == path.name and dvc_hash(path) != md5:
                wrong = path.name
    if wrong:
        raise StoreError(
            f"{wrong} of {version.name} version {version.version} is not what was published: it was changed or damaged "
            f"in the tracking store. Restore the artifacts of run {version.run_id} from a backup."
        )
    return path


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
    """Return a list with one reason if the code in `root` or the installed package differs from the commit."""
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
    """Return reasons if `data/` differs from `data.dvc`, or if stages are out of date."""
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
    """Push the data to the remote. Return the reasons why the push failed, and the output of DVC."""
    try:
        dvc.push_data(root)
    except StageError as error:
        if dvc.NO_REMOTE in str(error):
            return ["data: no DVC remote (`dvc remote add --default`)"], ""
        return ["data: the push to DVC's remote failed"], str(error)
    return [], ""
