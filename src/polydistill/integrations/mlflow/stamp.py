"""Files of the project that are attached to a version so that it can be reproduced, and the tags that name them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polydistill.config.params import PARAMS_FILE, RESOLVED_FILE
from polydistill.errors import MissingDataError, ParamsError
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.mlflow.store import COMMIT_TAG, connected, missing_explained
from polydistill.integrations.mlflow.tracker import set_tags
from polydistill.integrations.provenance import REQUIREMENTS_FILE, Provenance, examine

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK_FILE = dvc.LOCK_FILE.name
PIPELINE_FILE = "dvc.yaml"
ATTACHED = "project"
"""The folder of these files in the run's artifacts."""
NEEDED = (PARAMS_FILE.name, dvc.DATA_FILE.name, LOCK_FILE, PIPELINE_FILE)
REPRODUCIBLE, REASON = "reproducible", "reproducible_reason"
COMMIT, DATA = "git_commit", "data_md5"
REQUIREMENTS, FILES = "requirements_sha256", "attached_files"
MAX_REASON = 500
URI = re.compile(r"models:/(?P<name>[^@/]+)(@(?P<alias>[^@/]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class Attachments:
    """The downloaded attachments of a version.

    Attributes:
        model: The name of the registered model.
        version: The number of the version.
        modality: The modality of its run.
        commit: The git commit of the code that made it.
        folder: The folder with its files: `project/…`, `distill.json`, `scores.json`.
    """

    model: str
    version: int
    modality: str
    commit: str
    folder: Path

    @property
    def files(self) -> list[Path]:
        """The files of the project."""
        return sorted((self.folder / ATTACHED).iterdir())

    def read(self, name: str) -> dict[str, Any]:
        """Return a JSON file of the run."""
        content: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return content


def stamp(
    client: MlflowClient, root: Path, version: tuple[str, int], entries: Mapping[str, Any]
) -> Provenance:
    """Attach the files that a rerun needs to a version, push its data, and tag it as reproducible or not.

    A version that is tagged as reproducible does not change.

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


def download_attachments(root: Path, uri: str, folder: Path) -> Attachments:
    """Download the attachments of a version.

    Args:
        root: The project folder.
        uri: `models:/student-text@champion` or `models:/student-text/3`.
        folder: An existing, empty folder for the files.

    Raises:
        ParamsError: `uri` has another form.
        MissingDataError: There is no such version, or it is not reproducible.
        StageError: The tracking store does not answer.
    """
    match = URI.fullmatch(uri)
    if match is None:
        raise ParamsError(
            f"A version is written models:/student-text@champion or models:/student-text/3, got {uri!r}."
        )
    name = match["name"]
    with connected(root) as client, missing_explained(uri):
        if match["alias"]:
            version = client.get_model_version_by_alias(name, match["alias"])
        else:
            version = client.get_model_version(name, match["version"])
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
            client.download_artifacts(run.info.run_id, artifact, str(folder))
    modality, commit = str(run.data.tags["modality"]), str(version.tags[COMMIT])
    found = Attachments(name, int(version.version), modality, commit, folder)
    missing = sorted({*NEEDED} - {file.name for file in found.files})
    if missing:
        raise MissingDataError(f"{', '.join(missing)} is not attached to {uri}: publish it again.")
    return found
