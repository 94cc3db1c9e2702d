"""Sizes of the student, its teachers and its rivals, read from files, and their speeds, measured on this machine."""

import hashlib
import json
import math
import os
import platform
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter
from safetensors import safe_open

from polydistill.config.data import TeacherParams
from polydistill.config.device import device_for
from polydistill.config.environment import use_threads
from polydistill.config.params import Params
from polydistill.contracts import Example, Teacher
from polydistill.data.corpora import open_corpus
from polydistill.data.modalities import MODALITIES
from polydistill.data.weights import locate
from polydistill.errors import PolydistillError
from polydistill.evaluation.latency import Answer, seconds
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout
from polydistill.report.tables import STUDENT, UNDISTILLED
from polydistill.students import CARD, encode, load_student, weights_digest
from polydistill.teachers import build_teacher

N_EXAMPLES = 256
FEWEST = 32
CALL = 8
"""Number of examples of similar length in a call of a slow model."""
REPETITIONS = 2
BUDGET_S = 12.0
"""Time limit for measuring all models, in seconds, without the time for loading them."""
FORMAT = 4
WEIGHT_OPTIONS = ("model", "vectors", "weights", "checkpoints")
"""Options of a teacher family that name its weights."""
SUFFIXES = (".safetensors", ".onnx", ".npy", ".npz", ".bin", ".pth", ".pt")
"""Weight formats in order of preference: a folder may hold the same weights in several formats."""
BY_ID = "its embeddings are looked up, not computed."


@dataclass(frozen=True)
class Size:
    """The size of a model. An attribute is None if the model's files do not state it.

    Attributes:
        weight_bytes: Size of the weights on disk, in bytes.
        n_parameters: Number of parameters, if the format states it.
    """

    weight_bytes: int | None = None
    n_parameters: int | None = None

    @property
    def megabytes(self) -> float | None:
        """Size of the weights, in 10^6 bytes."""
        return None if self.weight_bytes is None else self.weight_bytes / 1e6


@dataclass(frozen=True)
class Measured:
    """The measured speed of one model.

    Attributes:
        model: `student`, or the name of a teacher or rival.
        examples_per_s: The best speed of two repetitions, or of one for a slow model; None if not measured.
        n_examples: Number of examples per repetition; smaller for a slow model, and spread over their lengths.
        problem: The reason why the speed was not measured; empty if it was.
    """

    model: str
    examples_per_s: float | None
    n_examples: int
    problem: str


CACHED = TypeAdapter(list[Measured])


