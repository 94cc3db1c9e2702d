"""MLflow's model registry, behind the protocol that promotion knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from polydistill.integrations.mlflow.evidence import Version, examples_of
from polydistill.integrations.mlflow.store import missing_explained
from polydistill.registry.evidence import Candidate
from polydistill.registry.ledger import Ids

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

VERSION_IDS = ("student_sha256", "lock_sha256")
"""Tags of a version, under the same names in the ledger; `publish` sets them."""
COMMIT_TAG = "mlflow.source.git.commit"


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

    def version(self, alias: str) -> int | None:
        """See `registry.recorded.ModelRegistry.version`."""
        return self.aliases().get(alias)

    def versions(self) -> set[int]:
        """See `registry.recorded.ModelRegistry.versions`."""
        found = self._client.search_model_versions(f"name = '{self.name}'")
        return {int(version.version) for version in found}

    def candidate(self, version: int) -> Candidate:
        """See `registry.recorded.ModelRegistry.candidate`: read from the version's run."""
        run_id = self._client.get_model_version(self.name, str(version)).run_id
        distillation = self._read(str(run_id), "distill.json")
        scores = self._read(str(run_id), "scores.json")["student"]
        return Candidate(
            version=version,
            student_sha256=distillation["student_sha256"],
            scores=scores,
            diverged=distillation["diverged"],
            examples=examples_of(Version(self._client, self.name, version), scores),
        )

    def ids(self, version: int) -> Ids:
        """See `registry.recorded.ModelRegistry.ids`."""
        with missing_explained(f"models:/{self.name}/{version}"):
            found = self._client.get_model_version(self.name, str(version))
        tags: dict[str, str] = {
            name: found.tags[name] for name in VERSION_IDS if name in found.tags
        }
        run = self._client.get_run(str(found.run_id)) if found.run_id else None
        commit = run.data.tags.get(COMMIT_TAG) if run else None
        return Ids(version=version, run_id=found.run_id or None, git_commit=commit, **tags)

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

    def _read(self, run_id: str, artifact: str) -> dict[str, Any]:
        with TemporaryDirectory() as folder:
            path = Path(self._client.download_artifacts(run_id, artifact, folder))
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content


def registered_model(client: MlflowClient, name: str) -> RegisteredModel | None:
    """Return a registered model with its aliases and tags; none, if there is none."""
    return next(iter(client.search_registered_models(f"name = '{name}'")), None)
