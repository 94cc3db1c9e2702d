"""mteb's own benchmarks, with tasks of mteb that need no download, and with one whose data are on the hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polydistill.contracts import FloatArray
from polydistill.errors import ParamsError, UnknownNameError
from polydistill.evaluation.hub_benchmarks import TextEncoder, run_hub_benchmarks, select_tasks
from polydistill.teachers.hashing import HashingTeacher

mteb = pytest.importorskip("mteb")


class Embedding:
    """Counts the texts that it embeds."""

    def __init__(self) -> None:
        self.n_texts = 0
        self._teacher = HashingTeacher("hash", 1, dim=16)

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        self.n_texts += len(texts)
        return self._teacher.embed(texts).values


def local_tasks() -> list[Any]:
    from mteb.mocks.mock_tasks.classification import MockClassificationTask
    from mteb.mocks.mock_tasks.retrieval import MockRetrievalTask
    from mteb.mocks.mock_tasks.sts import MockSTSTask

    return [MockSTSTask(), MockClassificationTask(), MockRetrievalTask()]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a benchmark of local tasks, which mteb then knows."""
    from mteb.benchmarks import _create_table
    from mteb.benchmarks.benchmark import Benchmark

    toy = Benchmark(name="Toy", tasks=local_tasks())
    for task in toy.tasks:
        monkeypatch.setitem(vars(_create_table)["_TASKS_REGISTRY"], task.metadata.name, type(task))
    real = mteb.get_benchmark
    monkeypatch.setattr(mteb, "get_benchmark", lambda name: toy if name == "Toy" else real(name))
    return "Toy"


def test_scores_are_those_of_mteb_itself(benchmark: str, tmp_path: Path) -> None:
    encoder = TextEncoder("toy", "1", Embedding())

    run = run_hub_benchmarks([encoder], select_tasks([benchmark]), tmp_path)

    expected = mteb.evaluate(encoder, local_tasks(), cache=None, co2_tracker=False)
    scores = {one.task_name: one.get_score() for one in expected.task_results}
    assert run.scores["toy"] == pytest.approx(scores, abs=1e-6)
    assert run.failed == {"toy": {}}


def test_the_table_is_that_of_mteb_and_has_its_means(benchmark: str, tmp_path: Path) -> None:
    encoders = [TextEncoder(name, "1", Embedding()) for name in ("one", "two")]

    run = run_hub_benchmarks(encoders, select_tasks([benchmark]), tmp_path)

    table = run.tables["Toy"]
    assert {"Model", "Mean(Task)", "Mean(TaskType)", "STS", "Retrieval"} <= set(table)
    assert sorted(table["Model"]) == ["one", "two"]
    scores = list(run.scores["one"].values())
    assert table["Mean(Task)"].tolist() == pytest.approx([np.mean(scores)] * 2, abs=1e-4)


def test_a_finished_task_is_not_run_again(benchmark: str, tmp_path: Path) -> None:
    first, second = Embedding(), Embedding()
    before = run_hub_benchmarks(
        [TextEncoder("toy", "1", first)], select_tasks([benchmark]), tmp_path
    )

    after = run_hub_benchmarks(
        [TextEncoder("toy", "1", second)], select_tasks([benchmark]), tmp_path
    )

    assert first.n_texts > 0 == second.n_texts
    assert after.scores == before.scores
    other = Embedding()
    run_hub_benchmarks([TextEncoder("toy", "2", other)], select_tasks([benchmark]), tmp_path)
    assert other.n_texts == first.n_texts


def test_results_are_in_the_layout_of_mtebs_cache(benchmark: str, tmp_path: Path) -> None:
    run_hub_benchmarks([TextEncoder("toy", "1", Embedding())], select_tasks([benchmark]), tmp_path)

    folder = tmp_path / "results" / "polydistill__toy" / "1"
    assert json.loads((folder / "model_meta.json").read_text())["name"] == "polydistill/toy"
    assert (folder / "MockSTSTask.json").exists()


