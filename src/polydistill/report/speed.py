"""The speed of the student and its teachers, measured in turn on this machine."""

import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter

from polydistill.config.params import Params
from polydistill.contracts import Example, Teacher
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import read_corpus
from polydistill.errors import PolydistillError
from polydistill.evaluation.latency import Answer, seconds
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout
from polydistill.report.tables import STUDENT
from polydistill.students import CARD, encode, load_student, weights_digest
from polydistill.teachers import TEACHERS

N_EXAMPLES = 256
FEWEST = 16
REPETITIONS = 2
BUDGET_S = 12.0
"""Time for measuring all models, in seconds, without loading them."""
FORMAT = 3
BY_ID = "its embeddings are looked up, not computed."


@dataclass(frozen=True)
class Measured:
    """The measured speed of one model.

    Attributes:
        model: `student`, or a teacher's name.
        examples_per_s: The best of two repetitions, or of one that took long; None if it could not be measured.
        n_examples: Number of examples per repetition; smaller for a slow model.
        problem: Why it could not be measured; empty if it could.
    """

    model: str
    examples_per_s: float | None
    n_examples: int
    problem: str


CACHED = TypeAdapter(list[Measured])


def measure(root: Path, params: Params, modality: str) -> list[Measured]:
    """Measure the student and every enabled teacher, or return known measurements.

    Known measurements belong to these weights, parameters and this machine, and are stored in `.polydistill/`.

    Raises:
        MissingDataError: There is no student, or no corpus.
    """
    known = known_speeds(root, params, modality)
    if known and all(one.problem in {"", BY_ID} for one in known):
        return known
    layout = Layout(root, modality)
    measured = _measure_all(root, params, modality)
    content = {"key": _key(layout, params), "measured": [asdict(one) for one in measured]}
    write_atomic(_cache(layout), json.dumps(content, indent=1, sort_keys=True) + "\n")
    return measured


def known_speeds(root: Path, params: Params, modality: str) -> list[Measured]:
    """Return the stored measurements of these models on this machine, without measuring."""
    layout = Layout(root, modality)
    try:
        content = json.loads(_cache(layout).read_text(encoding="utf-8"))
        known = content["key"] == _key(layout, params)
        return CACHED.validate_python(content["measured"]) if known else []
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # missing or damaged
        return []


def _cache(layout: Layout) -> Path:
    return layout.scratch / "speed" / f"{layout.modality}.json"


def _measure_all(root: Path, params: Params, modality: str) -> list[Measured]:
    layout, block = Layout(root, modality), params.modality(modality)
    kind = MODALITIES.get(modality)()
    corpus = read_corpus(root, block.corpus, kind, with_groups=False)[kind.column].tolist()
    chosen = np.random.default_rng(params.seed).permutation(len(corpus))[:N_EXAMPLES]
    torch.set_num_threads(params.threads)
    student = load_student(layout.student)
    teachers = enabled_teachers(params, modality)
    models: dict[str, Answer] = {STUDENT: lambda batch: encode(student, batch)}
    models |= {name: one.embed for name, one in teachers.items() if not one.by_id}
    looked_up = [Measured(name, None, 0, BY_ID) for name, one in teachers.items() if one.by_id]
    return [*_measure_in_turn(models, [corpus[row] for row in chosen]), *looked_up]


def enabled_teachers(params: Params, modality: str) -> dict[str, Teacher]:
    """Return the enabled teachers by name, without loading their weights."""
    return {
        name: TEACHERS.get(row.family)(name=name, threads=params.threads, **row.options)
        for name, row in params.enabled_teachers(modality).items()
    }


def _measure_in_turn(models: dict[str, Answer], examples: Sequence[Example]) -> list[Measured]:
    """Warm up every model, then time all of them in turn, so that other load on the machine affects all of them."""
    share_s = BUDGET_S / len(models)
    problems: dict[str, str] = {}
    counts: dict[str, int] = {}
    for name, embed in models.items():
        try:
            embed(examples[:2])  # loads the weights
            once_s = seconds(embed, examples[:FEWEST], time.perf_counter)
        except (PolydistillError, ImportError, OSError) as error:
            problems[name] = next(iter(str(error).splitlines()), type(error).__name__)
            continue
        affordable = int((share_s - once_s) / REPETITIONS / (once_s / FEWEST))
        counts[name] = max(FEWEST, min(affordable, len(examples)))
    best_s = dict.fromkeys(counts, float("inf"))
    for _ in range(REPETITIONS):
        for name, count in counts.items():
            if share_s < best_s[name] < float("inf"):
                continue  # slower than the warm-up: one repetition suffices
            taken_s = seconds(models[name], examples[:count], time.perf_counter)
            best_s[name] = min(best_s[name], taken_s)
    return [
        Measured(name, None, 0, problems[name])
        if name in problems
        else Measured(name, round(counts[name] / best_s[name], 1), counts[name], "")
        for name in models
    ]


def _key(layout: Layout, params: Params) -> str:
    """Return a hash of everything that the measurements depend on."""
    teachers = params.enabled_teachers(layout.modality)
    known = {
        "format": FORMAT,
        "student": weights_digest(layout.student) if (layout.student / CARD).exists() else None,
        "teachers": {name: row.model_dump(mode="json") for name, row in teachers.items()},
        "threads": params.threads,
        "corpus": params.modality(layout.modality).corpus.model_dump(mode="json"),
        "machine": [platform.machine(), _processor(), os.cpu_count()],
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _processor() -> str:
    """Return the name of the processor, or an empty string."""
    about = Path("/proc/cpuinfo")
    text = about.read_text(encoding="utf-8", errors="replace") if about.exists() else ""
    found = re.search(r"^model name\s*:\s*(.*?)\s*$", text, re.MULTILINE)
    return found[1] if found else platform.processor()
