"""The reference for drift, which is stored with each version's run and read for the champion."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from polydistill.config.params import Params
from polydistill.errors import MissingDataError
from polydistill.integrations.mlflow.registry import Version
from polydistill.integrations.mlflow.store import connected, missing_explained
from polydistill.project.layout import Layout
from polydistill.registry.ledger import CHAMPION
from polydistill.stages import drift
from polydistill.students import load_student

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from polydistill.stages.validate import RuleChecker

FOLDER = "drift"


def log_reference(
    client: MlflowClient, run_id: str, root: Path, params: Params, modality: str
) -> None:
    """Store the reference of the project's student in its run."""
    student = load_student(Layout(root, modality).student)
    reference = drift.make_reference(root, params, modality, student)
    with TemporaryDirectory() as folder:
        drift.save_reference(reference, Path(folder))
        client.log_artifacts(run_id, folder, FOLDER)


def champion_drift(
    root: Path, params: Params, modality: str, name: str, checker: RuleChecker
) -> drift.DriftReport:
    """Compare the project's corpus with the champion's; see `stages.drift.drift`.

    Raises:
        MissingDataError: There is no champion, or it was published before references were kept.
        StageError: The tracking store does not answer.
    """
    uri = f"models:/{name}@{CHAMPION}"
    with connected(root) as client, missing_explained(uri), TemporaryDirectory() as folder:
        number = int(client.get_model_version_by_alias(name, CHAMPION).version)
        version = Version(client, name, number)
        kept = client.list_artifacts(str(version.info.run_id), FOLDER)
        if not {Path(one.path).name for one in kept} >= {drift.EMBEDDINGS, drift.COLUMNS}:
            raise MissingDataError(
                f"Version {number} of {name} has no reference for drift: it was published before they"
                " were kept. The next version that is published has one."
            )
        reference = drift.load_reference(version.download(FOLDER, Path(folder)))
        student = load_student(version.bundle(Path(folder)))
    return drift.drift(root, params, modality, reference, student, checker, champion=number)
