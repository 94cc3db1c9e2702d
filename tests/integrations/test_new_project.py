from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from polydistill.cli.app import app
from polydistill.config.params import load_params
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.processes import run_command
from tests.toy_project import REPOSITORY

GOOD = ("great", "lovely", "excellent", "wonderful", "perfect", "superb")
BAD = ("awful", "terrible", "broken", "useless", "horrible", "flimsy")
THINGS = ("kettle", "lamp", "phone case", "book", "blender", "jacket", "headset", "tent", "toaster")
OPENERS = (
    "I bought this {} in May",
    "My sister gave me the {}",
    "We use the {} every day",
    'The seller calls it "the {}"',
)
SHORT = ("NA", "ok", "no", "01")
FAST = ("minilm-l6", "glove-50d")


def reviews(rows: int) -> bytes:
    """Return a CSV file as a spreadsheet saves it: a BOM, quotes, line breaks in cells, empty cells, repetitions."""
    draw = np.random.default_rng(0)
    written: list[tuple[str, object]] = []
    for number in range(rows - 25):
        stars = int(draw.integers(1, 6))
        words = GOOD if stars > 3 else BAD if stars < 3 else GOOD + BAD
        opener = str(draw.choice(OPENERS)).format(draw.choice(THINGS))
        text = f"{opener}, and it is {draw.choice(words)}.\nIn a word: {draw.choice(words)}; order {number}"
        written.append((text, stars))
    written += (
        [("", 3)] * 6
        + [(text, 1) for text in SHORT]
        + [(text, "") for text, _ in written[:5]]
        + written[10:20]
    )
    order = draw.permutation(len(written))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(["review_text", "stars"])
    writer.writerows(written[row] for row in order)
    return b"\xef\xbb\xbf" + file.getvalue().encode()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "ada@example.org")
    (tmp_path / "reviews.csv").write_bytes(reviews(120))
    return tmp_path / "reviews.csv"


