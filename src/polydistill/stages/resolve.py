"""Check every name and option of `params.yaml` against the plug-ins, before the first stage starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polydistill.config.params import Params
from polydistill.data.modalities import MODALITIES
from polydistill.errors import UnknownNameError
from polydistill.evaluation.tasks import BENCHMARKS
from polydistill.heads import HEADS
from polydistill.losses import LOSSES
from polydistill.losses.relational import GEOMETRY
from polydistill.plugins import Plugins
from polydistill.students import STUDENTS
from polydistill.teachers import TEACHERS
from polydistill.training.weighting import WEIGHTINGS

PLUGINS: Mapping[str, Plugins[Any]] = {
    "student": STUDENTS,
    "heads": HEADS,
    "loss": LOSSES,
    "geometry": GEOMETRY,
    "weighting": WEIGHTINGS,
}
"""The plug-ins that a modality's block names, by the block's key."""
GIVEN = {
    "teachers": frozenset({"name", "threads"}),
    "student": frozenset({"examples", "generator", "threads"}),
    "heads": frozenset({"student_dim", "teacher_dims", "generator"}),
    "loss": frozenset({"prediction", "target", "mask"}),
    "geometry": frozenset({"student", "targets", "masks", "student_dim", "teacher_dims"}),
    "weighting": frozenset({"n_teachers"}),
}
"""Arguments that a plug-in's caller passes itself: they are no options."""


def resolve(params: Params, modality: str) -> None:
    """Refuse what no plug-in answers to; loads no weights.

    Raises:
        UnknownNameError: A name or an option is not known; the message suggests the nearest.
        ParamsError: A plug-in needs an option that is missing.
    """
    block = params.modality(modality)
    MODALITIES.get(modality)
    for teacher in block.teachers.values():
        TEACHERS.check(teacher.family, teacher.options, given=GIVEN["teachers"])
    for key, plugins in PLUGINS.items():
        chosen = getattr(block, key)
        if chosen is not None:
            plugins.check(chosen.name, chosen.options, given=GIVEN[key])
    for task in block.tasks.values():
        if task.kind not in BENCHMARKS.names():
            raise UnknownNameError("task kind", task.kind, BENCHMARKS.names())


def option_defaults(key: str, name: str) -> dict[str, object]:
    """Return the options that a plug-in has a default for: `config.describe.OptionDefaults`.

    Examples:
        >>> option_defaults("loss", "beta-nll")
        {'beta': 0.5}
    """
    plugins = TEACHERS if key == "teachers" else PLUGINS[key]
    return plugins.option_defaults(name, given=GIVEN[key])
