"""The methods of the comparison. Each is the default with some parameters changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polydistill.config.overrides import only_teachers
from polydistill.config.params import Params
from polydistill.errors import UnknownNameError

DEFAULT = "default"
PAPER = "paper"
UNDISTILLED = "undistilled"
SINGLE = "only "


@dataclass(frozen=True)
class Method:
    """A distillation method: changes to the parameters of the default.

    Attributes:
        name: The name in tables.
        about: A one-line description.
        overrides: The new values, by dotted key of `params.yaml`.
    """

    name: str
    about: str
    overrides: Mapping[str, object]


def compared_methods(params: Params, modality: str) -> Sequence[Method]:
    """Return the default, published baselines, and the default with each teacher alone.

    All methods share the student, the targets, the steps and the seeds. All except SimReg and CompRess also share the
    heads.
    """

    def method(name: str, about: str, **changes: object) -> Method:
        keys = {key.replace("__", "."): value for key, value in changes.items()}
        return Method(name, about, {f"{modality}.{key}": value for key, value in keys.items()})

    loss = params.modality(modality).loss.name
    return [
        Method(DEFAULT, f"`{loss}` and the relational term, as in `params.yaml`", {}),
        method(
            PAPER,
            "`gaussian-nll` alone (arXiv:2510.18680)",
            loss={"name": "gaussian-nll"},
            geometry_weight=0.0,
        ),
        method("mse", "squared error alone", loss={"name": "mse"}, geometry_weight=0.0),
        method("cosine", "cosine distance alone", loss={"name": "cosine"}, geometry_weight=0.0),
        method(
            "simreg",
            "cosine distance, through one MLP with batch normalisation per teacher (arXiv:2201.05131)",
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
            training__head_warmup_steps=0,  # there are no heads to warm up
        ),
        *_single_teachers(params, modality),
    ]


def chosen_methods(params: Params, modality: str, names: Sequence[str] | None) -> Sequence[Method]:
    """Return the default and the named methods, in the order of the tables; all methods if `names` is None.

    Raises:
        UnknownNameError: A name is not the name of a method.
    """
    methods = compared_methods(params, modality)
    if names is None:
        return methods
    known = [method.name for method in methods]
    for name in names:
        if name not in known:
            raise UnknownNameError("method", name, known)
    return [method for method in methods if method.name in {DEFAULT, *names}]


def _single_teachers(params: Params, modality: str) -> list[Method]:
    """Return, for each teacher, the default with that teacher alone."""
    teachers = params.enabled_teachers(modality)
    if len(teachers) < 2:
        return []
    return [
        Method(
            f"{SINGLE}{teacher}",
            f"the default with `{teacher}` as the only teacher",
            only_teachers(params, modality, [teacher]),
        )
        for teacher in teachers
    ]
