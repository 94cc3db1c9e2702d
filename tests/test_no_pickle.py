"""Nothing that polydistill reads can run code: no source loads a pickle, and a planted pickle is never executed."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from polydistill.errors import PolydistillError
from polydistill.export.bundle import load_export
from polydistill.students import STUDENTS, load_student
from polydistill.teachers import TEACHERS
from polydistill.training.checkpoints import MANIFEST, _checksums
from polydistill.training.heads_bundle import load_heads
from tests.training.test_checkpoints import CutError, cut
from tests.training.tiny_run import run

torch = pytest.importorskip("torch")
REPOSITORY = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for folder in ("src", "flows", "experiments", "recipes", "services", "bench")
    for path in (REPOSITORY / folder).rglob("*.py")
)
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def calls(path: Path) -> Iterator[tuple[str, dict[str, object], int]]:
    """Yield the dotted name, the constant keyword arguments and the line of each call in a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            keywords: dict[str, object] = {
                one.arg: one.value.value if isinstance(one.value, ast.Constant) else ...
                for one in node.keywords
                if one.arg
            }
            yield ast.unparse(node.func), keywords, node.lineno


def imported(path: Path) -> set[str]:
    """Return the top packages that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_no_source_can_load_a_pickle_or_remote_code() -> None:
    found = [f"{path}: imports {name}" for path in SOURCES for name in imported(path) & MODULES]
    for path in SOURCES:
        for name, keywords, line in calls(path):
            wrong = (
                (name == "torch.load" and keywords.get("weights_only") is not True)
                or (
                    name.endswith(("np.load", "numpy.load"))
                    and keywords.get("allow_pickle") is not False
                )
                or name.endswith("read_pickle")
                or name in {"eval", "exec", "yaml.unsafe_load", "yaml.full_load"}
                or keywords.get("trust_remote_code", False) is not False
                or keywords.get("allow_pickle", False) is not False
            )
            if wrong:
                found.append(f"{path.relative_to(REPOSITORY)}:{line}: {name}")

    assert found == []


class Bomb:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def planted(folder: Path) -> dict[str, bytes]:
    """Return files that create `folder` when they are unpickled: a pickle, torch's format, and numpy's."""
    torch.save({"state_dict": Bomb(folder)}, folder.parent / "torch.pt")
    np.save(folder.parent / "numpy.npy", np.array([Bomb(folder)], dtype=object))
    return {
        "pickle": pickle.dumps(Bomb(folder)),
        "torch": (folder.parent / "torch.pt").read_bytes(),
        "numpy": (folder.parent / "numpy.npy").read_bytes(),
    }


KINDS = ("pickle", "torch", "numpy")
TEACHER_FILES: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "precomputed": ({"folder": ".", "dim": 4}, ("embeddings.npy", "ids.txt", "rows.parquet")),
    "static-vectors": (
        {"vectors": "vectors.npy", "vocabulary": "words.parquet", "dim": 4},
        ("vectors.npy",),
    ),
    "dmpnn": ({"checkpoints": ["one.ckpt"], "dim": 4}, ("one.ckpt",)),
    "minimol": ({"model": "minimol.pt"}, ("minimol.pt",)),
    "efficientnet-lite": ({"weights": "weights.pth", "sha256": "?"}, ("weights.pth",)),
    "transformers": (
        {"model": ".", "dim": 4},
        ("pytorch_model.bin", "model.safetensors", "tokenizer.json", "config.json"),
    ),
    "sentence-transformers": (
        {"model": ".", "dim": 4},
        ("pytorch_model.bin", "model.safetensors", "tokenizer.json", "modules.json"),
    ),
    "onnx": (
        {"model": "model.onnx", "tokenizer": "tokenizer.json", "dim": 4},
        ("model.onnx", "tokenizer.json"),
    ),
}


def test_the_planted_pickles_work(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    contents = planted(ran)
    loads: dict[str, Callable[[str], object]] = {
        "pickle": lambda path: pickle.loads(Path(path).read_bytes()),  # noqa: S301 - our own
        "torch": lambda path: torch.load(path, weights_only=False),
        "numpy": lambda path: np.load(path, allow_pickle=True),
    }
    for kind, load in loads.items():
        (tmp_path / "file").write_bytes(contents[kind])
        load(str(tmp_path / "file"))
        ran.rmdir()  # fails if the pickle did not run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", TEACHER_FILES)
def test_no_teacher_executes_a_pickle(tmp_path: Path, family: str, kind: str) -> None:
    options, names = TEACHER_FILES[family]
    content = planted(tmp_path / "ran")[kind]
    for name in names:
        (tmp_path / name).write_bytes(content)
    pd.DataFrame({"index": ["cco", "CCO"]}).to_parquet(tmp_path / "words.parquet")
    settings = {key: _placed(tmp_path, value) for key, value in options.items()}

    if "sha256" in settings:
        settings["sha256"] = hashlib.sha256(content).hexdigest()

    teacher = TEACHERS.get(family)(name="planted", threads=1, **settings)
    with pytest.raises(PolydistillError, match=re.escape(str(tmp_path))):
        teacher.embed([picture() if family == "efficientnet-lite" else "CCO"])

    assert not (tmp_path / "ran").exists()


def picture() -> bytes:
    """Return a PNG."""
    content = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(content, "png")
    return content.getvalue()


def _placed(folder: Path, value: object) -> object:
    if isinstance(value, list):
        return [str(folder / one) for one in value]
    return str(folder / value) if isinstance(value, str) else value


@pytest.mark.parametrize("kind", KINDS)
def test_no_bundle_executes_a_pickle(tmp_path: Path, kind: str) -> None:
    texts = ["a cat", "a dog"]
    student = STUDENTS.get("bag-of-bytes").build(texts, torch.Generator().manual_seed(0), dim=8)
    student.save(tmp_path / "good")
    names = [
        *(path.name for path in (tmp_path / "good").iterdir()),
        "pytorch_model.bin",
        "heads.json",
    ]
    content = planted(tmp_path / "ran")[kind]
    for name in names:
        folder = tmp_path / f"with {name}"
        shutil.copytree(tmp_path / "good", folder)
        (folder / name).write_bytes(content)
        for load in (load_student, load_heads, load_export):
            with suppress(PolydistillError):
                load(folder)

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"]
)
def test_no_checkpoint_executes_a_pickle_though_its_manifest_agrees(
    tmp_path: Path, kind: str, name: str
) -> None:
    place = tmp_path / "run"
    with pytest.raises(CutError):
        run(place, progress=cut)
    for checkpoint in place.glob("checkpoint-*"):
        (checkpoint / name).write_bytes(planted(tmp_path / "ran")[kind])
        (checkpoint / MANIFEST).write_text(json.dumps(_checksums(checkpoint)))

    with suppress(Exception):  # whoever can write a manifest can only stop a run
        run(place)

    assert not (tmp_path / "ran").exists()
