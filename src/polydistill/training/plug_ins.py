"""The plug-ins that a method names: their options, and the modules that they are in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polydistill.config.method import MethodParams
from polydistill.heads import HEADS
from polydistill.losses import LOSSES
from polydistill.losses.relational import GEOMETRY
from polydistill.plugins import Plugins
from polydistill.students import STUDENTS
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
    "student": frozenset({"examples", "generator", "threads"}),
    "heads": frozenset({"student_dim", "teacher_dims", "generator"}),
    "loss": frozenset({"prediction", "target", "mask"}),
    "geometry": frozenset({"student", "targets", "masks", "student_dim", "teacher_dims"}),
    "weighting": frozenset({"n_teachers"}),
}
"""Arguments that a plug-in's caller passes itself: they are no options."""


def check_method(method: MethodParams) -> None:
    """Refuse names and options that no plug-in knows; loads no weights.

    Raises:
        UnknownNameError: A name or an option is not known; the message suggests the nearest.
        ParamsError: A plug-in needs an option that is missing, or one has another type.
    """
    for key, plugins in PLUGINS.items():
        chosen = getattr(method, key)
        if chosen is not None:
            plugins.check(chosen.name, chosen.options, given=GIVEN[key])


def method_modules(method: MethodParams, modality: str) -> list[str]:
    """Return the modules that a distillation with this method runs, for a digest of its code."""
    named = [
        ("students", method.student.name),
        ("heads", method.heads.name),
        ("losses", method.loss.name),
        ("training.weighting", method.weighting.name),
        ("data.modalities", modality),
        *((("losses.relational", method.geometry.name),) if method.geometry else ()),
    ]
    plug_ins = [f"polydistill.{package}.{name.replace('-', '_')}" for package, name in named]
    return ["polydistill.training.distillation", *plug_ins]
