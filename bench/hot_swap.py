"""Adding and removing a teacher with a warm start, against training from scratch, on real embeddings."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bench.measure import Row
from polydistill.config.params import Params, load_params, parse_params
from polydistill.contracts import Embeddings, Example
from polydistill.data.files import read_table
from polydistill.data.ids import unpack_ids
from polydistill.data.modalities.text import TextModality
from polydistill.data.preparation import prepare_corpus
from polydistill.embeddings.extraction import write_embeddings
from polydistill.embeddings.store import StoredEmbeddings, open_embeddings
from polydistill.project.layout import Layout
from polydistill.stages.distill import distill
from polydistill.stages.import_version import import_version
from polydistill.students import encode, load_student
from polydistill.training.distillation import DistillReport

MODALITY = "text"
TEACHER = "paraphrase-l3"
"""The teacher that is added and removed."""
ROWS, EVALS_PER_EPOCH = 24_576, 8
SEEDS = (0, 1, 2)
STEPS_GOAL, SCORE_GOAL = "below 0.3", "at least 1"
PROBED = ("wordnet-lexfile", "debian-section")


class _Stored:
    """A teacher that returns the stored embeddings of another run."""

    by_id = True

    def __init__(self, stored: StoredEmbeddings) -> None:
        self.name, self.dim, self._stored = stored.teacher, stored.dim, stored
        self.identity: Mapping[str, str | int | float | bool | None] = {
            name: value if isinstance(value, int | float) else str(value)
            for name, value in stored.identity.items()
        }
        self._rows = {name: row for row, name in enumerate(unpack_ids(stored.ids[:ROWS]))}

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        return self._stored.take(np.array([self._rows[str(one)] for one in examples]))


@dataclass(frozen=True)
class _Run:
    """The result of a run: the report, the held-out loss by step, and the mean accuracy of the probes."""

    report: DistillReport
    held_out: pd.Series[float]
    score: float


@dataclass(frozen=True)
class _Swap:
    """A run with a warm start, and the run from scratch with the same teachers and seed."""

    warm: _Run
    cold: _Run

    @property
    def steps(self) -> float:
        """The steps until the warm start reaches the lowest held-out loss of the run from scratch."""
        goal = self.cold.report.held_out_mean
        reached = self.warm.held_out[self.warm.held_out <= goal + 5e-7]  # reports are rounded
        return float(reached.index[0]) if len(reached) else float("inf")


def run() -> list[Row]:
    """Add a teacher to three, and remove it from four; compare each with a run from scratch."""
    swaps: dict[str, list[_Swap]] = {"added": [], "removed": []}
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as name:
            added, removed = _measure(Path(), Path(name), seed)
        swaps["added"].append(added)
        swaps["removed"].append(removed)
    return [row for way, seeds in swaps.items() for row in _rows(way, seeds)]


def _measure(project: Path, scratch: Path, seed: int) -> tuple[_Swap, _Swap]:
    four = _params(project, seed)
    three = _without(four, TEACHER)
    here = Layout(scratch, MODALITY)
    (scratch / "data").symlink_to((project / "data").resolve())
    without = _distil(project, here, three)
    small = import_version(scratch, MODALITY, here.artifacts)
    whole = _distil(project, here, four)
    large = import_version(scratch, MODALITY, here.artifacts)
    added = _distil(project, here, _warm(four, small.sha256))
    retired = _distil(project, here, _warm(three, large.sha256))
    return _Swap(added, whole), _Swap(retired, without)


def _params(project: Path, seed: int) -> Params:
    """Return the project's parameters with fewer rows, one thread and more frequent evaluation."""
    tree = load_params(project).model_dump(mode="json")
    tree |= {"threads": 1, "seed": seed}
    tree[MODALITY]["corpus"]["rows"] = ROWS
    tree[MODALITY]["warm_start"]["sha256"] = None
    tree[MODALITY]["training"] |= {
        "evals_per_epoch": EVALS_PER_EPOCH,
        "patience": EVALS_PER_EPOCH * tree[MODALITY]["training"]["patience"],
    }
    return parse_params(tree)


def _without(params: Params, teacher: str) -> Params:
    tree = params.model_dump(mode="json")
    tree[MODALITY]["teachers"][teacher]["enabled"] = False
    return parse_params(tree)


def _warm(params: Params, sha256: str) -> Params:
    tree = params.model_dump(mode="json")
    tree[MODALITY]["warm_start"]["sha256"] = sha256
    return parse_params(tree)


def _distil(project: Path, here: Layout, params: Params) -> _Run:
    """Run the distill stage on the first rows of the project's embeddings."""
    there, settings = Layout(project, MODALITY), params.modality(MODALITY).corpus
    with prepare_corpus(project, settings, TextModality(), here.root / "work") as corpus:
        corpus.publish(here.corpus, settings)
    for teacher in params.enabled_teachers(MODALITY):
        stored = open_embeddings(there.embeddings("corpus", teacher))
        ids = stored.ids[:ROWS]
        folder = here.embeddings("corpus", teacher)
        write_embeddings(folder, here.root / "work", ids, unpack_ids(ids), _Stored(stored))
    report = distill(here.root, params, MODALITY)
    history = pd.read_parquet(here.history)
    held_out = history[history["split"] == "held-out"].groupby("step")["nats"].mean()
    return _Run(report, held_out, _probe(project, here.student, params))


def _probe(project: Path, student: Path, params: Params) -> float:
    """Return the mean accuracy of logistic regressions on the embeddings of in-domain tasks."""
    loaded, scores = load_student(student), []
    for task in PROBED:
        frame = read_table(project / params.modality(MODALITY).tasks[task].path)
        embeddings = StandardScaler().fit_transform(encode(loaded, frame["text"].tolist()))
        trained = (frame["split"] == "train").to_numpy()
        probe = LogisticRegression(C=0.1, max_iter=200).fit(
            embeddings[trained], frame["label"][trained]
        )
        scores.append(float(probe.score(embeddings[~trained], frame["label"][~trained])))
    return sum(scores) / len(scores)


def _rows(way: str, swaps: Sequence[_Swap]) -> list[Row]:
    """Return a row for the seed that took the largest share of steps, and a row for the mean scores."""
    name = f"hot-swap: {TEACHER} {way}"
    slowest = max(swaps, key=lambda swap: swap.steps / swap.cold.report.steps)
    cost = slowest.cold.report
    warm, cold = (
        round(fmean(run.score for run in runs), 4)
        for runs in ([swap.warm for swap in swaps], [swap.cold for swap in swaps])
    )
    seeds = f"seeds {', '.join(map(str, SEEDS))}"
    return [
        Row(
            name=f"{name}: steps to the held-out loss of the run from scratch, the slowest of {seeds}; "
            f"peer: all steps of that run, whose best step was {cost.best_step}",
            ours=slowest.steps,
            peer=float(cost.steps),
            ratio=round(slowest.steps / cost.steps, 3),
            unit="steps",
            goal=STEPS_GOAL,
        ),
        Row(
            name=f"{name}: probes at the end, mean of {seeds}",
            ours=warm,
            peer=cold,
            ratio=round(warm / cold, 3),
            unit="accuracy",
            goal=SCORE_GOAL,
        ),
    ]