def measure(root: Path, params: Params, modality: str) -> list[Measured]:
    """Measure the speeds of the student and of every enabled teacher and rival, or return stored measurements.

    Measurements are stored in `.polydistill/`. They are valid for the same weights, parameters and machine.

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
    corpus = open_corpus(layout.corpus, block.corpus, kind).examples
    chosen = np.random.default_rng(params.seed).permutation(len(corpus))[:N_EXAMPLES]
    use_threads(params.threads)
    student = load_student(layout.student, device_for(params.device))
    teachers = enabled_teachers(params, modality) | enabled_rivals(params, modality)
    models: dict[str, Answer] = {STUDENT: lambda batch: encode(student, batch)}
    models |= {name: one.embed for name, one in teachers.items() if not one.by_id}
    looked_up = [Measured(name, None, 0, BY_ID) for name, one in teachers.items() if one.by_id]
    return [*_measure_in_turn(models, [corpus[row] for row in chosen]), *looked_up]


def enabled_teachers(params: Params, modality: str) -> dict[str, Teacher]:
    """Return the enabled teachers by name, without loading their weights."""
    return _built(params, params.enabled_teachers(modality))


def enabled_rivals(params: Params, modality: str) -> dict[str, Teacher]:
    """Return the enabled rivals by name, without loading their weights."""
    return _built(params, params.modality(modality).enabled_rivals)


def _built(params: Params, rows: Mapping[str, TeacherParams]) -> dict[str, Teacher]:
    return {
        name: build_teacher(name, row.family, row.options, params.threads, params.device)
        for name, row in rows.items()
    }


def _measure_in_turn(models: dict[str, Answer], examples: Sequence[Example]) -> list[Measured]:
    """Warm up every model, then time the models in turn, so that other load on the machine affects all of them."""
    share_s = BUDGET_S / len(models)
    measured, best_s = {}, dict.fromkeys(models, math.inf)
    for name, embed in models.items():
        try:
            embed(examples[:2])  # loads the weights
            once_s = _seconds(embed, examples, FEWEST)
        except (PolydistillError, ImportError, OSError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            measured[name] = Measured(name, None, 0, reason)
            continue
        affordable = int((share_s - once_s) / REPETITIONS / (once_s / FEWEST)) // CALL * CALL
        count = min(max(FEWEST, affordable), len(examples))
        measured[name] = Measured(name, None, count, "")
    for _ in range(REPETITIONS):
        for name, one in measured.items():
            if one.problem or share_s < best_s[name] < math.inf:
                continue  # slower than the warm-up: one repetition suffices
            taken_s = _seconds(models[name], examples, one.n_examples)
            best_s[name] = min(best_s[name], taken_s)
            rate = round(one.n_examples / best_s[name], 1)
            measured[name] = replace(one, examples_per_s=rate)
    return list(measured.values())


def _seconds(embed: Answer, examples: Sequence[Example], count: int) -> float:
    """Return the time to embed `count` of the examples: all in one call, or some in calls of similar lengths.

    A model sorts the texts of a call by their length, so that its batches are hardly padded. A call of few texts of
    mixed lengths would be padded to the longest one, and the model would seem several times slower than it is.
    """
    if count >= len(examples):
        return seconds(embed, examples, time.perf_counter)
    ordered, n_calls = sorted(examples, key=len), count // CALL
    starts = ((np.arange(n_calls) + 0.5) / n_calls * (len(ordered) - CALL)).astype(int).tolist()
    return sum(seconds(embed, ordered[start : start + CALL], time.perf_counter) for start in starts)


def _key(layout: Layout, params: Params) -> str:
    """Return a hash of everything that the measurements depend on."""
    block = params.modality(layout.modality)
    teachers = block.enabled_teachers | block.enabled_rivals
    known = {
        "format": FORMAT,
        "student": weights_digest(layout.student) if (layout.student / CARD).exists() else None,
        "teachers": {name: row.model_dump(mode="json") for name, row in teachers.items()},
        "threads": params.threads,
        "corpus": block.corpus.model_dump(mode="json"),
        "machine": [platform.machine(), _processor(), os.cpu_count()],
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _processor() -> str:
    """Return the name of the processor, or an empty string."""
    about = Path("/proc/cpuinfo")
    text = about.read_text(encoding="utf-8", errors="replace") if about.exists() else ""
    found = re.search(r"^model name\s*:\s*(.*?)\s*$", text, re.MULTILINE)
    return found[1] if found else platform.processor()


def model_sizes(root: Path, params: Params, modality: str) -> dict[str, Size]:
    """Return the size of the student, of the undistilled student, and of each enabled teacher and rival."""
    layout, block = Layout(root, modality), params.modality(modality)
    rows = block.enabled_teachers | block.enabled_rivals
    sizes = {STUDENT: weights_size(layout.student), UNDISTILLED: weights_size(layout.undistilled)}
    return sizes | {
        name: teacher_size(rows[name], one) for name, one in _built(params, rows).items()
    }


def teacher_size(row: TeacherParams, teacher: Teacher) -> Size:
    """Return the size of a teacher's weights, which are named by an option or by the teacher's attribute `weights`.

    The size is unknown for a teacher without local weights (for example, precomputed, remote or not installed). A teacher that
    uses only a part of a file may state its number of parameters in an attribute `n_parameters`.
    """
    options = row.options
    named = [options[key] for key in WEIGHT_OPTIONS if options.get(key)]
    source = named[0] if named else getattr(teacher, "weights", None)
    if source is None or getattr(teacher, "remote", False):
        return Size()
    revision = options.get("revision")
    pinned = None if revision is None else str(revision)
    files = source if isinstance(source, list | tuple) else [source]
    try:
        paths = [locate(str(one), revision=pinned, download=False) for one in files]
        own = getattr(teacher, "n_parameters", None)
    except PolydistillError:
        return Size()
    sizes = [weights_size(path) for path in paths]
    n_parameters = _total(size.n_parameters for size in sizes) if own is None else int(own)
    return Size(_total(size.weight_bytes for size in sizes), n_parameters)


def weights_size(path: Path) -> Size:
    """Return the size of a weights file, or of the weights of one format in a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for suffix in SUFFIXES:
        same = [file for file in files if file.suffix == suffix]
        if same:
            return Size(sum(file.stat().st_size for file in same), _total(map(_n_parameters, same)))
    return Size()


def _total(counts: Iterable[int | None]) -> int | None:
    """Return the sum, or None if a count is unknown."""
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)


def _n_parameters(file: Path) -> int | None:
    if file.suffix == ".safetensors":
        with safe_open(file, framework="numpy") as weights:
            shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
            return sum(math.prod(map(int, shape)) for shape in shapes)
    if file.suffix == ".npy":
        return int(np.load(file, mmap_mode="r", allow_pickle=False).size)
    if file.suffix == ".onnx":
        return _n_initialised(file)
    return None  # a .npz may hold packed or scaled weights, and torch's files are pickles


def _n_initialised(file: Path) -> int | None:
    """Count the floating-point numbers in an ONNX graph; None if onnx is missing or cannot read the file.

    Both initializers and constants are counted, because exporters differ in where they write weights.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        return None
    try:
        graph = onnx.load(str(file), load_external_data=False).graph
    except DecodeError:
        return None
    constants = [node for node in graph.node if node.op_type == "Constant"]
    values = [one.t for node in constants for one in node.attribute if one.name == "value"]
    tensors = [*graph.initializer, *values]
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}
    return sum(math.prod(map(int, one.dims)) for one in tensors if one.data_type in floats)
