from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from polydistill.config.overrides import changed
from polydistill.config.params import Params, parse_params
from polydistill.data.ids import unpack_ids
from polydistill.embeddings.store import open_embeddings
from polydistill.errors import DataError, StageError, StoreError, UnknownNameError
from polydistill.project.files import put_in_place
from polydistill.project.layout import Layout
from polydistill.stages.embed import EmbedReport, embed
from polydistill.teachers.hashing import HashingTeacher
from tests.small_data import make_frames, write_project
from tests.stored_corpus import store_corpus

TEACHER = "hash"


def project(root: Path, *, rows: int = 10, valid: bool = True, **options: object) -> Params:
    """Write a project with one hashing teacher and shards of four rows."""
    write_project(root, make_frames())
    tree = yaml.safe_load((root / "params.yaml").read_text())
    tree["text"]["corpus"]["rows"] = rows
    tree["text"]["teachers"] = {TEACHER: {"family": "hashing", "dim": 8, **options}}
    tree["text"]["store"] = {"dtype": "float16", "shard_rows": 4}
    report = Layout(root, "text").validation
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps({"success": valid}))
    params = parse_params(tree)
    store_corpus(root, params)
    return params


def run(root: Path, **options: object) -> EmbedReport:
    return embed(root, project(root, **options), "text", TEACHER)  # type: ignore[arg-type]


def contents(root: Path) -> dict[str, bytes]:
    folder = root / "artifacts"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_corpus_and_benchmark_inputs_are_embedded_in_order(tmp_path: Path) -> None:
    report = run(tmp_path)

    frames, layout = make_frames(), Layout(tmp_path, "text")
    corpus = open_embeddings(layout.embeddings("corpus", TEACHER))
    benchmark = open_embeddings(layout.embeddings("benchmark", TEACHER))
    expected = HashingTeacher(TEACHER, 1, dim=8).embed(frames["corpus"]["text"].tolist()[:10])
    assert unpack_ids(corpus.ids) == frames["corpus"]["id"].tolist()[:10]
    np.testing.assert_allclose(corpus.take(np.arange(10)).values, expected.values, atol=1e-3)
    assert len(benchmark) == 8 + 6 + 8
    assert (report.n_corpus, report.n_benchmark, report.shards_computed) == (10, 22, 9)


def test_a_second_run_computes_nothing(tmp_path: Path) -> None:
    run(tmp_path)
    before = contents(tmp_path)

    report = run(tmp_path)

    assert (report.shards_computed, report.shards_reused) == (0, 9)
    assert contents(tmp_path) == before


def test_embeddings_that_were_moved_aside_are_reused(tmp_path: Path) -> None:
    run(tmp_path)
    before, layout = contents(tmp_path), Layout(tmp_path, "text")
    for part in ("corpus", "benchmark"):
        [(folder, target)] = layout.disabled_embeddings(part, active=())
        put_in_place(folder, target)
    assert layout.disabled_embeddings("corpus", active=()) == []

    report = run(tmp_path)

    assert (report.shards_computed, report.shards_reused) == (0, 9)
    assert contents(tmp_path) == before
    assert not layout.embedding_work("corpus", TEACHER).exists()


def test_appended_rows_recompute_the_last_shard_only(tmp_path: Path) -> None:
    run(tmp_path, rows=10)

    report = run(tmp_path, rows=12)

    assert (report.shards_computed, report.shards_reused) == (1, 8)


def test_corpus_and_benchmark_share_a_basis_of_fewer_dimensions(tmp_path: Path) -> None:
    params = project(tmp_path)
    whole = embed(tmp_path, params, "text", TEACHER)
    params = changed(params, {"text.store.kept_variance": 0.99})

    report = embed(tmp_path, params, "text", TEACHER)

    layout = Layout(tmp_path, "text")
    stored = [open_embeddings(layout.embeddings(p, TEACHER)) for p in ("corpus", "benchmark")]
    assert whole.dim == 8
    assert (whole.kept_variance, whole.cosine_error) == (None, None)
    assert 1 < report.dim < 8
    assert [one.dim for one in stored] == [report.dim] * 2
    assert stored[0].basis.sha256 == stored[1].basis.sha256  # type: ignore[union-attr]
    assert report.kept_variance == pytest.approx(0.99, abs=0.02)
    assert embed(tmp_path, params, "text", TEACHER).shards_computed == 0


