"""The Python API: distil, evaluate and compare students on lists, arrays and tables, without a project folder.

The stages of a project call the same core: `training.distillation`, `embeddings.store` and `evaluation.benchmark`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from polydistill.config.data import TaskParams
from polydistill.config.params import call_params, method_params, read_mapping, task_params
from polydistill.config.training import EvaluationParams, MethodParams, enough_epochs
from polydistill.contracts import Embeddings, Example, Modality, Progress, Teacher, silent
from polydistill.data.files import read_table, with_string_names
from polydistill.data.groups import groups_of
from polydistill.data.ids import pack_ids
from polydistill.data.inputs import guess_modality, open_source, read_inputs
from polydistill.data.modalities import MODALITIES
from polydistill.data.rules import require_scorable
from polydistill.data.tables import as_examples, benchmark_inputs, complete_task, groups_by_id
from polydistill.embeddings.extraction import Extraction, compute_together, shared_groups
from polydistill.embeddings.specification import Precomputed, TeacherSpec, build_teachers
from polydistill.embeddings.store import StoredEmbeddings, open_embeddings
from polydistill.errors import DataError, ParamsError, short
from polydistill.evaluation import benchmark
from polydistill.evaluation.encoder import LookupEncoder
from polydistill.export.student import Student
from polydistill.project.code_version import code_version
from polydistill.project.files import put_in_place, written_to
from polydistill.training import distillation
from polydistill.training.dataset import held_out_mask
from polydistill.training.plug_ins import check_method, method_modules
from polydistill.training.student_defaults import student_plugin

CACHE_VARIABLE = "POLYDISTILL_CACHE"
PROBES = 8
"""The number of examples whose embeddings are hashed to identify an encoder that has no attribute `identity`."""


def distill(  # noqa: PLR0913  each keyword is a choice of the user
    examples: object,
    teachers: Sequence[TeacherSpec] | TeacherSpec,
    student: str | Mapping[str, Any] | None = None,
    *,
    modality: str | None = None,
    column: str | None = None,
    held_out: float = 0.05,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    threads: int | None = None,
    device: str = "auto",
    precision: str = "float32",
    cache: str | Path | None = None,
    progress: bool | Progress = True,
) -> Student:
    """Distil several teachers into one small student, without labels, ids or splits.

    The teachers' embeddings and the student are stored in `cache`: a second call with the same examples, teachers
    and settings computes nothing. Empty and repeated examples are dropped. Some groups of near-duplicates are held
    out of training, to choose the best weights and to calibrate the heads.

    Args:
        examples: A list or Series of texts, SMILES or images (paths, bytes, arrays, Pillow images); a DataFrame or
            `datasets.Dataset`; or the path of a Parquet, CSV, JSONL or text file, or of a folder of such files.
        teachers: One or several teachers. Each is a name on the Hugging Face hub, a folder with a
            sentence-transformers or transformers model, an `.onnx` file, the name of a known teacher (`minilm-l6`,
            `rdkit-2d`), a mapping with `family` and its options, a `Precomputed` table, or any object with a method
            `encode(list) -> array`. The method receives texts and SMILES as strings, and images as bytes.
        student: `static` or `transformer` for texts, or a mapping with `name` and its options; None: the default
            student of the modality.
        modality: `text`, `vision` or `molecules`; None: guessed from the first example, or from the columns of a
            table. A list of SMILES needs `modality="molecules"`.
        column: The column of examples, if `examples` is a table; None: a usual name, such as `text` or `smiles`.
        held_out: The share of groups that are held out, in (0, 1).
        settings: Values for keys of a modality's block in `params.yaml`, such as `{"training": {"epochs": 8}}`.
            Without `epochs`, a small corpus is trained on for more epochs than the default.
        seed: The seed of all random number generators.
        threads: The number of torch threads; None: torch's current number. The trained weights depend on this
            number, because it changes the rounding of floating-point sums.
        device: Where teachers and student run: `cpu`, `cuda`, `cuda:1` or `mps`; `auto`: on an accelerator if the
            machine has one. A teacher's own `device` comes first.
        precision: The precision of training: `float32`, `bfloat16`, or on a GPU `float16`. Teachers have an option of
            their own.
        cache: The folder of embeddings and students; None: `$POLYDISTILL_CACHE`, or `~/.cache/polydistill`.
        progress: Whether to show progress bars, or a callback that replaces them.

    Returns:
        The student with its heads, which predict each teacher's embedding from the student's. See `Student.encode`,
        `similarity`, `teacher` and `save`.

    Raises:
        DataError: There are no usable examples, or an example cannot be read.
        ParamsError: A name, option or setting is unknown or out of bounds.
        ShapeError: A teacher returns an array whose shape is not `(n, dim)`.
        DivergedError: Training diverged: a loss is not finite, or the embeddings are unusable.

    References:
        Formont et al. 2025, arXiv:2510.18680.

    Examples:
        >>> import tempfile
        >>> texts = [f"the {a} {b}" for a in ("red", "blue", "old") for b in ("car", "boat", "house", "tree")]
        >>> table = np.random.default_rng(0).standard_normal((len(texts), 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     student = distill(texts, Precomputed(table), "bag-of-bytes", held_out=0.3, cache=folder,
        ...                       settings={"training": {"epochs": 1}}, progress=False)
        ...     student.encode(["a red boat"]).shape == (1, student.dim)
        True
    """
    chosen = {"seed": seed, "threads": threads, "device": device, "precision": precision}
    call = call_params(held_out=_plain(held_out), **_plain(chosen))
    source = open_source(examples)
    kind: Modality = MODALITIES.get(str(modality or guess_modality(source)))()
    corpus = _read_corpus(source, kind, column)
    groups = groups_of(corpus.examples, kind)
    training = distillation.Corpus(corpus.examples, groups, held_out_mask(groups, call.held_out))
    threads = call.threads or torch.get_num_threads()
    folder = _cache_folder(cache)
    probes = corpus.examples[:PROBES]
    sources = build_teachers(teachers, kind.name, threads, probes, call.device)
    run = distillation.RunSettings(call.seed, threads, call.precision, call.device)
    default = student_plugin(student, kind.name, sources, corpus.examples, folder)
    method = _method(kind.name, default, settings, len(corpus.examples))
    with _reporting(progress) as report:
        store = _Cache(folder, kind.name, report)
        stored = store.embeddings(sources, corpus)
        made = store.student(training, stored, method, run)
        distilled = Student(
            made / distillation.STUDENT, kind.name, made / distillation.HEADS_FOLDER, call.device
        )
    distilled.sources = tuple(sources.values())
    return distilled


def evaluate(  # noqa: PLR0913  each keyword is a choice of the user
    student: Student,
    tasks: str | Path | Mapping[str, Mapping[str, Any]],
    *,
    teachers: Sequence[TeacherSpec] | TeacherSpec | None = None,
    threads: int | None = None,
    device: str = "auto",
    cache: str | Path | None = None,
    progress: bool | Progress = True,
) -> pd.DataFrame:
    """Score a student and its teachers on benchmark tasks, with 95 % bootstrap intervals.

    Args:
        student: A student from `distill` or `load`.
        tasks: A mapping from names to tasks, or the path of a YAML file with such a mapping. A task has a `kind`
            (`classification`, `binary-classification`, `clustering`, `regression`, `retrieval`, `sts`), and either
            `path` (a table, relative to the YAML file) or `frame` (a DataFrame). It may name its columns: see
            `TaskParams`.
        teachers: The teachers that are also scored; None: the teachers that `distill` used. A `Precomputed` table
            that was passed to `distill` is skipped, because it has no embeddings of the task inputs.
        threads: See `distill`.
        device: Where the teachers run; see `distill`.
        cache: See `distill`.
        progress: See `distill`.

    Returns:
        One row per task and model: `task, kind, model, score, low, high, n`. Scores are in [-1, 1], and higher is
        better; `n` is the number of test examples.

    Raises:
        DataError: The table of a task lacks a column, or has no test rows.
        ParamsError: A task's settings are unknown or out of bounds.
        MissingExtraError: mteb is not installed.

    Examples:
        >>> import tempfile
        >>> words = "red blue old new small large quiet loud broken yellow wooden famous".split()
        >>> texts = [f"the {a} {b}" for a in words for b in ("car", "elephant")]
        >>> frame = pd.DataFrame({"text": texts, "label": [text.split()[2] for text in texts]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     quiet = {"cache": folder, "progress": False}
        ...     student = distill(texts, {"family": "hashing", "dim": 8}, "bag-of-bytes", held_out=0.3, **quiet)
        ...     table = evaluate(student, {"things": {"kind": "classification", "frame": frame}}, **quiet)
        >>> table[["task", "kind", "model"]].values.tolist()
        [['things', 'classification', 'student'], ['things', 'classification', 'hashing']]
        >>> bool((table["low"] <= table["score"]).all() and (table["score"] <= table["high"]).all())
        True
    """
    call = call_params(threads=_plain(threads), device=device)
    threads = call.threads or torch.get_num_threads()
    _require_students(student)
    suite = _Benchmark.read(tasks, student.modality)
    inputs = suite.inputs
    if teachers is None:
        sources = {one.name: one for one in student.sources if not isinstance(one, Precomputed)}
    else:
        probes = inputs.examples[:PROBES]
        sources = build_teachers(teachers, student.modality, threads, probes, call.device)
    with _reporting(progress) as report:
        store = _Cache(_cache_folder(cache), student.modality, report)
        stored = store.embeddings(sources, inputs)
        models = {"student": inputs.embedded(student)}
        models |= {name: one.take(np.arange(len(inputs.ids))) for name, one in stored.items()}
        predictions = suite.run(models, threads, report)
    return benchmark.score_table(predictions, suite.rows, groups_by_id(suite.frames))


def compare(
    student: Student,
    baseline: Student,
    tasks: str | Path | Mapping[str, Mapping[str, Any]],
    *,
    threads: int | None = None,
    progress: bool | Progress = True,
) -> pd.DataFrame:
    """Return the differences of two students' scores, with paired 95 % bootstrap intervals.

    Args:
        student: A student from `distill` or `load`.
        baseline: The student whose scores are subtracted, of the same modality.
        tasks: See `evaluate`.
        threads: See `distill`.
        progress: See `distill`.

    Returns:
        One row per task, and a last row `mean`, which weights all task kinds equally. The columns are
        `task, kind, difference, low, high, n`. A difference is significant if its interval excludes zero.

    Raises:
        ParamsError: The students have different modalities, or a task's settings are unknown or out of bounds.
        DataError: See `evaluate`.
    """
    _require_students(student, baseline)
    if student.modality != baseline.modality:
        raise ParamsError(
            f"Both students must have the same modality, got {student.modality!r} and {baseline.modality!r}."
        )
    threads = call_params(threads=_plain(threads)).threads or torch.get_num_threads()
    suite = _Benchmark.read(tasks, student.modality)
    with _reporting(progress) as report:
        students = {"student": student, "baseline": baseline}
        models = {name: suite.inputs.embedded(one) for name, one in students.items()}
        predictions = suite.run(models, threads, report)
    return benchmark.difference_table(
        predictions, suite.rows, groups_by_id(suite.frames), one="student", other="baseline"
    )


def default_cache() -> Path:
    """Return the default cache folder for embeddings and students: `$POLYDISTILL_CACHE` or `~/.cache/polydistill`."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "polydistill")


def _cache_folder(cache: str | Path | None) -> Path:
    """Return the folder of embeddings and students, which is created.

    Raises:
        ParamsError: It cannot be written.
    """
    with written_to(default_cache() if cache is None else cache) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    return folder


def _require_students(*students: object) -> None:
    for one in students:
        if not isinstance(one, Student):
            raise ParamsError(
                f"A student must be from `distill` or `load`, got {short(one)}: load a folder with `polydistill.load`."
            )


@dataclass(frozen=True)
class _Rows:
    """The usable examples with their ids."""

    ids: list[str]
    all_ids: list[str]
    """The ids of all rows that the caller passed, used to align precomputed tables; empty rows have an empty id."""
    examples: list[Example]

    def embedded(self, student: Student) -> Embeddings:
        """Return the student's embeddings of the examples."""
        return Embeddings(student.encode(self.examples), np.ones(len(self.ids), dtype=np.bool_))


def _read_corpus(source: object, kind: Modality, column: str | None) -> _Rows:
    values = read_inputs(source, kind, column=column)
    kept: dict[str, Example] = {}
    all_ids = []
    for number, value in enumerate(values, 1):
        name = ""
        if value is not None:
            (example,) = as_examples([value], kind, start=number)
            name = kind.content_id(example)
            kept.setdefault(name, example)
        all_ids.append(name)
    if len(kept) < 2:
        raise DataError(
            f"At least two different examples are needed, got {len(kept)} of {len(values)} rows."
        )
    return _Rows(list(kept), all_ids, list(kept.values()))


@dataclass(frozen=True)
class _Benchmark:
    """Tasks with their tables, and the distinct inputs of all tasks."""

    kind: Modality
    rows: dict[str, TaskParams]
    frames: dict[str, pd.DataFrame]
    inputs: _Rows

    @classmethod
    def read(cls, tasks: object, modality: str) -> _Benchmark:
        kind: Modality = MODALITIES.get(modality)()
        root = Path()
        if isinstance(tasks, str | Path):
            root, tasks = Path(tasks).parent, read_mapping(Path(tasks))
        rows, frames = {}, {}
        if not isinstance(tasks, Mapping) or not tasks:
            raise ParamsError(f"`tasks` must be a mapping of tasks by name, got {short(tasks)}.")
        for name, own in tasks.items():
            if not isinstance(own, Mapping) or ("path" in own) == ("frame" in own):
                raise ParamsError(f"Task {name!r} must have either `path` or `frame`.")
            rows[name] = task_params(name, {key: own[key] for key in own if key != "frame"})
            if rows[name].perturb:
                raise ParamsError(
                    f"Task {name!r}: `perturb` works in a project only; leave it out here."
                )
            if "path" in own:
                frame: object = read_table(root / rows[name].path, rows[name].encoding)
            else:
                frame = own["frame"]
            if not isinstance(frame, pd.DataFrame):
                raise ParamsError(
                    f"Task {name!r}: `frame` must be a DataFrame, got {short(frame)}."
                )
            frame = with_string_names(frame, f"Task {name!r}")
            frames[name], _ = complete_task(frame, rows[name], kind)
            require_scorable(name, frames[name], rows[name])
        inputs = benchmark_inputs(frames, rows, kind)
        ids = inputs["id"].tolist()
        return cls(kind, rows, frames, _Rows(ids, ids, inputs[kind.column].tolist()))

    def run(
        self, models: Mapping[str, Embeddings], threads: int, progress: Progress
    ) -> pd.DataFrame:
        """Return the predictions of every model on every task."""
        built = benchmark.build_tasks(self.frames, self.rows, EvaluationParams(), self.kind)
        encoders = (
            LookupEncoder(name, "in-memory", self.inputs.ids, embeddings)
            for name, embeddings in models.items()
        )
        return benchmark.run_benchmark(encoders, built, self.rows, threads, progress).predictions


def _method(
    modality: str,
    default: tuple[Mapping[str, Any], Mapping[str, Any]],
    settings: Mapping[str, Any] | None,
    n_examples: int,
) -> MethodParams:
    """Return the method settings: the defaults, including those in `default`, overridden by the caller's settings."""
    own = _plain({} if settings is None else settings)
    if not isinstance(own, dict):
        raise ParamsError(f"`settings` must be a mapping, got {short(settings)}.")
    for key, node in zip(("student", "training"), default, strict=True):
        value = own.get(key, {})
        own[key] = {**node, **value} if isinstance(value, dict) else value
    method = method_params(modality, own)
    if "epochs" not in own["training"]:
        loop = method.training
        own["training"]["epochs"] = enough_epochs(n_examples, loop.batch_size, loop.epochs)
        method = method_params(modality, own)
    check_method(method)
    return method


def _plain(value: Any) -> Any:
    """Return a value with NumPy's numbers, also those inside mappings, as Python's."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True)
class _Cache:
    """A cache folder of embeddings and students. Missing entries are computed, and reported to `progress`."""

    folder: Path
    modality: str
    progress: Progress

    def embeddings(
        self, sources: Mapping[str, Teacher], corpus: _Rows
    ) -> dict[str, StoredEmbeddings]:
        """Return every teacher's embeddings of the corpus."""
        extractions, folders = [], {}
        for name, teacher in sources.items():
            source = teacher
            if isinstance(teacher, Precomputed):
                source = teacher.aligned(corpus.all_ids)
            key = _digest([self.modality, dict(source.identity), corpus.ids])
            readable = "".join(mark if mark.isalnum() or mark in "-_." else "-" for mark in name)
            target = self.folder / "embeddings" / f"{readable[:60]}-{key}"
            work = self.folder / "work" / target.name
            examples = corpus.ids if source.by_id else corpus.examples
            extractions.append(
                Extraction(
                    target, work, pack_ids(corpus.ids), examples, source, progress=self.progress
                )
            )
            folders[name] = target
        for group in shared_groups(extractions):
            for extraction in group:
                extraction.begin()
            compute_together(group)
            for extraction in group:
                extraction.finish()
        return {name: open_embeddings(folder) for name, folder in folders.items()}

    def student(
        self,
        training: distillation.Corpus,
        stored: Mapping[str, StoredEmbeddings],
        method: MethodParams,
        run: distillation.RunSettings,
    ) -> Path:
        """Return the folder of the trained student and its heads."""
        code = code_version(method_modules(method, self.modality))
        options, settings = method.model_dump(mode="json"), [run.seed, run.threads, run.precision]
        teachers = {name: one.identity_sha256 for name, one in stored.items()}
        key = _digest([code, options, settings, teachers, training.held_out.tolist()])
        target, work = self.folder / "students" / key, self.folder / "work" / f"student-{key}"
        if not target.exists():
            report = distillation.distill_student(
                training, stored, method, run, work, progress=self.progress
            )
            self.progress("steps", report.steps, report.steps)  # it may have stopped early
            put_in_place(work / "outputs", target)
            shutil.rmtree(work)
        return target


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@contextmanager
def _reporting(progress: bool | Progress) -> Iterator[Progress]:  # noqa: FBT001
    """Yield the progress function: bars, the caller's callback, or none. Progress bars of libraries are hidden."""
    from transformers.utils import logging

    level, shows_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        if progress is True:
            with _bars() as show:
                yield show
        else:
            yield progress or silent
    finally:
        logging.set_verbosity(level)
        if shows_bars:
            logging.enable_progress_bar()


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    with Bars(console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int, **figures: float) -> None:
            shown = (f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items())
            text = "  ".join([what, *shown])
            if what not in tasks:
                tasks[what] = bars.add_task(text, total=total)
            bars.update(tasks[what], completed=done, total=total, description=text)

        yield show
