from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.config.params import Params, parse_params
from polydistill.contracts import Embeddings, Example
from polydistill.data.ids import pack_ids
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import benchmark_inputs, read_tasks
from polydistill.embeddings.extraction import write_embeddings
from polydistill.errors import MissingDataError, ParamsError, StoreError
from polydistill.project.layout import Layout
from polydistill.stages.attribution import adds_per_minute, attribute_scores
from tests.our_params import text_params

pytest.importorskip("mteb")

TEACHERS = ("noise", "colours", "shapes")
N_ROWS = 400


@dataclass
class KnowingTeacher:
    """A teacher that returns some of the numbers in a text, among many random numbers."""

    name: str
    words: tuple[int, ...]
    dim: int = 24
    by_id: bool = False

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        return {"family": "knowing", "words": str(self.words)}

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        values = np.stack([self._read(str(example)) for example in examples])
        return Embeddings(values.astype(np.float32), np.ones(len(examples), dtype=np.bool_))

    def _read(self, text: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        facts = [int(word) for word in text.split()]
        row = np.random.default_rng([facts[0], len(self.name)]).normal(size=self.dim)
        for word in self.words:
            row[word] = 6 * facts[word] - 3
        return row


def make_params(*, teachers: Sequence[str] = TEACHERS) -> Params:
    tree = text_params()
    tree["text"].update(
        tasks={
            "kinds": {"kind": "classification", "path": "data/kinds.csv", "domain": "in"},
            "weights": {"kind": "regression", "path": "data/weights.csv", "domain": "out"},
        },
        teachers={name: {"family": "hashing", "dim": 24} for name in teachers},
    )
    return parse_params(tree)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose labels are a colour and a shape; each teacher encodes one of them, or neither."""
    generator, kind = np.random.default_rng(0), MODALITIES.get("text")()
    facts = generator.integers(0, 2, (N_ROWS, 2))
    texts = [f"{n} {colour} {shape}" for n, (colour, shape) in enumerate(facts)]
    frame = pd.DataFrame({"id": [kind.content_id(text) for text in texts], "text": texts})
    frame["group"], frame["split"] = frame["id"], ["test", "train"] * (N_ROWS // 2)
    (tmp_path / "data").mkdir()
    kinds = [f"kind {colour}{shape}" for colour, shape in facts]
    frame.assign(label=kinds).to_csv(tmp_path / "data" / "kinds.csv", index=False)
    weights = facts.sum(axis=1) + 0.1 * generator.normal(size=N_ROWS)
    frame.assign(label=weights).to_csv(tmp_path / "data" / "weights.csv", index=False)
    tasks = make_params().modality("text").tasks
    inputs = benchmark_inputs(read_tasks(tmp_path, tasks, kind), tasks, kind)
    for name, words in zip(TEACHERS, ((), (1,), (2,)), strict=True):
        write_embeddings(
            Layout(tmp_path, "text").embeddings("benchmark", name),
            tmp_path / "work",
            pack_ids(inputs["id"].tolist()),
            inputs["text"].tolist(),
            KnowingTeacher(name, words),
        )
    return tmp_path


def test_a_noise_teacher_is_ranked_last_and_is_the_only_one_flagged(project: Path) -> None:
    report = attribute_scores(project, make_params(), "text")

    flagged = {one.teacher: one.adds_nothing for one in report.contributions}
    assert flagged == {"colours": False, "shapes": False, "noise": True}
    assert list(flagged)[-1] == "noise"
    assert all(one.adds.low > 0.1 for one in report.contributions[:2])
    assert report.ensemble["mean"] > max(one.alone["mean"] for one in report.contributions) + 0.1
    assert report.contributions[-1].alone["classification"] == pytest.approx(0.25, abs=0.1)


def test_the_same_embeddings_give_the_same_bytes(project: Path) -> None:
    results = project / "docs" / "results" / "text"
    written = []
    for _ in range(2):
        attribute_scores(project, make_params(), "text")
        written.append({file.name: file.read_bytes() for file in results.iterdir()})

    assert written[0] == written[1]
    assert sorted(written[0]) == ["attribution.json", "attribution.md"]
    tree = json.loads(written[0]["attribution.json"])
    assert [one["teacher"] for one in tree["contributions"]][-1] == "noise"


def test_durations_are_printed_and_not_written_to_files(project: Path) -> None:
    params = make_params()
    timings = project / ".polydistill" / "timings" / "text"
    timings.mkdir(parents=True)
    (timings / "colours.json").write_text('{"rows_per_s": 1000.0}\n', encoding="utf-8")

    report = attribute_scores(project, params, "text")

    here = adds_per_minute(project, params, report)
    rows = params.modality("text").corpus.rows
    assert rows is not None
    adds = {one.teacher: one.adds.mean for one in report.contributions}
    assert here["colours"]["minutes"] == pytest.approx(rows / 60_000)
    assert here["colours"]["adds_per_minute"] == pytest.approx(adds["colours"] / (rows / 60_000))
    assert here["noise"]["minutes"] is None
    assert here["noise"]["adds_per_minute"] is None
    assert "minutes" not in (project / "docs" / "results" / "text" / "attribution.json").read_text(
        "utf-8"
    )


def test_missing_embeddings_are_reported(project: Path) -> None:
    folder = Layout(project, "text").embeddings("benchmark", "shapes")
    folder.rename(project / "elsewhere")

    with pytest.raises(MissingDataError, match=r"benchmark/shapes: run `dvc repro embed@text-shap"):
        attribute_scores(project, make_params(), "text")


def test_an_input_without_an_embedding_is_an_error(project: Path) -> None:
    frame = pd.read_csv(project / "data" / "kinds.csv")
    frame.loc[0, "text"] = "9999 0 1"
    frame.to_csv(project / "data" / "kinds.csv", index=False)

    with pytest.raises(StoreError, match="lacks 1 of .*embed stage"):
        attribute_scores(project, make_params(), "text")


def test_one_teacher_alone_has_no_marginal_contribution(project: Path) -> None:
    with pytest.raises(ParamsError, match="at least two teachers, got only colours"):
        attribute_scores(project, make_params(teachers=["colours"]), "text")

    assert not (project / "docs").exists()


def test_the_command_line_ranks_the_teachers_and_flags_the_noise(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "params.yaml").write_text(make_params().model_dump_json(), encoding="utf-8")
    monkeypatch.chdir(project)

    result = CliRunner().invoke(app, ["attribution", "text"])

    assert result.exit_code == 0, result.output
    last = result.output.splitlines()[-1]
    assert last.split()[0] == "noise"
    assert "minutes none, per minute none, flag adds nothing" in last


def test_the_command_line_adds_this_machines_minutes_to_the_json(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "params.yaml").write_text(make_params().model_dump_json(), encoding="utf-8")
    monkeypatch.chdir(project)

    result = CliRunner().invoke(app, ["attribution", "text", "--json"])

    tree = json.loads(result.output.splitlines()[-1])
    assert set(tree["on_this_machine"]) == set(TEACHERS)
    assert tree["contributions"][-1]["adds_nothing"] is True