def test_another_option_of_the_teacher_recomputes_everything(tmp_path: Path) -> None:
    run(tmp_path, n=3)

    report = run(tmp_path, n=2)

    assert (report.shards_computed, report.shards_reused) == (9, 0)


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for root in (killed, whole):
        root.mkdir()
    run(whole)
    params = project(killed)

    def die(what: str, done: int, total: int, **figures: float) -> None:
        if "corpus" in what and done > 4:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        embed(killed, params, "text", TEACHER, progress=die)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    report = run(killed)

    assert os.WTERMSIG(status) == signal.SIGKILL
    assert report.shards_reused == 1
    assert contents(killed) == contents(whole)
    assert not list((killed / ".polydistill" / "work").rglob("*.arrow"))


def test_a_damaged_shard_is_named_and_rebuilt(tmp_path: Path) -> None:
    run(tmp_path)
    before = contents(tmp_path)
    shard = Layout(tmp_path, "text").embeddings("corpus", TEACHER) / "0000/shard-00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-9] + b"x" * 9)

    report = run(tmp_path)

    assert report.rebuilt == ("0000/shard-00001.arrow",)
    assert contents(tmp_path) == before


def test_the_throughput_is_stored_outside_the_stage_outputs(tmp_path: Path) -> None:
    run(tmp_path)

    note = tmp_path / ".polydistill" / "timings" / "text" / f"{TEACHER}.json"
    assert json.loads(note.read_text())["rows_per_s"] > 0
    assert b"rows_per_s" not in b"".join(contents(tmp_path).values())


def test_the_disk_estimate_is_reported_before_the_first_row(tmp_path: Path) -> None:
    reported: list[tuple[str, dict[str, float]]] = []

    def record_progress(what: str, done: int, total: int, **figures: float) -> None:
        reported.append((what, figures))

    embed(tmp_path, project(tmp_path), "text", TEACHER, progress=record_progress)

    assert reported[0][0] == "hash on disk"
    assert 0 < reported[0][1]["MiB"] < reported[0][1]["free_MiB"]
    assert {what for what, _ in reported[1:]} == {"hash corpus", "hash benchmark"}


@pytest.mark.parametrize("valid", [False, None])
def test_data_that_did_not_pass_validation_is_refused(
    tmp_path: Path,
    valid: bool | None,  # noqa: FBT001
) -> None:
    params = project(tmp_path, valid=bool(valid))
    if valid is None:
        Layout(tmp_path, "text").validation.unlink()

    with pytest.raises(StageError, match="valid"):
        embed(tmp_path, params, "text", TEACHER)


def test_a_disabled_teacher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'hash'"):
        embed(tmp_path, project(tmp_path), "text", "hsah")


@pytest.mark.parametrize("name", ["corpus.arrow", "corpus.json"])
def test_a_damaged_corpus_is_an_error(tmp_path: Path, name: str) -> None:
    params = project(tmp_path)
    file = Layout(tmp_path, "text").corpus / name
    file.write_bytes(file.read_bytes()[:-9] + b"}\n")

    with pytest.raises(StageError, match=rf"{name} is damaged: run `polydistill validate text`"):
        embed(tmp_path, params, "text", TEACHER)


def test_a_corpus_of_other_settings_is_refused(tmp_path: Path) -> None:
    project(tmp_path)
    tree = yaml.safe_load((tmp_path / "params.yaml").read_text())
    tree["text"]["corpus"]["rows"] = 9

    with pytest.raises(StageError, match="made with other settings of the corpus: run"):
        embed(tmp_path, parse_params(tree), "text", "minilm-l6")


