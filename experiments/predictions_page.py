"""The page of `python -m experiments predictions`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Search:
    """Of the ten neighbours that a teacher finds among its own embeddings, how many are found with cheap queries.

    Attributes:
        predicted: By the teacher's embedding of the query as the heads predict it, in the same index.
        student: By the student, of query and index.
        chance: By drawing ten.
    """

    predicted: float
    student: float
    chance: float


@dataclass(frozen=True)
class Novelty:
    """How well the novelty tells a task's inputs from held-out rows of the corpus.

    Attributes:
        domain: Of the task: `in` the corpus', or `out`.
        n_inputs: Of the task.
        auroc: Of its inputs against the held-out rows; one half: not at all.
        flagged: Share of its inputs above the threshold that `FLAGGED` of the held-out rows are above.
    """

    domain: str
    n_inputs: int
    auroc: float
    flagged: float


@dataclass(frozen=True)
class PredictionsReport:
    """What `docs/results/<modality>/predictions.json` holds.

    Attributes:
        modality: Of the student.
        student_sha256: Of its weights.
        scale: `predicted` or `residual`: see `prediction.PredictionReport`.
        coverage: Teacher: share of held-out values inside the 90 % interval, before and after calibration.
        n_indexed: Rows in each index, at most; all were trained on.
        n_queries: Held-out rows that were looked up, at most.
        n_neighbours: Of each query.
        search: Teacher: what is found.
        flagged: Share of held-out rows that the threshold calls strange.
        threshold: The novelty above which they lie; none where there is no novelty.
        novelty: Task: how strange it is; empty where there is no novelty.
    """

    modality: str
    student_sha256: str
    scale: str
    coverage: dict[str, tuple[float, float]]
    n_indexed: int
    n_queries: int
    n_neighbours: int
    search: dict[str, Search]
    flagged: float
    threshold: float | None
    novelty: dict[str, Novelty]


def markdown(report: PredictionsReport) -> str:
    """Return the whole page."""
    chance = max(one.chance for one in report.search.values())
    lines = [
        f"# What the heads of the {report.modality} student predict",
        "",
        (
            f"Of the student {report.student_sha256[:12]}, on rows that it was not trained on, without a label. "
            f"`python -m experiments predictions {report.modality}` writes this page; "
            "[the guide](../../guides/predicting-teachers.md) says how to use them."
        ),
        "",
        "## Search",
        "",
        (
            f"An index of {report.n_indexed:,} rows that were trained on, {report.n_queries:,} queries that were not. "
            f"Of the {report.n_neighbours} neighbours that a teacher finds for its own embedding of the query, so many are found in "
            "the teacher's index with the embedding that the heads predict, and by the student on both sides. Drawing "
            f"finds {chance:.2g}."
        ),
        "",
        "| teacher | predicted query | student on both sides |",
        "|---|---:|---:|",
        *(
            f"| {teacher} | {one.predicted:.2f} | {one.student:.2f} |"
            for teacher, one in report.search.items()
        ),
        "",
        "## How sure",
        "",
        (
            "Share of a teacher's held-out values inside the 90 % interval, calibrated on one half of the groups, "
            "measured on the other."
        ),
        "",
        "| teacher | before | after |",
        "|---|---:|---:|",
        *(
            f"| {teacher} | {before:.3f} | {after:.3f} |"
            for teacher, (before, after) in report.coverage.items()
        ),
        "",
        "## How strange",
        "",
        *_of_novelty(report),
    ]
    return "\n".join(lines) + "\n"


def _of_novelty(report: PredictionsReport) -> list[str]:
    if report.threshold is None:
        return [
            "Nothing trained the heads' scale (`mse`, `cosine`, `loss_weight: 0`), or no row calibrated it: no novelty."
        ]
    strangest_first = sorted(report.novelty.items(), key=lambda item: -item[1].auroc)
    return [
        (
            "AUROC of the novelty of a task's inputs against the held-out rows, and the share of them above "
            f"{report.threshold:.2f}, which {report.flagged:.0%} of the held-out rows are above. In-domain tasks share the corpus' "
            "sources."
        ),
        "",
        "| task | domain | inputs | AUROC | flagged |",
        "|---|---|---:|---:|---:|",
        *(
            f"| {name} | {one.domain} | {one.n_inputs:,} | {one.auroc:.3f} | {one.flagged:.0%} |"
            for name, one in strangest_first
        ),
    ]
