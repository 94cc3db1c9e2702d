"""What every head in the registry must do."""

from __future__ import annotations

import pytest
import torch

from polydistill.heads import HEADS

DIMS = {"narrow": 3, "wide": 7}


def make(name: str, seed: int = 0, **options: object) -> torch.nn.Module:
    heads: torch.nn.Module = HEADS.get(name)(
        4, DIMS, torch.Generator().manual_seed(seed), **options
    )
    return heads


@pytest.mark.parametrize("name", HEADS.names())
@pytest.mark.parametrize("batch", [0, 1, 5])
def test_predicts_every_teacher_in_its_own_width(name: str, batch: int) -> None:
    predictions = make(name)(torch.randn(batch, 4))

    assert list(predictions) == list(DIMS)
    for teacher, dim in DIMS.items():
        prediction = predictions[teacher]
        assert prediction.mean.shape == prediction.log_scale.shape
        assert prediction.mean.shape[::2] == (batch, dim)
        assert prediction.log_weights.shape == prediction.mean.shape[:2]
        torch.testing.assert_close(prediction.log_weights.exp().sum(dim=1), torch.ones(batch))


@pytest.mark.parametrize("name", HEADS.names())
def test_the_generator_alone_decides_the_first_weights(name: str) -> None:
    first = make(name, 1).state_dict()
    torch.manual_seed(99)
    same, other = make(name, 1).state_dict(), make(name, 2).state_dict()

    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", HEADS.names())
def test_a_row_does_not_depend_on_the_rows_beside_it(name: str) -> None:
    heads, students = make(name), torch.randn(6, 4)

    alone, together = heads(students[2:3]), heads(students)

    for teacher in DIMS:
        torch.testing.assert_close(alone[teacher].mean, together[teacher].mean[2:3])


@pytest.mark.parametrize("name", HEADS.names())
def test_the_students_norm_reaches_the_heads(name: str) -> None:
    heads, students = make(name), torch.randn(6, 4)

    near, far = heads(students)["wide"], heads(3 * students)["wide"]

    assert not torch.allclose(near.mean, far.mean, atol=1e-3)
