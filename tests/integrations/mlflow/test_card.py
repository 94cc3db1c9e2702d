from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.config.params import load_params
from polydistill.integrations.mlflow.bundle import version_folder
from polydistill.integrations.mlflow.card import MOST_CHARACTERS, attach_card, description_of
from polydistill.integrations.mlflow.promotion import promote
from polydistill.integrations.mlflow.publish import publish
from polydistill.integrations.mlflow.store import connected
from polydistill.project.layout import Layout
from polydistill.report.facts import collect
from polydistill.report.page import write_report
from polydistill.students import encode, load_student
from tests.published_project import retrain


def report(root: Path) -> None:
    write_report(root, collect(root, load_params(root), "text", speed=False))


def test_a_published_version_gets_the_card_and_keeps_its_hashes(
    evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = load_params(evaluated)
    publish(evaluated, params, "text")
    promote(evaluated, params, "text")
    report(evaluated)

    uri = attach_card(evaluated, "text")

    assert uri == "models:/student-text/1"
    with connected(evaluated) as client:
        version = client.get_model_version("student-text", "1")
        path = client.download_artifacts(str(version.run_id), "README.md", str(tmp_path))
    card = Path(path).read_text(encoding="utf-8")
    assert "\n## Use it\n" in card
    assert version.description == description_of(card)
    folder = tmp_path / "version"
    folder.mkdir()
    version_folder(evaluated, uri, folder)  # compares the hashes
    monkeypatch.chdir(evaluated)
    found: dict[str, Any] = {}
    exec(card.split("```python\n")[1].split("```")[0], found)  # noqa: S102
    own = encode(load_student(Layout(evaluated, "text").student), ["a text"])
    np.testing.assert_allclose(found["embeddings"], own, rtol=1e-6)


def test_a_report_of_another_student_or_an_unpublished_student_gives_no_card(
    evaluated: Path,
) -> None:
    report(evaluated)
    assert attach_card(evaluated, "text") is None  # not published
    retrain(evaluated, seed=1, score=0.9)
    publish(evaluated, load_params(evaluated), "text")

    attached = attach_card(evaluated, "text")  # of the student before

    assert attached is None
    with connected(evaluated) as client:
        assert not client.get_model_version("student-text", "1").description


def test_the_report_command_attaches_the_card_or_says_why_not(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(evaluated, load_params(evaluated), "text")
    monkeypatch.chdir(evaluated)
    words = ["report", "text", "--no-speed"]

    attached = CliRunner().invoke(app, words)
    (evaluated / "mlruns/mlflow.db").write_bytes(b"not a database")
    damaged = CliRunner().invoke(app, words)

    assert attached.exit_code == 0, attached.output
    assert "Model card: README.md of models:/student-text/1" in attached.stdout
    assert damaged.exit_code == 0, damaged.output
    assert "The model card is not in the registry: " in damaged.stderr
    assert "Report: reports/text/index.html" in damaged.stdout


def test_a_description_has_as_many_sections_as_mlflow_has_space_for() -> None:
    sections = [f"## {number}\n\n{'word ' * 300}" for number in range(5)]

    found = description_of("---\nlicense: mit\n---\n\n# A student\n\n" + "\n".join(sections))

    assert len(found) <= MOST_CHARACTERS
    assert [line for line in found.splitlines() if line.startswith("#")] == [
        *("# A student", "## 0", "## 1", "## 2")
    ]
