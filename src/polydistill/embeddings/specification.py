"""Teachers from a Python caller's specifications: hub names, folders, ONNX files, tables, objects with `encode`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from polydistill.config.params import known_teachers
from polydistill.contracts import Example, Teacher
from polydistill.data.weights import PACKAGE, current_commit
from polydistill.embeddings.in_memory import Encoder, EncoderTeacher, Precomputed
from polydistill.errors import ParamsError
from polydistill.teachers import TEACHERS

TeacherSpec = str | Path | Mapping[str, Any] | Precomputed | Encoder | Teacher
FAMILIES = {
    ("onnx", True): {"family": "onnx-image"},
    ("onnx", False): {"family": "onnx", "pooling": "auto"},
    ("folder", True): {"family": "transformers-image"},
    ("folder", False): {"family": "sentence-transformers", "pooling": "own"},
}
"""The family of a model file or folder, and whether it is one for images."""
NOT_OPTIONS = ("family", "licence", "saw_labels_of", "enabled")


def build_teachers(
    specs: Sequence[TeacherSpec] | TeacherSpec,
    modality: str,
    threads: int,
    probes: Sequence[Example],
) -> dict[str, Teacher]:
    """Return the teachers by name. Equal names get a number as suffix.

    No weights are loaded, except by an object that has no identity: it embeds `probes`.

    Args:
        specs: One or several specifications; see `TeacherSpec` and `polydistill.distill`.
        modality: The modality of the examples; names of its known teachers are valid specifications.
        threads: The number of threads of a teacher that polydistill runs itself.
        probes: Examples whose embeddings identify an object with `encode`.

    Raises:
        ParamsError: There is no teacher, or a specification has an unknown type.
        UnknownNameError: A family or an option is unknown.
    """
    several = isinstance(specs, Sequence) and not isinstance(specs, str)
    listed = list(specs) if several else [specs]  # type: ignore[arg-type]
    if not listed:
        raise ParamsError("`teachers` must name at least one teacher, got none.")
    built: dict[str, Teacher] = {}
    for spec in listed:
        teacher = _build(spec, modality, threads, probes)
        name, n_equal = teacher.name, 2
        while teacher.name in built:
            teacher.name, n_equal = f"{name}-{n_equal}", n_equal + 1
        built[teacher.name] = teacher
    return built


def _build(spec: object, modality: str, threads: int, probes: Sequence[Example]) -> Teacher:
    if isinstance(spec, Precomputed):
        return spec
    if isinstance(spec, Mapping):
        return _of_family(str(spec.get("name", spec.get("family"))), spec, threads)
    if isinstance(spec, str | Path):
        return _named(str(spec), modality, threads)
    if hasattr(spec, "embed") and hasattr(spec, "identity"):
        return cast("Teacher", spec)
    if isinstance(spec, Encoder):
        name = getattr(spec, "name", None) or type(spec).__name__
        return EncoderTeacher(spec, str(name), probes)
    raise ParamsError(
        "A teacher must be a hub name, a folder, an .onnx file, a known teacher's name, a mapping with `family`, "
        f"a Precomputed or an object with encode(list), got {type(spec).__name__}."
    )


def _named(spec: str, modality: str, threads: int) -> Teacher:
    known = known_teachers(modality)
    if spec in known:
        return _of_family(spec, known[spec], threads)
    name = Path(spec).name.removesuffix(".onnx")
    kind = "onnx" if spec.endswith(".onnx") else "folder"
    row = {**FAMILIES[kind, modality == "vision"], "model": spec}
    if kind == "folder" and not spec.startswith(PACKAGE) and not Path(spec).exists():
        row["revision"] = current_commit(spec)  # a name on the hub
    return _of_family(name, row, threads)


def _of_family(name: str, row: Mapping[str, Any], threads: int) -> Teacher:
    if "family" not in row:
        raise ParamsError(
            f"Teacher {name!r} must name its `family`, got {', '.join(row) or 'nothing'}."
        )
    options = {key: value for key, value in row.items() if key not in (*NOT_OPTIONS, "name")}
    family = str(row["family"])
    TEACHERS.check(family, options)
    teacher: Teacher = TEACHERS.get(family)(name=name, threads=threads, **options)
    return teacher
