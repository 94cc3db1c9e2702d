"""The methods of the method comparison: each is the default with some parameters changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polydistill.config.overrides import only_teachers
from polydistill.config.params import Params
from polydistill.errors import UnknownNameError

DEFAULT = "default"
UNDISTILLED = "undistilled"
SINGLE = "only "


@dataclass(frozen=True)
class Method:
    """One way to distil.

    Attributes:
        name: For tables.
        about: One line for the reader.
        overrides: Dotted keys of `params.yaml`, and their values.
    """

    name: str
    about: str
    overrides: Mapping[str, object]


def all_methods(params: Params, modality: str) -> Sequence[Method]:
    """Return the default, the baselines as published, and single teachers.

    Students, targets, steps, seeds and, but for SimReg, heads are equal.
    """

    def method(name: str, about: str, **changes: object) -> Method:
        keys = {key.replace("__", "."): value for key, value in changes.items()}
        return Method(name, about, {f"{modality}.{key}": value for key, value in keys.items()})

    loss = params.modality(modality).loss.name
    return [
        Method(DEFAULT, f"`{loss}` and the geometry term, as in `params.yaml`", {}),
        method(
            "paper",
            "`gaussian-nll` alone (arXiv:2510.18680)",
            loss={"name": "gaussian-nll"},
            geometry_weight=0.0,
        ),
        method("mse", "squared error alone", loss={"name": "mse"}, geometry_weight=0.0),
        method("cosine", "cosine distance alone", loss={"name": "cosine"}, geometry_weight=0.0),
        method(
            "simreg",
            "cosine distance, through an MLP with batch normalisation a teacher (arXiv:2201.05131)",
            loss={"name": "cosine"},
            heads={"name": "batch-norm-mlp"},
            geometry_weight=0.0,
        ),
        method(
            "compress",
            "similarity distributions alone, without heads (arXiv:2010.14713)",
            loss_weight=0.0,
            geometry={"name": "similarity-distribution"},
            geometry_weight=1.0,
            training__head_warmup_steps=0,  # there are no heads to wait for
        ),
        *_single_teachers(params, modality),
    ]


def chosen_methods(params: Params, modality: str, names: Sequence[str] | None) -> Sequence[Method]:
    """Return the default and the methods with these names, in the table's order; none: all.

    Raises:
        UnknownNameError: There is no such method.
    """
    methods = all_methods(params, modality)
    if names is None:
        return methods
    known = [method.name for method in methods]
    for name in names:
        if name not in known:
            raise UnknownNameError("method", name, known)
    return [method for method in methods if method.name in {DEFAULT, *names}]


def _single_teachers(params: Params, modality: str) -> list[Method]:
    """Return the default with one teacher, for each."""
    teachers = params.enabled_teachers(modality)
    if len(teachers) < 2:
        return []
    return [
        Method(
            f"{SINGLE}{teacher}",
            f"the default, from `{teacher}` alone",
            only_teachers(params, modality, [teacher]),
        )
        for teacher in teachers
    ]
