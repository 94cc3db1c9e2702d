"""The estimate of a run's time, money, disk and memory: measured on a sample of the corpus, then scaled to all rows."""

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from polydistill.config.device import device_for
from polydistill.config.params import Params
from polydistill.contracts import Example, Modality, Progress, Teacher, silent
from polydistill.data.groups import EXACT_ROWS, first_of_group
from polydistill.data.ids import ID_BYTES, pack_ids
from polydistill.data.minhash import links_within
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import sample_corpus
from polydistill.embeddings.extraction import needed_bytes, write_embeddings
from polydistill.embeddings.specification import Precomputed
from polydistill.embeddings.store import StoredEmbeddings, open_embeddings
from polydistill.errors import DataError
from polydistill.teachers import build_teacher
from polydistill.training.distillation import Corpus, RunSettings, distill_student

SAMPLE, LEAST = 2_048, 256
BATCHES, MANY_BATCHES = (2, 8), (16, 64)
"""The sizes of the two samples of a training, in batches: for a slow and for a fast student."""
EPOCHS = (1, 3)
FAST_S = 2.0
"""A student is fast if the larger of the two small samples takes at most this much longer than the smaller."""
HOLD_OUT = 16
"""Every such row of the sample is held out."""
ROW_BYTES = {"validate": 310, "embed": 80, "distill": 250}
"""Growth of a stage's memory per row, with the pages of mapped files, between 0.2 and 3 million rows (`make large`)."""
COPIES = 9
"""The number of copies of the weights on the disk: three checkpoints, each with two numbers of AdamW per weight."""


@dataclass(frozen=True)
class Hardware:
    """The machines of a run.

    Attributes:
        gpus: The number of devices. They embed different shards, and train on shares of each batch.
        speedup: How many times as fast as the device of this machine each of them is.
        usd_per_hour: The price of each device.
    """

    gpus: int = 1
    speedup: float = 1.0
    usd_per_hour: float = 0.0


@dataclass(frozen=True)
class StageEstimate:
    """What one stage needs for all rows.

    Attributes:
        stage: The stage, as DVC names it.
        seconds: The duration.
        usd: The price of all devices during this time.
        disk_bytes: The size of the stage's outputs and unfinished work.
        memory_bytes: The memory of the process, without that of a GPU.
        measured: What was measured on the sample.
    """

    stage: str
    seconds: float
    usd: float
    disk_bytes: int
    memory_bytes: int
    measured: str


@dataclass(frozen=True)
class StageCost:
    """The cost of one stage: a constant, and an amount per row.

    Attributes:
        stage: The stage, as DVC names it.
        seconds: Seconds at the start, and per row.
        shared_seconds: Seconds per row of work that all devices share.
        disk_bytes: Bytes of outputs and unfinished work, and per row.
        memory_bytes: Bytes in memory, and per row.
        measured: What was measured.
    """

    stage: str
    seconds: tuple[float, float]
    shared_seconds: float
    disk_bytes: tuple[float, float]
    memory_bytes: tuple[float, float]
    measured: str

    def scaled(self, rows: int, hardware: Hardware) -> StageEstimate:
        """Return the cost for a number of rows. The time of communication between devices is not in it.

        Examples:
            >>> cost = StageCost("embed@text-a", (60, 0), 0.01, (0, 100), (1e9, 8), "100 rows/s")
            >>> cost.scaled(10**6, Hardware(gpus=10, usd_per_hour=3.6)).seconds
            1060.0
        """
        start, per_row = self.seconds
        seconds = start + rows * (per_row + self.shared_seconds / hardware.gpus / hardware.speedup)
        usd = seconds / 3600 * hardware.gpus * hardware.usd_per_hour if self.shared_seconds else 0.0
        disk, memory = (
            int(constant + rows * each) for constant, each in (self.disk_bytes, self.memory_bytes)
        )
        return StageEstimate(self.stage, seconds, usd, disk, memory, self.measured)