def test_a_missing_corpus_is_named(tmp_path: Path) -> None:
    params = project(tmp_path)
    shutil.rmtree(Layout(tmp_path, "text").corpus)

    with pytest.raises(StageError, match="No corpus in .*: run `polydistill validate text` first"):
        embed(tmp_path, params, "text", TEACHER)


def test_a_precomputed_teacher_is_queried_by_id(tmp_path: Path) -> None:
    frames = make_frames()
    black_box = tmp_path / "black-box"
    black_box.mkdir()
    ids = frames["corpus"]["id"].tolist()[:8]
    pd.DataFrame({"id": ids, "embedding": [[float(row), 1.0] for row in range(8)]}).to_parquet(
        black_box / "part.parquet"
    )
    tree = project(tmp_path).model_dump()
    tree["text"]["teachers"] = {
        TEACHER: {"family": "precomputed", "folder": str(black_box), "dim": 2}
    }

    embed(tmp_path, parse_params(tree), "text", TEACHER)

    stored = open_embeddings(Layout(tmp_path, "text").embeddings("corpus", TEACHER))
    rows = stored.take(np.arange(10))
    assert rows.values[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 0]
    assert rows.present.tolist() == [True] * 8 + [False] * 2


def with_table(root: Path, ids: list[Any], rows: list[list[float]]) -> Params:
    """Return settings whose teacher is a table with these ids and embeddings."""
    (root / "black-box").mkdir()
    frame = pd.DataFrame({"id": ids, "embedding": rows})
    frame.to_parquet(root / "black-box" / "part.parquet")
    tree = project(root).model_dump()
    row = {"family": "precomputed", "folder": str(root / "black-box"), "dim": 2}
    tree["text"]["teachers"] = {TEACHER: row}
    return parse_params(tree)


def with_own_ids(root: Path, ids: list[Any], known: list[Any], rows: list[list[float]]) -> Params:
    """Return settings of a corpus with its own ids, whose teacher is a table with the ids `known`."""
    params = with_table(root, known, rows)
    corpus = make_frames()["corpus"].head(len(ids)).assign(id=ids)
    corpus.to_parquet(root / "data" / "corpus.parquet")
    return params


def stored_rows(root: Path, params: Params) -> tuple[list[float], list[bool]]:
    store_corpus(root, params)
    embed(root, params, "text", TEACHER)
    stored = open_embeddings(Layout(root, "text").embeddings("corpus", TEACHER))
    rows = stored.take(np.arange(len(stored)))
    return rows.values[:, 0].tolist(), rows.present.tolist()


@settings(max_examples=10, deadline=None)
@given(
    ids=st.one_of(
        st.lists(st.integers(-99, 10**12), min_size=10, max_size=10, unique=True),
        st.lists(st.text("aB0-_ /é😀", min_size=1), min_size=10, max_size=10, unique=True),
    ),
    order=st.permutations(range(10)),
    n_known=st.integers(2, 10),
)
def test_a_precomputed_teacher_finds_the_own_ids_of_a_corpus(
    ids: list[Any], order: list[int], n_known: int
) -> None:
    known = order[:n_known]
    with tempfile.TemporaryDirectory() as folder:
        params = with_own_ids(
            Path(folder), ids, [ids[i] for i in known], [[float(i), 1.0] for i in known]
        )

        values, present = stored_rows(Path(folder), params)

    assert present == [i in known for i in range(10)]
    assert values == [float(i) if i in known else 0.0 for i in range(10)]


