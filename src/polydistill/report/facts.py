"""All facts of a report, as plain data: the content of `report.json`, of which the page and `report.md` are made."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from polydistill.config.describe import flatten
from polydistill.config.params import Params
from polydistill.data.corpora import CARD as CORPUS_CARD
from polydistill.data.corpora import open_corpus
from polydistill.data.files import read_table
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import available_tasks, complete_task, groups_by_id
from polydistill.errors import DataError
from polydistill.project.layout import Layout
from polydistill.project.reports import unavailable_rivals
from polydistill.report import champion as champions
from polydistill.report import lineage, overlap, slices, tables
from polydistill.report.comparison import FEW, Comparison, compare
from polydistill.report.costs import Measured, Size, measure, model_sizes
from polydistill.report.disagreements import disagreements
from polydistill.report.gate import gate_tables
from polydistill.report.headline import headline
from polydistill.report.map import space_map
from polydistill.report.models import PRICE_PER_HOUR, Model, best_rival, best_teacher, models
from polydistill.report.published import published_figures
from polydistill.report.results import Inputs, optional_json, read_inputs
from polydistill.report.similarity import similarities
from polydistill.report.space import Space, missing_for_space, read_space
from polydistill.report.summary import usable_version, verdict_line
from polydistill.report.tables import STUDENT, UNDISTILLED

Facts = dict[str, Any]
FORMAT = 1
CHAMPION = "champion"
"""Name of the champion among the references of a comparison."""
DOMAINS = {"in": "from the corpus's own sources", "out": "from elsewhere"}
PREDICTION_COLUMNS = ("task", "example", "model", "target", "score")
"""The columns of `predictions.parquet` that the report reads."""
MOST_POINTS = 200
"""Maximum number of points of a training curve."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, as it is read for the report.

    Attributes:
        layout: The layout of the modality's files.
        params: The parameters of the run.
        inputs: The contents of the files of the run.
        models: The models with their scores, sizes and speeds.
        frames: The tables of the tasks whose files are here.
        predictions: The scores per example, on the tasks as they are and on variants; None if the file is missing.
        champion: The version that the gate compared the student with.
    """

    layout: Layout
    params: Params
    inputs: Inputs
    models: list[Model]
    frames: dict[str, pd.DataFrame]
    predictions: pd.DataFrame | None
    champion: champions.Champion | None

    @property
    def plain(self) -> pd.DataFrame | None:
        """The predictions on the tasks as they are."""
        if self.predictions is None or "variant" not in self.predictions:
            return self.predictions
        return self.predictions[self.predictions["variant"] == ""]


def collect(
    root: Path,
    params: Params,
    modality: str,
    *,
    speed: bool = True,
    usd_per_hour: float = PRICE_PER_HOUR,
) -> Facts:
    """Return the facts of a finished run, which can be written as JSON.

    Args:
        root: The project folder.
        params: The run's parameters.
        modality: The modality, which is a block of `params.yaml`.
        speed: Whether to measure the speeds of student and teachers on this machine. If false, the facts depend only on
            the run's files.
        usd_per_hour: Price of the machine that computes embeddings, in US dollars; the page lets readers change it.

    Raises:
        MissingDataError: There is no `scores.json`; with `speed`, no student or no corpus.
        DataError: A file is damaged, or does not belong to these parameters.
        StageError: The corpus is damaged, or was made with other settings.
    """
    speeds = _speeds(root, params, modality, speed=speed)
    run = _read(Layout(root, modality), params, speeds)
    layout, block, inputs = run.layout, params.modality(modality), run.inputs
    teacher, rival = best_teacher(run.models), best_rival(run.models)
    compared = _compare(run, [one.name for one in (rival, teacher) if one])
    scores = _scores(run, compared)
    published = published_figures(modality)
    facts: Facts = {
        "format": FORMAT,
        "modality": modality,
        "student": {"name": block.student.name, **(inputs.distillation or {})},
        "has_distillation": inputs.distillation is not None,
        "gate": _gate(run),
        "changes": _changes(run),
        "best_teacher": teacher and teacher.name,
        "best_rival": rival and rival.name,
        "models": [asdict(one) for one in run.models],
        "absent": [name for name in block.enabled_teachers if name not in inputs.scores],
        "unavailable_rivals": unavailable_rivals(layout, block.enabled_rivals),
        "scores": scores,
        "cost": {
            "usd_per_hour": usd_per_hour,
            "is_measured": speeds is not None,
            "problems": {one.model: one.problem for one in speeds or () if one.problem},
            "threads": params.threads,
            "published": published and published.model_dump(),
        },
        "slices": _slices(run, teacher, space := _space(run)),
        **_of_space(run, space, teacher),
        "training": _training(run),
        "information": optional_json(layout.results / "information.json"),
        "attribution": optional_json(layout.results / "attribution.json"),
        "validation": lineage.validation(inputs.validation),
        "unavailable": lineage.unavailable(inputs.local_status),
        "lineage": lineage.lineage(layout, params),
        "use": {
            "model": usable_version(modality, inputs.verdict),
            "is_sentence_transformer": _needs_no_code_of_ours(layout.student / "modules.json"),
            "has_data_docs": (layout.data_docs / "index.html").exists(),
        },
        "settings": _settings(params, modality),
    }
    facts["headline"] = headline(facts)
    return facts


def _speeds(root: Path, params: Params, modality: str, *, speed: bool) -> list[Measured] | None:
    read_inputs(Layout(root, modality))  # raises before models are loaded
    return measure(root, params, modality) if speed else None


def _read(layout: Layout, params: Params, speeds: list[Measured] | None) -> Run:
    block = params.modality(layout.modality)
    inputs, teachers = read_inputs(layout), list(block.enabled_teachers)
    tables.require_known(inputs.scores, block.tasks)
    sizes: Mapping[str, Size] = model_sizes(layout.root, params, layout.modality)
    means = tables.mean_scores(inputs.scores, block.tasks, teachers)
    kind = MODALITIES.get(layout.modality)()
    frames = {
        name: complete_task(read_table(layout.root / task.path, task.encoding), task, kind)[0]
        for name, task in available_tasks(layout.root, block.tasks).items()
        if (layout.root / task.path).exists()
    }
    return Run(
        layout=layout,
        params=params,
        inputs=inputs,
        models=models(inputs.scores, means, teachers, sizes, speeds),
        frames=frames,
        predictions=_predictions(layout.predictions),
        champion=champions.read_champion(layout),
    )


def _predictions(path: Path) -> pd.DataFrame | None:
    if not path.exists():
        return None
    try:
        table = pd.read_parquet(path)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is damaged: {error}. Run the evaluate stage again.") from error
    if missing := [name for name in PREDICTION_COLUMNS if name not in table]:
        raise DataError(
            f"{path} is damaged: it must have the column {missing[0]!r}, got {', '.join(table.columns)}. "
            "Run the evaluate stage again."
        )
    if not pd.api.types.is_numeric_dtype(table["score"]):
        raise DataError(
            f"{path} is damaged: the column 'score' must hold numbers, got {table['score'].dtype}. "
            "Run the evaluate stage again."
        )
    return table


def _compare(run: Run, others: Sequence[str]) -> Comparison | None:
    """Compare the student with the undistilled student, the other models and the champion."""
    predictions = run.plain
    if predictions is None:
        return None
    kinds = {
        name: task.kind for name, task in run.params.modality(run.layout.modality).tasks.items()
    }
    references = [UNDISTILLED, *others]
    rows = predictions[predictions["model"].isin([STUDENT, *references])]
    if run.champion is not None:
        theirs = champions.comparable(run.champion.predictions, predictions)
        rows = pd.concat([rows, theirs.assign(model=CHAMPION)], ignore_index=True)
        references.append(CHAMPION)
    known = set(rows["model"])
    references = [name for name in references if name in known]
    return compare(rows, kinds, STUDENT, references, groups_by_id(run.frames))


def _scores(run: Run, compared: Comparison | None) -> Facts:
    """Return the table of tasks with their marks, the rows of the comparison, and the means by domain."""
    block = run.params.modality(run.layout.modality)
    teachers = list(block.enabled_teachers)
    by_task = tables.task_scores(run.inputs.scores, block.tasks, teachers)
    found = {} if compared is None else {row.name: row for row in compared.tasks}
    seen, overlaps = run.params.labels_seen(run.layout.modality), _overlaps(run)
    rows = []
    for name, scores in by_task.iterrows():
        task, row = block.tasks[str(name)], found.get(str(name))
        rows.append(
            {
                "name": name,
                "kind": task.kind,
                "domain": task.domain,
                "scores": tables.known(scores),
                "row": row and asdict(row),
                "labels_seen": list(seen.get(str(name), ())),
                "overlap": overlaps and overlaps.get(str(name)),
                "is_small": row is not None and row.n < FEW,
            }
        )
    domains = {
        title: table.astype(object).where(table.notna(), None).to_dict("index")
        for domain, title in DOMAINS.items()
        if not (table := tables.mean_scores(run.inputs.scores, block.tasks, teachers, domain)).empty
    }
    return {
        "tasks": rows,
        "kinds": [asdict(row) for row in compared.kinds] if compared else [],
        "shares": dict(compared.shares) if compared else {},
        "references": list(dict.fromkeys(name for row in compared.kinds for name in row.scores))
        if compared
        else [],
        "is_compared": compared is not None,
        "overlap_is_known": overlaps is not None,
        "near": overlap.NAMES.get(run.layout.modality, "equal near key"),
        "domains": domains,
    }


def _overlaps(run: Run) -> dict[str, Facts] | None:
    """Return the overlap of each task with the corpus; None if there is no corpus."""
    layout, block = run.layout, run.params.modality(run.layout.modality)
    card = layout.corpus / CORPUS_CARD
    if not card.exists():
        return None
    kind, note = MODALITIES.get(layout.modality)(), layout.overlap
    key = overlap.overlap_key(card, run.frames, kind)
    found = overlap.known_overlaps(note, key)
    if found is None:
        corpus = open_corpus(layout.corpus, block.corpus, kind, layout.checksums("corpus"))
        found = overlap.overlaps(corpus, run.frames, block.tasks, kind)
        overlap.keep_overlaps(note, key, found)
    return {name: asdict(one) for name, one in found.items()}


def _space(run: Run) -> Space | None:
    if missing_for_space(run.layout) is not None:
        return None
    kind = MODALITIES.get(run.layout.modality)()
    return read_space(run.layout, run.params, kind, run.frames)


def _of_space(run: Run, space: Space | None, teacher: Model | None) -> Facts:
    """Return what needs embeddings of the corpus: disagreements, the map, and the similarity of models."""
    modality, params = run.layout.modality, run.params
    if space is None:
        reason = missing_for_space(run.layout)
        return {"space_missing": reason, "disagreements": None, "map": None, "cka": None}
    found = None
    if teacher is not None and teacher.name in space.teachers:
        found = disagreements(space, teacher.name, modality)
    shown = space_map(space, params.modality(modality).tasks, modality, params.seed)
    return {
        "space_missing": None,
        "disagreements": found and asdict(found),
        "map": shown and asdict(shown),
        "cka": similarities(space),
    }


def _slices(run: Run, teacher: Model | None, space: Space | None) -> Facts:
    predictions = run.plain
    if predictions is None or run.predictions is None:
        return {"whole": [], "single": [], "variants": [], "is_known": False}
    tasks = run.params.modality(run.layout.modality).tasks
    name = teacher.name if teacher else None
    kind = MODALITIES.get(run.layout.modality)()
    scores = slices.by_example(predictions, [STUDENT, *([name] if name else [])])
    parts = slices.parts_of(run.frames, tasks, kind, space)
    whole, single = slices.slices(scores, parts, STUDENT, name)
    among, groups = [STUDENT, *([name] if name else []), UNDISTILLED], groups_by_id(run.frames)
    return {
        "whole": [asdict(one) for one in whole],
        "single": [asdict(one) for one in single],
        "variants": [asdict(one) for one in slices.variants(run.predictions, among, groups)],
        "is_known": True,
    }


def _gate(run: Run) -> Facts:
    verdict = run.inputs.verdict
    found = gate_tables((verdict or {}).get("rules", ()))
    return {
        "line": verdict_line(run.inputs),
        "verdict": verdict and {key: verdict.get(key) for key in VERDICT},
        "rules": [row._asdict() for row in found.rules],
        "per_task": found.per_task,
        "tasks": {
            task: {name: row._asdict() for name, row in cells.items()}
            for task, cells in found.tasks.items()
        },
    }


VERDICT = ("outcome", "reason", "refused", "challenger", "champion", "student_sha256")


def _changes(run: Run) -> Facts | None:
    if run.champion is None:
        return None
    found = champions.changes(run.champion, run.params, run.layout, run.inputs.distillation)
    return {
        "version": run.champion.version,
        "has_settings": run.champion.settings is not None,
        "rows": [asdict(one) for one in found],
    }


def _training(run: Run) -> Facts:
    """Return the training curves, thinned, and the restarts by the guard."""
    block, history = run.params.modality(run.layout.modality), run.inputs.history
    distillation = run.inputs.distillation or {}
    curves: dict[str, dict[str, list[list[float]]]] = {}
    if history is not None:
        for (teacher, split), rows in history.groupby(["teacher", "split"], sort=False):
            finite = rows[np.isfinite(rows["nats"])].sort_values("step")
            thinned = finite.iloc[:: max(1, -(-len(finite) // MOST_POINTS))]
            points = [
                [int(step), round(float(nats), 5)]
                for step, nats in zip(thinned["step"], thinned["nats"], strict=True)
            ]
            curves.setdefault(str(teacher), {})[str(split)] = points
    return {
        "loss": block.loss.name,
        "unit": "nats per dimension"
        if block.loss.name.endswith("-nll")
        else f"{block.loss.name} loss",
        "has_history": history is not None,
        "curves": curves,
        "best_step": distillation.get("best_step"),
        "restarts": distillation.get("restarts") or [],
        "coverage_90": distillation.get("coverage_90") or {},
    }


def _needs_no_code_of_ours(modules: Path) -> bool:
    """Return whether a bundle has modules of sentence-transformers, and only these."""
    return modules.exists() and "polydistill." not in modules.read_text(encoding="utf-8")


def _settings(params: Params, modality: str) -> dict[str, object]:
    """Return the general parameters and those of the modality, by dotted key."""
    tree = params.model_dump(mode="json", exclude={*params.modalities, "modalities"})
    tree["enabled teachers"] = ", ".join(params.enabled_teachers(modality))
    return flatten(tree | {modality: params.modality(modality).model_dump(mode="json")})
