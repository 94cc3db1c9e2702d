"""The ablation's levels: the default, and variants of it that change one factor each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.methods import DEFAULT
from polydistill.config.nodes import Plugin
from polydistill.config.overrides import only_teachers
from polydistill.config.params import Params

HIDDEN = (128, 2048)
LOSSES = ("gaussian-nll", "mse", "cosine")
WEIGHTINGS = (
    "none",
    "per-dimension",
    "running",
    "phi-s",
    "ema-norm",
    "teacher-dropping",
    "uncertainty",
)
GEOMETRIES = ("pairwise-similarity", "relational-distance", "similarity-distribution")


@dataclass(frozen=True)
class Level:
    """The default with one factor set to another level.

    Attributes:
        name: The name in files and experiments: lower-case letters, digits and hyphens.
        factor: The changed factor; empty for the default.
        level: The new level of the factor.
        overrides: The new values, by dotted key of `params.yaml`; None removes the key.
    """

    name: str
    factor: str
    level: str
    overrides: Mapping[str, object]


def levels(params: Params, modality: str) -> Sequence[Level]:
    """Return the default and its variants: at most twenty levels with four teachers.

    The level that a factor has in the default is not repeated. `beta-nll` with 1.0 is left out to limit the number of
    levels; docs/experiments.md reports it.
    """
    block = params.modality(modality)

    def level(factor: str, name: str, overrides: Mapping[str, object]) -> Level:
        keys = {f"{modality}.{key}": value for key, value in overrides.items()}
        return Level(f"{factor}-{name}".replace(" ", "-"), factor, name, keys)

    return [
        Level(DEFAULT, "", DEFAULT, {}),
        *(
            level("loss", name, _swapped("loss", block.loss, name))
            for name in LOSSES
            if name != block.loss.name
        ),
        *(
            level("weighting", name, _swapped("weighting", block.weighting, name))
            for name in WEIGHTINGS
            if name != block.weighting.name
        ),
        *_fewer_teachers(params, modality),
        level("geometry", "none", {"geometry_weight": 0.0}),
        *(
            level("geometry", name, _swapped("geometry", block.geometry, name))
            for name in GEOMETRIES
            if block.geometry is not None and name != block.geometry.name
        ),
        *(level("heads", f"hidden {hidden}", {"heads.hidden": hidden}) for hidden in HIDDEN),
        level("heads", "shared-trunk", _swapped("heads", block.heads, "shared-trunk")),
    ]


def _fewer_teachers(params: Params, modality: str) -> list[Level]:
    """Return levels with the first enabled teacher alone, the first two teachers, and so on."""
    teachers = list(params.enabled_teachers(modality))
    return [
        Level(
            f"teachers-{count}",
            "teachers",
            f"first {count}" if count > 1 else "first",
            only_teachers(params, modality, teachers[:count]),
        )
        for count in range(1, len(teachers))
    ]


def _swapped(key: str, now: Plugin, name: str) -> dict[str, object]:
    """Return overrides that select another plug-in and remove the options of the current one."""
    return {f"{key}.name": name, **{f"{key}.{option}": None for option in now.options}}
