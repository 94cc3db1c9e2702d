"""The gate's evidence about a registered version: what was published with it, and what is measured now."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from polydistill.config.operations import GateParams
from polydistill.config.params import Params
from polydistill.data.modalities import MODALITIES
from polydistill.evaluation.latency import Answer, Latency, latencies, size_mb
from polydistill.integrations.mlflow.registry import GATE_FOLDER, Version
from polydistill.integrations.mlflow.stamp import REPRODUCIBLE
from polydistill.integrations.processes import run_command
from polydistill.project.layout import Layout
from polydistill.registry.gate import FILE, promotion_json
from polydistill.registry.evidence import Candidate, Evidence, Finding
from polydistill.registry.gate import Verdict
from polydistill.registry.publication import (
    EVIDENCE,
    FORMER_SMOKE_TEST,
    SMOKE_TEST,
    read_evidence,
    write_evidence,
)
from polydistill.registry.smoke_test import same_answers, sample
from polydistill.students import encode, load_student

if TYPE_CHECKING:
    from mlflow import MlflowClient

SMOKE_TEST_SCRIPT = Path(__file__).with_name("smoke_test.py")
SMOKE_TEST_TIMEOUT_S = 300.0
PROMOTION_TAG = "promotion"
NO_SMOKE_TEST = "no smoke test was published with the version: publish it again."


def log_evidence(
    client: MlflowClient, run_id: str, params: Params, layout: Layout, lock: Mapping[str, Any]
) -> None:
    """Log to a run what the gate reads; see `registry.publication.write_evidence`."""
    with TemporaryDirectory() as folder:
        write_evidence(Path(folder), params, layout, lock)
        client.log_artifacts(run_id, folder, GATE_FOLDER)


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
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        published = version.published(folder)
        found = read_evidence(published[EVIDENCE]) if EVIDENCE in published else Evidence()
        mark = version.info.tags.get(REPRODUCIBLE)
        found = replace(found, reproducible=None if mark is None else mark == "true")
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
    finding = same_answers(smoke_test, np.load(answers, allow_pickle=False))
    return finding, float(json.loads(growth.read_text(encoding="utf-8"))["memory_mb"])


def attach(client: MlflowClient, name: str, policy: GateParams, verdict: Verdict) -> None:
    """Attach `promotion.json` to the challenger's run; a tag of the version holds its path."""
    version, path = Version(client, name, verdict.challenger), f"{GATE_FOLDER}/{FILE}"
    client.log_text(str(version.info.run_id), promotion_json(verdict, policy), path)
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
