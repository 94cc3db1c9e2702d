from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from polydistill.errors import ParamsError
from polydistill.heads.low_rank import LowRankHeads
from polydistill.losses._parts import HALF_LOG_TAU
from polydistill.losses.gaussian_nll import gaussian_nll


def heads(**options: float) -> LowRankHeads:
    return LowRankHeads(4, {"one": 6}, torch.Generator().manual_seed(0), **options)  # type: ignore[arg-type]


def test_modes_and_hidden_have_their_effect() -> None:
    small, large = heads(hidden=8), heads(hidden=16, modes=3)

    assert small.hidden.out_features == 8
    assert large(torch.zeros(2, 4))["one"].mean.shape == (2, 3, 6)


@pytest.mark.parametrize("option", ["mean_rank", "scale_rank"])
def test_a_low_rank_map_affects_only_its_own_outputs(option: str) -> None:
    narrow, whole = heads(hidden=8, **{option: 2}), heads(hidden=8)
    rows = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    inputs: dict[torch.nn.Module, torch.Tensor] = {}
    for module in (narrow, whole):
        for layer in (module.mean, module.log_scale):
            layer.register_forward_pre_hook(lambda own, seen: inputs.update({own: seen[0]}))

    before = narrow(rows)["one"]
    whole(rows)
    ranks = {
        name: [int(torch.linalg.matrix_rank(inputs[part][:, own:])) for part in parts]
        for name, own, parts in (
            (
                "mean_rank",
                4,
                (narrow.mean, whole.mean),
            ),  # the first four columns are the student's embedding
            ("scale_rank", 0, (narrow.log_scale, whole.log_scale)),
        )
    }
    with torch.no_grad():
        for narrowing in (narrow.to_mean, narrow.to_scale):
            if narrowing is not None:
                narrowing.weight.zero_()
    after = narrow(rows)["one"]

    assert ranks == {name: [2 if name == option else 8, 8] for name in ("mean_rank", "scale_rank")}
    assert torch.equal(after.mean, before.mean) == (option == "scale_rank")
    assert torch.equal(after.log_scale, before.log_scale) == (option == "mean_rank")


def test_the_means_depend_on_the_student_directly_and_on_the_trunk() -> None:
    module = heads(hidden=8, mean_rank=1)
    rows = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert module.to_mean is not None
        module.to_mean.weight.zero_()

    expected = rows @ module.mean.weight[:, :4].T

    torch.testing.assert_close(module(rows)["one"].mean[:, 0], expected)


@pytest.mark.parametrize("option", ["mean_rank", "scale_rank"])
def test_a_rank_as_large_as_the_trunk_adds_no_map(option: str) -> None:
    module = heads(hidden=8, **{option: 8})

    assert module.to_mean is module.to_scale is None


@pytest.mark.parametrize("option", ["mean_rank", "scale_rank"])
def test_a_rank_of_zero_is_refused(option: str) -> None:
    with pytest.raises(ParamsError, match=rf"^heads.{option} must be at least 1, got 0\.$"):
        heads(**{option: 0})


