"""Base classes of teachers whose models run on a device, some of them in a precision that can be chosen."""

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from polydistill.config.device import device_for
from polydistill.config.nodes import Device, Precision
from polydistill.teachers._readers import NamedTeacher

Similarity = Annotated[float, Field(gt=0, le=1)]
FIDELITY = 0.999
Kernel = Literal["sdpa", "eager", "flash_attention_2"]
"""Implementations of attention in transformers."""


@dataclass(eq=False)
class RunsOnDevice(NamedTeacher):
    """A teacher whose model runs on a device.

    Attributes:
        device: Where the model runs; see `device.device_for`.
    """

    device: Device = field(default="auto", kw_only=True)

    @cached_property
    def runs_on(self) -> str:
        """The device that is used.

        Raises:
            ParamsError: The machine has no such device.
        """
        return device_for(self.device)


@dataclass(eq=False)
class RunsReduced(RunsOnDevice):
    """A teacher that can compute in less than float32; see `contracts.ReducedPrecision`.

    Attributes:
        precision: Precision of the weights and of the computation.
        fidelity: Minimum cosine similarity of an embedding in a lower precision to that in float32.
    """

    precision: Precision | Literal["int8"] = field(default="float32", kw_only=True)
    fidelity: Similarity = field(default=FIDELITY, kw_only=True)
    weights_held: ClassVar[tuple[str, ...]] = ("_encoder",)
    """Names of the cached attributes that hold weights in the precision."""

    def in_float32(self) -> Self | None:
        """See `contracts.ReducedPrecision`."""
        if self.precision == "float32":
            return None
        twin = copy.copy(self)
        for name in self.weights_held:
            vars(twin).pop(name, None)
        twin.precision = "float32"
        return twin

    @property
    def _dtype(self) -> Any:
        import torch

        return getattr(torch, self.precision)
