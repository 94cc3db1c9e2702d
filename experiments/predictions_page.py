"""The page of `python -m experiments predictions`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Search:
    """The share of a query's ten nearest neighbours by the teacher's embeddings that cheaper searches find.

    Attributes:
        predicted: The share found with the predicted embedding of the query, in the teacher's index.
        student: The share found with the student's embeddings of query and index.
        chance: The share found by drawing ten rows at random.
    """

    predicted: float
    student: float
    chance: float


@dataclass(frozen=True)
class OutOfDistribution:
    """How well the out-of-distribution score separates a task's inputs from held-out rows of the corpus.

    Attributes:
        domain: The domain of the task: `in` (the domain of the corpus) or `out`.
        n_inputs: The number of inputs of the task.
        auroc: The AUROC of the task's inputs against the held-out rows; 0.5 means no separation.
        flagged: The share of the task's inputs above the threshold.
    """

    domain: str
    n_inputs: int
    auroc: float
    flagged: float


@dataclass(frozen=True)
class PredictionsReport:
    """The content of `docs/results/<modality>/predictions.json`.

    Attributes:
        modality: The student's modality.
        student_sha256: The sha256 of the student's weights.
        scale: `predicted` or `residual`: see `prediction.PredictionReport`.
        coverage: The share of held-out values inside the 90 % interval, before and after calibration, by teacher.
        n_indexed: The maximum number of rows in each index; all are training rows.
        n_queries: The maximum number of held-out rows that serve as queries.
        n_neighbours: The number of neighbours per query.
        search: The search results by teacher.
        flagged: The share of held-out rows above the threshold.
        threshold: The threshold of the out-of-distribution score; None if the heads give no such score.
        out_of_distribution: The separation of each task's inputs; empty if the heads give no such score.
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
    out_of_distribution: dict[str, OutOfDistribution]


def markdown(report: PredictionsReport) -> str:
    """Return the whole page."""
    chance = max(one.chance for one in report.search.values())
    lines = [
        f"# Predicted embeddings: the heads of the {report.modality} student",
        "",
        (
            f"Measured on held-out rows, without labels, for the student {report.student_sha256[:12]}. "
            "[The guide](../../guides/predicting-teachers.md) explains how to use predicted embeddings. "
            f"`python -m experiments predictions {report.modality}` writes this page."
        ),
        "",
        "## Search",
        "",
        (
            f"The index holds {report.n_indexed:,} training rows; the {report.n_queries:,} queries are held-out rows. The "
            f"reference is the {report.n_neighbours} nearest neighbours of a query by the teacher's own embeddings. The table "
            "shows the share of them found with the predicted embedding of the query in the teacher's index, and with "
            f"the student's embeddings of both. Drawing at random finds {chance:.2g}."
        ),
        "",
        "| teacher | predicted query, teacher's index | student |",
        "|---|---:|---:|",
        *(
            f"| {teacher} | {one.predicted:.2f} | {one.student:.2f} |"
            for teacher, one in report.search.items()
        ),
        "",
        "## Calibration",
        "",
        (
            "The share of a teacher's held-out values inside the 90 % interval, before and after calibration. The scale "
            "is calibrated on one half of the groups and measured on the other half."
        ),
        "",
        "| teacher | before | after |",
        "|---|---:|---:|",
        *(
            f"| {teacher} | {before:.3f} | {after:.3f} |"
            for teacher, (before, after) in report.coverage.items()
        ),
        "",
        "## Out-of-distribution score",
        "",
        *_out_of_distribution(report),
    ]
    return "\n".join(lines) + "\n"


def _out_of_distribution(report: PredictionsReport) -> list[str]:
    if report.threshold is None:
        return [
            (
                "There is no score: the loss does not train the heads' scale (`mse`, `cosine`, `loss_weight: 0`), or no "
                "row was left to calibrate it."
            )
        ]
    highest_first = sorted(report.out_of_distribution.items(), key=lambda item: -item[1].auroc)
    return [
        (
            "The AUROC compares the score of a task's inputs with that of held-out rows of the corpus. An input is "
            f"flagged above {report.threshold:.2f}; {report.flagged:.0%} of the held-out rows are. In-domain tasks have the same "
            "sources as the corpus."
        ),
        "",
        "| task | domain | inputs | AUROC | flagged |",
        "|---|---|---:|---:|---:|",
        *(
            f"| {name} | {one.domain} | {one.n_inputs:,} | {one.auroc:.3f} | {one.flagged:.0%} |"
            for name, one in highest_first
        ),
    ]
