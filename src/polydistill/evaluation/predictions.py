"""The table of predictions per example that the evaluate stage writes."""

from pathlib import Path

import pandas as pd

MIN_TEST_EXAMPLES = 100
"""Fewer test examples are too few: the interval of an accuracy near one half is then wider than ±0.1."""


def read_predictions(path: Path, variant: str = "") -> pd.DataFrame:
    """Return the predictions of the tasks as they are, or of one of their variants, without the column `variant`.

    Args:
        path: A file `predictions.parquet`. Files of earlier revisions have no variants.
        variant: The name of a perturbation; see `config.data.TaskParams.perturb`.
    """
    table = pd.read_parquet(path)
    if "variant" not in table:
        return table if not variant else table.head(0)
    kept = table[table["variant"] == variant]
    return kept.drop(columns="variant").reset_index(drop=True)


def count_test_examples(predictions: pd.DataFrame) -> dict[str, int]:
    """Return the number of scored examples of each task, in the order of the tasks.

    Examples:
        >>> count_test_examples(pd.DataFrame({"task": ["a", "a", "a"], "example": ["1", "2", "1"]}))
        {'a': 2}
    """
    counts = predictions.groupby("task", sort=False)["example"].nunique()
    return {str(task): int(count) for task, count in counts.items()}
