from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from polydistill.config.params import Params, parse_params
from polydistill.contracts import Embeddings, Example
from polydistill.data.ids import unpack_ids
from polydistill.data.modalities import MODALITIES
from polydistill.embeddings.store import open_embeddings
from polydistill.errors import DataError, ParamsError, StageError, UnknownNameError
from polydistill.project.layout import Layout
from polydistill.project.reports import read_report
from polydistill.stages.embed_rival import embed_rival
from polydistill.teachers.hashing import HashingTeacher
from tests.small_data import make_frames, write_project

HASHING = {"family": "hashing", "dim": 8}


def project(root: Path, rival: dict[str, object], *, valid: bool = True) -> Params:
    """Write a project with one rival, without a stored corpus, and shards of four rows."""
    if not (root / "params.yaml").exists():
        write_project(root, make_frames())
    tree = yaml.safe_load((root / "params.yaml").read_text())
    tree["text"]["rivals"] = {"other": rival}
    tree["text"]["store"] = {"dtype": "float16", "shard_rows": 4}
    report = Layout(root, "text").validation
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps({"success": valid}))
    return parse_params(tree)


def unreachable() -> dict[str, object]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    served = {"model": "m", "revision": "1", "dim": 8, "retries": 0}
    return {"family": "embeddings-server", "url": url, **served}


def test_only_the_benchmark_inputs_are_embedded(tmp_path: Path) -> None:
    report = embed_rival(tmp_path, project(tmp_path, HASHING), "text", "other")

    layout = Layout(tmp_path, "text")
    stored = open_embeddings(layout.embeddings("benchmark", "other"))
    assert (report.n_benchmark, report.missing_benchmark) == (len(stored), 0)
    assert report.shards_computed == -(-len(stored) // 4)
    assert not layout.embeddings("corpus", "other").exists()
    kind, texts = MODALITIES.get("text")(), make_frames()["topics"]["text"].tolist()
    rows = pd.Index(unpack_ids(stored.ids)).get_indexer(pd.Index(map(kind.content_id, texts)))
    expected = HashingTeacher("other", 1, dim=8).embed(texts).values
    np.testing.assert_allclose(stored.take(rows).values, expected, atol=1e-3)


def test_a_second_run_computes_nothing(tmp_path: Path) -> None:
    params = project(tmp_path, HASHING)
    first = embed_rival(tmp_path, params, "text", "other")

    second = embed_rival(tmp_path, params, "text", "other")

    assert (second.shards_computed, second.shards_reused) == (0, first.shards_computed)


def test_a_rival_that_cannot_be_reached_does_not_fail_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rival = unreachable()

    report = embed_rival(tmp_path, project(tmp_path, rival), "text", "other")

    note = Layout(tmp_path, "text").unavailable("other")
    assert report.unavailable == read_report(note, "embed-rival")["reason"] != ""
    assert str(rival["url"]) in caplog.text
    assert "dvc repro -f embed-rival@text-other" in caplog.text
    assert str(rival["url"]) not in note.read_text()


def test_what_was_embedded_is_kept_while_a_rival_cannot_be_reached(tmp_path: Path) -> None:
    embed_rival(tmp_path, project(tmp_path, HASHING), "text", "other")
    embed_rival(tmp_path, project(tmp_path, unreachable()), "text", "other")

    report = embed_rival(tmp_path, project(tmp_path, HASHING), "text", "other")

    assert (report.shards_computed, report.unavailable) == (0, "")
    assert not Layout(tmp_path, "text").unavailable("other").exists()


def test_an_unknown_or_disabled_rival_is_refused(tmp_path: Path) -> None:
    params = project(tmp_path, {**HASHING, "enabled": False})

    with pytest.raises(UnknownNameError, match="Unknown enabled rival 'other'"):
        embed_rival(tmp_path, params, "text", "other")


@pytest.mark.parametrize(
    ("rival", "said"),
    [
        ({"family": "hashing", "dim": 0}, "'dim'.*greater than or equal to 1"),
        ({"family": "hashing", "width": 8}, "'width'"),
        ({"family": "static-vectors", "vectors": "v.npy", "vocabulary": "v.parquet"}, "'dim'"),
    ],
)
def test_an_option_that_is_not_valid_is_named(
    tmp_path: Path, rival: dict[str, object], said: str
) -> None:
    with pytest.raises(ParamsError, match=rf"text\.rivals\.other: .*{said}"):
        embed_rival(tmp_path, project(tmp_path, rival), "text", "other")


def test_a_rival_with_the_same_embedding_for_all_inputs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def same(self: HashingTeacher, examples: Sequence[Example]) -> Embeddings:
        rows = np.ones((len(examples), self.dim), dtype=np.float32)
        return Embeddings(rows, np.ones(len(examples), dtype=np.bool_))

    params = project(tmp_path, HASHING)
    monkeypatch.setattr(HashingTeacher, "embed", same)

    with pytest.raises(DataError, match="'other' has the same embedding for all"):
        embed_rival(tmp_path, params, "text", "other")


def test_invalid_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="not valid"):
        embed_rival(tmp_path, project(tmp_path, HASHING, valid=False), "text", "other")
