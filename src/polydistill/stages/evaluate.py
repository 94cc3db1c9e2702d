"""The evaluate stage: scores the student, the undistilled student, the teachers and the rivals on benchmark tasks."""

import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from polydistill.config.device import device_for
from polydistill.config.environment import use_threads
from polydistill.config.params import Params
from polydistill.contracts import Embeddings, Example, Modality, Progress, silent
from polydistill.data.corpora import open_corpus
from polydistill.data.ids import unpack_ids
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import benchmark_inputs, read_tasks
from polydistill.embeddings.store import open_corpus_embeddings, open_embeddings
from polydistill.errors import StoreError, UnknownNameError
from polydistill.evaluation.benchmark import BenchmarkRun, build_tasks, run_benchmark
from polydistill.evaluation.encoder import LookupEncoder, Model, revision_of
from polydistill.evaluation.mteb_results import result_files
from polydistill.evaluation.predictions import MIN_TEST_EXAMPLES, count_test_examples
from polydistill.evaluation.rivals import RIVALS, RivalData, TeacherTables
from polydistill.evaluation.statistics.kinds import Scores, kind_means
from polydistill.project.files import put_in_place, write_atomic
from polydistill.project.layout import Layout
from polydistill.project.reports import unavailable_rivals
from polydistill.students import encode, load_student, read_student_card, weights_digest

COLUMNS = ("task", "variant", "example", "seed", "model", "prediction", "target", "score")
NUMBERS = {"seed": pa.int64(), "score": pa.float64()}
PREDICTIONS = pa.schema([(name, NUMBERS.get(name, pa.string())) for name in COLUMNS])
STUDENTS = ("student", "undistilled")
FITTED_ROWS = 10_000
"""Maximum number of rows of the corpus, at regular intervals, that computed rivals are fitted to."""


@dataclass(frozen=True)
class EvaluateReport:
    """The result of the evaluate stage.

    Attributes:
        models: `student`, `undistilled`, the enabled teachers and the rivals, in that order.
        scores: Main scores by model, task kind and task, to four decimals.
        means: Mean scores by model and task kind.
        skipped: Third-party tasks that are missing, with the reason.
        labels_seen: By task, the teachers whose weights were trained on its labels. For students distilled from
            these teachers, the gate ignores the score on that task.
        unavailable: Rivals without embeddings, with the reason.
        missing: By model, the number of inputs without an embedding; they count as zero vectors.
        n_inputs: Number of distinct inputs of all tasks.
        n_predictions: Number of rows of `predictions.parquet`.
        n_test: By task, the number of scored examples.
        too_few_rows: Tasks with fewer than `MIN_TEST_EXAMPLES` scored examples, whose scores are uncertain.
    """

    models: tuple[str, ...]
    scores: Scores
    means: dict[str, dict[str, float]]
    skipped: dict[str, str]
    labels_seen: dict[str, tuple[str, ...]]
    unavailable: dict[str, str]
    missing: dict[str, int]
    n_inputs: int
    n_predictions: int
    n_test: dict[str, int]
    too_few_rows: tuple[str, ...]


