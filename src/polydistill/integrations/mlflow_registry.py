"""MLflow's model registry, behind the protocol that the gate's caller knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from polydistill.integrations.mlflow_evidence import Version, attach, examples_of, gather
from polydistill.integrations.mlflow_publish import model_name
from polydistill.integrations.mlflow_store import connected
from polydistill.layout import Layout
from polydistill.params import Params
from polydistill.registry.document import promotion_json
from polydistill.registry.gate import Candidate, Verdict
from polydistill.registry.promotion import promote as ask_gate

if TYPE_CHECKING:
    from mlflow import MlflowClient


class MlflowRegistry:
    """See `registry.promotion.ModelRegistry`."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self.name = name
        self._client = client

    def version(self, alias: str) -> int | None:
        """See `registry.promotion.ModelRegistry.version`."""
        for model in self._client.search_registered_models(f"name = '{self.name}'"):
            if alias in model.aliases:
                return int(model.aliases[alias])
        return None

    def candidate(self, version: int) -> Candidate:
        """See `registry.promotion.ModelRegistry.candidate`: read from the version's run."""
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

    def set_alias(self, alias: str, version: int) -> None:
        """See `registry.promotion.ModelRegistry.set_alias`."""
        self._client.set_registered_model_alias(self.name, alias, str(version))

    def set_tags(self, version: int, tags: Mapping[str, str]) -> None:
        """See `registry.promotion.ModelRegistry.set_tags`."""
        for key, value in tags.items():
            self._client.set_model_version_tag(self.name, str(version), key, value)

    def _read(self, run_id: str, artifact: str) -> dict[str, Any]:
        with TemporaryDirectory() as folder:
            path = Path(self._client.download_artifacts(run_id, artifact, folder))
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content


def promote(root: Path, params: Params, modality: str, *, dry_run: bool = False) -> Verdict:
    """Let the gate judge the challenger, move the aliases, and write the verdict.

    Raises:
        MissingDataError: There is no challenger.
        StageError: The tracking store does not answer.
    """
    policy = params.modality(modality).gate
    with connected(root) as client:
        name = model_name(modality)
        registry = MlflowRegistry(client, name)
        evidence = partial(gather, client, name, params, modality)
        verdict = ask_gate(registry, policy, dry_run=dry_run, gather=evidence)
        if verdict.rules and not dry_run:
            attach(client, name, verdict, policy)
    if not dry_run:
        _write(Layout(root, modality).verdict, promotion_json(verdict, policy))
    return verdict


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
