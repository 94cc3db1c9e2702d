"""Contributions as a page for people."""

from __future__ import annotations

from polydistill.evaluation.attribution.contributions import (
    CONFIDENCE,
    GB,
    RESAMPLES,
    AttributionReport,
    Contribution,
)
from polydistill.evaluation.statistics.bootstrap import Interval
from polydistill.evaluation.statistics.kinds import OVERALL

UNKNOWN = "?"
FLAG = "adds nothing"


def markdown(report: AttributionReport) -> str:
    """Return two tables: teachers in their order, and what each adds to every task."""
    kinds, ranked = list(report.tasks), report.contributions
    lines = [
        f"# What each {report.modality} teacher adds",
        "",
        (
            "The ensemble is every teacher's embeddings side by side, each with the same weight. A teacher adds the "
            "ensemble's score less the score without that teacher, with a paired-bootstrap "
            f"{CONFIDENCE:.0%} interval ({RESAMPLES:,} resamples; a group of examples is drawn whole). "
            f"*{FLAG.capitalize()}*: the interval of its mean over task kinds does not lie above zero. "
            "`polydistill attribution` writes this page, and prints what a teacher adds a minute of embedding "
            "on your machine."
        ),
        "",
        *_table(
            ["teacher", "adds", *kinds, "alone", "weights, GB", "adds per GB", ""],
            [_ranked(one, kinds) for one in ranked],
        ),
        "",
        "The score of all teachers together: "
        + ", ".join(f"{kind} {report.ensemble[kind]:.3f}" for kind in [*kinds, OVERALL])
        + ".",
        "",
        "## Task by task",
        "",
        *_table(
            ["task", *(one.teacher for one in ranked)],
            [
                [task, *(_gain(one.by_task[task]) for one in ranked)]
                for tasks in report.tasks.values()
                for task in tasks
            ],
        ),
    ]
    return "\n".join(lines) + "\n"


def _ranked(one: Contribution, kinds: list[str]) -> list[str]:
    return [
        one.teacher,
        _gain(one.adds),
        *(_gain(one.by_kind[kind]) for kind in kinds),
        f"{one.alone[OVERALL]:.3f}",
        UNKNOWN if one.weight_bytes is None else f"{one.weight_bytes / GB:.3f}",
        UNKNOWN if one.adds_per_gb is None else f"{one.adds_per_gb:+.3f}",
        FLAG if one.adds_nothing else "",
    ]


def _gain(gain: Interval) -> str:
    return f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows)]
