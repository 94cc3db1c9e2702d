"""The plug-ins that a method names: checks of their options, and their modules."""

from collections.abc import Mapping
from typing import Any

from polydistill.config.training import MethodParams
from polydistill.errors import located
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
"""The plug-in registries, by the key under which a modality's block names the plug-in."""


def check_method(method: MethodParams, where: str = "settings") -> None:
    """Check the names and options of a method's plug-ins without loading weights.

    Args:
        method: The settings of the method.
        where: The name of the settings in messages.

    Raises:
        UnknownNameError: A name or an option is unknown; the message suggests the closest one.
        ParamsError: A required option is missing, or an option has a wrong type.
    """
    for key, plugins in PLUGINS.items():
        chosen = getattr(method, key)
        if chosen is not None:
            with located(f"{where}.{key}"):
                plugins.check(chosen.name, chosen.options)


def method_modules(method: MethodParams, modality: str) -> list[str]:
    """Return the names of the modules that a distillation with this method runs."""
    chosen = [(plugins.package, getattr(method, key)) for key, plugins in PLUGINS.items()]
    names = [(package, plugin.name) for package, plugin in chosen if plugin is not None]
    names += [("polydistill.data.modalities", modality)]
    plug_ins = [f"{package}.{name.replace('-', '_')}" for package, name in names]
    return ["polydistill.training.distillation", *plug_ins]
