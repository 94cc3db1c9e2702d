"""Every Python block of README and the documentation runs, page by page, in a folder with the files that it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import polydistill
from polydistill.data.modalities import MODALITIES
from polydistill.embeddings import specification
from polydistill.losses import LOSSES
from tests.docs.blocks import Block, blocks

CHEAP = {
    "minilm-l6": {"family": "hashing", "dim": 384},
    "glove-50d": {"family": "hashing", "dim": 50, "n": 2},
}
"""What runs in the place of the known teachers that the pages name."""
ADJECTIVES, NOUNS = ("red", "old", "small", "quiet", "broken"), ("car", "boat", "house", "tree")
TEXTS = [f"the {one} {two} of {whose}" for one in ADJECTIVES for two in NOUNS for whose in ("Ada", "Alan", "us")]  # fmt: skip
PYTHON = blocks("python")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages name: a corpus, tasks, a student with its heads, also as ONNX, and embeddings."""
    folder = tmp_path_factory.mktemp("pages")
    pd.DataFrame({"text": TEXTS}).to_csv(folder / "texts.csv", index=False)
    labels = ["new" if "red" in text or "small" in text else "used" for text in TEXTS]
    pd.DataFrame({"text": TEXTS, "label": labels}).to_csv(folder / "condition.csv", index=False)
    tasks = {"condition": {"kind": "classification", "path": "condition.csv"}}
    (folder / "my-tasks.yaml").write_text(yaml.safe_dump(tasks), encoding="utf-8")
    np.save(folder / "embeddings.npy", np.random.default_rng(0).standard_normal((len(TEXTS), 8)))
    student = polydistill.distill(
        TEXTS,
        {"name": "minilm-l6", **CHEAP["minilm-l6"]},
        held_out=0.2,
        cache=folder / "cache",
        progress=False,
    )
    student.save(folder / "artifacts" / "text")
    student.save_onnx(folder / "student-onnx", TEXTS, int8=True)
    return folder


@pytest.mark.parametrize("page", sorted({block.page for block in PYTHON}))
def test_the_python_of_a_page_runs(
    page: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("POLYDISTILL_CACHE", str(project / "cache"))
    monkeypatch.setattr(specification, "known_teachers", lambda _modality: CHEAP)
    for plugins in (LOSSES, MODALITIES):  # what a page registers is forgotten
        monkeypatch.setattr(plugins, "_entries", dict(plugins._entries))
    namespace: dict[str, object] = {}

    for block in (one for one in PYTHON if one.page == page):
        run(block, namespace)

        printed = capsys.readouterr().out
        for said in re.findall(r"^print\(.*\)  # (\(.*)$", block.code, re.MULTILINE):
            assert said in printed


def run(block: Block, namespace: dict[str, object]) -> None:
    """Run a block; of one that needs a service or a registry, its imports alone."""
    tree = ast.parse(block.code, str(block))
    if block.note.startswith("needs: "):
        tree.body = [one for one in tree.body if isinstance(one, ast.Import | ast.ImportFrom)]
    exec(compile(tree, str(block), "exec"), namespace)  # noqa: S102
