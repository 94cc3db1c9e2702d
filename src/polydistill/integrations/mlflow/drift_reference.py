"""The reference for drift: kept with each version's run, and read back for the champion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from polydistill.config.params import Params
from polydistill.errors import MissingDataError
from polydistill.integrations.mlflow.bundle import bundle_folder
from polydistill.integrations.mlflow.store import connected, missing_explained
from polydistill.project.layout import Layout
from polydistill.registry.ledger import CHAMPION
from polydistill.stages.drift import (
    COLUMNS,
    EMBEDDINGS,
    DriftReport,
    Reference,
    drift,
    load_reference,
    make_reference,
    save_reference,
)
from polydistill.students import load_student

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from polydistill.contracts import Student
    from polydistill.stages.validate import RuleChecker

FOLDER = "drift"


@dataclass(frozen=True)
class Champion:
    """The champion, as a comparison needs it.

    Attributes:
        version: Its number.
        student: Itself, loaded.
        reference: What was kept of its corpus.
    """

    version: int
    student: Student
    reference: Reference


def log_reference(
    client: MlflowClient, run_id: str, root: Path, params: Params, modality: str
) -> None:
    """Keep the reference of the student that lies in the project with its run."""
    student = load_student(Layout(root, modality).student)
    reference = make_reference(root, params, modality, student)
    with TemporaryDirectory() as folder:
        save_reference(reference, Path(folder))
        client.log_artifacts(run_id, folder, FOLDER)


def load_champion(root: Path, name: str) -> Champion:
    """Bring the champion of a registered model, with its reference.

    Raises:
        MissingDataError: There is no champion, or it was published before references were kept.
        StageError: The tracking store does not answer.
    """
    uri = f"models:/{name}@{CHAMPION}"
    with connected(root) as client, missing_explained(uri), TemporaryDirectory() as folder:
        version = client.get_model_version_by_alias(name, CHAMPION)
        run_id = str(version.run_id)
        kept = {Path(one.path).name for one in client.list_artifacts(run_id, FOLDER)}
        if not kept >= {EMBEDDINGS, COLUMNS}:
            raise MissingDataError(
                f"Version {version.version} of {name} has no reference for drift: it was published"
                " before they were kept. The next version that is published has one."
            )
        reference = load_reference(Path(client.download_artifacts(run_id, FOLDER, folder)))
        pinned = f"models:/{name}/{version.version}"  # the alias may move between the two reads
        student = load_student(bundle_folder(root, pinned, Path(folder)))
    return Champion(int(version.version), student, reference)


def champion_drift(
    root: Path, params: Params, modality: str, name: str, checker: RuleChecker
) -> DriftReport:
    """Compare the project's corpus with the champion's; see `stages.drift.drift`.

    Raises:
        MissingDataError: There is no champion, or it has no reference.
        StageError: The tracking store does not answer.
    """
    champion = load_champion(root, name)
    return drift(
        root,
        params,
        modality,
        champion.reference,
        champion.student,
        checker,
        champion=champion.version,
    )