def evaluate(
    root: Path,
    params: Params,
    modality: str,
    *,
    models: Collection[str] | None = None,
    verify: bool = False,
    progress: Progress = silent,
) -> EvaluateReport:
    """Score every model on every available task and save its prediction for each example.

    The same inputs produce the same bytes; no output contains a time.

    Args:
        root: The project folder.
        params: The project's parameters.
        modality: A block of the parameters.
        models: The models to score, from `student`, `undistilled`, the enabled teachers and the rivals. If None, the
            models in `evaluation.models` are scored.
        verify: Whether to read all files again to compare their checksums, also those that have not changed since.
        progress: Called after each task of each model.

    Raises:
        UnknownNameError: `models` contains an unknown name.
        MissingExtraError: mteb is not installed.
        MissingDataError: The student, or a task's file that is not third-party data, is missing.
        DataError: No task is available, or a task's rows cannot be probed.
        StoreError: A teacher's or rival's embeddings are damaged or lack an input.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    wanted = _wanted(params, modality, models or block.evaluation.models)
    unavailable = unavailable_rivals(layout, block.enabled_rivals)
    wanted = [name for name in wanted if name not in unavailable]
    active = {*block.enabled_teachers, *block.enabled_rivals}
    for folder, target in layout.disabled_embeddings("benchmark", active):
        put_in_place(folder, target)  # the embed stage can reuse them from there
    kind = MODALITIES.get(modality)()
    frames = read_tasks(root, block.tasks, kind)
    tasks = build_tasks(frames, block.tasks, block.evaluation, kind, variants=True)
    inputs = benchmark_inputs(frames, block.tasks, kind)
    encoders = _encoders(layout, params, wanted, kind, inputs, verify=verify)
    run = run_benchmark(encoders, tasks, block.tasks, params.threads, progress)
    _publish_outputs(layout, run)
    n_test = count_test_examples(run.predictions)
    fetched = layout.local_status.exists()
    reason = "fetch-data could not fetch it" if fetched else "the fetch-data stage has not run"
    return EvaluateReport(
        models=tuple(run.scores),
        scores=run.scores,
        means=kind_means(run.scores),
        skipped={name: reason for name in block.tasks if name not in frames},
        labels_seen=params.labels_seen(modality),
        unavailable=unavailable,
        missing=run.missing,
        n_inputs=len(inputs),
        n_predictions=len(run.predictions),
        n_test=n_test,
        too_few_rows=tuple(task for task, n in n_test.items() if n < MIN_TEST_EXAMPLES),
    )


def _wanted(params: Params, modality: str, models: Collection[str] | None) -> list[str]:
    """Return the names of the requested models: students, teachers, rivals."""
    block = params.modality(modality)
    known = [*STUDENTS, *block.enabled_teachers, *block.enabled_rivals, *block.evaluation.rivals]
    for name in models or ():
        if name not in known:
            raise UnknownNameError("model", name, known)
    return [name for name in known if models is None or name in models]


def _encoders(
    layout: Layout,
    params: Params,
    wanted: Sequence[str],
    kind: Modality,
    inputs: pd.DataFrame,
    *,
    verify: bool,
) -> Iterator[Model]:
    """Yield the models one at a time.

    Student embeddings are computed, those of teachers and rivals are read from the store, computed rivals are fitted.
    """
    use_threads(params.threads)
    ids, examples = inputs["id"].tolist(), inputs[kind.column].tolist()
    students = {"student": layout.student, "undistilled": layout.undistilled}
    computed = params.modality(layout.modality).evaluation.rivals
    for name in wanted:
        if name in computed:
            yield RIVALS.get(name)(_rival_data(layout, params, kind, ids, examples, verify=verify))
            continue
        if name in students:
            values = encode(load_student(students[name], device_for(params.device)), examples)
            embeddings = Embeddings(values, np.ones(len(ids), dtype=np.bool_))
            revision = weights_digest(students[name])
        else:
            embeddings, identity = stored_embeddings(layout, name, ids, verify=verify)
            revision = revision_of(identity)
        yield LookupEncoder(name, revision, ids, embeddings)


def _rival_data(
    layout: Layout,
    params: Params,
    kind: Modality,
    ids: Sequence[str],
    examples: Sequence[Example],
    *,
    verify: bool,
) -> RivalData:
    """Return what computed rivals read; the embeddings of teachers are read only by a rival that needs them."""
    teachers = list(params.enabled_teachers(layout.modality))

    def tables() -> dict[str, TeacherTables]:
        sums = layout.checksums("corpus", verify=verify)
        block = params.modality(layout.modality)
        corpus = open_corpus(layout.corpus, block.corpus, kind, sums)
        stored = open_corpus_embeddings(
            layout.corpus_embeddings(teachers),
            corpus.ids,
            {name: layout.checksums(f"corpus-{name}", verify=verify) for name in teachers},
        )
        rows = np.arange(0, len(corpus.ids), -(-len(corpus.ids) // FITTED_ROWS))
        found = {}
        for name, one in stored.items():
            benchmark, identity = stored_embeddings(layout, name, ids, verify=verify)
            found[name] = TeacherTables(identity, one.take(rows), benchmark)
        return found

    return RivalData(ids, examples, read_student_card(layout.student).dim, tables)


def stored_embeddings(
    layout: Layout, teacher: str, ids: Sequence[str], *, verify: bool = False
) -> tuple[Embeddings, Mapping[str, object]]:
    """Return a teacher's stored embeddings of benchmark inputs, in the order of `ids`, and its identity.

    Raises:
        StoreError: The embeddings are damaged or lack an input.
    """
    folder = layout.embeddings("benchmark", teacher)
    stored = open_embeddings(folder, layout.checksums(f"benchmark-{teacher}", verify=verify))
    rows = pd.Index(unpack_ids(stored.ids)).get_indexer(pd.Index(ids))
    if n_lacking := int((rows < 0).sum()):
        raise StoreError(f"{folder} lacks {n_lacking} of {len(ids)} inputs: run the embed stage.")
    return stored.take(rows), stored.identity


def _publish_outputs(layout: Layout, run: BenchmarkRun) -> None:
    """Move all outputs to their final paths, the scores last."""
    work = layout.work("evaluate", layout.modality)
    shutil.rmtree(work, ignore_errors=True)
    for path, tree in result_files(run.models, run.results).items():
        _write_json(work / "mteb" / path, tree)
    table = pa.Table.from_pandas(run.predictions, schema=PREDICTIONS, preserve_index=False)
    table = table.replace_schema_metadata(None)
    pq.write_table(table, work / "predictions.parquet", compression="zstd")
    _write_json(work / "scores.json", run.scores, sort_keys=False)  # students first, then teachers
    _write_json(work / "slices.json", run.slices, sort_keys=False)
    for final in (layout.mteb, layout.predictions, layout.slices, layout.scores):
        put_in_place(work / final.name, final)
    shutil.rmtree(work)


def _write_json(path: Path, tree: Mapping[str, Any], *, sort_keys: bool = True) -> None:
    text = json.dumps(tree, indent=1, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False)
    write_atomic(path, text + "\n")
