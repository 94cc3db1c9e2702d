"""What a change of `params.yaml` makes stale, by DVC itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from polydistill.config.params import read_tree
from polydistill.integrations.dvc import stages as dvc
from tests.our_params import our_params
from tests.toy_project import CONFIG

EMBEDDINGS = "artifacts/${item.modality}/${item.teacher}"
STAGES = {
    "vars": ["params.resolved.yaml:enabled"],
    "stages": {
        "params": {
            "cmd": f"{Path(sys.executable).with_name('polydistill')} params --write",
            "deps": ["params.yaml"],
            "outs": [{"params.resolved.yaml": {"cache": False, "persist": True}}],
        },
        "embed": {
            "foreach": "${enabled.embed}",
            "do": {
                "cmd": f"mkdir -p artifacts/${{item.modality}} && echo a > {EMBEDDINGS}",
                "params": [{"params.resolved.yaml": ["${item.modality}.teachers.${item.teacher}"]}],
                "outs": [EMBEDDINGS],
            },
        },
        "distill": {
            "foreach": "${enabled.modalities}",
            "do": {
                "cmd": "cat artifacts/${item}/* > student-${item}",
                "deps": ["artifacts/${item}"],
                "params": [
                    {
                        "params.resolved.yaml": [
                            "enabled.teachers.${item}",
                            "${item}.training",
                            "${item}.loss",
                        ]
                    }
                ],
                "outs": ["student-${item}"],
            },
        },
    },
}


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two modalities whose stages are up to date."""
    root = tmp_path_factory.mktemp("project")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text(CONFIG)
    (root / "dvc.yaml").write_text(yaml.safe_dump(STAGES))
    ours = our_params()
    blocks = {
        "text": {"corpus": ours["text"]["corpus"], "teachers": {"minilm-l6": None}},
        "vision": {"corpus": ours["vision"]["corpus"], "teachers": {"hog-colour": None}},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(blocks))
    assert set(dvc.status(root)) > {"embed@text-minilm-l6", "distill@vision"}
    assert repro(root).returncode == 0
    assert dvc.status(root) == []
    return root


@pytest.fixture
def project(reproduced: Path, tmp_path: Path) -> Path:
    return shutil.copytree(reproduced, tmp_path / "project")


def repro(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dvc", "repro"]
    return subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)


def edit(root: Path, modality: str, **changes: Any) -> None:
    tree = read_tree(root)
    tree[modality] |= changes
    (root / "params.yaml").write_text(yaml.safe_dump(tree))


def test_a_new_teacher_of_one_modality_leaves_the_others_alone(project: Path) -> None:
    edit(project, "vision", teachers={"hog-colour": None, "open-nsfw": None})

    stale = dvc.status(project)

    assert stale == ["distill@vision", "embed@vision-open-nsfw", "params"]


def test_a_changed_default_is_seen_where_it_counts(project: Path) -> None:
    edit(project, "text", loss={"name": "mse"}, gate={"min_gain": 0.5})

    stale = dvc.status(project)

    assert stale == ["distill@text", "params"]


def test_plain_dvc_repro_composes_first(project: Path) -> None:
    edit(project, "text", training={"epochs": 9})

    finished = repro(project)

    assert finished.returncode == 0, finished.stderr
    assert "Running stage 'distill@text'" in finished.stdout
    assert "Running stage 'distill@vision'" not in finished.stdout
    assert dvc.status(project) == []


def test_plain_dvc_repro_says_that_its_list_of_stages_is_too_old(project: Path) -> None:
    edit(project, "vision", teachers={"hog-colour": None, "open-nsfw": None})

    first, second = repro(project), repro(project)

    assert first.returncode != 0
    assert "Newly enabled: vision-open-nsfw" in first.stderr
    assert "run the same command again" in first.stderr
    assert second.returncode == 0, second.stderr
    assert (project / "artifacts/vision/open-nsfw").exists()
    assert dvc.status(project) == []


def test_a_disabled_teacher_makes_its_modality_alone_stale(project: Path) -> None:
    edit(project, "vision", teachers={"hog-colour": None, "open-nsfw": None})
    dvc.status(project)
    assert repro(project).returncode == 0
    edit(project, "vision", teachers={"hog-colour": {"enabled": False}, "open-nsfw": None})

    assert dvc.status(project) == ["distill@vision", "params"]