@dataclass(frozen=True)
class Estimate:
    """The estimate of a run; the evaluation does not depend on the rows of the corpus and is left out.

    Attributes:
        rows: The number of rows.
        device: The device on which the sample was measured.
        gpus: The number of devices.
        stages: The stages, in order.
        bottleneck: The stage that takes longest, and its share of the time.
        seconds: The duration of all stages, one after another.
    """

    rows: int
    device: str
    gpus: int
    stages: tuple[StageEstimate, ...]
    bottleneck: str
    seconds: float


def estimate(
    root: Path,
    params: Params,
    modality: str,
    rows: int | None = None,
    hardware: Hardware | None = None,
    *,
    progress: Progress = silent,
) -> Estimate:
    """Embed and train on a sample of the corpus, and scale the times to `rows`.

    Times, disk and memory grow linearly with the rows. A training that stops early takes less. Nothing is written to
    the project.

    Args:
        root: The project folder.
        params: The settings.
        modality: The modality.
        rows: The number of rows; None: those of the corpus.
        hardware: The machines of the run; None: this machine.
        progress: Called after each measurement.

    Raises:
        DataError: The corpus has fewer than 256 rows.
    """
    kind, block, hardware = (
        MODALITIES.get(modality)(), params.modality(modality), hardware or Hardware()
    )  # fmt: skip
    chosen, n_corpus = sample_corpus(root, block.corpus, kind, SAMPLE)
    if len(chosen) < LEAST:
        raise DataError(
            f"{block.corpus.path} has {len(chosen)} rows: an estimate needs {LEAST} to measure."
        )
    sample = _Sample(chosen["id"].tolist(), chosen[kind.column].tolist(), {})
    names = params.enabled_teachers(modality)
    total = rows or n_corpus
    approximate = total > EXACT_ROWS
    costs = [measure_validation(kind, sample.examples, approximate=approximate)]
    n_steps = len(names) + 2
    progress("measurements", 1, n_steps)
    with TemporaryDirectory(prefix="polydistill-") as scratch:
        for name, row in names.items():
            teacher = build_teacher(name, row.family, row.options, params.threads, params.device)
            cost = measure_teacher(teacher, sample, Path(scratch) / name, block.store.dtype)
            memory = (_largest_bytes(), ROW_BYTES["embed"])
            costs.append(replace(cost, stage=f"embed@{modality}-{name}", memory_bytes=memory))
            progress("measurements", len(costs), n_steps)
        cost = measure_training(params, modality, sample, Path(scratch) / "training")
        costs.append(replace(cost, memory_bytes=(_largest_bytes(), ROW_BYTES["distill"])))
        progress("measurements", n_steps, n_steps)
    return summed([one.scaled(total, hardware) for one in costs], total, hardware, params.device)


def summed(stages: Sequence[StageEstimate], rows: int, hardware: Hardware, device: str) -> Estimate:
    """Return the estimate of a run from those of its stages."""
    seconds = sum(one.seconds for one in stages)
    slowest = max(stages, key=lambda one: one.seconds)
    bottleneck = f"{slowest.stage}, {slowest.seconds / max(seconds, 1e-9):.0%} of the time"
    return Estimate(rows, device_for(device), hardware.gpus, tuple(stages), bottleneck, seconds)


@dataclass(frozen=True)
class _Sample:
    ids: list[str]
    examples: list[Example]
    stored: dict[str, StoredEmbeddings]

    def corpus(self, n_rows: int) -> Corpus:
        """Return `n_rows` rows; the sample is repeated if it has fewer."""
        examples = [self.examples[row % len(self.ids)] for row in range(n_rows)]
        groups = [str(row) for row in range(n_rows)]
        return Corpus(examples, groups, np.arange(n_rows) % HOLD_OUT == 0)

    def embeddings(self, n_rows: int, folder: Path) -> dict[str, StoredEmbeddings]:
        """Return the embeddings of the rows of `corpus`; `folder` gets a copy of them."""
        found, ids = {}, [f"{row:032x}" for row in range(n_rows)]
        for name, one in self.stored.items():
            rows = one.take(np.arange(n_rows) % len(self.ids))
            rows.values[~rows.present] = np.nan
            table = Precomputed(rows.values, name, ids)
            write_embeddings(folder / name, folder / f"{name}.work", pack_ids(ids), ids, table)
            found[name] = open_embeddings(folder / name)
        return found


