"""The vision recipe, with small packages in the layout of the real ones."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from polydistill.config.params import parse_params
from polydistill.data.images import read_image
from polydistill.data.modalities.vision import VisionModality
from polydistill.errors import DataError, StageError
from polydistill.stages.validate import validate
from recipes.build import build_data
from recipes.contracts import BuiltData
from recipes.downloads import DebianPackage, Package, fetch_debian
from recipes.modalities import vision as recipe
from recipes.modalities.vision import VisionRecipe
from recipes.sources import images
from tests.archives import make_tar
from tests.made_images import png, truncated, written
from tests.our_params import keep_teachers, our_params
from tests.small_data import REPOSITORY, PandasChecker

VISION = VisionModality()
N_EMOJI = 24
NAMES = "abcdefghijklmnopqrst"
TASKS = {
    "mnist": ("mnist", 30, 30), "fashion": ("fashion", 40, 20), "digits": ("digits", 20, 40),
    "clipart-class": ("openclipart", 4, 4), "emoji-group": ("emoji-google", 6, 6),
    "script": ("glyphs", 8, 8), "font-weight": ("words", 6, 6),
}  # fmt: skip
FACES = {
    "NotoSansGreek-Regular": "DejaVuSans",
    "NotoSansCyrillic-Regular": "DejaVuSerif",
    "NotoSans-Bold": "DejaVuSans-Bold",
    "NotoSerif-Regular": "DejaVuSerif",
}
"""The fonts used in place of Noto faces."""


def make_clipart(folder: Path) -> None:
    """Write drawings of two classes, and one each that is a copy, blank, damaged, or without a class."""
    for seed in range(20):
        path = folder / ("animals" if seed % 2 else "tools") / f"thing{NAMES[seed]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed, side=80))
    shutil.copy(folder / "tools/thinga.png", folder / "animals/copy.png")
    (folder / "animals" / "blank.png").write_bytes(written(Image.new("RGB", (80, 80), "white")))
    (folder / "animals" / "damaged.png").write_bytes(truncated())
    (folder / "special").mkdir()
    (folder / "special" / "unknown.png").write_bytes(png(99, side=80))


def make_emoji(path: Path, vendor: str, first: int) -> Path:
    entries = [
        {"image": f"{n}.png", "unified": f"1F6{n:02}", "category": ("Foods", "Travel")[n % 2]}
        for n in range(N_EMOJI)
    ]
    component = {"image": "skin.png", "unified": "1F3FB", "category": "Component"}
    images = {
        f"package/img/{vendor}/64/{n}.png": png(first + n, side=64) for n in range(N_EMOJI)
    } | {f"package/img/{vendor}/64/skin.png": png(first + 90, side=64)}
    listing = {"package/emoji.json": json.dumps([*entries, component])}
    return make_tar(path, {**listing, **images})


def make_digits(path: Path) -> Path:
    draw = np.random.default_rng(5)
    ink = {digit: (draw.random((10, 7, 7)) > 0.5).repeat(4, 1).repeat(4, 2) for digit in range(10)}
    members = {
        f"package/src/digits/{digit}.json": json.dumps({"data": one.astype(float).ravel().tolist()})
        for digit, one in ink.items()
    }
    return make_tar(path, members)


def make_garments(folder: Path) -> None:
    """Write 100 pictures of the training part and 40 of the test part, in files of the IDX format."""
    draw = np.random.default_rng(6)
    folder.mkdir(parents=True)
    for part, rows in (("train", 100), ("t10k", 40)):
        ink = draw.integers(0, 256, (rows, 7, 7), np.uint8).repeat(4, 1).repeat(4, 2)
        labels = np.arange(rows, dtype=np.uint8) % 10
        for kind, n_bytes, values in (("images-idx3", 16, ink), ("labels-idx1", 8, labels)):
            content = bytes(n_bytes) + values.tobytes()
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages, unpacked into the folder that apt downloads to."""
    fonts = pytest.importorskip("matplotlib").get_data_path()
    root = tmp_path_factory.mktemp("sources")
    make_clipart(root / "openclipart-png/usr/share/openclipart/png")
    for face, stand_in in FACES.items():
        package = "fonts-noto-extra" if face == "NotoSerif-Regular" else "fonts-noto-core"
        target = root / package / "usr/share/fonts" / f"{face}.ttf"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(fonts) / "fonts" / "ttf" / f"{stand_in}.ttf", target)
    make_emoji(root / "emoji-datasource-google", "google", 200)
    make_emoji(root / "emoji-datasource-twitter", "twitter", 300)
    make_digits(root / "mnist")
    make_garments(root / "dataset-fashion-mnist" / "usr/share/datasets/fashion-mnist")
    return root


