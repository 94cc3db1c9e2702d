"""Computes a digest of the code and libraries that a stage's results depend on."""

import importlib.metadata
from collections.abc import Sequence

from polydistill.config.params import Params
from polydistill.project.code_version import code_version
from polydistill.training.plug_ins import method_modules

LIBRARIES = ("mteb", "numpy", "scikit-learn", "torch", "transformers")
NOT_FOLLOWED = tuple(
    f"polydistill.{module}"
    for module in (
        "config", "config.params", "contracts", "data.tables", "data.weights", "errors", "plugins", "project",
        "project.files", "project.layout",
    )
)  # fmt: skip
"""Modules that every stage imports and that do not affect results. Callers hash parameter values separately."""


def stage_code(stages: Sequence[str], params: Sequence[Params], modality: str) -> str:
    """Return a digest of the code and libraries that the stages use with each set of parameters.

    Args:
        stages: Names of modules in this package.
        params: Sets of parameters. The digest includes the plug-ins that they name.
        modality: The block of the parameters.
    """
    blocks = [one.modality(modality) for one in params]
    plug_ins = {module for block in blocks for module in method_modules(block, modality)}
    kinds = {task.kind for block in blocks for task in block.tasks.values()}
    plug_ins |= {f"polydistill.evaluation.tasks.{kind.replace('-', '_')}" for kind in kinds}
    modules = [*(f"{__package__}.{stage}" for stage in stages), *sorted(plug_ins)]
    libraries = [_installed(library) for library in LIBRARIES]
    return " ".join([code_version(modules, NOT_FOLLOWED), *libraries])


def _installed(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:  # mteb is an optional dependency
        return "none"
