"""Checks every name and option of `params.yaml` against the plug-ins before the first stage starts."""

from polydistill.config.params import Params
from polydistill.contracts import Teacher
from polydistill.data.modalities import MODALITIES
from polydistill.errors import UnknownNameError, located
from polydistill.evaluation.tasks import BENCHMARKS
from polydistill.teachers import TEACHERS
from polydistill.training.plug_ins import PLUGINS, check_method


def resolve(params: Params, modality: str) -> None:
    """Check every name and option against the plug-ins without loading weights.

    Raises:
        UnknownNameError: A name or an option is unknown; the message suggests the closest one.
        ParamsError: A required option is missing.
    """
    block = params.modality(modality)
    MODALITIES.get(modality)
    for name, teacher in block.teachers.items():
        with located(f"{modality}.teachers.{name}"):
            TEACHERS.check(teacher.family, teacher.options)
    check_method(block, modality)
    for task in block.tasks.values():
        if task.kind not in BENCHMARKS.names():
            raise UnknownNameError("task kind", task.kind, BENCHMARKS.names())


def check_files(params: Params, modality: str) -> None:
    """Check the enabled teachers' own files: read the tables, and compute the identities of the others.

    Files of packages and wheels are not checked: embeddings of such a teacher can be in DVC's cache.

    Raises:
        DataError: A file is missing or is a Git LFS pointer, or a precomputed table cannot be used.
    """
    for name, row in params.enabled_teachers(modality).items():
        if not row.files:
            continue
        teacher: Teacher = TEACHERS.get(row.family)(
            name=name, threads=params.threads, **row.options
        )
        dict(teacher.identity)
        if teacher.by_id:
            teacher.embed([])


def option_defaults(key: str, name: str) -> dict[str, object]:
    """Return the default values of a plug-in's options; see `config.describe.OptionDefaults`.

    Examples:
        >>> option_defaults("loss", "beta-nll")
        {'beta': 0.5}
    """
    return (TEACHERS if key == "teachers" else PLUGINS[key]).option_defaults(name)
