"""A headline of students, rivals and teachers with known means, so that its words and numbers are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from experiments import comparison
from experiments.comparison import Completion
from experiments.headline import compared_models
from experiments.headline_page import STORED, Headline
from experiments.methods import DEFAULT, PAPER, UNDISTILLED
from experiments.paired import PairedScores
from polydistill.report.costs import Size
from polydistill.report.results import rounded
from tests.made_predictions import TASKS, made_table

BM25 = f"{comparison.RIVAL}bm25"
LEVELS = {
    DEFAULT: 0.50,
    "only big": 0.45,
    "only small": 0.48,
    PAPER: 0.44,
    UNDISTILLED: 0.30,
    BM25: 0.60,
    f"{comparison.RIVAL}table": 0.499,
    f"{comparison.TEACHER}big": 0.54,
    f"{comparison.TEACHER}small": 0.40,
}
SIZES = {"student": Size(2_500_000), "big": Size(90_000_000)}
SPEEDS = {"student": 12_345.6, "table": 9_000.0}


def made_headline(
    modality: str = "text",
    shifts: Mapping[tuple[str, str], float] | None = None,
    *,
    sizes: Mapping[str, Size] = SIZES,
    speeds: Mapping[str, float | None] = SPEEDS,
) -> Headline:
    """Return the headline of models whose mean scores are `LEVELS`; BM25 has scores in clustering alone.

    Args:
        modality: The modality that it names.
        shifts: What to add to the mean score, by model and task.
        sizes: The known sizes.
        speeds: The known speeds.
    """
    frames = {seed: made_table(seed, LEVELS, shifts) for seed in (0, 1)}
    tables = {
        seed: frame[(frame["model"] != BM25) | (frame["task"] == "clusters")]
        for seed, frame in frames.items()
    }
    paired = PairedScores(tables, TASKS, resamples=1000)
    models = compared_models(paired, ["table", "bm25"], ["small", "big"], sizes, speeds)
    found = Headline(modality, (0, 1), Completion(8, 8, ()), 2, paired.tasks["all"], models)
    return STORED.validate_python(rounded(asdict(found)))
