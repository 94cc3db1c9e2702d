"""MLflow's model registry: versions, aliases and tags. Also collects a version's evidence and measures drift."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from polydistill.config.environment import use_threads
from polydistill.config.params import Params
from polydistill.data.modalities import MODALITIES
from polydistill.errors import MissingDataError
from polydistill.evaluation.latency import latencies, size_mb
from polydistill.evaluation.predictions import read_predictions
from polydistill.integrations.mlflow import store
from polydistill.integrations.mlflow.bundle import ARTIFACT
from polydistill.integrations.mlflow.stamp import REPRODUCIBLE, verified
from polydistill.integrations.processes import run_command
from polydistill.project.reports import read_report
from polydistill.registry import publication
from polydistill.registry.evidence import Candidate, Evidence, Finding, task_examples
from polydistill.registry.ledger import CHAMPION, Ids
from polydistill.registry.publication import same_answers, sample
from polydistill.stages import drift
from polydistill.students import encode, load_student

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from polydistill.stages.validate import RuleChecker

GATE_FOLDER, DRIFT_FOLDER = "gate", "drift"
"""Artifact folders of a run: for files that the gate reads and writes, and for the drift reference."""
SMOKE_TEST_SCRIPT = Path(__file__).with_name("smoke_test.py")
SMOKE_TEST_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Version:
    """A version in the registry, and the run that stores its files."""

    client: MlflowClient
    name: str
    number: int

    @property
    def uri(self) -> str:
        """The URI of the model in MLflow."""
        return f"models:/{self.name}/{self.number}"

    @cached_property
    def info(self) -> ModelVersion:
        """The version's entity in MLflow."""
        with store.missing_explained(self.uri):
            return self.client.get_model_version(self.name, str(self.number))

    def download(self, artifact: str, folder: Path) -> Path:
        """Download an artifact (a file or folder) of the version's run, and return its path.

        Raises:
            StoreError: See `stamp.verified`.
        """
        path = self.client.download_artifacts(str(self.info.run_id), artifact, str(folder))
        return verified(self.client, self.info, Path(path))

    def published(self, folder: Path) -> Mapping[str, Path]:
        """Download the files for the gate, and return their paths by name. Empty for versions of earlier releases."""
        if not self.client.list_artifacts(str(self.info.run_id), GATE_FOLDER):
            return {}
        return {path.name: path for path in self.download(GATE_FOLDER, folder).iterdir()}

    def bundle(self, folder: Path) -> Path:
        """Download the student's bundle, unless `folder` contains it already, and return its path.

        The gate measures the bundle as it is: its smoke test finds a changed one.
        """
        target = folder / f"version-{self.number}"
        if not target.exists():
            target.mkdir()
            store.import_mlflow().artifacts.download_artifacts(self.uri, dst_path=str(target))
        return target / "artifacts" / ARTIFACT


class MlflowRegistry:
    """See `registry.recorded.ModelRegistry`."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self.name = name
        self._client = client

    def aliases(self) -> dict[str, int]:
        """See `registry.recorded.ModelRegistry.aliases`."""
        model = store.registered_model(self._client, self.name)
        found = {} if model is None else model.aliases
        return {alias: int(version) for alias, version in found.items()}

    def versions(self) -> set[int]:
        """See `registry.recorded.ModelRegistry.versions`."""
        found = self._client.search_model_versions(f"name = '{self.name}'")
        return {int(version.version) for version in found}

    def candidate(self, version: int) -> Candidate:
        """See `registry.recorded.ModelRegistry.candidate`. The scores are read from the version's run."""
        found = Version(self._client, self.name, version)
        with TemporaryDirectory() as scratch:
            folder = Path(scratch)
            distillation, scores = (
                read_report(found.download(file, folder), stage)
                for file, stage in (("distill.json", "distill"), ("scores.json", "evaluate"))
            )
            groups = found.published(folder).get(publication.GROUPS)
            examples = task_examples(
                read_predictions(found.download("predictions.parquet", folder)),
                {task: kind for kind, tasks in scores["student"].items() for task in tasks},
                None if groups is None else publication.read_groups(groups),
            )
        return Candidate(
            version=version,
            student_sha256=distillation["student_sha256"],
            scores=scores["student"],
            diverged=distillation["diverged"],
            examples=examples,
        )

    def ids(self, version: int) -> Ids:
        """See `registry.recorded.ModelRegistry.ids`."""
        found = Version(self._client, self.name, version).info
        run = self._client.get_run(str(found.run_id)) if found.run_id else None
        return Ids(
            version=version,
            run_id=found.run_id or None,
            git_commit=run.data.tags.get(store.COMMIT_TAG) if run else None,
            student_sha256=found.tags.get(store.STUDENT_TAG),
            lock_sha256=found.tags.get(store.LOCK_TAG),
        )

    def set_alias(self, alias: str, version: int | None) -> None:
        """See `registry.recorded.ModelRegistry.set_alias`."""
        if version is None:
            self._client.delete_registered_model_alias(self.name, alias)
        else:
            self._client.set_registered_model_alias(self.name, alias, str(version))

    def set_tags(self, version: int, tags: Mapping[str, str]) -> None:
        """See `registry.recorded.ModelRegistry.set_tags`."""
        for key, value in tags.items():
            self._client.set_model_version_tag(self.name, str(version), key, value)


