from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from polydistill.config.params import load_params
from polydistill.data import preparation
from polydistill.errors import DataError, MissingDataError, ValidationFailedError
from polydistill.stages.validate import ValidationReport, _labels_of, validate
from tests.small_data import TEXT, PandasChecker, make_frames, write_project

Frames = dict[str, pd.DataFrame]


def run(root: Path, frames: Frames) -> ValidationReport:
    return validate(root, write_project(root, frames), "text", PandasChecker())


def put(table: str, row: int, column: str, value: str | float | None) -> Callable[[Frames], None]:
    def spoil(frames: Frames) -> None:
        frames[table].loc[row, column] = value

    return spoil


def put_text(table: str, row: int, text: str) -> Callable[[Frames], None]:
    def spoil(frames: Frames) -> None:
        frames[table].loc[row, ["id", "text"]] = [TEXT.content_id(text), text]

    return spoil


def repeat_first_row(frames: Frames) -> None:
    frames["corpus"] = pd.concat([frames["corpus"].head(1), frames["corpus"]], ignore_index=True)


def contradict(frames: Frames) -> None:
    twice = frames["topics"].loc[[0]].assign(id="other", label="blue")
    frames["topics"] = pd.concat([frames["topics"], twice], ignore_index=True)


def straddle(frames: Frames) -> None:
    frames["topics"].loc[[0, 7], "group"] = "one"


def make_one_class_of_all(frames: Frames) -> None:
    frames["topics"]["label"] = "red"


SPOILT = {
    "a corpus id is missing": (
        put("corpus", 2, "id", None), "corpus", "id", "an id is missing"),
    "a corpus row occurs twice": (
        repeat_first_row, "corpus", "id", "an id occurs twice"),
    "an id is not of its content": (
        put("corpus", 1, "id", "0" * 32), "corpus", "id_is_content", "not the hash"),
    "a corpus text is missing": (
        put("corpus", 3, "text", None), "corpus", "text", "an example is missing"),
    "a corpus text is nearly empty": (
        put_text("corpus", 3, "?"), "corpus", "text", "fewer than 3"),
    "a corpus text is a document": (
        put_text("corpus", 3, "long " * 3000), "corpus", "text", "more than 10,000"),
    "a corpus text is binary": (
        put_text("corpus", 4, "\x00\x01\x02ab"), "corpus", "printable_ratio", "less than 90 %"),
    "bytes were replaced": (
        put_text("topics", 4, "caf\ufffd \ufffd"), "topics", "printable_ratio", "valid UTF-8"),
    "a corpus group is missing": (
        put("corpus", 5, "group", None), "corpus", "group", "a group is missing"),
    "a label is missing": (
        put("topics", 6, "label", None), "topics", "label", "a label is missing"),
    "a rating is missing": (
        put("ratings", 2, "label", None), "ratings", "label", "a label is missing"),
    "a rating is infinite": (
        put("ratings", 2, "label", float("inf")), "ratings", "label_is_finite", "not a finite"),
    "a similarity is infinite": (
        put("pairs", 2, "label", float("inf")), "pairs", "label_is_finite", "not a finite"),
    "one side of a pair is missing": (
        put("pairs", 1, "text2", None), "pairs", "text2", "an example is missing"),
    "a task text is empty": (
        put_text("topics", 1, ""), "topics", "text", "an example is empty"),
    "a split has another name": (
        put("topics", 5, "split", "dev"), "topics", "split", "neither train nor test"),
    "labels contradict each other": (
        contradict, "topics", "n_labels_of_example", "contradictory"),
    "a group is in both splits": (
        straddle, "topics", "n_splits_of_group", "is in both splits"),
    "one class has nearly all rows": (
        make_one_class_of_all, "topics", "label_share", "nearly all rows"),
    "a test label is new": (
        put("topics", 7, "label", "green"), "topics", "label_is_in_train", "does not occur"),
    "a task text is in the corpus": (
        put_text("topics", 2, "A sentence, about thing number 3!"),
        "topics", "in_corpus", "is in the corpus"),
    "a task text is in the unused part of the corpus": (
        put_text("ratings", 2, "A sentence about thing number 11"),
        "ratings", "in_corpus", "is in the corpus"),
}  # fmt: skip


