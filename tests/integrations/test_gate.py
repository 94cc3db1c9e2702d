"""The whole gate on MLflow's registry: smoke test, budgets, `promotion.json`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import load_file, save_file

from polydistill.config.params import Params, load_params
from polydistill.integrations.mlflow.promotion import promote
from polydistill.integrations.mlflow.publish import publish
from polydistill.integrations.mlflow.store import connected, folder
from polydistill.project.card import write_card
from polydistill.project.layout import Layout
from polydistill.registry.gate import read_promotion
from polydistill.report.champion import read_champion
from polydistill.report.facts import collect
from tests.our_params import our_params
from tests.published_project import DATA_MD5, retrain

NO_PROCESS = {"smoke_test": False, "max_memory_mb": None}
"""Leaves the fresh process out: it takes ten seconds to import MLflow and torch."""


def whole_gate(root: Path, **changes: object) -> Params:
    """Return the project's parameters with the gate of the repository's `params.yaml`."""
    path = root / "params.yaml"
    tree = yaml.safe_load(path.read_text())
    ours = our_params()
    tree["text"]["gate"] = (
        ours["text"]["gate"]
        | {"resamples": 200, "max_latency_ratio": 5.0}
        | {"reproducible": "any"}  # the project of these tests is no git repository
        | changes
    )
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return load_params(root)


def damage(root: Path, *, factor: float) -> None:
    """Change the weights of every published bundle, and their hash in its card."""
    for file in (folder(root) / "artifacts" / "models").rglob("model.safetensors"):
        weights = load_file(file)
        save_file({name: values * factor for name, values in weights.items()}, file)
        card = file.with_name("student.json")
        write_card(card, json.loads(card.read_bytes()))


def attached(root: Path, version: int) -> str:
    with connected(root) as client:
        found = client.get_model_version("student-text", str(version))
        return Path(
            client.download_artifacts(str(found.run_id), found.tags["promotion"])
        ).read_text()


def test_the_default_gate_lets_a_good_student_pass_and_attaches_why(evaluated: Path) -> None:
    params = whole_gate(evaluated)
    publish(evaluated, params, "text")

    verdict = promote(evaluated, params, "text")

    assert verdict.promoted, verdict.reason
    rules = {rule.name: rule for rule in verdict.rules}
    assert rules["smoke-test"].because.endswith(
        "the same answers to 8 examples in a fresh process."
    )
    assert rules["memory"].value is not None
    assert 0 < rules["memory"].value < 300
    assert rules["data-validated"].passed
    text = attached(evaluated, 1)
    assert text == Layout(evaluated, "text").verdict.read_text()
    assert read_promotion(text).rules == verdict.rules
    assert str(evaluated) not in text


def test_a_bundle_that_answers_otherwise_than_it_did_is_refused(evaluated: Path) -> None:
    params = whole_gate(evaluated)
    publish(evaluated, params, "text")
    damage(evaluated, factor=1.5)

    verdict = promote(evaluated, params, "text")

    assert [rule.name for rule in verdict.rules if not rule.passed] == ["smoke-test"]
    assert "differ from those at its publication" in verdict.reason


def test_a_bundle_that_does_not_load_is_refused_and_the_champion_stays(evaluated: Path) -> None:
    params = whole_gate(evaluated, **NO_PROCESS)
    publish(evaluated, params, "text")
    promote(evaluated, params, "text")
    params = whole_gate(evaluated)
    retrain(evaluated, seed=1, score=0.6)
    publish(evaluated, params, "text")
    newest = max(
        (folder(evaluated) / "artifacts" / "models").rglob("model.safetensors"),
        key=lambda path: path.stat().st_mtime,
    )
    newest.write_bytes(newest.read_bytes()[:100])

    verdict = promote(evaluated, params, "text")

    broken = {rule.name: rule.because for rule in verdict.rules if not rule.passed}
    assert set(broken) == {"smoke-test", "latency-ratio", "memory", "size"}
    assert "cannot be loaded in a fresh process" in broken["smoke-test"]
    with connected(evaluated) as client:
        assert int(client.get_model_version_by_alias("student-text", "champion").version) == 1


@pytest.mark.parametrize(("stamp", "outcome"), [("false", "refused"), ("true", "promoted")])
def test_the_stamp_of_a_version_is_read(evaluated: Path, stamp: str, outcome: str) -> None:
    params = whole_gate(evaluated, **NO_PROCESS, reproducible="unless-refuted")
    publish(evaluated, params, "text")
    with connected(evaluated) as client:
        client.set_model_version_tag("student-text", "1", "reproducible", stamp)

    dry = promote(evaluated, params, "text", dry_run=True)
    assert not Layout(evaluated, "text").verdict.exists()
    with connected(evaluated) as client:
        assert "promotion" not in client.get_model_version("student-text", "1").tags

    assert promote(evaluated, params, "text").outcome == dry.outcome == outcome


def test_a_version_without_evidence_is_refused_with_what_to_do(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = whole_gate(evaluated)
    with monkeypatch.context() as patch:
        patch.setattr(
            "polydistill.integrations.mlflow.publish.write_evidence", lambda *_arguments: None
        )
        publish(evaluated, params, "text")

    verdict = promote(evaluated, params, "text")

    broken = {rule.name for rule in verdict.rules if not rule.passed}
    assert broken >= {"smoke-test", "data-validated", "licence", "not-contaminated"}
    assert "Publish it again" in verdict.reason
    assert json.loads(attached(evaluated, 1))["outcome"] == "refused"


@pytest.mark.slow
def test_a_version_whose_smoke_test_has_its_former_name_is_judged(evaluated: Path) -> None:
    params = whole_gate(evaluated)
    publish(evaluated, params, "text")
    (file,) = (folder(evaluated) / "artifacts").rglob("smoke_test.json")
    file.rename(file.with_name("canary.json"))

    verdict = promote(evaluated, params, "text")

    assert verdict.promoted, verdict.reason


def test_the_files_of_the_champion_are_kept_for_the_report(evaluated: Path) -> None:
    params = whole_gate(evaluated, **NO_PROCESS)
    layout = Layout(evaluated, "text")
    publish(evaluated, params, "text")
    promote(evaluated, params, "text")
    assert not layout.champion.exists()  # the first version was compared with none
    retrain(evaluated, seed=1, score=0.9)
    publish(evaluated, params, "text")

    promote(evaluated, params, "text", dry_run=True)
    assert not layout.champion.exists()
    promote(evaluated, params, "text")
    promote(
        evaluated, params, "text"
    )  # again: the challenger is champion, and was compared with version 1

    champion = read_champion(layout)
    assert champion is not None
    assert champion.version == 1
    assert champion.data_md5 == DATA_MD5
    facts = collect(evaluated, params, "text", speed=False)
    (mean,) = [row for row in facts["scores"]["kinds"] if row["name"] == "mean"]
    assert mean["differences"]["champion"]["mean"] == pytest.approx(0.4)
    assert facts["headline"]["numbers"][0]["name"] == "Mean score against version 1"
    assert facts["changes"]["rows"] == []
