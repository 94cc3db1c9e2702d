from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from polydistill.config.params import load_params
from polydistill.errors import MissingDataError, ParamsError
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.great_expectations import GreatExpectationsChecker
from polydistill.integrations.mlflow.promotion import promote, reject
from polydistill.integrations.mlflow.publish import publish
from polydistill.integrations.mlflow.registry import champion_drift
from polydistill.integrations.mlflow.store import connected
from polydistill.integrations.planning import Registered, gather_facts, make_plan, stale_entries
from polydistill.project.layout import Layout
from tests.published_project import DATA_MD5, retrain


@pytest.fixture
def fresh(evaluated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, in which DVC says that nothing is stale."""
    stale: list[str] = []
    monkeypatch.setattr(dvc, "status", lambda _root: stale)
    return evaluated


def again(root: Path, *, seed: int, score: float) -> None:
    """Make another student, and publish it."""
    retrain(root, seed=seed, score=score)
    publish(root, load_params(root), "text")


def test_a_plan_follows_a_student_from_first_run_to_champion(fresh: Path) -> None:
    params = load_params(fresh)

    before = make_plan(fresh, params, "text")
    publish(fresh, params, "text")
    published = make_plan(fresh, params, "text")
    promote(fresh, params, "text")
    promoted = make_plan(fresh, params, "text")

    assert [one.action for one in (before, published, promoted)] == ["run", "run", "unchanged"]
    assert gather_facts(fresh, params, "text").champion == Registered(
        1, gather_facts(fresh, params, "text").lock_sha256, DATA_MD5, "promoted"
    )


def test_a_refused_challenger_is_settled_until_the_gate_s_policy_lets_it_pass(fresh: Path) -> None:
    params = load_params(fresh)
    publish(fresh, params, "text")
    promote(fresh, params, "text")
    again(fresh, seed=1, score=0.4)
    assert promote(fresh, params, "text").refused

    settled = make_plan(fresh, params, "text")
    path = fresh / "params.yaml"
    path.write_text(path.read_text().replace("min_gain: 0.0", "min_gain: -1.0"))
    lenient = make_plan(fresh, load_params(fresh), "text")

    assert (settled.action, settled.reason) == (
        "unchanged",
        "Nothing is stale, and version 2 was refused.",
    )
    assert lenient.action == "run"


def test_a_person_s_no_is_kept_with_the_version_and_settles_it(fresh: Path) -> None:
    params = load_params(fresh)
    publish(fresh, params, "text")
    promote(fresh, params, "text")
    again(fresh, seed=1, score=0.9)

    verdict = reject(fresh, params, "text", by="ada", reason="its licence")

    with connected(fresh) as client:
        tags = client.get_model_version("student-text", "2").tags
        champion = client.get_model_version_by_alias("student-text", "champion").version
    assert verdict.reason == "Version 2 is refused by ada: its licence"
    assert tags["verdict"] == "withdrawn"
    assert tags["verdict_reason"] == verdict.reason
    assert json.loads(Layout(fresh, "text").verdict.read_text())["outcome"] == "refused"
    assert int(champion) == 1
    assert make_plan(fresh, params, "text").action == "unchanged"


def test_a_rejection_needs_a_name_and_a_challenger(fresh: Path) -> None:
    params = load_params(fresh)
    publish(fresh, params, "text")
    promote(fresh, params, "text")

    with pytest.raises(ParamsError, match="name .--by. and a reason"):
        reject(fresh, params, "text", by="ada", reason=" ")
    with pytest.raises(MissingDataError, match="no challenger to reject"):
        reject(fresh, params, "text", by="ada", reason="too slow")


def test_only_what_belongs_to_the_modality_is_stale(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ["data.dvc", "distill@text", "distill@vision", "embed@text-glove-50d", "other.dvc"]
    monkeypatch.setattr(dvc, "status", lambda _root: found)

    stale = stale_entries(evaluated, load_params(evaluated), "text")

    assert stale == ("data.dvc", "distill@text", "embed@text-glove-50d")


def test_a_champion_s_corpus_is_compared_by_great_expectations(fresh: Path) -> None:
    params = load_params(fresh)
    publish(fresh, params, "text")
    promote(fresh, params, "text")
    checker = GreatExpectationsChecker(Layout(fresh, "text").drift_docs)

    same = champion_drift(fresh, params, "text", "student-text", checker)
    corpus = fresh / "data/text/corpus.parquet"
    pd.read_parquet(corpus).assign(text=["a much longer text", "and another text"]).to_parquet(
        corpus
    )
    other = champion_drift(fresh, params, "text", "student-text", checker)

    assert (same.champion, same.drifted) == (1, ())
    assert "n_characters" in other.drifted
    assert [column.drifted for column in other.columns] == [
        not column.low <= column.incoming <= column.high for column in other.columns
    ]
    assert (Layout(fresh, "text").drift_docs / "index.html").exists()


def test_without_a_champion_there_is_nothing_to_compare_with(fresh: Path) -> None:
    checker = GreatExpectationsChecker(Layout(fresh, "text").drift_docs)

    with pytest.raises(MissingDataError, match="student-text@champion"):
        champion_drift(fresh, load_params(fresh), "text", "student-text", checker)


def test_planning_brings_nothing_heavy_before_an_answer_hangs_on_it() -> None:
    heavy = {"great_expectations", "mlflow", "pandas", "scipy", "torch"}
    script = f"import sys, polydistill.integrations.planning; print({heavy!r} & set(sys.modules))"

    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert ended.stdout.strip() == "set()"
