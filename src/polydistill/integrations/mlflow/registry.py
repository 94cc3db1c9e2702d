"""MLflow's model registry, behind the protocol that promotion knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pandas as pd

from polydistill.integrations.mlflow.bundle import ARTIFACT
from polydistill.integrations.mlflow.store import (
    COMMIT_TAG,
    LOCK_TAG,
    STUDENT_TAG,
    import_mlflow,
    missing_explained,
    registered_model,
)
from polydistill.registry.evidence import Candidate, task_examples
from polydistill.registry.ledger import Ids
from polydistill.registry.publication import GROUPS, read_groups

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

GATE_FOLDER = "gate"
"""Of a run: what the gate reads and writes."""


@dataclass(frozen=True)
class Version:
    """A version in the registry, and the run that its files are stored in."""

    client: MlflowClient
    name: str
    number: int

    @property
    def uri(self) -> str:
        """What MLflow loads."""
        return f"models:/{self.name}/{self.number}"

    @cached_property
    def info(self) -> ModelVersion:
        """What the registry has about it."""
        with missing_explained(self.uri):
            return self.client.get_model_version(self.name, str(self.number))

    def download(self, artifact: str, folder: Path) -> Path:
        """Download a file or folder of its run."""
        return Path(self.client.download_artifacts(str(self.info.run_id), artifact, str(folder)))

    def published(self, folder: Path) -> Mapping[str, Path]:
        """Download what was published for the gate, by file name; nothing for an older version."""
        if not self.client.list_artifacts(str(self.info.run_id), GATE_FOLDER):
            return {}
        return {path.name: path for path in self.download(GATE_FOLDER, folder).iterdir()}

    def bundle(self, folder: Path) -> Path:
        """Download the student's bundle, once."""
        target = folder / f"version-{self.number}"
        if not target.exists():
            target.mkdir()
            import_mlflow().artifacts.download_artifacts(self.uri, dst_path=str(target))
        return target / "artifacts" / ARTIFACT


class MlflowRegistry:
    """See `registry.recorded.ModelRegistry`."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self.name = name
        self._client = client

    def aliases(self) -> dict[str, int]:
        """See `registry.recorded.ModelRegistry.aliases`."""
        model = registered_model(self._client, self.name)
        found = {} if model is None else model.aliases
        return {alias: int(version) for alias, version in found.items()}

    def versions(self) -> set[int]:
        """See `registry.recorded.ModelRegistry.versions`."""
        found = self._client.search_model_versions(f"name = '{self.name}'")
        return {int(version.version) for version in found}

    def candidate(self, version: int) -> Candidate:
        """See `registry.recorded.ModelRegistry.candidate`: read from the version's run."""
        found = Version(self._client, self.name, version)
        with TemporaryDirectory() as scratch:
            folder = Path(scratch)
            distillation, scores = (
                json.loads(found.download(file, folder).read_text(encoding="utf-8"))
                for file in ("distill.json", "scores.json")
            )
            kinds = {task: kind for kind, tasks in scores["student"].items() for task in tasks}
            published = found.published(folder)
            groups = read_groups(published[GROUPS]) if GROUPS in published else None
            predictions = pd.read_parquet(found.download("predictions.parquet", folder))
        return Candidate(
            version=version,
            student_sha256=distillation["student_sha256"],
            scores=scores["student"],
            diverged=distillation["diverged"],
            examples=task_examples(predictions, kinds, groups),
        )

    def ids(self, version: int) -> Ids:
        """See `registry.recorded.ModelRegistry.ids`."""
        found = Version(self._client, self.name, version).info
        run = self._client.get_run(str(found.run_id)) if found.run_id else None
        return Ids(
            version=version,
            run_id=found.run_id or None,
            git_commit=run.data.tags.get(COMMIT_TAG) if run else None,
            student_sha256=found.tags.get(STUDENT_TAG),
            lock_sha256=found.tags.get(LOCK_TAG),
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