def test_a_task_that_cannot_be_downloaded_is_named_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets.exceptions import DatasetNotFoundError

    lacking, local = local_tasks()[:2]

    def unreachable(**_: object) -> None:
        raise DatasetNotFoundError("Couldn't reach 'mteb/x' on the Hub (OfflineModeIsEnabled)")

    monkeypatch.setattr(lacking, "load_data", unreachable)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    selected = {"one": lacking, "two": local}

    run = run_hub_benchmarks([TextEncoder("toy", "1", Embedding())], selected, tmp_path)

    assert list(run.scores["toy"]) == [local.metadata.name]
    assert list(run.failed["toy"]) == [lacking.metadata.name]
    assert "HF_HUB_OFFLINE=0" in run.failed["toy"][lacking.metadata.name]


def test_single_tasks_have_a_table_of_their_own(tmp_path: Path) -> None:
    task = local_tasks()[0]

    run = run_hub_benchmarks(
        [TextEncoder("toy", "1", Embedding())], {task.metadata.name: task}, tmp_path
    )

    assert run.tables["tasks"].loc[0, task.metadata.name] == run.scores["toy"][task.metadata.name]


@pytest.fixture
def two_languages(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two benchmarks with the same task, one with its English and one with its French subset, and other scores."""
    from mteb.benchmarks import _create_table
    from mteb.benchmarks.benchmark import Benchmark
    from mteb.mocks.mock_tasks.sts import MockMultilingualSTSTask

    class TwoLanguages(MockMultilingualSTSTask):  # type: ignore[misc,unused-ignore]
        def load_data(self, num_proc: int | None = None, **_: Any) -> None:
            super().load_data(num_proc)
            data: Any = self.dataset
            if french := data.get("fra"):
                ratings = french["test"]["score"][::-1]
                rows = french["test"].remove_columns("score").add_column("score", ratings)
                data["fra"] = {"test": rows}

    name = TwoLanguages.metadata.name
    monkeypatch.setitem(vars(_create_table)["_TASKS_REGISTRY"], name, TwoLanguages)
    return {
        language: Benchmark(name=language, tasks=[TwoLanguages().filter_languages([language])])
        for language in ("eng", "fra")
    }


def test_each_of_two_benchmarks_has_its_own_subset_of_a_task(
    two_languages: dict[str, Any], tmp_path: Path
) -> None:
    run = run_hub_benchmarks([TextEncoder("toy", "1", Embedding())], two_languages, tmp_path)

    (english, french), name = run.scores["toy"].values(), "MockMultilingualSTSTask"
    assert list(run.scores["toy"]) == [name, f"{name} of fra"]
    assert english == -french != 0
    means = [run.tables[one].loc[0, "Mean(Task)"] for one in ("eng", "fra")]
    assert means == pytest.approx([english, french])


def test_a_score_is_of_the_subsets_of_the_benchmark_and_not_of_all_stored_ones(
    two_languages: dict[str, Any], tmp_path: Path
) -> None:
    scores = [
        run_hub_benchmarks([TextEncoder("toy", "1", Embedding())], {"one": one}, tmp_path).scores
        for one in two_languages.values()
    ]

    english, french = (next(iter(one["toy"].values())) for one in scores)
    assert english == -french != 0


def test_the_english_benchmark_has_its_41_tasks() -> None:
    assert len(select_tasks(["MTEB(eng, v2)"])["MTEB(eng, v2)"].tasks) == 41


def test_a_single_task_is_found_by_its_name() -> None:
    [(name, task)] = select_tasks(["Banking77Classification"]).items()

    assert task.metadata.name == name


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match=r"'MTEB\(eng, v3\)'. Did you mean 'MTEB\("):
        select_tasks(["MTEB(eng, v3)"])


def test_a_benchmark_of_images_is_refused() -> None:
    with pytest.raises(ParamsError, match=r"MIEB\(eng\).*must be about texts, got"):
        select_tasks(["MIEB(eng)"])
