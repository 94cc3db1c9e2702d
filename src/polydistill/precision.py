"""Half precision ends where numbers are summed, exponentiated or factorised: those need float32."""

from __future__ import annotations

import torch
from torch import Tensor

HALVES = (torch.bfloat16, torch.float16)


def widened(tensor: Tensor) -> Tensor:
    """Return half-precision numbers as float32, and all others as they are.

    Examples:
        >>> widened(torch.zeros(2, dtype=torch.bfloat16)).dtype, widened(torch.zeros(2).double()).dtype
        (torch.float32, torch.float64)
    """
    return tensor.float() if tensor.dtype in HALVES else tensor


def without_autocast(tensor: Tensor) -> torch.autocast:
    """Return a context, on the device of `tensor`, in which products keep the precision of their factors."""
    return torch.autocast(tensor.device.type, enabled=False)
