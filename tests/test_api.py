"""The Python API: what it accepts, what it returns, and what it computes again."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray

import polydistill
from polydistill.errors import (
    DataError,
    MissingDataError,
    ParamsError,
    ShapeError,
    StoreError,
    UnknownNameError,
)

TEXTS = [
    f"{size} {colour} {thing}"
    for size in ("small", "large", "tiny")
    for colour in ("red", "blue", "green", "white")
    for thing in ("car", "boat", "house", "tree", "dog")
]
HASHING = {"family": "hashing", "dim": 8}
ONE_EPOCH = {"training": {"epochs": 1}}
SMILES = ["C" * n + end for n in range(1, 8) for end in ("O", "N", "Cl", "C(=O)O", "c1ccccc1")]


class Lengths:
    """A teacher with `encode`, which counts what it is asked."""

    def __init__(self) -> None:
        self.n_encoded = 0
        self.types: set[type] = set()

    def encode(self, examples: list[Any]) -> NDArray[np.float64]:
        self.n_encoded += len(examples)
        self.types |= set(map(type, examples))
        sizes = [[len(one), len(set(one)), one.count(one[:1])] for one in examples]
        return np.array(sizes, dtype=np.float64).reshape(len(examples), 3)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def distilled(examples: object, cache: Path, **other: Any) -> polydistill.Student:
    """Distil quickly, from a teacher without weights."""
    given = {"teachers": HASHING, "student": "bag-of-bytes", "settings": ONE_EPOCH, "held_out": 0.3}
    return polydistill.distill(examples, **{**given, **other}, cache=cache, progress=False)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> polydistill.Student:
    return distilled(TEXTS, tmp_path_factory.mktemp("cache"))


def images(n: int) -> list[NDArray[np.uint8]]:
    """Return images of noise, `(16, 16, 3)` each."""
    generator = np.random.default_rng(0)
    return list(generator.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8))


def as_png(values: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(values).save(content, format="PNG")
    return content.getvalue()


class TestPackage:
    def test_importing_it_loads_no_heavy_library(self) -> None:
        code = "import sys, polydistill; dir(polydistill); print(*sys.modules)"

        loaded = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()

        assert not {"torch", "numpy", "pandas", "transformers", "mlflow"} & set(loaded)

    def test_every_public_name_exists(self) -> None:
        for name in polydistill.__all__:
            assert getattr(polydistill, name) is not None
            assert name in dir(polydistill)

    def test_an_unknown_name_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="distil"):
            polydistill.distil  # noqa: B018


class TestExamples:
    @pytest.mark.parametrize(
        "kind",
        ["list", "tuple", "iterator", "array", "series", "frame", "csv", "tsv", "jsonl", "parquet",
         "txt", "folder", "dataset"],
    )  # fmt: skip
    def test_every_kind_of_source_gives_the_same_student(
        self, kind: str, student: polydistill.Student, tmp_path: Path, cache: Path
    ) -> None:
        made = distilled(source(kind, tmp_path / "source"), cache)

        np.testing.assert_array_equal(made.encode(TEXTS), student.encode(TEXTS))

    def test_empty_and_repeated_rows_are_left_out(
        self, student: polydistill.Student, cache: Path
    ) -> None:
        rows = [*TEXTS, TEXTS[0], "", "  ", None, float("nan"), pd.NA]

        made = distilled(rows, cache)

        np.testing.assert_array_equal(made.encode(TEXTS), student.encode(TEXTS))

    def test_a_column_is_named(self, cache: Path) -> None:
        frame = pd.DataFrame({"said": TEXTS, "who": "me"})

        assert distilled(frame, cache, column="said").modality == "text"
        with pytest.raises(DataError, match=r"must have a column 'text', got said, who.*`column=`"):
            distilled(frame, cache)
        with pytest.raises(DataError, match="must have a column 'saids'"):
            distilled(frame, cache, column="saids")

    @pytest.mark.parametrize(
        ("examples", "error", "message"),
        [
            ([], DataError, "At least one example is needed"),
            (["", "a", "a"], DataError, "two different examples are needed, got 1 of 3 rows"),
            (["a text", "another", 3], DataError, "Example 3: A text must be a string, got 3"),
            (5, DataError, "Examples must be a list, a column, a table or a path, got int"),
            ("no-such-file.csv", MissingDataError, "No file no-such-file.csv"),
        ],
    )
    def test_what_is_no_list_of_examples_is_refused(
        self, examples: object, error: type[Exception], message: str, cache: Path
    ) -> None:
        with pytest.raises(error, match=message):
            distilled(examples, cache, modality="text")

    @pytest.mark.parametrize("kind", ["arrays", "bytes", "paths", "pillow", "folder"])
    def test_images(self, kind: str, tmp_path: Path, cache: Path) -> None:
        from PIL import Image

        arrays = images(12)
        files = [tmp_path / f"{number:02}.png" for number in range(len(arrays))]
        for file, values in zip(files, arrays, strict=True):
            file.write_bytes(as_png(values))
        given: object = {
            "arrays": arrays,
            "bytes": [as_png(one) for one in arrays],
            "paths": list(map(str, files)),
            "pillow": [Image.fromarray(one) for one in arrays],
            "folder": tmp_path,
        }[kind]

        made = distilled(given, cache, teachers="hog-colour", student=None)

        assert made.modality == "vision"
        assert made.encode(arrays).shape == (12, 256)
        np.testing.assert_array_equal(made.encode(files), made.encode(arrays))
        np.testing.assert_allclose(made.encode(files[0]), made.encode(arrays)[0], atol=1e-6)

    def test_molecules(self, cache: Path) -> None:
        frame = pd.DataFrame({"smiles": [*SMILES, None]})

        made = distilled(frame, cache, teachers=["maccs", "morgan"])

        assert made.modality == "molecules"
        assert made.teachers == ("maccs", "morgan")
        assert made.encode(["OCC"]).shape == (1, 32)

    def test_an_invalid_smiles_is_named(self, cache: Path) -> None:
        with pytest.raises(
            DataError, match=r"Example 2: A molecule must be a valid SMILES.*'nonsense'"
        ):
            distilled(["CCO", "nonsense"], cache, teachers="maccs", modality="molecules")


class TestTeachers:
    def test_a_table_is_aligned_with_the_rows_that_are_kept(self, cache: Path) -> None:
        values = np.random.default_rng(0).standard_normal((len(TEXTS), 4)).astype(np.float32)
        values[3] = np.nan
        rows = [TEXTS[0], "", *TEXTS]
        table = np.concatenate([values[:1], np.full((1, 4), 9.0), values]).astype(np.float32)

        made = distilled(rows, cache, teachers=polydistill.Precomputed(table, "bought"))

        assert made.teachers == ("bought",)
        stored = only_embeddings(cache)
        np.testing.assert_array_equal(stored.present, [row != 3 for row in range(len(TEXTS))])
        kept = stored.present
        np.testing.assert_allclose(stored.values[kept], values[kept], rtol=1e-3, atol=1e-3)

    def test_an_object_that_encodes_is_a_teacher(self, cache: Path) -> None:
        teacher = Lengths()

        made = distilled(TEXTS, cache, teachers=[teacher, HASHING])

        assert made.teachers == ("Lengths", "hashing")
        assert teacher.types == {str}

    def test_an_object_that_encodes_receives_images_as_bytes(self, cache: Path) -> None:
        teacher = Lengths()

        distilled(images(12), cache, teachers=teacher)

        assert teacher.types == {bytes}

    def test_a_second_call_computes_nothing(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from polydistill.embeddings.specification import PROBES

        teacher = Lengths()
        first = distilled(TEXTS, cache, teachers=teacher)
        n_encoded = teacher.n_encoded
        assert n_encoded > len(TEXTS)
        monkeypatch.setattr(
            "polydistill.training.distillation.distill_student",
            lambda *_args, **_named: pytest.fail("trained"),
        )

        second = distilled(TEXTS, cache, teachers=teacher)

        assert teacher.n_encoded == n_encoded + PROBES  # those that identify it
        np.testing.assert_array_equal(first.encode(TEXTS), second.encode(TEXTS))

    def test_a_changed_object_is_asked_again(self, cache: Path) -> None:
        class Longer(Lengths):
            name = "Lengths"

            def encode(self, examples: list[Any]) -> NDArray[np.float64]:
                return super().encode(examples) + 1

        distilled(TEXTS, cache, teachers=Lengths())
        changed = Longer()

        distilled(TEXTS, cache, teachers=changed)

        assert changed.n_encoded > len(TEXTS)

    def test_two_teachers_of_one_name_are_told_apart(self, cache: Path) -> None:
        tables = [
            polydistill.Precomputed(np.random.default_rng(seed).standard_normal((len(TEXTS), 3)))
            for seed in range(2)
        ]

        assert distilled(TEXTS, cache, teachers=tables).teachers == ("precomputed", "precomputed-2")

    @pytest.mark.parametrize(
        ("teachers", "error", "message"),
        [
            ([], ParamsError, "at least one teacher, got none"),
            ({"family": "hashin"}, UnknownNameError, "Did you mean 'hashing'"),
            ({"family": "hashing", "dims": 3}, UnknownNameError, "Did you mean 'dim'"),
            ({"dim": 3}, ParamsError, "must name its `family`"),
            (3, ParamsError, r"object with encode\(list\), got int"),
            ([np.zeros((2, 3))], ParamsError, "a Precomputed or an object .* got ndarray"),
            (
                polydistill.Precomputed(np.ones((3, 2))),
                ShapeError,
                "one row per example, 60, got 3",
            ),
        ],
    )
    def test_what_is_no_teacher_is_refused(
        self, teachers: Any, error: type[Exception], message: str, cache: Path
    ) -> None:
        with pytest.raises(error, match=message):
            distilled(TEXTS, cache, teachers=teachers)

    def test_a_teacher_of_another_shape_is_refused(self, cache: Path) -> None:
        class Flat:
            def encode(self, examples: list[Any]) -> NDArray[np.float64]:
                return np.zeros(len(examples))

        with pytest.raises(
            ShapeError, match=r"'Flat': encode\(\) of 8 examples must return shape \(8, dim\)"
        ):
            distilled(TEXTS, cache, teachers=Flat())

    @pytest.mark.parametrize(
        ("table", "error", "message"),
        [
            (np.zeros(3), ShapeError, r"\(n_examples, dim\), got \(3,\)"),
            (np.zeros((3, 0)), ShapeError, r"got \(3, 0\)"),
            (np.full((2, 2), np.inf), DataError, "must be finite"),
            (np.full((2, 2), np.nan), DataError, "every row holds NaN"),
            ([["a"], ["b"]], DataError, "must be numbers"),
            ([[1.0], [1.0, 2.0]], DataError, "must be numbers"),
            ([[{}]], DataError, "must be numbers"),
        ],
    )
    def test_what_is_no_table_is_refused(
        self, table: NDArray[np.float64], error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            polydistill.Precomputed(table)


WRONG: list[object] = [3, {"dim": 10**9}, {1: 2}]
NO_SETTINGS: list[object] = [[], 3, {1: 2}, {"training": []}]


class TestSettings:
    @pytest.mark.parametrize(
        ("other", "message"),
        [
            ({"settings": {"los": {"name": "mse"}}}, "Did you mean 'loss'"),
            ({"settings": {"loss": {"name": "msee"}}}, "Did you mean 'mse'"),
            ({"settings": {"training": {"epochs": 0}}}, "epochs"),
            ({"student": "statik"}, "Did you mean 'static'"),
            ({"student": {"name": "bag-of-bytes", "width": 3}}, "width"),
            ({"student": "transformer"}, "needs a checkpoint to start from"),
            ({"modality": "txt"}, "Did you mean 'text'"),
            *(({"held_out": odd}, "held_out") for odd in (0, 1.5, "a", float("nan"), True)),
            *(({"seed": odd}, "seed") for odd in (-1, 1.5, True, "1", 2**32)),
            *(({"threads": odd}, "threads") for odd in (0, -1, 10**9, "2", 1.0)),
            *(({"settings": odd}, "setting") for odd in NO_SETTINGS),
            *(({"settings": {"student": odd}}, "student") for odd in WRONG),
            *(({"teachers": HASHING | {"name": odd}}, "name") for odd in ("a/b", "", 5, "student")),
            *(({"teachers": HASHING | {"dim": odd}}, "dim") for odd in (0, -1, 1e9, True)),
            ({"modality": 3}, "modality"),
        ],
    )
    def test_a_wrong_setting_is_refused_before_anything_runs(
        self, other: dict[str, Any], message: str, cache: Path
    ) -> None:
        with pytest.raises(ParamsError, match=message):
            distilled(TEXTS, cache, **other)

        assert not (cache / "embeddings").exists() or "student" in other

    def test_numbers_of_numpy_are_settings(self, cache: Path) -> None:
        numbers = {"seed": np.int64(1), "held_out": np.float32(0.3)}

        made = distilled(TEXTS, cache, settings={"training": {"epochs": np.int64(1)}}, **numbers)

        assert len(made.encode(TEXTS)) == len(TEXTS)

    @pytest.mark.parametrize("name", ["a/b", "..", "", "x" * 300, "<script>", 5, "a.b"])
    def test_a_task_with_an_unsafe_name_is_refused(
        self, name: str, student: polydistill.Student
    ) -> None:
        with pytest.raises(ParamsError, match="name of a task or teacher must be"):
            polydistill.evaluate(student, {name: {"kind": "sts", "path": "x.csv"}}, progress=False)

    def test_the_seed_decides_about_the_student(
        self, student: polydistill.Student, cache: Path
    ) -> None:
        other = distilled(TEXTS, cache, seed=1)

        assert not np.array_equal(other.encode(TEXTS), student.encode(TEXTS))

    def test_the_default_student_learns_its_words_from_the_corpus(self, cache: Path) -> None:
        made = distilled(TEXTS, cache, student=None)

        assert made.encode(["a red car"]).shape == (1, 256)

    def test_progress_goes_to_the_callers_function(self, cache: Path) -> None:
        told: list[tuple[str, int, int]] = []

        polydistill.distill(
            TEXTS,
            HASHING,
            "bag-of-bytes",
            held_out=0.3,
            cache=cache,
            progress=lambda what, done, total, **_figures: told.append((what, done, total)),
        )

        assert {what for what, _, _ in told} == {"hashing", "steps"}
        assert all(done <= total for _, done, total in told)
        assert told[-1][1] == told[-1][2]


class TestStudent:
    def test_embeddings_are_single_precision(self, student: polydistill.Student) -> None:
        embeddings = student.encode(TEXTS)

        assert embeddings.shape == (60, student.dim)
        assert embeddings.dtype == np.float32
        assert student.encode([]).shape == (0, student.dim)

    def test_a_single_text_has_one_embedding(self, student: polydistill.Student) -> None:
        np.testing.assert_array_equal(student.encode(TEXTS[0]), student.encode(TEXTS)[0])

    def test_batches_do_not_change_embeddings(self, student: polydistill.Student) -> None:
        np.testing.assert_allclose(
            student.encode(TEXTS, batch_size=7), student.encode(TEXTS), rtol=1e-5
        )

    def test_truncated_embeddings_are_normalised_after_truncation(
        self, student: polydistill.Student
    ) -> None:
        short = student.encode(TEXTS, truncate_dim=5, normalize=True)

        expected = student.encode(TEXTS)[:, :5]
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(short, expected, rtol=1e-5)

    @pytest.mark.parametrize(
        "option", [{"truncate_dim": 0}, {"truncate_dim": 99}, {"batch_size": 0}]
    )
    def test_options_out_of_bounds_are_refused(
        self, option: dict[str, int], student: polydistill.Student
    ) -> None:
        with pytest.raises(ParamsError, match=next(iter(option))):
            student.encode(TEXTS, **option)  # type: ignore[arg-type]

    def test_a_table_is_refused(self, student: polydistill.Student) -> None:
        with pytest.raises(DataError, match="choose a column"):
            student.encode(pd.DataFrame({"text": TEXTS}))

    def test_similarity_is_the_cosine(self, student: polydistill.Student) -> None:
        similarity = student.similarity(student.encode(TEXTS[:2]), student.encode(TEXTS))

        assert similarity.shape == (2, 60)
        np.testing.assert_allclose(similarity[[0, 1], [0, 1]], 1, rtol=1e-5)
        with pytest.raises(ShapeError, match="of one width"):
            student.similarity(np.ones((1, 3), np.float32), np.ones((1, 4), np.float32))

    def test_a_saved_student_is_the_same(
        self, student: polydistill.Student, tmp_path: Path
    ) -> None:
        again = polydistill.load(student.save(tmp_path / "mine"))

        assert repr(again) == repr(student)
        np.testing.assert_array_equal(again.encode(TEXTS), student.encode(TEXTS))
        np.testing.assert_array_equal(
            again.teacher("hashing").encode(TEXTS), student.teacher("hashing").encode(TEXTS)
        )

    def test_sentence_transformers_loads_a_saved_student(
        self, student: polydistill.Student, tmp_path: Path
    ) -> None:
        from sentence_transformers import SentenceTransformer

        student.save(tmp_path / "mine")

        model = SentenceTransformer(str(tmp_path / "mine"), device="cpu")

        np.testing.assert_allclose(model.encode(TEXTS), student.encode(TEXTS), rtol=1e-5, atol=1e-6)

    def test_saving_replaces_a_student_and_nothing_else(
        self, student: polydistill.Student, tmp_path: Path
    ) -> None:
        student.save(tmp_path / "mine")
        student.save(tmp_path / "mine")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "notes.txt").write_text("mine", encoding="utf-8")

        with pytest.raises(DataError, match="must be a new folder, or one that holds a student"):
            student.save(tmp_path / "other")

        assert sorted(one.name for one in tmp_path.iterdir()) == ["mine", "other"]

    def test_a_predicted_scale_covers_most_of_a_teachers_values(self, cache: Path) -> None:
        generator = np.random.default_rng(0)
        texts = [f"{one} {two}" for one in TEXTS for two in ("near", "far", "here", "away", "home")]
        table = generator.standard_normal((len(texts), 6)).astype(np.float32)
        made = distilled(texts, cache, teachers=polydistill.Precomputed(table, "noise"))

        predicted = made.teacher("noise").predict(texts)

        assert predicted.mean.shape == predicted.std.shape == table.shape
        inside = np.abs(table - predicted.mean) <= 1.645 * predicted.std
        assert 0.8 < inside.mean() < 0.97

    def test_only_the_teachers_of_a_student_are_predicted(
        self, student: polydistill.Student
    ) -> None:
        with pytest.raises(UnknownNameError, match="Did you mean 'hashing'"):
            student.teacher("hashin")

    def test_a_folder_without_a_student_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(MissingDataError, match="No student in"):
            polydistill.load(tmp_path)


class TestEvaluation:
    @pytest.fixture
    def frame(self) -> pd.DataFrame:
        return pd.DataFrame({"text": TEXTS, "label": [text.split()[2] for text in TEXTS]})

    def test_a_frame_is_a_task(
        self, student: polydistill.Student, frame: pd.DataFrame, cache: Path
    ) -> None:
        tasks = {"things": {"kind": "clustering", "frame": frame}}

        table = polydistill.evaluate(student, tasks, cache=cache, progress=False)

        assert table["model"].tolist() == ["student", "hashing"]
        assert (table["low"] <= table["score"]).all()
        assert (table["score"] <= table["high"]).all()
        assert table["n"].tolist() == [60, 60]

    def test_tasks_are_read_from_yaml_beside_their_tables(
        self, student: polydistill.Student, frame: pd.DataFrame, tmp_path: Path, cache: Path
    ) -> None:
        frame.rename(columns={"text": "said", "label": "thing"}).to_csv(
            tmp_path / "things.csv", index=False
        )
        pairs = pd.DataFrame({"text1": TEXTS, "text2": TEXTS[::-1], "label": range(60)})
        pairs.to_parquet(tmp_path / "pairs.parquet")
        tasks = {
            "things": {"kind": "classification", "path": "things.csv", "column": "said", "label": "thing"},
            "pairs": {"kind": "sts", "path": "pairs.parquet"},
        }  # fmt: skip
        (tmp_path / "tasks.yaml").write_text(
            yaml.safe_dump(tasks, sort_keys=False), encoding="utf-8"
        )

        table = polydistill.evaluate(
            student, tmp_path / "tasks.yaml", teachers=Lengths(), cache=cache, progress=False
        )

        assert table[["task", "model"]].to_numpy().tolist() == [
            ["things", "student"], ["things", "Lengths"], ["pairs", "student"], ["pairs", "Lengths"],
        ]  # fmt: skip

    def test_a_precomputed_teacher_is_not_scored(self, frame: pd.DataFrame, cache: Path) -> None:
        table = np.random.default_rng(0).standard_normal((len(TEXTS), 4))
        made = distilled(TEXTS, cache, teachers=[polydistill.Precomputed(table), HASHING])

        scores = polydistill.evaluate(
            made, {"things": {"kind": "clustering", "frame": frame}}, cache=cache, progress=False
        )

        assert scores["model"].tolist() == ["student", "hashing"]

    def test_images_of_a_frame_are_arrays(self, cache: Path) -> None:
        made = distilled(images(12), cache, teachers="hog-colour")
        frame = pd.DataFrame({"image": images(12), "label": ["a", "b"] * 6})

        scores = polydistill.evaluate(
            made, {"noise": {"kind": "clustering", "frame": frame}}, cache=cache, progress=False
        )

        assert scores["model"].tolist() == ["student", "hog-colour"]

    def test_a_student_does_not_differ_from_itself(
        self, student: polydistill.Student, frame: pd.DataFrame
    ) -> None:
        tasks = {"things": {"kind": "classification", "frame": frame}}

        table = polydistill.compare(student, student, tasks, progress=False)

        assert table["task"].tolist() == ["things", "mean"]
        assert table[["difference", "low", "high"]].to_numpy().tolist() == [[0, 0, 0]] * 2

    def test_students_of_two_modalities_are_not_compared(
        self, student: polydistill.Student, cache: Path
    ) -> None:
        other = distilled(SMILES, cache, teachers="maccs", modality="molecules")

        with pytest.raises(ParamsError, match="the same modality, got 'text' and 'molecules'"):
            polydistill.compare(student, other, {}, progress=False)

    @pytest.mark.parametrize(
        ("task", "error", "message"),
        [
            ({"kind": "classification"}, ParamsError, "either `path` or `frame`"),
            ({"kind": "classify", "frame": TEXTS}, ParamsError, "kind"),
            ({"kind": "sts", "frame": pd.DataFrame({"text": TEXTS})}, DataError, "'text1'"),
            ({"kind": "clustering", "frame": pd.DataFrame({"text": TEXTS, "a": 1})}, DataError, "'label'"),
            ({"kind": "clustering", "perturb": ["case"], "frame": None}, ParamsError, "works in a project only"),
        ],
    )  # fmt: skip
    def test_what_is_no_task_is_refused(
        self,
        task: dict[str, Any],
        error: type[Exception],
        message: str,
        student: polydistill.Student,
    ) -> None:
        with pytest.raises(error, match=message):
            polydistill.evaluate(student, {"mine": task}, progress=False)


def source(kind: str, path: Path) -> object:
    """Return the texts in one of the forms that a caller has them in."""
    frame = pd.DataFrame({"number": range(len(TEXTS)), "text": TEXTS})
    file = path.with_suffix(f".{kind}")
    if kind == "folder":
        path.mkdir()
        file = path / "part.csv"
    if kind in {"csv", "folder", "tsv"}:
        frame.to_csv(file, index=False, sep="\t" if kind == "tsv" else ",", encoding="utf-8-sig")
    elif kind == "jsonl":
        frame.to_json(file, orient="records", lines=True)
    elif kind == "parquet":
        frame.to_parquet(file)
    elif kind == "txt":
        file.write_text("\n".join(TEXTS), encoding="utf-8")
    if kind == "folder":
        return path
    if kind == "dataset":
        import datasets

        return datasets.Dataset.from_pandas(frame)
    in_memory: dict[str, object] = {
        "list": TEXTS,
        "tuple": tuple(TEXTS),
        "iterator": iter(TEXTS),
        "array": np.array(TEXTS),
        "series": frame["text"],
        "frame": frame,
    }
    return in_memory.get(kind, str(file))


def only_embeddings(cache: Path) -> Any:
    """Return the embeddings of the only teacher in a cache."""
    from polydistill.embeddings.store import open_embeddings

    folders: Sequence[Path] = list((cache / "embeddings").iterdir())
    (folder,) = folders
    stored = open_embeddings(folder)
    return stored.take(np.arange(len(stored)))


class Odd:
    """A teacher whose embeddings of some texts are damaged."""

    def __init__(self, value: float, rows: str) -> None:
        self.value, self.rows = value, rows

    def encode(self, examples: list[str]) -> NDArray[np.float32]:
        values = np.array([[len(one), one.count("e"), 1] for one in examples], dtype=np.float32)
        odd = np.array([self.rows == "all" or one == TEXTS[int(self.rows)] for one in examples])
        values[odd] = self.value
        return values


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rows", ["0", "41", "-1", "all"])
def test_a_teacher_that_returns_no_numbers_is_refused_by_name(
    cache: Path, value: float, rows: str
) -> None:
    with pytest.raises(StoreError, match=r"'Odd' returned NaN or infinity for \d+ rows"):
        distilled(TEXTS, cache, teachers=[HASHING, Odd(value, rows)])


@pytest.mark.parametrize("teacher", [Odd(1.5, "all"), polydistill.Precomputed(np.ones((60, 3)))])
def test_a_teacher_with_one_embedding_for_everything_is_refused(cache: Path, teacher: Any) -> None:
    with pytest.raises(DataError, match=r"has the same embedding for all \d+ training rows"):
        distilled(TEXTS, cache, teachers=[HASHING, teacher])


@pytest.mark.parametrize("n_complete", [1, 30])
def test_a_table_whose_complete_rows_are_not_used_is_refused(cache: Path, n_complete: int) -> None:
    texts = [*TEXTS, *[""] * n_complete]
    table = np.full((len(texts), 3), np.nan)
    table[len(TEXTS) :] = np.random.default_rng(0).standard_normal((n_complete, 3))

    with pytest.raises(DataError, match="has an embedding of none of the"):
        distilled(texts, cache, teachers=polydistill.Precomputed(table))
