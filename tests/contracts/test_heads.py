"""Contract of every registered head."""

from __future__ import annotations

import pytest
import torch

from polydistill.errors import ParamsError, UnknownNameError
from polydistill.heads import HEADS
from polydistill.losses.gaussian_nll import gaussian_nll

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
def test_initial_weights_depend_on_the_generator_alone(name: str) -> None:
    first = make(name, 1).state_dict()
    torch.manual_seed(99)
    same, other = make(name, 1).state_dict(), make(name, 2).state_dict()

    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", HEADS.names())
def test_in_evaluation_mode_rows_are_independent(name: str) -> None:
    heads, students = make(name).eval(), torch.randn(6, 4)

    alone, together = heads(students[2:3]), heads(students)

    for teacher in DIMS:
        torch.testing.assert_close(alone[teacher].mean, together[teacher].mean[2:3])


@pytest.mark.parametrize("name", HEADS.names())
def test_heads_depend_on_the_norm_of_the_student(name: str) -> None:
    heads, students = make(name).eval(), torch.randn(6, 4)

    near, far = heads(students)["wide"], heads(3 * students)["wide"]

    assert not torch.allclose(near.mean, far.mean, atol=1e-3)


@pytest.mark.parametrize("name", HEADS.names())
@pytest.mark.parametrize("covariance", ["diagonal", "low-rank", "triangular"])
@pytest.mark.parametrize("modes", [1, 2])
def test_every_covariance_starts_near_the_diagonal_and_trains(
    name: str, covariance: str, modes: int
) -> None:
    draw = torch.Generator().manual_seed(0)
    students = torch.randn(64, 4, generator=draw)
    common = torch.randn(64, 1, generator=draw)  # an error common to all dimensions
    targets = {t: 0.3 * torch.randn(64, d, generator=draw) + common for t, d in DIMS.items()}
    mask = torch.ones(64, dtype=torch.bool)
    heads = make(name, modes=modes, covariance=covariance)
    optimizer = torch.optim.Adam(heads.parameters(), lr=1e-3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        predictions = heads(students)
        loss = torch.stack(
            [gaussian_nll(predictions[t], targets[t], mask).mean() for t in DIMS]
        ).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < losses[0] - 0.1
    if covariance != "diagonal":
        gradients = [weight.grad for key, weight in heads.named_parameters() if "outputs" in key]
        assert all(g is not None and g.abs().sum() > 0 for g in gradients)


@pytest.mark.parametrize("name", HEADS.names())
def test_heads_larger_than_the_budget_are_refused(name: str) -> None:
    with pytest.raises(ParamsError, match=r"heads.max_params is 10, these heads have"):
        make(name, max_params=10)


@pytest.mark.parametrize("name", HEADS.names())
@pytest.mark.parametrize("option", ["hidden", "depth", "modes", "rank"])
@pytest.mark.parametrize("value", [0, -3])
def test_an_option_below_one_is_refused(name: str, option: str, value: int) -> None:
    with pytest.raises(ParamsError, match=f"heads.{option} must be at least 1, got {value}"):
        make(name, **{option: value})


@pytest.mark.parametrize("name", HEADS.names())
def test_bounds_of_the_scale_must_be_in_order(name: str) -> None:
    with pytest.raises(ParamsError, match=r"min_log_scale must be below .* got 2.0 and 2.0"):
        make(name, min_log_scale=2.0, max_log_scale=2.0)


@pytest.mark.parametrize("name", HEADS.names())
def test_an_unknown_covariance_is_refused_with_a_suggestion(name: str) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'triangular'"):
        make(name, covariance="triangle")


@pytest.mark.parametrize("name", HEADS.names())
def test_a_missing_row_does_not_affect_other_rows(name: str) -> None:
    students = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([True, False, True, True, False, True])
    masks = {"narrow": mask, "wide": torch.ones(6, dtype=torch.bool)}
    masked, dropped = make(name), make(name)

    among = masked(students, masks)["narrow"]
    alone = dropped(students[mask])["narrow"]

    torch.testing.assert_close(among.mean[mask], alone.mean)
    torch.testing.assert_close(among.log_scale[mask], alone.log_scale)
    assert torch.isfinite(among.mean).all()
    own = {key: value for key, value in masked.state_dict().items() if "perceptrons.1" not in key}
    assert all(torch.equal(value, dropped.state_dict()[key]) for key, value in own.items())


@pytest.mark.parametrize("name", HEADS.names())
def test_batches_of_one_row_or_without_any_teacher_keep_training_finite(name: str) -> None:
    heads = make(name)
    for present in (True, False):
        masks = {teacher: torch.tensor([present]) for teacher in DIMS}
        students = torch.randn(1, 4, requires_grad=True)

        predictions = heads(students, masks)
        sum(p.mean.sum() + p.log_scale.sum() for p in predictions.values()).backward()

        assert students.grad is not None
        assert torch.isfinite(students.grad).all()
    assert all(torch.isfinite(value).all() for value in heads.state_dict().values())


@pytest.mark.parametrize("name", HEADS.names())
def test_the_scale_covers_dimensions_of_unit_vectors_and_never_overflows(name: str) -> None:
    heads = make(name).eval()
    students = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))

    def scales(bias: float) -> torch.Tensor:
        for key, weight in heads.named_parameters():
            if key.endswith(("log_scale.weight", "log_scale.bias")):
                torch.nn.init.constant_(weight, bias if key.endswith("bias") else 0.0)
        reached: torch.Tensor = heads(students)["wide"].log_scale.exp()
        return reached

    narrow = scales(
        -4.31
    )  # the standard deviation of a unit vector's dimension is 0.02 at width 2,500

    torch.testing.assert_close(narrow, torch.full_like(narrow, 0.02), atol=0.001, rtol=0)
    for extreme in (-1e6, 1e6):
        assert torch.isfinite(1 / scales(extreme) ** 2).all()
        assert torch.isfinite(scales(extreme) ** 2).all()