def test_the_batched_computation_equals_one_teacher_at_a_time_with_gradients() -> None:
    dims = {"one": 6, "two": 3, "three": 6}
    build = partial(LowRankHeads, 4, hidden=8, mean_rank=6, scale_rank=5)
    together = build(dims, torch.Generator().manual_seed(0))
    rows, mask = torch.randn(7, 4), torch.ones(7, dtype=torch.bool)
    targets = {name: torch.randn(7, dim) for name, dim in dims.items()}
    predictions = together(rows)
    losses = [gaussian_nll(predictions[name], targets[name], mask).sum() for name in dims]
    torch.stack(losses).sum().backward()
    start, of_trunk = 0, torch.zeros_like(together.hidden.weight)

    for name, dim in dims.items():
        part = slice(start, start + dim)
        alone = build({name: dim}, torch.Generator())
        for layer in ("hidden", "to_mean", "to_scale"):
            alone.get_submodule(layer).load_state_dict(together.get_submodule(layer).state_dict())
        with torch.no_grad():
            for layer in ("mean", "log_scale"):
                own, whole = alone.get_submodule(layer), together.get_submodule(layer)
                for key, weight in own.named_parameters():
                    weight.copy_(whole.get_parameter(key)[part])
        prediction = alone(rows)[name]
        gaussian_nll(prediction, targets[name], mask).sum().backward()

        torch.testing.assert_close(prediction.mean, predictions[name].mean, atol=1e-5, rtol=0)
        torch.testing.assert_close(
            prediction.log_scale, predictions[name].log_scale, atol=1e-5, rtol=0
        )
        for layer in ("mean", "log_scale"):
            own, whole = alone.get_submodule(layer), together.get_submodule(layer)
            expected = whole.get_parameter("weight").grad
            assert expected is not None
            torch.testing.assert_close(
                own.get_parameter("weight").grad, expected[part], atol=1e-5, rtol=1e-5
            )
        assert alone.hidden.weight.grad is not None
        of_trunk += alone.hidden.weight.grad
        start += dim
    torch.testing.assert_close(together.hidden.weight.grad, of_trunk, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n_teachers", [2, 9])
def test_many_teachers_need_no_more_kernels_than_one(n_teachers: int) -> None:
    def kernels(n: int) -> dict[str, int]:
        module = LowRankHeads(4, {str(k): 6 for k in range(n)}, torch.Generator(), hidden=8)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            module(torch.zeros(2, 4))
        names = ("aten::addmm", "aten::mm", "aten::tanh", "aten::gelu", "aten::_log_softmax")
        return {one.key: one.count for one in profiled.key_averages() if one.key in names}

    assert kernels(n_teachers) == kernels(1)


def test_the_log_scale_stays_inside_its_soft_bounds() -> None:
    module = heads(min_log_scale=-2.0, max_log_scale=1.0)
    torch.nn.init.constant_(module.log_scale.bias, 1e6)
    high = module(torch.zeros(1, 4))["one"].log_scale
    torch.nn.init.constant_(module.log_scale.bias, -1e6)
    low = module(torch.zeros(1, 4))["one"].log_scale

    assert high.max() == 1.0
    assert low.min() == -2.0


@pytest.mark.parametrize("wanted", [-4.0, -3.0, 0.0, 1.0])
def test_wide_bounds_allow_scales_that_narrow_bounds_do_not(wanted: float) -> None:
    module = heads()
    rows = torch.zeros(1, 4)
    optimizer = torch.optim.Adam([module.log_scale.bias], lr=0.1)
    for _ in range(300):
        loss = (module(rows)["one"].log_scale - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    torch.testing.assert_close(
        module(rows)["one"].log_scale, torch.full((1, 1, 6), wanted), atol=0.02, rtol=0
    )


def test_heads_above_the_budget_are_refused() -> None:
    with pytest.raises(ParamsError, match=r"heads.max_params is 10, these heads have"):
        heads(max_params=10)


def test_default_heads_of_four_teachers_are_smaller_than_the_student() -> None:
    dims = {"minilm": 384, "use": 512, "paraphrase": 384, "glove": 50}
    module = LowRankHeads(256, dims, torch.Generator(), hidden=512)

    assert sum(weight.numel() for weight in module.parameters()) < 30_522 * 256


def test_a_known_mutual_information_is_found() -> None:
    """A Gaussian pair, d = 8, correlation 0.8: I = -d/2 log(1 - 0.64) = 4.087 nats."""
    dim, correlation, n_rows = 8, 0.8, 8000
    draw = torch.Generator().manual_seed(0)
    student = torch.randn(n_rows, dim, generator=draw)
    noise = torch.randn(n_rows, dim, generator=draw)
    teacher = correlation * student + math.sqrt(1 - correlation**2) * noise
    module = LowRankHeads(dim, {"teacher": dim}, draw, hidden=32)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    trained, held_out = slice(0, 6000), slice(6000, None)
    for _ in range(600):
        rows = torch.randint(6000, (512,), generator=draw)
        nats = gaussian_nll(
            module(student[rows])["teacher"], teacher[rows], torch.ones(512, dtype=torch.bool)
        ).mean()
        optimizer.zero_grad()
        nats.backward()
        optimizer.step()
        scheduler.step()

    mask = torch.ones(2000, dtype=torch.bool)
    conditional = gaussian_nll(module(student[held_out])["teacher"], teacher[held_out], mask)
    entropy = HALF_LOG_TAU + 0.5 + teacher[trained].std(dim=0).log().mean()
    estimate = dim * (entropy - conditional.mean()).item()

    assert abs(estimate - 4.087) < 0.2