def test_valid_data_pass_and_are_counted(tmp_path: Path) -> None:
    report = run(tmp_path, make_frames())

    written = json.loads((tmp_path / "reports/text/validation.json").read_text())
    assert report.tables == 4
    assert report.rules == len(written["rules"]) > 40
    assert written["success"] is True
    assert written["unavailable"] == []
    assert report.labels == {
        "topics": "2 classes, such as 'red', 'blue'",
        "ratings": "numbers from -1.5 to 4",
        "pairs": "numbers from 0.1 to 4",
    }


def test_a_distractor_without_a_label_is_no_class() -> None:
    labels = pd.Series(["q1", None, "q2", "q1"], dtype=object)

    assert _labels_of(pd.DataFrame({"label": labels})) == "2 classes, such as 'q1', 'q2'"


@pytest.mark.parametrize("what", SPOILT)
def test_a_failure_reports_table_expectation_column_count_and_rows(
    tmp_path: Path, what: str
) -> None:
    spoil, table, column, because = SPOILT[what]
    frames = make_frames()
    spoil(frames)

    with pytest.raises(ValidationFailedError) as caught:
        run(tmp_path, frames)

    finding = rf"{table}: .*{because}.* \(expect_\w+ on column '{column}': \d+ of \d+ rows\)\."
    assert re.search(finding + r"\n    row \d+: id=", str(caught.value))
    assert len(str(caught.value).splitlines()) <= 25
    written = json.loads((tmp_path / "reports/text/validation.json").read_text())
    assert written["success"] is False


def test_at_most_three_rows_and_five_failures_are_shown(tmp_path: Path) -> None:
    frames = make_frames()
    for table in ("topics", "ratings"):
        frames[table][["group", "split"]] = "dev"
        frames[table]["text"] = "a sentence about thing number 1"
        frames[table]["label"] = None

    with pytest.raises(ValidationFailedError, match=r"and \d+ more in validation.json") as caught:
        run(tmp_path, frames)

    assert len(str(caught.value).splitlines()) <= 5 * 4 + 1


def test_a_pair_is_in_the_corpus_only_if_both_its_sides_are(tmp_path: Path) -> None:
    frames = make_frames()
    frames["pairs"].loc[0, "text1"] = "a sentence about thing number 1"
    run(tmp_path, frames)
    frames["pairs"].loc[0, "text2"] = "a sentence about thing number 2"

    with pytest.raises(ValidationFailedError, match=r"pairs: a benchmark example is in the corpus"):
        run(tmp_path, frames)


def test_texts_with_line_breaks_are_valid(tmp_path: Path) -> None:
    frames = make_frames()
    put_text("corpus", 0, "a\nb\nc\nd\te")(frames)

    assert run(tmp_path, frames).tables == 4


def test_the_summary_is_reproducible(tmp_path: Path) -> None:
    written = []
    for _ in range(2):
        run(tmp_path, make_frames())
        written.append((tmp_path / "reports/text/validation.json").read_bytes())

    assert written[0] == written[1]


def test_tables_of_texts_and_labels_are_valid_and_dropped_rows_are_reported(tmp_path: Path) -> None:
    frames = make_frames()
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    frames["topics"]["text"] = [f"{number} is a word that no other row has" for number in numbers]
    for table, columns in {"corpus": ["text"], "topics": ["text", "label"]}.items():
        rows = frames[table][columns]
        empty = pd.DataFrame({"text": [None], "label": ["red"]})[columns]
        frames[table] = pd.concat([rows, rows.head(2), empty], ignore_index=True)

    report = run(tmp_path, frames)

    assert report.dropped == {
        "corpus": {"empty": 1, "repeated": 2, "contradictory": 0},
        "topics": {"empty": 1, "repeated": 2, "contradictory": 0},
    }
    written = json.loads((tmp_path / "reports/text/validation.json").read_text())
    assert written["dropped"]["corpus"] == {"empty": 1, "repeated": 2, "contradictory": 0}


def test_a_completely_used_table_reports_no_dropped_rows(tmp_path: Path) -> None:
    assert run(tmp_path, make_frames()).dropped == {}
    assert "dropped" not in json.loads((tmp_path / "reports/text/validation.json").read_text())


