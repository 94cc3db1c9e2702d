"""A teacher that comes and one that goes: steps to the score of a run from scratch, on real embeddings."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bench.measure import Row
from polydistill.adoption import adopt
from polydistill.contracts import Embeddings, Example
from polydistill.layout import Layout
from polydistill.params import Params, load_params, parse_params
from polydistill.stages.distill import DistillReport, distill
from polydistill.store import StoredEmbeddings, open_embeddings, write_embeddings
from polydistill.students import encode, load_student
from polydistill.tables import read_table

MODALITY, TEACHER = "text", "paraphrase-l3"
"""Who comes and goes."""
ROWS, EVALS_PER_EPOCH = 24_576, 8
PROBED = ("wordnet-lexfile", "debian-section")


class _Stored:
    """A teacher that reads what another run has stored."""

    by_id = True

    def __init__(self, stored: StoredEmbeddings) -> None:
        self.name, self.dim, self._stored = stored.teacher, stored.dim, stored
        self.identity: Mapping[str, str | int | float | bool | None] = {
            name: value if isinstance(value, int | float) else str(value)
            for name, value in stored.identity.items()
        }
        self._rows = {name: row for row, name in enumerate(stored.ids[:ROWS].tolist())}

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        return self._stored.take(np.array([self._rows[str(one)] for one in examples]))


@dataclass(frozen=True)
class _Run:
    """What a run came to: the stage's report, held-out loss by step, and the probes' mean accuracy."""

    report: DistillReport
    held_out: pd.Series[float]
    score: float


def run() -> list[Row]:
    """Add a teacher to three and take it away again, each time against a run from scratch."""
    with tempfile.TemporaryDirectory() as name:
        return _measure(Path(), Path(name))


def _measure(project: Path, scratch: Path) -> list[Row]:
    four = _params(project)
    three = four.model_copy(
        update={"embed": {key: row for key, row in four.embed.items() if row.teacher != TEACHER}}
    )
    here = Layout(scratch, MODALITY)
    (scratch / "data").symlink_to((project / "data").resolve())
    without = _distil(project, here, three)
    small = adopt(scratch, MODALITY, here.artifacts)
    whole = _distil(project, here, four)
    large = adopt(scratch, MODALITY, here.artifacts)
    added = _distil(project, here, _warm(four, small.sha256))
    retired = _distil(project, here, _warm(three, large.sha256))
    return [
        *_rows(f"hot-swap: {TEACHER} comes, against from scratch", added, whole),
        *_rows(f"hot-swap: {TEACHER} goes, against from scratch", retired, without),
    ]


def _params(project: Path) -> Params:
    """Return the project's numbers for fewer rows on one thread, evaluated more often."""
    tree = load_params(project).model_dump(mode="json")
    tree["threads"] = 1
    tree[MODALITY]["corpus"]["rows"] = ROWS
    tree[MODALITY]["warm_start"]["sha256"] = None
    tree[MODALITY]["training"] |= {
        "evals_per_epoch": EVALS_PER_EPOCH,
        "patience": EVALS_PER_EPOCH * tree[MODALITY]["training"]["patience"],
    }
    return parse_params(tree)


def _warm(params: Params, sha256: str) -> Params:
    tree = params.model_dump(mode="json")
    tree[MODALITY]["warm_start"]["sha256"] = sha256
    return parse_params(tree)


def _distil(project: Path, here: Layout, params: Params) -> _Run:
    """Run the stage on the first rows of the project's embeddings."""
    there = Layout(project, MODALITY)
    for teacher in params.active_teachers(MODALITY):
        stored = open_embeddings(there.embeddings("corpus", teacher))
        ids = stored.ids[:ROWS].tolist()
        folder = here.embeddings("corpus", teacher)
        write_embeddings(folder, here.root / "work", ids, ids, _Stored(stored))
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


def _rows(name: str, warm: _Run, cold: _Run) -> list[Row]:
    """Compare the steps to the cold run's least held-out loss, and the scores there."""
    goal = cold.report.held_out_mean
    reached = warm.held_out[warm.held_out <= goal + 5e-7]  # reports are rounded to six places
    steps = float(reached.index[0]) if len(reached) else float("inf")
    return [
        Row(
            name=name,
            ours=steps,
            peer=float(cold.report.best_step),
            ratio=round(cold.report.best_step / steps, 3),
            unit="steps",
        ),
        Row(
            name=f"{name}: probes",
            ours=round(warm.score, 4),
            peer=round(cold.score, 4),
            ratio=round(warm.score / cold.score, 3),
            unit="accuracy",
        ),
    ]
