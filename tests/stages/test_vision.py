"""Images in every stage: validation failures and missing teacher rows."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from experiments.exports import compare_exports
from experiments.method_comparison import compare_methods
from experiments.methods import chosen_methods
from polydistill.config.params import Params, parse_params
from polydistill.data.ids import unpack_ids
from polydistill.data.modalities.vision import VisionModality
from polydistill.embeddings.store import open_embeddings
from polydistill.errors import PolydistillError, ValidationFailedError
from polydistill.integrations.great_expectations import GreatExpectationsChecker
from polydistill.project.layout import Layout
from polydistill.stages.distill import distill
from polydistill.stages.embed import embed, embed_together
from polydistill.stages.evaluate import evaluate
from polydistill.stages.validate import validate
from polydistill.teachers.hog_colour import HogColourTeacher
from tests.made_images import (
    TINY_RESNET,
    animated,
    bomb,
    cmyk,
    png,
    transparent,
    truncated,
    written,
)
from tests.our_params import our_params
from tests.stored_corpus import store_corpus

pytest.importorskip("great_expectations")
pytest.importorskip("mteb")

VISION = VisionModality()
BAD = {"truncated": truncated(), "bomb": bomb(), "no image": b"GIF89a, or so"}
SHAPES = ("rectangle", "ellipse")


def drawn(shape: str, seed: int) -> bytes:
    """Draw a dark shape somewhere on white."""
    paper = Image.new("RGB", (32, 32), "white")
    left, top = (int(one) for one in np.random.default_rng(seed).integers(0, 14, 2))
    grey = 15 * (seed % 8)
    draw = getattr(ImageDraw.Draw(paper), shape)
    draw((left, top, left + 17, top + 17), fill=(grey, grey, 90))
    return written(paper)


def unusual() -> dict[str, bytes]:
    """Return images in modes other than RGB that are not blank."""
    frames = [Image.open(io.BytesIO(png(seed))) for seed in (90, 91)]
    return {
        "animated": written(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "cmyk": written(frames[1].convert("CMYK"), "JPEG", quality=95),
        "alpha": transparent(),
    }


def with_ids(images: list[bytes]) -> pd.DataFrame:
    ids = [VISION.content_id(one) for one in images]
    return pd.DataFrame({"id": ids, "image": images, "group": ids})


def corpus() -> pd.DataFrame:
    return with_ids([png(seed) for seed in range(64)])


def shapes() -> pd.DataFrame:
    frame = with_ids([drawn(SHAPES[seed % 2], seed) for seed in range(40)])
    split = ["train", "train", "train", "train", "test", "test", "train", "test"] * 5
    return frame.assign(label=[SHAPES[seed % 2] for seed in range(40)], split=split)


def lookups(tasks: pd.DataFrame) -> pd.DataFrame:
    roles = ["query" if place < 8 else "corpus" for place in range(len(tasks))]
    return tasks.drop(columns="split").assign(role=roles)


def write(root: Path, corpus: pd.DataFrame, task: pd.DataFrame) -> Params:
    (root / "data").mkdir()
    corpus.to_parquet(root / "data/corpus.parquet")
    task.to_parquet(root / "data/shapes.parquet")
    lookups(task).to_parquet(root / "data/lookups.parquet")
    tree = our_params()
    block = tree["vision"]
    base = {"path": "data/shapes.parquet", "domain": "in"}
    block["tasks"] = {
        "shape": {**base, "kind": "classification"},
        "shapes": {**base, "kind": "clustering"},
        "alike": {"kind": "retrieval", "path": "data/lookups.parquet", "domain": "in"},
    }
    block["corpus"] = {"path": "data/corpus.parquet", "rows": len(corpus), "held_out": 0.2}
    block["teachers"] = {"hog-colour": {"family": "hog-colour", "dim": 640}}
    block["student"] = {"name": "image-encoder", "encoder": TINY_RESNET, "size": 32, "dim": 16}
    block["heads"] = {"name": "low-rank", "hidden": 16}
    block["training"] |= {"epochs": 2, "batch_size": 16, "guard": {"max_mean_cosine": 1.0}}
    block["quick"] = None
    tree["threads"], tree["modalities"] = 1, ["vision"]
    return parse_params(tree)


def check(root: Path, params: Params) -> None:
    validate(root, params, "vision", GreatExpectationsChecker(root / "docs"))


def refusal(root: Path, corpus: pd.DataFrame, task: pd.DataFrame) -> str:
    params = write(root, corpus, task)
    with pytest.raises(ValidationFailedError) as refused:
        check(root, params)
    return str(refused.value)


def test_a_run_from_images_of_every_mode_to_scores_exports_and_a_comparison(tmp_path: Path) -> None:
    images = pd.concat([corpus(), with_ids([*unusual().values()])], ignore_index=True)
    params = write(tmp_path, images, shapes())

    check(tmp_path, params)
    embed(tmp_path, params, "vision", "hog-colour")
    trained = distill(tmp_path, params, "vision")
    found = evaluate(tmp_path, params, "vision")
    exports = compare_exports(tmp_path, params, "vision")
    default = chosen_methods(params, "vision", [])
    compared = compare_methods(tmp_path, params, "vision", methods=default, seeds=(0,))

    assert trained.student_sha256 != trained.undistilled_sha256
    assert found.missing == dict.fromkeys(("student", "undistilled", "hog-colour"), 0)
    assert (
        found.scores["hog-colour"]["classification"]["shape"] > 0.8
    )  # HOG encodes corners and curves
    assert set(exports.means["plain"]) == {"clustering", "retrieval", "mean"}
    assert exports.scores["plain"]["alike"] == pytest.approx(
        found.scores["student"]["retrieval"]["alike"], abs=1e-4
    )
    assert set(compared.domains["all"].tasks) == {"classification", "clustering", "retrieval"}
    results = {path.name for path in (tmp_path / "docs" / "results" / "vision").iterdir()}
    assert results >= {"exports.json", "exports.md", "methods.json", "methods.md"}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("table", ["corpus", "shape"])
def test_an_invalid_image_fails_validation_and_is_named(
    tmp_path: Path, what: str, table: str
) -> None:
    frames = {"corpus": corpus(), "shape": shapes()}
    row = with_ids([BAD[what]]).assign(label="ellipse", split="train")
    columns = frames[table].columns
    frames[table] = pd.concat([frames[table], row[columns]], ignore_index=True)

    message = refusal(tmp_path, frames["corpus"], frames["shape"])

    place = len(frames[table]) - 1
    assert (
        f"{table}: an image cannot be decoded: it is truncated, too large or not an image"
        in message
    )
    assert f"1 of {place + 1} rows" in message
    assert f"row {place}: id={row['id'][0]!r}" in message


@pytest.mark.parametrize("what", ["animated", "cmyk", "alpha"])
def test_an_image_of_another_mode_passes_and_is_read_correctly(what: str) -> None:
    measured = VISION.derived([[unusual()[what]]])

    assert measured["decodable"] == [1.0]
    assert measured["contrast"][0] > 2
    assert HogColourTeacher("hog", 1).embed([unusual()[what]]).present.all()


def test_a_blank_image_is_refused_in_every_file_format(tmp_path: Path) -> None:
    images = pd.concat([corpus(), with_ids([cmyk(), animated()])], ignore_index=True)

    message = refusal(tmp_path, images, shapes())

    assert "corpus: an image is blank: its pixels are nearly equal" in message
    assert "2 of 66 rows" in message


def test_an_image_that_a_teacher_cannot_read_is_only_missing(tmp_path: Path) -> None:
    bad = with_ids([*BAD.values()]).assign(label="ellipse", split=["train", "test", "test"])
    task = pd.concat([shapes(), bad], ignore_index=True)
    params = write(tmp_path, corpus(), task)
    layout = Layout(tmp_path, "vision")
    store_corpus(tmp_path, params, "vision")
    layout.validation.parent.mkdir(parents=True)
    layout.validation.write_text(
        json.dumps({"success": True, "rules": []})
    )  # as if validation had passed

    report = embed(tmp_path, params, "vision", "hog-colour")

    assert report.n_benchmark == len(task)
    stored = open_embeddings(layout.embeddings("benchmark", "hog-colour"))
    lacking = [
        one for one, there in zip(unpack_ids(stored.ids), stored.present, strict=True) if not there
    ]
    assert sorted(lacking) == sorted(bad["id"])
    distill(tmp_path, params, "vision")
    tree = params.model_dump(mode="json")
    tree["vision"]["evaluation"]["models"] = ["hog-colour"]
    found = evaluate(tmp_path, parse_params(tree), "vision")
    assert found.missing == {"hog-colour": len(bad)}
    assert found.scores["hog-colour"]["classification"]["shape"] < 1.0


def test_all_teachers_are_embedded_together_and_their_stages_finish(tmp_path: Path) -> None:
    params = write(tmp_path, corpus(), shapes())
    tree = params.model_dump(mode="json")
    tree["vision"]["teachers"]["second"] = {"family": "hog-colour", "dim": 640}
    params = parse_params(tree)
    check(tmp_path, params)

    lacked = embed_together(tmp_path, params, "vision")
    reports = [embed(tmp_path, params, "vision", name) for name in ("hog-colour", "second")]

    assert lacked == ("hog-colour", "second")
    assert [one.shards_computed for one in reports] == [0, 0]
    assert [one.shards_reused for one in reports] == [2, 2]
    assert embed_together(tmp_path, params, "vision") == ()
    layout = Layout(tmp_path, "vision")
    assert not layout.embedding_work("corpus", "second").exists()


def test_the_error_of_one_teacher_is_raised_after_the_others(tmp_path: Path) -> None:
    params = write(tmp_path, corpus(), shapes())
    tree = params.model_dump(mode="json")
    lost = {"family": "transformers-image", "model": "nowhere", "dim": 8}
    tree["vision"]["teachers"] = {"lost": lost, **tree["vision"]["teachers"]}
    params = parse_params(tree)
    check(tmp_path, params)

    with pytest.raises(PolydistillError, match="nowhere"):
        embed_together(tmp_path, params, "vision")

    assert embed(tmp_path, params, "vision", "hog-colour").shards_computed == 0