def gather(
    client: MlflowClient,
    params: Params,
    modality: str,
    challenger: Candidate,
    champion: Candidate | None,
) -> Evidence:
    """Return the evidence that the policy requires. It was published with the version, or is measured now."""
    policy, name = params.modality(modality).gate, store.model_name(modality)
    version = Version(client, name, challenger.version)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = version.published(folder)
        published = files.get(publication.EVIDENCE)
        found = Evidence() if published is None else publication.read_evidence(published)
        mark = version.info.tags.get(REPRODUCIBLE)
        found = replace(found, reproducible=None if mark is None else mark == "true")
        if policy.smoke_test or policy.max_memory_mb is not None:
            asked = files.get(publication.SMOKE_TEST) or files.get(publication.FORMER_SMOKE_TEST)
            finding, memory_mb = run_smoke_test(version, asked, folder)
            found = replace(found, smoke_test=finding, memory_mb=memory_mb)
            if memory_mb is None:
                return found  # a bundle that returns no embeddings has no latency
        if policy.max_size_mb is not None:
            found = replace(found, size_mb=size_mb(version.bundle(folder)))
        if policy.max_latency_ms is not None or policy.max_latency_ratio is not None:
            use_threads(params.threads)
            other = None if champion is None else Version(client, name, champion.version)
            new = partial(encode, load_student(version.bundle(folder)))
            old = None if other is None else partial(encode, load_student(other.bundle(folder)))
            latency = latencies(new, old, sample(MODALITIES.get(modality)()))
            found = replace(found, latency=latency)
    return found


def run_smoke_test(
    version: Version, smoke_test: Path | None, folder: Path
) -> tuple[Finding, float | None]:
    """Load a version in a fresh process, and compare its embeddings with the published ones.

    Returns:
        The finding, and the growth of the process's peak memory in MB (None if it returned no embeddings).
    """
    if smoke_test is None:
        because = "no smoke test was published with the version: publish it again."
        return Finding(holds=False, because=because), None
    answers = folder / "answers.npz"
    command = [sys.executable, "-P", str(SMOKE_TEST_SCRIPT), version.uri, str(smoke_test)]
    ended = run_command(
        [*command, str(answers)], folder, timeout_s=SMOKE_TEST_TIMEOUT_S, hidden=None
    )
    if ended.exit_code or not answers.exists():
        said = next((line for line in reversed(ended.lines) if line.strip()), "nothing")
        because = f"the published bundle cannot be loaded in a fresh process, which said: {said}"
        return Finding(holds=False, because=because), None
    with np.load(answers, allow_pickle=False) as found:
        return same_answers(smoke_test, found["embeddings"]), float(found["memory_mb"])


def champion_drift(
    root: Path, params: Params, modality: str, name: str, checker: RuleChecker
) -> drift.DriftReport:
    """Compare the project's corpus with the champion's. See `stages.drift.measure_drift`.

    Raises:
        MissingDataError: There is no champion, or an earlier release published it without a drift reference.
        StageError: The tracking store does not answer.
    """
    uri = f"models:/{name}@{CHAMPION}"
    with (
        store.connected(root) as client,
        store.missing_explained(uri),
        TemporaryDirectory() as folder,
    ):
        number = int(client.get_model_version_by_alias(name, CHAMPION).version)
        version = Version(client, name, number)
        kept = client.list_artifacts(str(version.info.run_id), DRIFT_FOLDER)
        if not {Path(one.path).name for one in kept} >= {drift.EMBEDDINGS, drift.COLUMNS}:
            raise MissingDataError(
                f"Version {number} of {name} has no reference for drift: it was published before they"
                " were kept. The next version that is published has one."
            )
        reference = drift.load_reference(version.download(DRIFT_FOLDER, Path(folder)))
        student = load_student(verified(client, version.info, version.bundle(Path(folder))))
    return drift.measure_drift(root, params, modality, reference, student, checker, champion=number)
