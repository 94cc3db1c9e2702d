from __future__ import annotations

import json

import pytest
import torch

from polydistill.config.training import GuardParams
from polydistill.training.guard import (
    LEAST_STEPS,
    MOST_STEPS,
    LossWatch,
    Restart,
    UnhealthyError,
    check_embeddings,
    effective_rank,
    mean_cosine,
    rate_factor,
)

LIMITS = GuardParams()


def rows(n: int = 200, dim: int = 8) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(0))


def test_healthy_embeddings_pass() -> None:
    check_embeddings(rows(), LIMITS)
    check_embeddings(rows(1), LIMITS)


@pytest.mark.parametrize(
    ("embedded", "reason"),
    [
        (rows() * float("nan"), "not finite"),
        (rows() * 1e-6, "variance of"),
        (rows() + 100, "mean cosine of 0.99"),
        (rows(dim=1) * torch.tensor([1.0, 2.0, -1.0, 3.0]), "effective rank of 1.00"),
    ],
    ids=["nan", "variance", "cosine", "rank"],
)
def test_each_kind_of_collapse_is_named(embedded: torch.Tensor, reason: str) -> None:
    with pytest.raises(UnhealthyError, match=reason):
        check_embeddings(embedded, LIMITS)


def test_a_narrow_student_is_not_asked_for_dimensions_that_it_has_not() -> None:
    check_embeddings(rows(dim=2), GuardParams(min_effective_rank=50))


def test_the_effective_rank_of_equal_directions_is_their_number() -> None:
    assert effective_rank(torch.eye(6)) == pytest.approx(6)
    assert effective_rank(torch.diag(torch.tensor([1.0, 1e-9, 0.0]))) == pytest.approx(1, abs=1e-6)


def test_the_mean_cosine_is_that_of_all_pairs() -> None:
    values = rows(5, 3)
    unit = values / values.norm(dim=1, keepdim=True)
    pairs = [float(unit[i] @ unit[j]) for i in range(5) for j in range(5) if i != j]

    assert mean_cosine(values) == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


def test_a_jump_of_the_loss_is_noticed_once_enough_are_known() -> None:
    watch = LossWatch(LIMITS.spike)
    watch.check(500.0)  # nothing to compare it with
    for step in range(20):
        watch.check(1.0 + 0.01 * step)

    watch.check(1.9)
    with pytest.raises(UnhealthyError, match=r"jumped from 1\.105 to 9"):
        watch.check(9.0)


def test_a_last_batch_of_a_few_rows_is_no_jump_but_must_be_finite() -> None:
    watch = LossWatch(LIMITS.spike)
    for _ in range(20):
        watch.check(1.0)

    watch.check(9.0, share=4 / 64)
    with pytest.raises(UnhealthyError, match="jumped"):
        watch.check(9.0, share=0.5)
    with pytest.raises(UnhealthyError, match="nan"):
        watch.check(float("nan"), share=4 / 64)


def test_losses_of_long_ago_are_forgotten() -> None:
    watch = LossWatch(LIMITS.spike)
    for loss in [*range(500, 0, -2), *[1.0] * MOST_STEPS]:
        watch.check(float(loss))

    assert watch.seen == [1.0] * MOST_STEPS


def test_a_watch_from_a_checkpoint_sees_what_the_first_one_does() -> None:
    first = LossWatch(LIMITS.spike)
    for _ in range(LEAST_STEPS):
        first.check(1.0)
    kept = json.loads(json.dumps(first.state()))
    again = LossWatch(**kept["args"])
    for name, value in kept["attributes"].items():  # as Trainer does
        setattr(again, name, value)

    for watch in (first, again):
        with pytest.raises(UnhealthyError, match="jumped from 1 to 9"):
            watch.check(9.0)


def test_a_rate_is_halved_from_each_restart_on() -> None:
    restarts = [Restart(10, 4, "a"), Restart(30, 20, "b")]

    factors = [rate_factor(restarts, step) for step in (0, 4, 19, 20, 99)]
    assert factors == [1, 0.5, 0.5, 0.25, 0.25]
