"""Scores on parts of the test examples: by class, length, source, distance to the corpus, and disturbed variant."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast
from zlib import crc32

import numpy as np
import pandas as pd

from polydistill.config.data import TaskParams
from polydistill.contracts import Modality
from polydistill.data.tables import CLASS_KINDS, is_scored, sides
from polydistill.evaluation.statistics.bootstrap import Groups, Interval, interval, resampled_means
from polydistill.report.space import Space, nearest_cosine

FEWEST = 20
"""A part with fewer examples is left out: its interval says nothing."""
FEWEST_GROUPS = 10
"""A part whose examples are of fewer groups is left out too: groups are drawn as a whole."""
MOST = 60
"""Maximum number of parts of single tasks that are listed, the worst first."""
RESAMPLES = 1_000
QUARTERS = ("nearest quarter", "second quarter", "third quarter", "farthest quarter")
LENGTHS = {"text": ("words", (3, 8, 15, 30, 100)), "molecules": ("atoms", (10, 20, 30))}
"""Unit and upper bounds of the length of an example, by modality."""


@dataclass(frozen=True)
class Slice:
    """The scores of one part of the test examples.

    An example's score is its contribution to the task's main score: whether a class is right, the nDCG of a query, the
    influence on a correlation. Their mean over the whole task is the main score.

    Attributes:
        by: What the part is defined by: `class`, `length`, `source` or `distance`.
        name: The part.
        task: The task; empty for a part of all tasks together.
        n: Number of test examples.
        score: The student's mean score on the part; for all tasks together None.
        gap: The mean of the student's scores minus the main score of their task.
        low: Lower end of the 95 % interval of `gap`, from a bootstrap that draws whole groups of the task.
        high: Upper end of the interval.
        teacher: The student's scores minus the best teacher's on the same examples; None without a teacher.
        teacher_low: Lower end of its 95 % interval.
        teacher_high: Upper end of its interval.
    """

    by: str
    name: str
    task: str
    n: int
    score: float | None
    gap: float
    low: float
    high: float
    teacher: float | None = None
    teacher_low: float | None = None
    teacher_high: float | None = None


@dataclass(frozen=True)
class Variant:
    """The scores of one model on a disturbed variant of the tasks, such as misspelt texts.

    Attributes:
        name: The variant.
        task: The task.
        model: The model.
        n: Number of test examples.
        plain: The score on the task as it is.
        disturbed: The score on the variant.
        low: Lower end of the 95 % interval of the change from `plain` to `disturbed`.
        high: Upper end of the interval.
    """

    name: str
    task: str
    model: str
    n: int
    plain: float
    disturbed: float
    low: float
    high: float


def by_example(predictions: pd.DataFrame, models: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return the scores of each task by example id, averaged over seeds: one column per model that has the task."""
    rows = predictions[predictions["model"].isin(models)]
    means = rows.groupby(["task", "example", "model"], sort=False)["score"].mean().unstack("model")
    return {
        str(task): frame.droplevel("task").dropna(axis="columns", how="all").dropna()
        for task, frame in means.groupby(level="task", sort=False)
    }


def parts_of(
    frames: Mapping[str, pd.DataFrame],
    tasks: Mapping[str, TaskParams],
    kind: Modality,
    space: Space | None,
) -> pd.DataFrame:
    """Return which parts each test example belongs to: columns `task`, `example`, `group`, `by`, `part`."""
    found = []
    for name, frame in frames.items():
        rows = frame[is_scored(frame, tasks[name])]
        columns: dict[str, pd.Series] = {}
        if tasks[name].kind in CLASS_KINDS | {"clustering", "retrieval"}:
            columns["class"] = rows["label"]
        if "source" in rows:
            columns["source"] = rows["source"]
        if kind.name in LENGTHS:
            columns["length"] = _lengths(rows, sides(tasks[name], kind), kind)
        for by, part in columns.items():
            found.append(_long(name, rows, by, part.astype(str)))
        if space is not None and name in space.tests and not space.held_out.all():
            near, test = _quarters(space, name), space.tests[name].frame
            found.append(_long(name, test, "distance", pd.Series(near, index=test.index)))
    empty = pd.DataFrame(columns=["task", "example", "group", "by", "part"], dtype=str)
    return pd.concat([empty, *found], ignore_index=True)


def slices(
    scores: Mapping[str, pd.DataFrame], parts: pd.DataFrame, student: str, teacher: str | None
) -> tuple[list[Slice], list[Slice]]:
    """Return the parts of all tasks together, and the parts of single tasks; those with the lowest `gap` first.

    Args:
        scores: See `by_example`.
        parts: See `parts_of`.
        student: The model whose scores are shown.
        teacher: The model that it is compared with on the same examples. None: no comparison.
    """
    centred = []
    for task, frame in scores.items():
        if student not in frame:
            continue
        own = frame[student]
        behind = own - frame[teacher] if teacher is not None and teacher in frame else np.nan
        centred.append(
            pd.DataFrame(
                {
                    "task": task,
                    "example": frame.index.astype(str),
                    "score": own.to_numpy(),
                    "gap": (own - own.mean()).to_numpy(),
                    "behind": np.asarray(behind),
                }
            )
        )
    if not centred:
        return [], []
    rows = parts.merge(pd.concat(centred, ignore_index=True), on=["task", "example"])
    together = rows[rows["by"] != "class"]
    whole = list(_slices(together, ["by", "part"]))
    single = list(_slices(rows, ["by", "part", "task"]))
    whole.sort(key=lambda one: one.gap)
    single.sort(key=lambda one: one.gap)
    return whole, single[:MOST]


