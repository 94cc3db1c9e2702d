"""Copies the weights of trained heads into new heads with other teachers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from polydistill.contracts import Heads


@torch.no_grad()
def inherit(new: nn.Module, old: nn.Module, teachers: Iterable[str]) -> None:
    """Copy from `old` to `new` the shared parameters and those that belong to `teachers` alone.

    Both have the same class and options; their teachers and the order may differ. Afterwards `new` predicts a known
    teacher as `old` does, with bit-identical weights.

    Args:
        new: Newly initialised heads.
        old: Trained heads.
        teachers: The teachers that both have.
    """
    mine, theirs = dict(new.named_parameters()), dict(old.named_parameters())
    for name in _shared(new):
        mine[name].copy_(theirs[name])
    for teacher in teachers:
        targets, sources = own_rows(new, teacher), own_rows(old, teacher)
        for (name, rows), (source, there) in zip(targets.items(), sources.items(), strict=True):
            mine[name][rows] = theirs[source][there]
            _copy_statistics(_module_of(new, name), _module_of(old, source))


def own_rows(heads: nn.Module, teacher: str) -> dict[str, Tensor]:
    """See `contracts.Heads.own_rows`."""
    return cast("Heads", heads).own_rows(teacher)


def rows_of_all(heads: nn.Module, teachers: Iterable[str]) -> dict[str, Tensor]:
    """Return, by parameter, a mask of the rows that belong to one of the teachers alone: bool, `(rows,)`."""
    return _united(own_rows(heads, teacher) for teacher in teachers)


def mean_rows_of_all(heads: nn.Module, teachers: Iterable[str]) -> dict[str, Tensor]:
    """Return, by parameter, a mask of the rows that produce the means of one of the teachers: bool, `(rows,)`."""
    return _united(cast("Heads", heads).mean_rows(teacher) for teacher in teachers)


def _united(parts: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for part in parts:
        for name, rows in part.items():
            found[name] = found[name] | rows if name in found else rows
    return found


def _module_of(heads: nn.Module, parameter: str) -> nn.Module:
    return heads.get_submodule(parameter.rpartition(".")[0])


def _copy_statistics(new: nn.Module, old: nn.Module) -> None:
    """Copy buffers such as running means; only layers that belong to one teacher have any."""
    for (_, mine), (_, theirs) in zip(
        new.named_buffers(recurse=False), old.named_buffers(recurse=False), strict=True
    ):
        mine.copy_(theirs)


def _shared(heads: nn.Module) -> list[str]:
    """Return the parameters that all teachers share."""
    owned = rows_of_all(heads, cast("Heads", heads).teachers)
    return [name for name, _ in heads.named_parameters() if name not in owned]
