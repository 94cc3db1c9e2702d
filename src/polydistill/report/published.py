"""Scores that others have published on benchmarks that a run does not measure."""

from importlib.resources import files

import yaml
from pydantic import BaseModel


class Figure(BaseModel):
    """A published score.

    Attributes:
        model: The model's name.
        score: Its score on the benchmark, in percent.
        source: The address of the publication.
    """

    model: str
    score: float
    source: str


class Published(BaseModel):
    """The published scores of several models on one benchmark.

    Attributes:
        benchmark: The benchmark, and how its tasks become one score.
        figures: One score per model.
    """

    benchmark: str
    figures: list[Figure]


def published_figures(modality: str) -> Published | None:
    """Return the published scores of a modality, from `published.yaml`; None if there are none.

    Examples:
        >>> [one.model for one in published_figures("text").figures][:2]
        ['potion-base-8M', 'all-MiniLM-L6-v2']
    """
    text = files("polydistill.report").joinpath("published.yaml").read_text(encoding="utf-8")
    found = yaml.safe_load(text).get(modality)
    return None if found is None else Published.model_validate(found)