def test_changed_own_ids_are_embedded_again(tmp_path: Path) -> None:
    ids, rows = [f"doc-{i}" for i in range(10)], [[float(i), 1.0] for i in range(10)]
    params = with_own_ids(tmp_path, ids, ids, rows)
    before, _ = stored_rows(tmp_path, params)

    corpus = make_frames()["corpus"].head(10).assign(id=ids[::-1])
    corpus.to_parquet(tmp_path / "data" / "corpus.parquet")
    after, _ = stored_rows(tmp_path, params)

    assert after == before[::-1] == [float(i) for i in range(10)][::-1]


def repeated(root: Path, ids: list[str], texts: list[int], known: dict[str, float]) -> Params:
    """Return settings of a corpus whose rows have these ids and the texts of these rows."""
    params = with_table(root, list(known), [[x, 1.0] for x in known.values()])
    frame = make_frames()["corpus"].iloc[texts].assign(id=ids)
    frame.to_parquet(root / "data" / "corpus.parquet")
    return params.model_copy(update={"text": rows_of(params, len(set(texts)))})


def rows_of(params: Params, rows: int) -> Any:
    block = params.modality("text")
    return block.model_copy(update={"corpus": block.corpus.model_copy(update={"rows": rows})})


def test_equal_examples_may_have_several_ids_with_one_embedding(tmp_path: Path) -> None:
    params = repeated(
        tmp_path, ["a", "b", "c", "c"], [0, 0, 1, 1], {"b": 1.0, "a": 1.001, "c": 2.0}
    )

    assert np.allclose(stored_rows(tmp_path, params)[0], [1.001, 2.0], atol=1e-3)


@pytest.mark.parametrize(
    ("ids", "texts", "known", "message"),
    [
        (["a", "b", "c"], [0, 0, 1], {"a": 1.0, "b": 2.0}, "under the ids 'a' and 'b'"),
        (["a", "a", "c"], [0, 1, 2], {"a": 1.0, "c": 2.0}, "have the id 'a'"),
        (["a", "b", "c"], [0, 1, 2], {"x": 1.0, "y": 2.0}, "such as 'a', 'b', 'c', or content ids"),
    ],
)
def test_own_ids_that_are_no_key_are_refused(
    tmp_path: Path, ids: list[str], texts: list[int], known: dict[str, float], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        stored_rows(tmp_path, repeated(tmp_path, ids, texts, known))


CHANGES: dict[str, Callable[[str], Any]] = {
    "numbers": lambda name: int(name[:8], 16),
    "file names": lambda name: f"{name}.txt",
    "capitals": str.upper,
    "blanks": lambda name: f" {name}",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_without_an_id_of_the_corpus_is_refused(tmp_path: Path, change: str) -> None:
    ids = [CHANGES[change](name) for name in make_frames()["corpus"]["id"]]
    params = with_table(tmp_path, ids, [[float(row), 1.0] for row in range(len(ids))])

    with pytest.raises(
        DataError, match=r"'hash' has an embedding of none of the 10 rows of the corpus"
    ):
        embed(tmp_path, params, "text", TEACHER)


def test_rows_without_an_embedding_are_counted(tmp_path: Path) -> None:
    ids = make_frames()["corpus"]["id"].tolist()[:7]
    params = with_table(tmp_path, ids, [[float(row), 1.0] for row in range(7)])

    report = embed(tmp_path, params, "text", TEACHER)

    assert (report.missing_corpus, report.missing_benchmark) == (3, 22)


def test_a_constant_teacher_is_refused(tmp_path: Path) -> None:
    ids = make_frames()["corpus"]["id"].tolist()
    params = with_table(tmp_path, ids, [[1.0, 0.1]] * len(ids))

    with pytest.raises(DataError, match="'hash' has the same embedding for all 10 rows"):
        embed(tmp_path, params, "text", TEACHER)


def test_embeddings_without_an_index_are_refused(tmp_path: Path) -> None:
    run(tmp_path)
    layout = Layout(tmp_path, "text")
    (layout.embeddings("corpus", TEACHER) / "index.json").unlink()

    with pytest.raises(StoreError, match="run the embed stage"):
        open_embeddings(layout.embeddings("corpus", TEACHER))