@pytest.fixture(scope="module")
def patched(sources: Path) -> Iterator[Path]:
    """Make the recipe use the small packages and few rows."""

    def brought(package: Package, _: Path) -> Path:
        return sources / package.name

    def opened(archive: Path, _: Path) -> Path:
        return archive

    def fetched(package: DebianPackage, _: Path) -> Path:
        return sources / package.name

    scanned = images.scanned
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "fetch", brought)
        patch.setattr(recipe, "fetch_debian", fetched)
        patch.setattr(recipe, "unpack_debian", opened)
        patch.setattr(images, "scanned", lambda: islice(scanned(), 120))
        patch.setattr(images, "GLYPHS_PER_FONT", 40)
        patch.setattr(recipe, "TASKS", TASKS)
        patch.setattr(recipe, "LEAST_CLASS", 5)
        patch.setattr(recipe, "RETRIEVED", 6)
        yield sources


@pytest.fixture(scope="module")
def built(patched: Path) -> BuiltData:
    return VisionRecipe().build(patched, patched)


def tasks_of(built: BuiltData) -> dict[str, pd.DataFrame]:
    return {
        path.removeprefix("tasks/").removesuffix(".parquet"): frame
        for path, frame in built.frames.items()
        if path.startswith("tasks/")
    }


def test_two_builds_write_the_same_bytes(patched: Path, tmp_path: Path) -> None:
    contents = []
    for place in ("one", "two"):
        root = tmp_path / place
        root.mkdir()
        shutil.copy(REPOSITORY / "params.yaml", root)
        build_data(root, "vision")
        files = sorted(path for path in (root / "data").rglob("*") if path.is_file())
        contents.append({path.relative_to(root): path.read_bytes() for path in files})

    assert contents[0] == contents[1]
    assert Path("data/vision/tasks/emoji-retrieval.parquet") in contents[0]
    assert Path("data/vision/corpus.parquet") in contents[0]


def test_images_are_small_have_content_ids_and_look_different(built: BuiltData) -> None:
    corpus, tasks = built.frames["corpus.parquet"], tasks_of(built)
    whole = pd.concat(
        [corpus, *(one for name, one in tasks.items() if name != "emoji-retrieval")]
    ).drop_duplicates("id")

    assert set(corpus["source"]) == set(recipe.ORIGINS)
    sides = {name: {64} for name in recipe.ORIGINS} | {
        "mnist": {28},
        "fashion": {28},
        "digits": {32},
    }
    for source, images_of in corpus.groupby("source")["image"]:
        sizes = [read_image(image).size for image in images_of]
        assert {side for size in sizes for side in size} == sides[str(source)], source
    assert whole["id"].tolist() == whole["image"].map(VISION.content_id).tolist()
    assert whole["image"].map(VISION.near_key).is_unique


def test_no_group_of_a_task_is_in_the_corpus_or_in_both_parts_of_a_split(built: BuiltData) -> None:
    known = set(built.frames["corpus.parquet"]["group"])

    for name, task in tasks_of(built).items():
        assert known.isdisjoint(task["group"]), name
        if "split" in task:
            assert set(task["split"]) == {"train", "test"}, name
            assert task.groupby("group")["split"].nunique().max() == 1, name


def test_the_official_split_of_garments_is_kept(built: BuiltData) -> None:
    task = tasks_of(built)["fashion"]

    assert task["split"].value_counts().to_dict() == {"train": 40, "test": 20}
    assert [group.split("-")[1] for group in task["group"]] == task["split"].tolist()
    assert task.groupby("split")["label"].nunique().to_dict() == {"train": 10, "test": 10}
    corpus = built.frames["corpus.parquet"]
    garments = corpus.loc[corpus["source"] == "fashion", "group"]
    assert len(garments) == 60
    assert garments.str.startswith("fashion-train-").all()