def test_a_missing_label_column_is_refused_by_name(tmp_path: Path) -> None:
    frames = make_frames()
    del frames["ratings"]["label"]

    with pytest.raises(DataError, match=r"data/ratings.parquet must have a column 'label'"):
        run(tmp_path, frames)


def test_numbers_in_place_of_examples_are_refused(tmp_path: Path) -> None:
    frames = make_frames()
    frames["topics"]["text"] = range(8)

    with pytest.raises(
        DataError, match=r"topics.parquet: column 'text' must contain examples, got "
    ):
        run(tmp_path, frames)


@pytest.mark.parametrize("content", [b"", b"PAR1 not really", b"\x00" * 64])
def test_a_broken_parquet_file_is_named(tmp_path: Path, content: bytes) -> None:
    params = write_project(tmp_path, make_frames())
    (tmp_path / "data" / "topics.parquet").write_bytes(content)

    with pytest.raises(DataError, match=r"topics.parquet (cannot be read|is empty)"):
        validate(tmp_path, params, "text", PandasChecker())


def test_a_csv_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    params = write_project(tmp_path, make_frames())
    (tmp_path / "data" / "pairs.csv").write_bytes(b"id,text1,text2,label\np,caf\xe9,b,1\n")

    with pytest.raises(DataError, match=r"pairs.csv, line 2: byte 0xe9"):
        validate(tmp_path, params, "text", PandasChecker())


def test_the_error_for_missing_data_says_how_to_get_them(tmp_path: Path) -> None:
    params = write_project(tmp_path, make_frames())
    (tmp_path / "data" / "corpus.parquet").unlink()

    with pytest.raises(MissingDataError, match=r"dvc pull data.dvc"):
        validate(tmp_path, params, "text", PandasChecker())


def test_an_implausible_label_is_refused(tmp_path: Path) -> None:
    frames = make_frames()
    params = write_project(tmp_path, frames)
    block = params.modality("text")
    ranged = block.tasks["ratings"].model_copy(update={"label_range": (-0.5, 0.5)})
    tasks = {**block.tasks, "ratings": ranged}
    changed = params.model_copy(update={"text": block.model_copy(update={"tasks": tasks})})
    frames["ratings"].loc[0, "label"] = 5869.0
    write_project(tmp_path, frames)

    with pytest.raises(ValidationFailedError, match=r"outside \[-0\.5, 0\.5\][^\n]*\n.*5869"):
        validate(tmp_path, changed, "text", PandasChecker())


def test_a_corpus_is_checked_in_parts_with_the_rows_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "CHECKED_ROWS", 4)
    frames = make_frames()
    for row in (1, 5, 6, 9):
        put_text("corpus", row, "?" * (row % 3))(frames)

    with pytest.raises(ValidationFailedError) as caught:
        run(tmp_path, frames)

    rule = r"corpus: a text has fewer than 3 or more .*: 4 of 10 rows\)\.\n    row 1: .*\n    row 5: .*\n    row 6: "
    assert re.search(rule, str(caught.value))
    written = json.loads((tmp_path / "reports/text/validation.json").read_text())
    broken = [one for one in written["rules"] if not one["success"] and "lengths" in one["type"]]
    assert [(one["count"], one["rows"]) for one in broken] == [(4, [1, 5, 6])]


def test_a_failure_keeps_the_corpus_of_the_last_success(tmp_path: Path) -> None:
    run(tmp_path, make_frames())
    file = tmp_path / "artifacts/text/corpus/corpus.arrow"
    before = file.read_bytes()
    frames = make_frames()
    put("corpus", 2, "id", None)(frames)

    with pytest.raises(ValidationFailedError):
        run(tmp_path, frames)

    assert file.read_bytes() == before
    assert not (tmp_path / ".polydistill/work/validate/text").exists()


def test_a_label_with_fewer_training_rows_than_shots_is_named(tmp_path: Path) -> None:
    write_project(tmp_path, make_frames())
    tree = yaml.safe_load((tmp_path / "params.yaml").read_text("utf-8"))

    def run_with(shots: int) -> ValidationReport:
        tree["text"]["tasks"]["topics"]["shots"] = shots
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree), "utf-8")
        return validate(tmp_path, load_params(tmp_path), "text", PandasChecker())

    assert run_with(2).tables == 4
    with pytest.raises(ValidationFailedError, match="a label has fewer than 3 training rows"):
        run_with(3)
