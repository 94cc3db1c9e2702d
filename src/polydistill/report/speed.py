"""How fast and how large student and teachers are, measured side by side on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from polydistill.config.params import Params
from polydistill.contracts import Example
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import read_corpus
from polydistill.errors import PolydistillError
from polydistill.evaluation.latency import Answer, seconds
from polydistill.evaluation.sizes import Size, student_size, teacher_size
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout
from polydistill.report.tables import STUDENT
from polydistill.students import CARD, encode, load_student, weights_digest
from polydistill.teachers import TEACHERS

N_EXAMPLES = 256
FEWEST = 16
REPETITIONS = 2
BUDGET_S = 12.0
"""For measuring all models; loading them comes on top."""
FORMAT = 3
BY_ID = "its embeddings are looked up, not computed."


@dataclass(frozen=True)
class Measured:
    """What was measured of one model.

    Attributes:
        model: `student`, or a teacher's name.
        size: See `sizes.Size`.
        examples_per_s: The best of two repetitions, or of one that took long; None where it could not be measured.
        n_examples: How many examples a repetition had: fewer for a slow model.
        problem: Why it could not be measured; empty if it could.
    """

    model: str
    size: Size
    examples_per_s: float | None
    n_examples: int
    problem: str


def measure(root: Path, params: Params, modality: str) -> list[Measured]:
    """Measure the student and every enabled teacher, or return what is known already.

    Known measurements belong to these weights, parameters and this machine, and are stored in `.polydistill/`.

    Raises:
        MissingDataError: There is no student, or no corpus.
    """
    known = known_speeds(root, params, modality)
    if known and not any(one.problem not in {"", BY_ID} for one in known):
        return known
    layout = Layout(root, modality)
    measured = _measure_all(root, params, modality)
    _write(_cache(layout), _key(layout, params, modality), measured)
    return measured


def known_speeds(root: Path, params: Params, modality: str) -> list[Measured]:
    """Return what `measure` has left here for these models on this machine; measure nothing."""
    layout = Layout(root, modality)
    return _read(_cache(layout), _key(layout, params, modality))


def _cache(layout: Layout) -> Path:
    return layout.scratch / "speed" / f"{layout.modality}.json"


def _measure_all(root: Path, params: Params, modality: str) -> list[Measured]:
    layout, block = Layout(root, modality), params.modality(modality)
    kind = MODALITIES.get(modality)()
    corpus = read_corpus(root, block.corpus, kind, with_groups=False)[kind.column].tolist()
    chosen = np.random.default_rng(params.seed).permutation(len(corpus))[:N_EXAMPLES]
    examples = [corpus[place] for place in chosen]
    torch.set_num_threads(params.threads)
    student = load_student(layout.student)
    models: dict[str, tuple[Answer, Size]] = {
        STUDENT: (lambda batch: encode(student, batch), student_size(layout.student))
    }
    looked_up = []
    for name, row in params.enabled_teachers(modality).items():
        teacher = TEACHERS.get(row.family)(name=name, threads=params.threads, **row.options)
        size = teacher_size(row, teacher)
        if teacher.by_id:
            looked_up.append(Measured(name, size, None, 0, BY_ID))
        else:
            models[name] = (teacher.embed, size)
    return [*_race(models, examples), *looked_up]


def _race(models: dict[str, tuple[Answer, Size]], examples: Sequence[Example]) -> list[Measured]:
    """Warm up every model, then time all of them in turn, so that a busy moment hits each alike."""
    share_s = BUDGET_S / len(models)
    problems: dict[str, str] = {}
    counts: dict[str, int] = {}
    for name, (embed, _) in models.items():
        try:
            embed(examples[:2])  # loads the weights
            once_s = seconds(embed, examples[:FEWEST], time.perf_counter)
        except (PolydistillError, ImportError, OSError) as error:
            problems[name] = str(error).splitlines()[0] if str(error) else type(error).__name__
            continue
        affordable = int((share_s - once_s) / REPETITIONS / (once_s / FEWEST))
        counts[name] = max(FEWEST, min(affordable, len(examples)))
    best_s = dict.fromkeys(counts, float("inf"))
    for _ in range(REPETITIONS):
        for name, count in counts.items():
            if share_s < best_s[name] < float("inf"):
                continue  # the machine is busier than the warm-up showed: once is enough
            best_s[name] = min(
                best_s[name], seconds(models[name][0], examples[:count], time.perf_counter)
            )
    return [
        Measured(
            model=name,
            size=size,
            examples_per_s=None if name in problems else round(counts[name] / best_s[name], 1),
            n_examples=counts.get(name, 0),
            problem=problems.get(name, ""),
        )
        for name, (_, size) in models.items()
    ]


def _key(layout: Layout, params: Params, modality: str) -> str:
    """Hash whatever the measurements depend on."""
    teachers = params.enabled_teachers(modality)
    known = {
        "format": FORMAT,
        "student": weights_digest(layout.student) if (layout.student / CARD).exists() else None,
        "teachers": {name: row.model_dump(mode="json") for name, row in teachers.items()},
        "threads": params.threads,
        "corpus": params.modality(modality).corpus.model_dump(mode="json"),
        "machine": [platform.machine(), _processor(), os.cpu_count()],
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _processor() -> str:
    """Return the processor's name, where the system knows it."""
    about = Path("/proc/cpuinfo")
    if about.exists():
        for line in about.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _read(cache: Path, key: str) -> list[Measured]:
    """Return what the cache holds for `key`: nothing, when it is of something else or damaged."""
    if not cache.exists():
        return []
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        if content["key"] != key:
            return []
        return [Measured(**{**row, "size": Size(**row["size"])}) for row in content["measured"]]
    except (ValueError, KeyError, TypeError):
        return []


def _write(cache: Path, key: str, measured: Sequence[Measured]) -> None:
    content = {"key": key, "measured": [asdict(one) for one in measured]}
    write_atomic(cache, json.dumps(content, indent=1, sort_keys=True) + "\n")
