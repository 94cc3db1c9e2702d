"""Checks every name, option and model file of `params.yaml` before the first stage starts."""

from pathlib import Path

from polydistill.config.params import Params
from polydistill.data.modalities import MODALITIES
from polydistill.data.weights import PACKAGE, WHEEL, locate
from polydistill.errors import MissingDataError, UnknownNameError, located
from polydistill.evaluation.rivals import RIVALS
from polydistill.evaluation.tasks import BENCHMARKS
from polydistill.teachers import TEACHERS, build_teacher
from polydistill.training.plug_ins import PLUGINS, check_method

STUDENT_FILES = ("tokenizer", "initial", "model")
"""Options of students that name a file or a folder."""


def resolve(params: Params, modality: str) -> None:
    """Check every name and option against the plug-ins without loading weights.

    Raises:
        UnknownNameError: A name or an option is unknown; the message suggests the closest one.
        ParamsError: A required option is missing.
    """
    block = params.modality(modality)
    MODALITIES.get(modality)
    for key, rows in (("teachers", block.teachers), ("rivals", block.rivals)):
        for name, row in rows.items():
            with located(f"{modality}.{key}.{name}"):
                TEACHERS.check(row.family, row.options)
    for name in block.evaluation.rivals:
        if name not in RIVALS.names():
            raise UnknownNameError(
                f"computed rival in {modality}.evaluation.rivals", name, RIVALS.names()
            )
    check_method(block, modality)
    for task in block.tasks.values():
        if task.kind not in BENCHMARKS.names():
            raise UnknownNameError("task kind", task.kind, BENCHMARKS.names())


def check_files(params: Params, modality: str) -> None:
    """Check `data.dvc` and the files of the student and of enabled teachers and rivals, relative to the working directory.

    Precomputed tables are read, and the identities of the other teachers are computed. Files of packages and wheels are
    not checked: embeddings of such a teacher can be in DVC's cache.

    Raises:
        DataError: A file is missing or is a Git LFS pointer, or a precomputed table cannot be used.
    """
    if not Path("data.dvc").exists():
        raise MissingDataError(
            f"No data.dvc in {Path.cwd()}, which identifies the data of a version: run `dvc add data`."
        )
    block = params.modality(modality)
    rows = {f"teachers.{name}": (name, row) for name, row in block.enabled_teachers.items()}
    rows |= {f"rivals.{name}": (name, row) for name, row in block.enabled_rivals.items()}
    for key, (name, row) in rows.items():
        if not row.files:
            continue
        with located(f"{modality}.{key}"):
            teacher = build_teacher(name, row.family, row.options, params.threads, params.device)
            dict(teacher.identity)
            if check := getattr(teacher, "check", None):
                check()
            if teacher.by_id:
                teacher.embed([])
    options = block.student.options
    for key in STUDENT_FILES:
        source = options.get(key)
        is_on_hub = key != "tokenizer" and options.get("revision") is not None
        if isinstance(source, str) and not source.startswith((PACKAGE, WHEEL)) and not is_on_hub:
            with located(f"{modality}.student.{key}"):
                locate(source)


def option_defaults(key: str, name: str) -> dict[str, object]:
    """Return the default values of a plug-in's options; see `config.describe.OptionDefaults`.

    Examples:
        >>> option_defaults("loss", "beta-nll")
        {'beta': 0.5}
    """
    return (TEACHERS if key in {"teachers", "rivals"} else PLUGINS[key]).option_defaults(name)
