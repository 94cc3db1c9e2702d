"""Teacher attribution: ensembles of teachers, and the contribution of each teacher to the ensemble's score.

The embedding of an ensemble has one block of columns per teacher, and all blocks have the same weight. A teacher's
contribution is the score of the ensemble of all teachers minus the score of the ensemble without this teacher.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from polydistill.config.data import TaskParams
from polydistill.contracts import Embeddings
from polydistill.evaluation.statistics.bootstrap import Floats, Interval, interval, resampled_means
from polydistill.evaluation.statistics.kinds import OVERALL, group_by_kind, over_kinds
from polydistill.training.dataset import seeded

GB = 1e9
WIDTH = 128
"""Maximum number of columns per teacher. For the three wide teachers of the default run, the reduction lowers the mean
score over kinds by .010 to .017."""
FLAT = 1e-6
"""Differences between unit-length rows below this value count as rounding errors."""
Members = tuple[str, ...]
"""The teachers of one ensemble."""
ByExample = pd.Series
"""Scores of a task's examples by id; their mean is the task's main score."""
Runs = Mapping[Members, Mapping[str, ByExample]]
"""Scores by ensemble and task."""


@dataclass(frozen=True)
class Contribution:
    """The contribution of one teacher to the ensemble of all teachers.

    Attributes:
        teacher: The teacher's name.
        adds_nothing: Whether the lower end of the interval of `adds` is at most zero.
        adds: The ensemble's score minus the score without this teacher, averaged over task kinds.
        by_kind: The same difference by task kind, averaged over the tasks of the kind.
        by_task: The same difference by task.
        alone: The score of the teacher's block alone, by task kind, and with the key `mean` over all kinds.
        weight_bytes: Size of the teacher's weights on disk, in bytes. None if unknown.
        adds_per_gb: Mean of `adds` per gigabyte (10⁹ bytes) of weights. None if the size is unknown.
    """

    teacher: str
    adds_nothing: bool
    adds: Interval
    by_kind: dict[str, Interval]
    by_task: dict[str, Interval]
    alone: dict[str, float]
    weight_bytes: int | None
    adds_per_gb: float | None


@dataclass(frozen=True)
class AttributionReport:
    """The content of `docs/results/<modality>/attribution.json`, which does not depend on the machine's speed.

    Attributes:
        modality: The teachers' modality.
        tasks: The available tasks by task kind.
        ensemble: The score of all teachers together by task kind, and with the key `mean` over all kinds.
        contributions: One contribution per teacher, the largest first; ties are sorted by name.
    """

    modality: str
    tasks: dict[str, list[str]]
    ensemble: dict[str, float]
    contributions: tuple[Contribution, ...]


def ensembles(teachers: Sequence[str]) -> list[Members]:
    """Return the ensembles to score, without duplicates: all teachers, all except one, and each teacher alone.

    Examples:
        >>> ensembles(["a", "b", "c"])
        [('a', 'b', 'c'), ('b', 'c'), ('a', 'c'), ('a', 'b'), ('a',), ('b',), ('c',)]
        >>> ensembles(["a", "b"])
        [('a', 'b'), ('b',), ('a',)]
    """
    everyone = tuple(teachers)
    alone = [(teacher,) for teacher in everyone]
    return list(dict.fromkeys([everyone, *(_without(everyone, one) for one in everyone), *alone]))


def make_block(embeddings: Embeddings, width: int = WIDTH) -> Embeddings:
    """Return a teacher's part of an ensemble, `(n_examples, min(width, dim))`.

    Rows are scaled to unit length, centred (otherwise a direction common to all embeddings would dominate), projected
    onto their first principal axes, and scaled to unit length again. The cosine of an ensemble is therefore the mean of
    its teachers' cosines, and no teacher has more than `width` columns for a probe to fit. The axes are computed
    from the inputs, without labels.

    Missing rows are zeros. All rows are zeros if the teacher's embedding is constant.
    """
    from sklearn.decomposition import PCA

    present, dim = embeddings.present, embeddings.values.shape[1]
    block = np.zeros((len(present), min(width, dim)), dtype=np.float32)
    if present.any():
        rows = _unit(embeddings.values[present].astype(np.float64))
        centred = rows - rows.mean(axis=0)
        if np.abs(centred).max() > FLAT:
            n_axes = min(width, *centred.shape)
            turned = PCA(n_axes, svd_solver="covariance_eigh").fit_transform(centred)
            block[present, :n_axes] = _unit(turned)
    return Embeddings(block, present)


def join(blocks: Sequence[Embeddings]) -> Embeddings:
    """Return the concatenated blocks, `(n_examples, sum of widths)`; a row is present if it is present in any block."""
    values = np.hstack([block.values for block in blocks])
    return Embeddings(values, np.any([block.present for block in blocks], axis=0))


def _unit(rows: Floats) -> Floats:
    """Scale rows, `(n, dim)`, to unit length; nearly zero rows become zeros."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.where(lengths > FLAT, rows, 0) / np.maximum(lengths, FLAT))