def test_a_task_has_as_many_test_rows_as_the_recipe_says(built: BuiltData) -> None:
    for name in ("mnist", "digits"):
        assert tasks_of(built)[name]["split"].value_counts()["test"] == TASKS[name][2]


def test_copies_blank_and_damaged_images_are_dropped_and_counted(built: BuiltData) -> None:
    counts = built.left_out["openclipart"]

    assert counts == {"blank": 1, "looks like another": 1}
    drawn = pd.concat([built.frames["corpus.parquet"], tasks_of(built)["clipart-class"]])
    drawn = drawn[drawn["group"].str.startswith("openclipart")]
    assert set(drawn["group"]) <= {f"openclipart-thing{one}" for one in NAMES} | {
        "openclipart-copy"
    }


def test_emoji_retrieval_pairs_the_emoji_of_the_two_vendors(built: BuiltData) -> None:
    retrieval = tasks_of(built)["emoji-retrieval"]

    queries, answers = (retrieval[retrieval["role"] == role] for role in ("query", "corpus"))
    assert len(queries) == len(answers) == 6
    assert set(queries["label"]) == set(answers["label"])
    assert set(queries["id"]).isdisjoint(answers["id"])


def test_labels_are_those_of_the_sources(built: BuiltData) -> None:
    tasks = tasks_of(built)

    assert set(tasks["clipart-class"]["label"]) == {"animals", "tools"}
    assert set(tasks["emoji-group"]["label"]) == {"Foods", "Travel"}
    assert set(tasks["script"]["label"]) == {"Greek", "Cyrillic"}
    assert set(tasks["fashion"]["label"]) == set(images.GARMENTS)
    assert set(tasks["font-weight"]["label"]) == {400.0, 700.0}
    digits = tasks["mnist"]
    assert [group.split("-")[1] for group in digits["group"]] == digits["label"].tolist()


def test_built_data_pass_validation(built: BuiltData, tmp_path: Path) -> None:
    for path, frame in built.frames.items():
        target = tmp_path / "data" / "vision" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if (
            target.stem == "font-weight"
        ):  # all six words may have one weight, which cannot be scored
            heavy = frame.groupby("split").cumcount() % 2
            frame = frame.assign(label=400.0 + 300.0 * heavy)  # noqa: PLW2901
        frame.to_parquet(target)
    tree = our_params()
    tree["vision"]["corpus"]["rows"] = len(built.frames["corpus.parquet"])
    tree["modalities"] = ["vision"]
    del tree["vision"]["tasks"]["font-weight"]  # of its six words here one is scored
    keep_teachers(tree, "vision", ["hog-colour"])

    report = validate(tmp_path, parse_params(tree), "vision", PandasChecker())

    assert report.tables == 1 + len(tree["vision"]["tasks"])
    assert report.unavailable == ()


def test_images_have_at_most_16_greys_or_32_colours(built: BuiltData) -> None:
    corpus = built.frames["corpus.parquet"]

    for source, most in (("mnist", 16), ("fashion", 16), ("glyphs", 16), ("openclipart", 32)):
        images = corpus.loc[corpus["source"] == source, "image"].head(3)
        for content in images:
            colours = Image.open(io.BytesIO(content)).convert("RGB").getcolors(10_000)
            assert 1 < len(colours or ()) <= most, source


def test_a_debian_package_with_another_hash_is_refused(tmp_path: Path) -> None:
    package = DebianPackage("drawings", "1:2.0", "0" * 64)
    (tmp_path / "drawings_1%3a2.0_all.deb").write_bytes(b"others")

    with pytest.raises(DataError, match=r"drawings_1%3a2.0_all.deb must have sha256 0000"):
        fetch_debian(package, tmp_path)


def test_without_apt_the_error_names_the_failed_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(StageError, match="apt-get -qq download failed"):
        fetch_debian(DebianPackage("drawings", "1.0", "0" * 64), tmp_path / "downloads")
