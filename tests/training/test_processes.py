"""Two processes with the backend gloo train as one process does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import distributed

from polydistill.errors import StageError
from polydistill.training import processes
from polydistill.training.dataset import EpochsSampler, RowNumbers
from tests.training.in_processes import BATCH_NORM, gradients
from tests.training.tiny_run import QUEUE, VARIANTS, run

REPOSITORY = Path(__file__).parents[2]


def start(folder: Path, count: int) -> None:
    """Run tests/training/in_processes.py in a process group."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    group = {"WORLD_SIZE": str(count), "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    command = [sys.executable, "-m", "tests.training.in_processes", str(folder)]
    started = [
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]
    assert [one.wait(timeout=300) for one in started] == [0] * count


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    start(folder, 2)
    return folder


@pytest.mark.parametrize("variant", [*VARIANTS, BATCH_NORM, QUEUE])
def test_losses_gradients_and_statistics_are_those_of_one_process(two: Path, variant: str) -> None:
    torch.set_num_threads(1)
    expected = gradients(variant)

    for rank in (0, 1):
        found = load_file(two / f"{variant}-{rank}.safetensors")
        assert found.keys() == expected.keys()
        for name, one in expected.items():
            torch.testing.assert_close(found[name], one, atol=1e-5, rtol=1e-5, msg=f"{name}")


def test_training_ends_near_that_of_one_process_and_both_agree(two: Path, tmp_path: Path) -> None:
    expected, _ = run(tmp_path)
    first, second = (json.loads((two / f"result-{rank}.json").read_text()) for rank in (0, 1))

    assert first == second
    assert (first["steps"], first["best"]) == (expected.steps, expected.best_step)
    assert [one["nats"] for one in first["history"]] == pytest.approx(
        [one["nats"] for one in expected.history], abs=1e-3
    )
    weights = [load_file(two / f"trained-{rank}.safetensors") for rank in (0, 1)]
    assert all(torch.equal(one, weights[1][name]) for name, one in weights[0].items())


def test_a_run_is_resumed_with_another_number_of_processes(two: Path, tmp_path: Path) -> None:
    """The checkpoints of both processes are read by one, which has nothing more to do but the last steps."""
    kept = min((two / "checkpoints").glob("checkpoint-*"))
    folder = tmp_path / "run"
    folder.mkdir()
    kept.rename(folder / kept.name)

    result, _ = run(folder)
    expected, _ = run(tmp_path / "undisturbed")

    assert result.steps == expected.steps
    assert [one["nats"] for one in result.history] == pytest.approx(
        [one["nats"] for one in expected.history], abs=1e-3
    )


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "count"), [(23, 8, 2), (7, 3, 3), (5, 8, 4), (64, 8, 2)]
)
def test_every_row_is_in_one_share_of_each_epoch(n_rows: int, batch_size: int, count: int) -> None:
    order = EpochsSampler(n_rows, 2, seed=0)
    shares = [list(processes.Shares(order, batch_size, (rank, count))) for rank in range(count)]

    assert {len(one) for one in shares} == {len(processes.Shares(order, batch_size, (0, count)))}
    for batches in zip(*shares, strict=True):
        assert len({len(one) for one in batches}) == 1
    rows = [index for share in shares for batch in share for index in batch if index >= 0]
    assert sorted(rows) == sorted([*range(n_rows)] * 2)
    whole = [index for batch in zip(*shares, strict=True) for part in batch for index in part]
    assert [index for index in whole if index >= 0] == list(order)


def test_row_numbers_keep_what_stands_for_no_row() -> None:
    rows = RowNumbers(torch.tensor([5, 9]).numpy())

    assert (rows[0], rows[~0], rows[~1], len(rows)) == (5, ~5, ~9, 2)


def test_a_group_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 1)

    with pytest.raises(StageError, match="WORLD_SIZE is 2, but 1 process trains"):
        processes.join("cpu")
