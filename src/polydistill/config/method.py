"""Settings of the distillation method: student, heads, losses, weighting and training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from polydistill.config.nodes import Node, Plugin
from polydistill.config.training import TrainingParams, WarmStartParams
from polydistill.errors import ParamsError


class MethodParams(Node):
    """The distillation method: all settings that training needs besides data and embeddings."""

    student: Plugin
    heads: Plugin = Plugin.model_validate({"name": "low-rank", "hidden": 512})
    loss: Plugin = Plugin(name="beta-nll")
    loss_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the teachers' losses; 0: the geometry term is the only objective."""
    geometry: Plugin | None = Plugin(name="consensus-similarity")
    geometry_weight: Annotated[float, Field(ge=0)] = 3.0
    weighting: Plugin = Plugin(name="per-dimension")
    training: TrainingParams
    warm_start: WarmStartParams = WarmStartParams()

    @model_validator(mode="after")
    def _student_has_an_objective(self) -> MethodParams:
        if self.loss_weight == 0 and (self.geometry is None or self.geometry_weight == 0):
            raise ParamsError(
                "loss_weight must be above 0, got 0: without a geometry term nothing trains the student."
            )
        return self
