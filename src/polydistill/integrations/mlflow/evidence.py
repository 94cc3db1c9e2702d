"""The gate's evidence of a registered version: what was published with it, and what is measured now."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from polydistill.config.operations import GateParams
from polydistill.config.params import Params
from polydistill.data.modalities import MODALITIES
from polydistill.evaluation.latency import Answer, Latency, latencies, size_mb
from polydistill.integrations.mlflow.bundle import ARTIFACT
from polydistill.integrations.mlflow.store import import_mlflow
from polydistill.integrations.processes import run_command
from polydistill.project.layout import Layout
from polydistill.registry.document import FILE, promotion_json
from polydistill.registry.evidence import Candidate, Evidence, Finding, TaskExamples, task_examples
from polydistill.registry.gate import Verdict
from polydistill.registry.publication import (
    EVIDENCE,
    FORMER_SMOKE_TEST,
    GROUPS,
    SMOKE_TEST,
    read_evidence,
    read_groups,
    write_evidence,
)
from polydistill.registry.smoke_test import read_smoke_test, same_answers, sample
from polydistill.students import encode, load_student

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER = "gate"
SMOKE_TEST_SCRIPT = Path(__file__).with_name("smoke_test.py")
SMOKE_TEST_TIMEOUT_S = 300.0
REPRODUCIBLE_TAG, PROMOTION_TAG = "reproducible", "promotion"
STAMPS = {"true": True, "false": False}
NO_SMOKE_TEST = "no smoke test was published with the version: publish it anew."


@dataclass(frozen=True)
class Version:
    """A version in the registry, and the run that its files lie in."""

    client: MlflowClient
    name: str
    number: int

    @property
    def uri(self) -> str:
        """What MLflow loads."""
        return f"models:/{self.name}/{self.number}"

    @property
    def run_id(self) -> str:
        """The run that it was published from."""
        return str(self.client.get_model_version(self.name, str(self.number)).run_id)

    def published(self, folder: Path) -> Mapping[str, Path]:
        """Bring what was published for the gate, by file name; nothing for an older version."""
        files = self.client.list_artifacts(self.run_id, FOLDER)
        if not files:
            return {}
        brought = Path(self.client.download_artifacts(self.run_id, FOLDER, str(folder)))
        return {path.name: path for path in brought.iterdir()}

    def bundle(self, folder: Path) -> Path:
        """Bring the student's bundle."""
        target = folder / f"version-{self.number}"
        if not target.exists():
            target.mkdir()
            import_mlflow().artifacts.download_artifacts(self.uri, dst_path=str(target))
        return target / "artifacts" / ARTIFACT


def log_evidence(
    client: MlflowClient, run_id: str, params: Params, layout: Layout, lock: Mapping[str, Any]
) -> None:
    """Log to a run what the gate will want to know; see `evidence.publication`."""
    with TemporaryDirectory() as folder:
        write_evidence(Path(folder), params, layout, lock)
        client.log_artifacts(run_id, folder, FOLDER)


def examples_of(version: Version, scores: Mapping[str, Mapping[str, float]]) -> dict[str, TaskExamples]:  # fmt: skip
    """Return a version's scores by task and example; `scores` say which kind a task is of."""
    kinds = {task: kind for kind, tasks in scores.items() for task in tasks}
    with TemporaryDirectory() as folder:
        file = version.client.download_artifacts(version.run_id, "predictions.parquet", folder)
        published = version.published(Path(folder))
        groups = read_groups(published[GROUPS]) if GROUPS in published else None
        return task_examples(pd.read_parquet(file), kinds, groups)


def gather(
    client: MlflowClient,
    name: str,
    params: Params,
    modality: str,
    challenger: Candidate,
    champion: Candidate | None,
) -> Evidence:
    """Find out about a challenger what the modality's policy asks for."""
    policy = params.modality(modality).gate
    version = Version(client, name, challenger.version)
    tags = client.get_model_version(name, str(challenger.version)).tags
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        published = version.published(folder)
        found = read_evidence(published[EVIDENCE]) if EVIDENCE in published else Evidence()
        found = replace(found, reproducible=STAMPS.get(tags.get(REPRODUCIBLE_TAG, "")))
        if policy.smoke_test or policy.max_memory_mb is not None:
            asked = published.get(SMOKE_TEST) or published.get(FORMER_SMOKE_TEST)
            smoke_test, memory_mb = run_smoke_test(version, asked, folder)
            found = replace(found, smoke_test=smoke_test, memory_mb=memory_mb)
            if memory_mb is None:
                return found  # a bundle that does not answer has no latency
        if policy.max_size_mb is not None:
            found = replace(found, size_mb=size_mb(version.bundle(folder)))
        if policy.max_latency_ms is not None or policy.max_latency_ratio is not None:
            other = None if champion is None else Version(client, name, champion.version)
            latency = _latency(version, other, params, modality, folder)
            found = replace(found, latency=latency)
    return found


def run_smoke_test(
    version: Version, smoke_test: Path | None, folder: Path
) -> tuple[Finding, float | None]:
    """Load the version in a fresh process, and compare its answers with those at its publication.

    Returns:
        What was found, and by how many MB the process grew; none if it did not answer.
    """
    if smoke_test is None:
        return Finding(holds=False, because=NO_SMOKE_TEST), None
    answers, growth = folder / "answers.npy", folder / "growth.json"
    command = [sys.executable, "-P", str(SMOKE_TEST_SCRIPT), version.uri]
    files = map(str, (smoke_test, answers, growth))
    ended = run_command([*command, *files], folder, timeout_s=SMOKE_TEST_TIMEOUT_S, hidden=None)
    if ended.exit_code or not growth.exists():
        said = next((line for line in reversed(ended.lines) if line.strip()), "nothing")
        because = f"the published bundle cannot be loaded in a fresh process, which said: {said}"
        return Finding(holds=False, because=because), None
    finding = same_answers(read_smoke_test(smoke_test), np.load(answers, allow_pickle=False))
    return finding, float(json.loads(growth.read_text(encoding="utf-8"))["memory_mb"])


def attach(client: MlflowClient, name: str, policy: GateParams, verdict: Verdict) -> None:
    """Attach `promotion.json` to the challenger's version; the tag says where in its run it lies."""
    version, path = Version(client, name, verdict.challenger), f"{FOLDER}/{FILE}"
    client.log_text(version.run_id, promotion_json(verdict, policy), path)
    client.set_model_version_tag(name, str(verdict.challenger), PROMOTION_TAG, path)


def _latency(
    challenger: Version, champion: Version | None, params: Params, modality: str, folder: Path
) -> tuple[Latency, ...]:
    import torch

    torch.set_num_threads(params.threads)

    def answer(version: Version) -> Answer:
        return partial(encode, load_student(version.bundle(folder)))

    old = None if champion is None else answer(champion)
    return latencies(answer(challenger), old, sample(MODALITIES.get(modality)()))
