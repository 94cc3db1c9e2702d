"""Check every name and option of `params.yaml` against the plug-ins, before the first stage starts."""

from __future__ import annotations

from polydistill.config.params import Params
from polydistill.data.modalities import MODALITIES
from polydistill.errors import UnknownNameError
from polydistill.evaluation.tasks import BENCHMARKS
from polydistill.heads import HEADS
from polydistill.losses import LOSSES
from polydistill.losses.relational import GEOMETRY
from polydistill.students import STUDENTS
from polydistill.teachers import TEACHERS
from polydistill.training.weighting import WEIGHTINGS

TEACHER_GIVEN = frozenset({"name", "threads"})
STUDENT_GIVEN = frozenset({"examples", "generator", "threads"})
HEADS_GIVEN = frozenset({"student_dim", "teacher_dims", "generator"})
LOSS_GIVEN = frozenset({"prediction", "target", "mask"})
GEOMETRY_GIVEN = frozenset({"student", "targets", "masks", "student_dim", "teacher_dims"})
WEIGHTING_GIVEN = frozenset({"n_teachers"})


def resolve(params: Params, modality: str) -> None:
    """Refuse what no plug-in answers to; loads no weights.

    Raises:
        UnknownNameError: A name or an option is not known; the message suggests the nearest.
        ParamsError: A plug-in needs an option that is missing.
    """
    block = params.modality(modality)
    MODALITIES.get(modality)
    for teacher in block.teachers.values():
        TEACHERS.check(teacher.family, teacher.options, given=TEACHER_GIVEN)
    STUDENTS.check(block.student.name, block.student.options, given=STUDENT_GIVEN)
    HEADS.check(block.heads.name, block.heads.options, given=HEADS_GIVEN)
    LOSSES.check(block.loss.name, block.loss.options, given=LOSS_GIVEN)
    WEIGHTINGS.check(block.weighting.name, block.weighting.options, given=WEIGHTING_GIVEN)
    if block.geometry is not None:
        GEOMETRY.check(block.geometry.name, block.geometry.options, given=GEOMETRY_GIVEN)
    for task in block.tasks.values():
        if task.kind not in BENCHMARKS.names():
            raise UnknownNameError("task kind", task.kind, BENCHMARKS.names())