def attribute(
    modality: str,
    runs: Runs,
    tasks: Mapping[str, TaskParams],
    *,
    groups: Mapping[str, pd.Series],
    weight_bytes: Mapping[str, int | None],
    seed: int,
) -> AttributionReport:
    """Compare the scores of the ensembles from `ensembles(teachers)`, and rank the teachers.

    The groups of each task are resampled independently of other tasks, with the same draws for all teachers. The score
    of a kind is the mean of its tasks, and the total is the mean of the kinds. The intervals cover the sampling of
    examples, not the random initialisation of clusterings.

    Args:
        modality: The teachers' modality.
        runs: Scores per example, by ensemble and task.
        tasks: The tasks with their kinds.
        groups: For each task with groups, the group of each example by its id. Whole groups are resampled.
        weight_bytes: Size of each teacher's weights, in bytes.
        seed: Random seed of the resampling.
    """
    everyone, found = max(runs, key=len), []
    kinds = {task: tasks[task].kind for task in runs[everyone]}
    for teacher in everyone:
        others = runs[_without(everyone, teacher)]
        gains = {task: scores - others[task] for task, scores in runs[everyone].items()}
        drawn = {}
        for task, gain in gains.items():
            known = groups[task].loc[gain.index] if task in groups else None
            generator = seeded(seed, f"attribution {task}")
            drawn[task] = resampled_means(gain, groups=known, generator=generator)
        points, draws = _means(gains, kinds), over_kinds(drawn, kinds)
        by_kind = {kind: interval(mean, draws[kind]) for kind, mean in points.items()}
        adds, weights = by_kind.pop(OVERALL), weight_bytes[teacher]
        found.append(
            Contribution(
                teacher=teacher,
                adds_nothing=not adds.above_zero,
                adds=adds,
                by_kind=by_kind,
                by_task={task: interval(gain.mean(), drawn[task]) for task, gain in gains.items()},
                alone=_means(runs[(teacher,)], kinds),
                weight_bytes=weights,
                adds_per_gb=adds.mean / (weights / GB) if weights else None,
            )
        )
    return AttributionReport(
        modality=modality,
        tasks=group_by_kind(kinds),
        ensemble=_means(runs[everyone], kinds),
        contributions=tuple(sorted(found, key=lambda one: (-one.adds.mean, one.teacher))),
    )


def _without(everyone: Members, teacher: str) -> Members:
    return tuple(name for name in everyone if name != teacher)


def _means(by_task: Mapping[str, ByExample], kinds: Mapping[str, str]) -> dict[str, float]:
    """Return mean scores by task kind, and with the key `mean` over all kinds."""
    means = over_kinds({task: scores.mean() for task, scores in by_task.items()}, kinds)
    return {kind: float(mean) for kind, mean in means.items()}