def init(*options: str) -> str:
    result = CliRunner().invoke(app, ["init", "mine", *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_next_command_works_for_a_folder_with_blanks(file: Path) -> None:
    result = CliRunner().invoke(app, ["init", "my ünü project", "--corpus", "reviews.csv"])

    last = result.output.rstrip().splitlines()[-2]
    moved = subprocess.run(f"{last} && ls", shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    assert "params.yaml" in moved.stdout


def test_a_corpus_with_stars_becomes_a_project_with_a_task(file: Path) -> None:
    said = init("--corpus", "reviews.csv")

    project = file.parent / "mine"
    block = load_params(project).modality("text")
    corpus = pd.read_csv(project / "data/text/corpus.csv", dtype=str)
    task = pd.read_csv(project / "data/text/tasks/stars.csv", dtype=str, keep_default_na=False)
    assert "'review_text' of the corpus has the examples" in said
    assert "'stars' has labels; the task is regression" in said
    assert "Left out of the corpus: 6 empty, 15 repeated." in said
    short_in_task = [text for text in SHORT if text in set(task["text"].astype(str))]
    left_out = len(SHORT) - len(short_in_task)
    assert left_out
    assert f"Left out of the corpus: {left_out} (a text has fewer than 3" in said
    assert said.rstrip().endswith("cd mine\n  polydistill run")
    assert len(corpus) + len(task) + left_out == 95 + len(SHORT)
    assert corpus["text"].nunique() + task["text"].nunique() == len(corpus) + len(task)
    assert not set(corpus["text"]) & set(task["text"])
    assert block.tasks["stars"].kind == "regression"
    assert not block.teachers["e5-small"].enabled
    assert (block.training.batch_size, block.training.epochs) == (32, 40)


def test_the_project_is_a_git_and_a_dvc_repository_with_a_clean_state(file: Path) -> None:
    init("--corpus", "reviews.csv")

    project = file.parent / "mine"
    state = run_command(["git", "status", "--short"], project, timeout_s=60)
    graph = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]
    deps = [dep for stage in graph.values() for dep in stage.get("do", stage)["deps"]]
    stages = [stage for group in dvc.stage_groups(project, "text") for stage in group]
    assert state.exit_code == 0
    assert not state.lines
    assert dvc.sync_data(project) == "unchanged"
    assert (project / "flows" / "retrain.py").is_file()
    assert not [dep for dep in deps if dep.startswith("src") or dep.endswith("local")]
    assert {"validate@text", "embed@text-minilm-l6", "distill@text", "evaluate@text"} <= set(stages)
    assert not [stage for stage in stages if stage.startswith("fetch-data")]


def test_a_task_of_its_own_has_no_example_in_the_corpus(file: Path) -> None:
    frame = pd.read_csv(file).dropna().rename(columns={"review_text": "said"})
    frame["mood"] = np.where(frame["stars"] > 3, "good", "bad")
    frame[["said", "mood"]].head(40).to_json("moods.jsonl", orient="records", lines=True)

    said = init("--corpus", "reviews.csv", "--task", "moods.jsonl", "--label", "mood")

    project = file.parent / "mine"
    corpus = pd.read_csv(project / "data/text/corpus.csv")["text"]
    task = pd.read_csv(project / "data/text/tasks/mood.csv")
    assert "'said' of the task has the examples" in said
    assert load_params(project).modality("text").tasks["mood"].kind == "classification"
    assert not set(corpus) & set(task["text"])
    assert set(task["label"]) == {"good", "bad"}


def test_without_labels_it_says_that_a_task_is_needed_and_what_can_be_done(file: Path) -> None:
    Path("texts.txt").write_text("".join(f"This is text number {n}.\n" for n in range(60)))

    said = init("--corpus", "texts.txt")
    result = CliRunner().invoke(app, ["run"])

    assert "There is no task" in said
    assert "dvc repro distill@text" in said
    assert result.exit_code == 2
    os.chdir("mine")
    result = CliRunner().invoke(app, ["run"])
    assert result.exit_code == 2
    assert "text.tasks must have a task" in result.output


def test_the_stage_graph_of_a_project_without_a_task_reaches_the_student(file: Path) -> None:
    Path("texts.txt").write_text("".join(f"This is text number {n}.\n" for n in range(60)))
    init("--corpus", "texts.txt")

    groups = dvc.stage_groups(file.parent / "mine", "text")

    assert [group[0].partition("@")[0] for group in groups] == [
        "params", "validate", "embed", "distill", "evaluate",
    ]  # fmt: skip


def test_git_without_a_name_is_one_sentence_and_makes_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{name}_NAME")
        monkeypatch.delenv(f"GIT_{name}_EMAIL")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")

    result = CliRunner().invoke(app, ["init", "mine", "--corpus", "reviews.csv"])

    assert result.exit_code == 5
    assert "git config --global user.name" in result.output
    assert not Path("mine").exists()


@pytest.mark.parametrize(
    ("options", "exit_code", "said"),
    [
        (["--corpus", "nowhere.csv"], 3, "No file nowhere.csv"),
        (["--corpus", "reviews.csv", "--column", "text"], 3, "must have a column 'text'"),
        (["--corpus", "reviews.csv", "--label", "mood"], 3, "must have a column 'mood'"),
        (["--corpus", "reviews.csv", "--kind", "regresion"], 2, "Did you mean 'regression'"),
        (["--corpus", "reviews.csv", "--modality", "txt"], 2, "Did you mean 'text'"),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_made(
    file: Path, options: list[str], exit_code: int, said: str
) -> None:
    result = CliRunner().invoke(app, ["init", "mine", *options])

    assert result.exit_code == exit_code, result.output
    assert said in result.output
    assert not Path("mine").exists()


def test_a_folder_with_files_is_left_alone(file: Path) -> None:
    Path("mine").mkdir()
    Path("mine/notes").write_text("mine")

    result = CliRunner().invoke(app, ["init", "mine", "--corpus", "reviews.csv"])

    assert result.exit_code == 2
    assert [one.name for one in Path("mine").iterdir()] == ["notes"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_four_commands_lead_from_a_csv_file_to_a_champion_and_a_report(file: Path) -> None:
    file.write_bytes(reviews(500))
    init("--corpus", "reviews.csv")
    project = file.parent / "mine"
    params = (project / "params.yaml").read_text()
    for slow in ("use-m3", "paraphrase-l3"):
        params = params.replace(f"    {slow}:\n", f"    {slow}: {{enabled: false}}\n")
    (project / "params.yaml").write_text(params)
    (project / "new.txt").write_text("a new text\nanother one\n")
    polydistill = [str(Path(sys.executable).with_name("polydistill"))]
    model = "models:/student-text@champion"

    for command in (["run"], ["encode", model, "new.txt", "-o", "out.npy"]):
        done = subprocess.run(
            polydistill + command, cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    assert np.load(project / "out.npy").shape == (2, 256)
    assert "<html" in (project / "reports/text/index.html").read_text(encoding="utf-8")
    assert list(load_params(project).enabled_teachers("text")) == list(FAST)


def test_a_wheel_has_what_a_project_is_made_of() -> None:
    included = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    table = included["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]

    assert table == {
        "flows": "polydistill/project/template/flows",
        "dvc.yaml": "polydistill/project/template/dvc.yaml",
    }
