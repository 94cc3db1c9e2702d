"""What the family `vllm` passes to vLLM, which needs a GPU, and what it makes of the answer."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from polydistill.errors import ParamsError, UnknownNameError
from polydistill.teachers import _readers as readers
from polydistill.teachers import build_teacher
from tests.tiny_bert import save_tiny_bert

TEXTS = ["a first text", "another, which is longer than the first " * 20]


@dataclass
class Recorded:
    """The arguments of vLLM's classes."""

    engine: dict[str, Any] = field(default_factory=dict)
    pooler: dict[str, Any] = field(default_factory=dict)
    prompts: list[dict[str, list[int]]] = field(default_factory=list)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Put modules with vLLM's names in the place of vLLM; an embedding is the number of tokens and the first of them."""
    calls = Recorded()

    class LLM:
        def __init__(self, model: str, **options: Any) -> None:
            calls.engine = {"model": model, **options}

        def embed(self, prompts: list[dict[str, list[int]]], *, use_tqdm: bool) -> list[Any]:
            assert not use_tqdm
            calls.prompts = prompts
            rows = [
                [len(one["prompt_token_ids"]), one["prompt_token_ids"][0], 0] for one in prompts
            ]
            return [SimpleNamespace(outputs=SimpleNamespace(embedding=row)) for row in rows]

    def pooler(**options: Any) -> str:
        calls.pooler = options
        return "a pooler"

    for name, key, value in (("vllm", "LLM", LLM), ("vllm.config", "PoolerConfig", pooler)):
        module = ModuleType(name)
        setattr(module, key, value)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(readers, "package_version", lambda package: f"{package} 1")
    return calls


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_tiny_bert(tmp_path / "model")


def test_the_engine_gets_the_options_and_truncated_tokens(recorded: Recorded, model: Path) -> None:
    options = {"model": str(model), "dim": 3, "max_tokens": 9, "gpus": 4, "gpu_memory": 0.5}

    values = build_teacher("big", "vllm", {**options, "pooling": "last"}, 1).embed(TEXTS).values

    assert recorded.engine == {
        "model": str(model),
        "runner": "pooling",
        "dtype": "bfloat16",
        "max_model_len": 9,
        "tensor_parallel_size": 4,
        "gpu_memory_utilization": 0.5,
        "pooler_config": "a pooler",
        "trust_remote_code": False,
    }
    assert recorded.pooler == {"seq_pooling_type": "LAST", "use_activation": False}
    lengths = [len(one["prompt_token_ids"]) for one in recorded.prompts]
    assert max(lengths) == 9
    assert min(lengths) < 9
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, rtol=1e-5)


def test_the_models_own_pooling_is_left_to_vllm(recorded: Recorded, model: Path) -> None:
    options = {"model": str(model), "dim": 3, "normalize": False, "prompt": "query: "}
    teacher = build_teacher("big", "vllm", options, 1)

    rows = teacher.embed(TEXTS)

    assert recorded.engine["pooler_config"] is None
    assert rows.present.all()
    assert rows.values[0, 0] == len(recorded.prompts[0]["prompt_token_ids"]) > 4
    assert teacher.identity["prompt"] == "query: "
    assert teacher.identity["vllm"] == "vllm 1"
    assert teacher.in_float32() is None  # type: ignore[attr-defined]


def test_the_gpus_do_not_change_the_identity(recorded: Recorded, model: Path) -> None:
    one, other = (
        build_teacher("big", "vllm", {"model": str(model), "dim": 3, "gpus": gpus}, 1).identity
        for gpus in (1, 2)
    )

    assert one == other
    assert one["precision"] == "bfloat16"


def test_without_vllm_the_extra_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    teacher = build_teacher("big", "vllm", {"model": str(model), "dim": 3}, 1)

    with pytest.raises(ParamsError, match="needs the package vllm"):
        teacher.embed(TEXTS)


def test_an_unknown_pooling_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'last'"):
        build_teacher("big", "vllm", {"model": "m", "pooling": "lst"}, 1)