def measure_validation(
    kind: Modality, examples: Sequence[Example], *, approximate: bool
) -> StageCost:
    """Measure the ids, groups and rules of a sample, without Great Expectations.

    Args:
        kind: The modality.
        examples: The sample.
        approximate: Whether near-duplicates are found by MinHash, as in a large corpus.
    """
    started = time.perf_counter()
    ids = [kind.content_id(one) for one in examples]
    if approximate:
        links_within(examples, kind)
    else:
        first_of_group(examples, kind)
    kind.derived([[one] for one in examples])
    per_row = (time.perf_counter() - started) / len(ids)
    stored = sum(map(len, examples)) / len(examples) + 3 * ID_BYTES
    memory = (_largest_bytes(), ROW_BYTES["validate"])
    return StageCost("validate", (0, per_row), 0, (0, stored), memory, f"{1 / per_row:,.0f} rows/s")


def measure_teacher(teacher: Teacher, sample: _Sample, folder: Path, dtype: str) -> StageCost:
    """Measure the loading of a teacher, and the writing of its embeddings of a sample, which the sample then has."""
    inputs = sample.ids if teacher.by_id else sample.examples
    started = time.perf_counter()
    teacher.embed(inputs[:2])  # loads the weights
    loaded = time.perf_counter()
    ids, work = pack_ids(sample.ids), folder.with_suffix(".work")
    write_embeddings(folder, work, ids, inputs, teacher, dtype=dtype)
    per_row = (time.perf_counter() - loaded) / len(inputs)
    sample.stored[teacher.name] = open_embeddings(folder)
    disk = (0, needed_bytes(10**6, teacher.dim, dtype) / 10**6)
    return StageCost(
        teacher.name, (loaded - started, 0), per_row, disk, (0, 0), f"{1 / per_row:,.0f} rows/s"
    )


def measure_training(params: Params, modality: str, sample: _Sample, folder: Path) -> StageCost:
    """Train on two numbers of rows, each for two numbers of epochs.

    The times are `start + epochs evaluation + rows (per_row + epochs step)`: an evaluation, which also writes a
    checkpoint, does not depend on the number of training rows.
    """
    block = params.modality(modality)

    def train(n_rows: int, epochs: int) -> float:
        changes = {"epochs": epochs, "patience": 10**6, "head_warmup_steps": 0}
        training = block.training.model_copy(update=changes)
        stored = sample.embeddings(n_rows, folder / "sample")
        settings = RunSettings(params.seed, params.threads, params.precision, params.device)
        method = block.model_copy(update={"training": training})
        started = time.perf_counter()
        distill_student(sample.corpus(n_rows), stored, method, settings, folder)
        return time.perf_counter() - started

    few, many = EPOCHS
    for batches in (BATCHES, MANY_BATCHES):
        small, large = (count * block.training.batch_size for count in batches)
        once = [train(n_rows, few) for n_rows in (small, large)]
        if once[1] - once[0] > FAST_S:
            break
    often = [train(n_rows, many) for n_rows in (small, large)]
    epoch = [(more - less) / (many - few) for more, less in zip(often, once, strict=True)]
    step = max((epoch[1] - epoch[0]) / (large - small), 0.0)
    evaluation = max(epoch[0] - small * step, 0.0)
    per_row = max((once[1] - once[0]) / (large - small) - few * step, 0.0)
    start = max(once[0] - few * evaluation - small * (per_row + few * step), 0.0)
    weights = sum(file.stat().st_size for file in (folder / "outputs").rglob("*.safetensors"))
    return StageCost(
        f"distill@{modality}",
        (start + block.training.epochs * evaluation, per_row),
        block.training.epochs * step,
        (weights * COPIES, 0),
        (0, 0),
        f"{1 / max(step, 1e-12):,.0f} rows/s per epoch",
    )


def _largest_bytes() -> int:
    """Return the largest memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
