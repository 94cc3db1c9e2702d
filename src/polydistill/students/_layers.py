"""Layers of libraries draw from torch's global state: here they draw from a student's own generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def drawn_from(generator: torch.Generator) -> Iterator[None]:
    """Let what is built inside draw its weights from `generator` alone; the global state stays as it was."""
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
