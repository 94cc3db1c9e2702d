"""The embed stage: embeds the corpus and the benchmark inputs with one teacher."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from polydistill.config.data import TaskParams, TeacherParams
from polydistill.config.params import Params
from polydistill.contracts import Example, Modality, Progress, Teacher, silent
from polydistill.data.corpora import StoredCorpus, open_corpus
from polydistill.data.ids import IdRows, pack_ids, unpack_ids
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import benchmark_inputs, read_tasks
from polydistill.embeddings.basis import Basis
from polydistill.embeddings.compute import LOCAL, NAMED, Engine
from polydistill.embeddings.extraction import (
    Extraction,
    compute_together,
    needed_bytes,
    shared_groups,
)
from polydistill.embeddings.pca import corpus_basis
from polydistill.embeddings.shards import free_bytes
from polydistill.embeddings.store import CHECKED_ROWS, open_embeddings, require_usable
from polydistill.errors import (
    DataError,
    PolydistillError,
    StageError,
    UnknownNameError,
    located,
    short,
)
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout
from polydistill.teachers import build_teacher

TIMED_ROWS = 1_000
"""Minimum number of rows for measuring speed; with fewer rows, loading the weights takes most of the time."""

Rows = tuple[IdRows, Sequence[Example]]
"""Ids, and what a teacher embeds for each."""
SAME = 0.01
"""Largest relative distance between embeddings of equal examples; a paid service does not repeat its numbers exactly."""


@dataclass(frozen=True)
class EmbedReport:
    """The result of the embed stage.

    Attributes:
        teacher: The teacher's name.
        n_corpus: Number of examples in the corpus.
        n_benchmark: Number of distinct inputs of all tasks.
        missing_corpus: Number of examples in the corpus without an embedding.
        missing_benchmark: Number of distinct inputs without an embedding.
        disk_bytes: Estimated size of the embeddings on disk, before dimensions are left out.
        shards_computed: Number of shards embedded in this run.
        shards_reused: Number of shards that existed already.
        rebuilt: Damaged files that were recomputed.
        device: The device of the model; empty for a teacher that does not run on one.
        precision: The precision of the model.
        padding: Share of the tokens in batches that were padding; None for a teacher without batches by tokens.
        dim: The number of stored dimensions.
        kept_variance: See `basis.Basis.kept`; None if all dimensions are stored.
        cosine_error: See `basis.Basis`.
    """

    teacher: str
    n_corpus: int
    n_benchmark: int
    missing_corpus: int
    missing_benchmark: int
    disk_bytes: int
    shards_computed: int
    shards_reused: int
    rebuilt: tuple[str, ...]
    device: str
    precision: str
    padding: float | None
    dim: int
    kept_variance: float | None
    cosine_error: float | None


def embed(  # noqa: PLR0913 - keywords are options of the command
    root: Path,
    params: Params,
    modality: str,
    teacher: str,
    *,
    verify: bool = False,
    engine: Engine = LOCAL,
    progress: Progress = silent,
) -> EmbedReport:
    """Bring a teacher's stored embeddings up to date, computing only what is missing.

    Args:
        root: The project folder.
        params: The project's parameters.
        modality: A block of the parameters.
        teacher: The teacher's name.
        verify: Whether to read all files again to compare their checksums, also those that have not changed since.
        engine: Where missing shards are computed.
        progress: Called after each batch.

    Raises:
        UnknownNameError: The teacher is not enabled.
        StageError: The data has not passed validation.
        StoreError: See `extraction.write_embeddings`.
        DataError: The teacher has no embedding of the corpus, or the same one for all rows; or the corpus's own ids
            are ambiguous.
    """
    run = _Run(root, params, modality, teacher, verify=verify, engine=engine, progress=progress)
    layout, source = run.layout, run.source
    n_rows = len(run)
    disk_bytes = needed_bytes(n_rows, source.dim, run.block.store.dtype)
    free = free_bytes(layout.artifacts)
    progress(f"{teacher} on disk", n_rows, n_rows, MiB=disk_bytes / 2**20, free_MiB=free / 2**20)
    started, reports, missing = time.monotonic(), [], {}
    for part in run.parts:
        extraction = run.extraction(part)
        extraction.begin(engine.exchange)
        extraction.compute(engine)
        reports.append(extraction.finish())
        stored = open_embeddings(layout.embeddings(part, teacher), run.checksums[part])
        missing[part] = int((~stored.present).sum())
        if part == "corpus":
            require_usable(stored, np.ones(len(stored), dtype=np.bool_), "rows of the corpus")
    rows_computed = sum(report.rows_computed for report in reports)
    if rows_computed >= min(n_rows, TIMED_ROWS):
        speed = round(rows_computed / (time.monotonic() - started), 1)
        write_atomic(layout.timing(teacher), json.dumps({"rows_per_s": speed}) + "\n")
    basis = run.basis
    return EmbedReport(
        teacher=teacher,
        n_corpus=len(run.parts["corpus"][0]),
        n_benchmark=len(run.parts["benchmark"][0]),
        missing_corpus=missing["corpus"],
        missing_benchmark=missing["benchmark"],
        disk_bytes=disk_bytes,
        shards_computed=sum(report.computed for report in reports),
        shards_reused=sum(report.reused for report in reports),
        rebuilt=tuple(name for report in reports for name in report.rebuilt),
        device=str(getattr(source, "runs_on", "")),
        precision=str(source.identity.get("precision", "")),
        padding=_padding(source),
        dim=source.dim if basis is None else basis.dim,
        kept_variance=None if basis is None else basis.kept,
        cosine_error=None if basis is None else basis.cosine_error,
    )


def embed_together(
    root: Path, params: Params, modality: str, *, verify: bool = False, progress: Progress = silent
) -> tuple[str, ...]:
    """Compute what the stored embeddings of all enabled teachers lack; an image is decoded once for all of them.

    The results are kept in each teacher's folder of unfinished work, where `embed` finds them. Speeds are not measured.

    Args:
        root: The project folder.
        params: The project's parameters.
        modality: A block of the parameters.
        verify: See `embed`.
        progress: See `embed`.

    Returns:
        The teachers that lacked embeddings.

    Raises:
        PolydistillError: The error of the first teacher that failed, after the others have ended.
    """
    failed: dict[str, PolydistillError] = {}
    needed = defaultdict[str, list[Extraction]](list)
    for teacher in params.enabled_teachers(modality):
        with _kept(failed, teacher):
            run = _Run(root, params, modality, teacher, verify=verify, progress=progress)
            for part, extraction in run.lacking().items():
                needed[part].append(extraction)
    for extractions in needed.values():
        for group in shared_groups(extractions):
            compute_together(group, failed)
    for failure in failed.values():
        raise failure
    return tuple(dict.fromkeys(one.name for one in chain(*needed.values())))


@contextmanager
def _kept(failed: dict[str, PolydistillError], teacher: str) -> Iterator[None]:
    """Keep an error of a teacher."""
    try:
        yield
    except PolydistillError as error:
        failed[teacher] = error


class _Run:
    """A teacher and what it embeds.

    Attributes:
        source: The teacher.
        parts: The ids and the examples of the corpus and of the benchmark.
        checksums: The known checksums of the stored embeddings of each part.
        basis: The basis in which its embeddings are stored; None: its own.
    """

    def __init__(  # noqa: PLR0913 - the arguments of `embed`
        self,
        root: Path,
        params: Params,
        modality: str,
        teacher: str,
        *,
        verify: bool,
        engine: Engine = LOCAL,
        progress: Progress,
    ) -> None:
        self.layout, self.block = Layout(root, modality), params.modality(modality)
        active = params.enabled_teachers(modality)
        if teacher not in active:
            raise UnknownNameError("enabled teacher", teacher, active)
        kind = MODALITIES.get(modality)()
        self.source = build_source(self.layout, params, teacher, active[teacher])
        benchmark = benchmark_rows(root, self.block.tasks, kind, self.source)
        checksums = self.layout.checksums("corpus", verify=verify)
        corpus = open_corpus(self.layout.corpus, self.block.corpus, kind, checksums)
        known = _known_ids(self.source, corpus) if self.source.by_id else corpus.examples
        self.parts: dict[str, Rows] = {"corpus": (corpus.ids, known), "benchmark": benchmark}
        self.checksums = {
            part: self.layout.checksums(f"{part}-{teacher}", verify=verify) for part in self.parts
        }
        self._progress = progress
        self.basis = self._basis(engine)

    def __len__(self) -> int:
        return sum(len(ids) for ids, _ in self.parts.values())

    def extraction(self, part: str) -> Extraction:
        """Return the extraction of the corpus or of the benchmark."""
        ids, examples = self.parts[part]
        return Extraction(
            *self._places(part),
            ids,
            examples,
            self.source,
            dtype=self.block.store.dtype,
            shard_rows=self.block.store.shard_rows,
            basis=self.basis,
            checksums=self.checksums[part],
            progress=partial(report_part, self._progress, part),
        )

    def lacking(self) -> dict[str, Extraction]:
        """Return the extractions, by part, of what is missing and is not found by id."""
        parts = () if self.source.by_id else self.parts
        found = {part: self.extraction(part) for part in parts}
        found = {part: one for part, one in found.items() if one.missing}
        for one in found.values():
            one.begin()
        return found

    def _places(self, part: str) -> tuple[Path, Path]:
        name = self.source.name
        return self.layout.embeddings(part, name), self.layout.embedding_work(part, name)

    def _basis(self, engine: Engine) -> Basis | None:
        if (variance := self.block.store.kept_variance) is None:
            return None
        ids, examples = self.parts["corpus"]
        return corpus_basis(
            *self._places("corpus"),
            ids,
            examples,
            self.source,
            variance,
            engine=engine,
            progress=partial(report_part, self._progress, "sample"),
        )


def build_source(layout: Layout, params: Params, name: str, row: TeacherParams) -> Teacher:
    """Build an enabled teacher or rival, which loads no weights, after checking that the data is valid.

    Raises:
        StageError: The data has not passed validation, or the report of it is damaged.
        ParamsError: The options of the family are not valid.
    """
    _require_valid(layout)
    key = "teachers" if name in params.enabled_teachers(layout.modality) else "rivals"
    with located(f"{layout.modality}.{key}.{name}"):
        return build_teacher(name, row.family, row.options, params.threads, params.device)


def benchmark_rows(
    root: Path, tasks: Mapping[str, TaskParams], kind: Modality, source: Teacher
) -> Rows:
    """Return the distinct inputs of all tasks, and what a teacher or rival embeds of each: the example, or its id."""
    inputs = benchmark_inputs(read_tasks(root, tasks, kind), tasks, kind)
    ids = inputs["id"].tolist()
    return pack_ids(ids), ids if source.by_id else inputs[kind.column].tolist()


def _require_valid(layout: Layout) -> None:
    path = layout.validation
    if not path.exists():
        raise StageError(f"No {path}: run `polydistill validate {layout.modality}` first.")
    try:
        valid = json.loads(path.read_text(encoding="utf-8"))["success"]
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise StageError(
            f"{path} is damaged: run `polydistill validate {layout.modality}`."
        ) from error
    if valid is not True:
        raise StageError(f"{path} says that the data is not valid: fix it and validate again.")


def _padding(teacher: Teacher) -> float | None:
    tokens, positions = (getattr(teacher, name, 0) for name in ("tokens", "positions"))
    return round(1 - tokens / positions, 4) if positions else None


def _known_ids(teacher: Teacher, corpus: StoredCorpus) -> list[str]:
    """Return the id under which a table of embeddings has each example: its content id, or else one of its own ids.

    Raises:
        DataError: Two examples have the same own id; or the ids of an example have different embeddings.
    """
    table = pd.DataFrame({"id": unpack_ids(corpus.ids[:])})
    if corpus.own_ids is None:
        return list(table["id"])
    own = pd.Series([*corpus.own_ids], dtype=object).explode().dropna()
    if own.duplicated().any():
        raise DataError(
            f"Teacher {teacher.name!r} finds examples by id, but two examples of the corpus have the id "
            f"{short(own[own.duplicated()].iloc[0])}: give each its own id."
        )
    ids = pd.concat([table["id"], own]).sort_index(kind="stable")
    parts = (ids.iloc[start : start + CHECKED_ROWS] for start in range(0, len(ids), CHECKED_ROWS))
    known = ids[np.concatenate([teacher.embed(part.tolist()).present for part in parts])]
    is_first = ~known.index.duplicated()
    first, others = known[is_first], known[~is_first]
    if not len(first):
        raise DataError(
            f"Teacher {teacher.name!r} has an embedding of none of the {len(table):,} rows of the corpus: it must know "
            f"their ids, such as {', '.join(map(short, own[:NAMED]))}, or content ids, such as {table['id'][0]!r}."
        )
    values, same = (teacher.embed(one.tolist()).values for one in (first[others.index], others))
    far = np.linalg.norm(values - same, axis=1) > SAME * np.linalg.norm(values, axis=1)
    if far.any():
        row = others.index[far][0]
        raise DataError(
            f"Teacher {teacher.name!r} must have one embedding per example, got different ones under the ids "
            f"{short(first[row])} and {short(others[far].iloc[0])}, whose examples are equal: keep one of the rows."
        )
    return list(first.reindex(table.index).fillna(table["id"]))


def report_part(
    progress: Progress, part: str, what: str, done: int, total: int, **figures: float
) -> None:
    """Report progress under the name of the part: corpus or benchmark."""
    progress(f"{what} {part}", done, total, **figures)
