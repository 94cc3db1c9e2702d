"""Teacher attribution: each teacher's contribution to the benchmark scores of an ensemble, without training a student.

This is not a DVC stage: it reads existing embeddings. `docs/results/<modality>/attribution.{json,md}` holds scores and
sizes of weights, which are the same on every machine. The contribution per minute of embedding depends on the machine,
so `adds_per_minute` computes it on request and does not store it.
"""

import json
from dataclasses import asdict
from pathlib import Path

from polydistill.config.params import Params
from polydistill.contracts import Progress, silent
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import benchmark_inputs, groups_by_id, read_tasks
from polydistill.embeddings.store import open_embeddings
from polydistill.errors import MissingDataError, ParamsError
from polydistill.evaluation import attribution
from polydistill.evaluation.benchmark import build_tasks, run_tasks
from polydistill.evaluation.encoder import LookupEncoder
from polydistill.evaluation.statistics.bootstrap import CONFIDENCE, RESAMPLES
from polydistill.evaluation.statistics.kinds import OVERALL
from polydistill.project.layout import Layout
from polydistill.report.costs import model_sizes
from polydistill.report.results import TEMPLATES, write_results
from polydistill.stages.evaluate import stored_embeddings


def attribute_scores(
    root: Path, params: Params, modality: str, *, progress: Progress = silent
) -> attribution.AttributionReport:
    """Score ensembles of teachers and write `docs/results/<modality>/attribution.*`.

    The ensembles are all teachers, all teachers except one, and each teacher alone. Tasks, probes and scores are
    those of the evaluate stage. The same inputs produce the same bytes.

    Raises:
        ParamsError: Fewer than two teachers are enabled.
        MissingExtraError: mteb is not installed.
        MissingDataError: A teacher's embeddings, or a task's file that is not third-party data, are missing.
        DataError: No task is available, or a task's rows cannot be probed.
        StoreError: A teacher's embeddings are damaged or lack an input.
    """
    from threadpoolctl import threadpool_limits

    layout, block = Layout(root, modality), params.modality(modality)
    teachers = list(params.enabled_teachers(modality))
    if len(teachers) < 2:
        raise ParamsError(
            f"Attribution needs at least two teachers, got only {', '.join(teachers)}: "
            "remove `enabled: false` from the row of another teacher in params.yaml."
        )
    for teacher in teachers:
        if not (folder := layout.embeddings("benchmark", teacher)).exists():
            raise MissingDataError(
                f"No embeddings in {folder}: run `dvc repro embed@{modality}-{teacher}`."
            )
    kind = MODALITIES.get(modality)()
    frames = read_tasks(root, block.tasks, kind)
    tasks = build_tasks(frames, block.tasks, block.evaluation, kind)
    ids = benchmark_inputs(frames, block.tasks, kind)["id"].tolist()
    with threadpool_limits(params.threads, "blas"), threadpool_limits(1, "openmp"):
        blocks = {
            name: attribution.make_block(stored_embeddings(layout, name, ids)[0])
            for name in teachers
        }
    runs: dict[attribution.Members, dict[str, attribution.ByExample]] = {}
    planned = attribution.ensembles(teachers)
    for number, members in enumerate(planned, 1):
        name = "+".join(members)
        together = attribution.join([blocks[teacher] for teacher in members])
        encoder = LookupEncoder(name, "stored", ids, together)
        runs[members] = {
            run.task: run.predictions.groupby("example", sort=True)["score"].mean()  # over seeds
            for run in run_tasks(encoder, tasks, params.threads)
        }
        progress(f"attribution {name}", number, len(planned))
    sizes = model_sizes(root, params, modality)
    report = attribution.attribute(
        modality,
        runs,
        block.tasks,
        groups=groups_by_id(frames),
        weight_bytes={name: sizes[name].weight_bytes for name in teachers},
        seed=params.seed,
    )
    write_results(layout.results, "attribution", asdict(report), markdown(report))
    return report


def markdown(report: attribution.AttributionReport) -> str:
    """Return the report as two tables: one row per teacher, and one row per task."""
    template = TEMPLATES.get_template("attribution.md.jinja")
    numbers = {"confidence": CONFIDENCE, "resamples": RESAMPLES, "gigabyte": attribution.GB}
    return template.render(report=report, overall=OVERALL, **numbers)


def adds_per_minute(
    root: Path, params: Params, report: attribution.AttributionReport
) -> dict[str, dict[str, float | None]]:
    """Return each teacher's `minutes` to embed the corpus on this machine, and its contribution `adds_per_minute`.

    A value is None if the embed stage has not recorded the teacher's speed.
    """
    layout, found = Layout(root, report.modality), {}
    for one in report.contributions:
        corpus = layout.embeddings("corpus", one.teacher)
        rows = params.modality(report.modality).corpus.rows or len(open_embeddings(corpus))
        note, minutes = layout.timing(one.teacher), None
        if note.exists():
            minutes = rows / json.loads(note.read_text(encoding="utf-8"))["rows_per_s"] / 60
        per_minute = one.adds.mean / minutes if minutes else None
        found[one.teacher] = {"minutes": minutes, "adds_per_minute": per_minute}
    return found