def variants(
    predictions: pd.DataFrame, models: Sequence[str], groups: Groups | None = None
) -> list[Variant]:
    """Return the scores on disturbed variants of the tasks, which predictions name in the column `variant`.

    The largest loss of the first model is first. Without such a column there are none.

    Args:
        predictions: The predictions on the tasks as they are and on variants.
        models: The models whose scores are shown.
        groups: See `statistics.bootstrap.Groups`.
    """
    if "variant" not in predictions:
        return []
    found = []
    known = predictions[predictions["model"].isin(models)]
    keys = ["task", "model", "variant"]
    means = known.groupby([*keys, "example"], sort=False)["score"].mean()
    for names, rows in means.groupby(level=["task", "model"], sort=False):
        task, model = cast("tuple[str, str]", names)
        table = rows.droplevel(["task", "model"]).unstack("variant")
        if "" not in table:
            continue
        for name in table.columns.drop(""):
            both = table[["", name]].dropna()
            ids = both.index.to_series()
            of_task = ids.map((groups or {}).get(task, ids)).fillna(ids)
            change = _interval(both[name] - both[""], of_task, f"{task} {name}")
            plain, disturbed = both.mean()
            found.append(
                Variant(
                    str(name), str(task), str(model), len(both),
                    float(plain), float(disturbed), change.low, change.high,
                )
            )  # fmt: skip
    order = {
        (one.name, one.task): one.disturbed - one.plain for one in found if one.model == models[0]
    }
    rank = {model: place for place, model in enumerate(models)}
    found.sort(key=lambda one: (order.get((one.name, one.task), 0.0), one.task, rank[one.model]))
    return found


def _slices(rows: pd.DataFrame, keys: list[str]) -> Iterator[Slice]:
    for names, part in rows.groupby(keys, sort=True):
        if len(part) < FEWEST or part["group"].nunique() < FEWEST_GROUPS:
            continue
        named = dict(zip(keys, map(str, names), strict=True))
        seed = " ".join(named.values())
        gap = _interval(part["gap"], part["group"], seed)
        both = part.dropna(subset="behind")
        is_enough = len(both) >= FEWEST and both["group"].nunique() >= FEWEST_GROUPS
        against = _interval(both["behind"], both["group"], seed) if is_enough else None
        yield Slice(
            by=named["by"],
            name=named["part"],
            task=named.get("task", ""),
            n=len(part),
            score=float(part["score"].mean()) if "task" in named else None,
            gap=gap.mean,
            low=gap.low,
            high=gap.high,
            teacher=against.mean if against else None,
            teacher_low=against.low if against else None,
            teacher_high=against.high if against else None,
        )


def _interval(scores: pd.Series, groups: pd.Series, seed: str) -> Interval:
    generator = np.random.default_rng(crc32(seed.encode()))
    numbers = pd.factorize(groups)[0]
    draws = resampled_means(scores, groups=numbers, resamples=RESAMPLES, generator=generator)
    return interval(float(scores.mean()), draws)


def _lengths(rows: pd.DataFrame, columns: Sequence[str], kind: Modality) -> pd.Series:
    """Return the bucket of each example's length; of a pair, that of the mean length."""
    unit, limits = LENGTHS[kind.name]
    bounds = np.array(limits)
    if kind.name == "text":
        counts = [[len(str(text).split()) for text in rows[column]] for column in columns]
        length = np.mean(counts, axis=0)
    else:
        shown = [[one] for one in rows[columns[0]]]
        length = np.asarray(kind.derived(shown)["n_atoms"])
    labels = [f"{low + 1} to {high} {unit}" for low, high in pairwise((0, *bounds))]
    labels.append(f"over {bounds[-1]} {unit}")
    return pd.Series([labels[int((one > bounds).sum())] for one in length], index=rows.index)


def _quarters(space: Space, task: str) -> list[str]:
    """Return for each test example of a task its quarter by the cosine to the nearest training row of the corpus."""
    trained = space.student[~space.held_out]
    cosines = np.mean([nearest_cosine(one, trained) for one in space.tests[task].student], axis=0)
    bounds = np.quantile(cosines, (0.75, 0.5, 0.25))
    return [QUARTERS[int((one < bounds).sum())] for one in cosines]


def _long(task: str, rows: pd.DataFrame, by: str, part: pd.Series) -> pd.DataFrame:
    ids = rows["id"].astype(str)
    groups = f"{task} " + rows.get("group", ids).fillna(ids).astype(str)
    columns = {"task": task, "example": ids, "group": groups, "by": by, "part": part}
    return pd.DataFrame(columns)
