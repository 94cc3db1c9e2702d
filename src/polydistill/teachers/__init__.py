"""Plug-in package of the teacher families; one file per plug-in."""

from collections.abc import Callable, Mapping
from typing import Any

from polydistill.contracts import Teacher
from polydistill.plugins import Plugins

TEACHERS: Plugins[Callable[..., Any]] = Plugins("teacher family", __name__)


def build_teacher(
    name: str, family: str, options: Mapping[str, object], threads: int, device: str = "auto"
) -> Teacher:
    """Return a teacher, without loading its weights.

    Args:
        name: The teacher's name.
        family: The name of the plug-in.
        options: The options of the family. A `device` among them is used instead of the argument `device`.
        threads: Number of threads that the teacher's library may use.
        device: The device of a family that has the option `device`; see `device.device_for`.

    Raises:
        UnknownNameError: The family does not exist, or has no such option.
        ParamsError: An option is missing or has a wrong type, or the options contradict each other.
    """
    TEACHERS.check(family, options)
    if TEACHERS.takes(family, "device"):
        options = {"device": device, **options}
    teacher: Teacher = TEACHERS.get(family)(name=name, threads=threads, **options)
    return teacher
