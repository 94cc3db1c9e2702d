"""Training on several processes, one per device: their ranks, and what they exchange.

`torchrun` and `accelerate launch` set the environment variables of a process group. In one process, nothing is exchanged.
"""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, distributed
from torch.utils.data import Sampler

from polydistill.errors import StageError


def launch(n_processes: int, *words: str) -> int:
    """Run a command of polydistill in several processes of one group on this machine; return the exit code.

    If a process fails, the others are stopped.

    Examples:
        >>> launch(2, "--help")  # doctest: +SKIP
        0
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    group = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=n_processes, max_restarts=0,
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", run_id="polydistill",
    )  # fmt: skip
    try:
        elastic_launch(group, sys.executable)("-m", "polydistill", *words)
    except ChildFailedError as error:
        return int(error.get_first_failure()[1].exitcode)
    return 0


def join(device: str) -> str:
    """Join the process group that the environment describes, if there is one, and return the device of this process.

    Raises:
        StageError: The group has another number of processes than the environment says.
    """
    wanted = int(os.environ.get("WORLD_SIZE", "1"))
    if wanted > 1:
        if device.startswith("cuda"):
            device = f"cuda:{os.environ['LOCAL_RANK']}"
            torch.cuda.set_device(device)
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    if count() != wanted:
        raise StageError(
            f"WORLD_SIZE is {wanted}, but {count()} process trains: start with `polydistill distill --processes`."
        )
    return device


def count() -> int:
    """Return the number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def wait() -> None:
    """Wait until all processes have come to this call."""
    if count() > 1:
        distributed.barrier()


def agreed(numbers: Sequence[float]) -> list[float]:
    """Return the numbers of the first process."""
    if count() == 1:
        return list(numbers)
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    found: list[float] = from_first(
        torch.tensor(numbers, dtype=torch.float64, device=device)
    ).tolist()
    return found


def from_first(tensor: Tensor) -> Tensor:
    """Replace the values of a tensor with those of the first process."""
    if count() > 1:
        as_bytes = tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor
        distributed.broadcast(as_bytes, src=0)
        tensor.copy_(as_bytes)
    return tensor


def gathered(rows: Tensor) -> Tensor:
    """Return the rows of all processes, in the order of their ranks; gradients flow back to each process.

    Every process has the same number of rows.
    """
    if count() == 1:
        return rows
    if rows.dtype == torch.bool:  # gloo knows no truth values
        return gathered(rows.to(torch.uint8)).bool()
    found: Tensor = _Gathered.apply(rows)  # type: ignore[no-untyped-call]
    return found


def summed(values: Tensor) -> Tensor:
    """Return the sum of the values of all processes; gradients flow back to each process."""
    if count() == 1:
        return values
    found: Tensor = _Summed.apply(values)  # type: ignore[no-untyped-call]
    return found


class _Gathered(torch.autograd.Function):
    """All rows; the gradient of a process's rows is the sum of those that all processes have for them."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.n_rows = len(rows)
        parts = [
            torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(count())
        ]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total[rank() * ctx.n_rows : (rank() + 1) * ctx.n_rows]


class _Summed(torch.autograd.Function):
    """The sum over processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004
        return _total(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return _total(gradient)


def _total(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


class Shares(Sampler[list[int]]):
    """Batches of the rows of one process: each batch of all processes is divided evenly, and every row is in one share.

    A share that is too short is filled with `~index` of a row, which stands for no row; see `Batches`.

    Args:
        order: The indices of the rows, in the order of training.
        batch_size: The number of rows per batch of all processes.
        process: The number of this process, and the number of processes.
    """

    def __init__(self, order: Sampler[int], batch_size: int, process: tuple[int, int]) -> None:
        self._order, self._batch_size, self._process = order, batch_size, process

    def __len__(self) -> int:
        total: int = len(self._order)  # type: ignore[arg-type]
        return math.ceil(total / self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self._order:
            batch.append(index)
            if len(batch) == self._batch_size:
                yield share_of(batch, *self._process)
                batch = []
        if batch:
            yield share_of(batch, *self._process)


def share_of(batch: Sequence[int], process: int, n_processes: int) -> list[int]:
    """Return the share of one process of a batch.

    Examples:
        >>> [share_of([7, 5, 3], process, 2) for process in (0, 1)]
        [[7, 5], [3, -8]]
    """
    size = -(-len(batch) // n_processes)
    share = list(batch[process * size : (process + 1) * size])
    return share + [~batch[0]] * (size - len(share))
