from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from polydistill.training.checkpoints import MANIFEST, _checksums, newest_checkpoint, step_of
from tests.training.tiny_run import PARAMS, run, weights

FILES = (
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "trainer_state.json",
    "training_args.bin",
    "guard.json",
    MANIFEST,
)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def another_type(path: Path) -> None:
    path.write_text("[[1, null]]")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: tuple[Callable[[Path], None], ...] = (
    flip,
    truncate,
    empty,
    another_type,
    folder,
    Path.unlink,
)
RISING = PARAMS.model_copy(update={"head_learning_rate": 5.0, "warmup_share": 1.0})
"""With these settings the held-out loss rises, so that the best checkpoint is not the newest."""


class CutError(Exception):
    pass


def cut(what: str, done: int, total: int, **figures: float) -> None:
    if done == 12:
        raise CutError


@pytest.fixture(scope="module")
def falling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("falling")
    with pytest.raises(CutError):
        run(place, progress=cut)
    return place


def steps(place: Path) -> list[int]:
    return sorted(map(step_of, place.glob("checkpoint-*")))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_the_checkpoint_before_a_damaged_one_is_the_newest(
    falling: Path, tmp_path: Path, name: str, damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    place = Path(shutil.copytree(falling, tmp_path / "copy"))
    before, newest = steps(place)
    for checkpoint in place.glob("checkpoint-*"):
        state = checkpoint / "trainer_state.json"
        state.write_text(state.read_text().replace(str(falling), str(place)))
        (checkpoint / MANIFEST).write_text(json.dumps(_checksums(checkpoint)))

    damage(place / f"checkpoint-{newest}" / name)
    found = newest_checkpoint(place)

    assert found == place / f"checkpoint-{before}"
    assert steps(place) == [before]
    assert "incomplete or damaged" in caplog.text
    damage(found / name)
    assert newest_checkpoint(place) is None


@pytest.mark.parametrize("damaged", ["newest", "all", "extra", "odd names", "no folder", "first"])
def test_a_run_with_damaged_checkpoints_ends_with_the_same_weights(
    tmp_path: Path, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "polydistill")
    undisturbed, model = run(tmp_path / "undisturbed")
    place = tmp_path / "cut"
    with pytest.raises(CutError):
        run(place, progress=cut)
    paths = sorted(place.glob("checkpoint-*"), key=step_of)
    if damaged in {"newest", "all"}:
        for path in paths[-1:] if damaged == "newest" else paths:
            flip(path / "optimizer.pt")
    elif damaged == "extra":
        (paths[-1] / "optimizer.bin").write_text("1")
    elif damaged == "odd names":
        (place / "checkpoint-99").write_text("a file")
        (place / "checkpoint-last").mkdir()
        shutil.copytree(paths[-1], place / "checkpoint-98x")
    elif damaged == "no folder":
        shutil.rmtree(place)
        place.write_text("a file")
    else:
        folder(place / "first.safetensors")

    result, again = run(place)

    assert weights(again) == weights(model)
    assert result == undisturbed
    assert bool(caplog.records) == (damaged not in {"no folder", "first"})


def test_a_checkpoint_whose_best_weights_are_damaged_is_left_out(tmp_path: Path) -> None:
    undisturbed, model = run(tmp_path / "undisturbed", RISING)
    place = tmp_path / "cut"
    with pytest.raises(CutError):
        run(place, RISING, progress=cut)
    best, newest = steps(place)
    assert undisturbed.best_step == best < newest - 2
    flip(place / f"checkpoint-{best}" / "model.safetensors")

    result, again = run(place, RISING)

    assert weights(again) == weights(model)
    assert result == undisturbed


def test_a_checkpoint_that_a_kill_left_without_a_manifest_is_left_out(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-8"
    checkpoint.mkdir()
    (checkpoint / "trainer_state.json").write_text('{"global_step": 8}')

    assert newest_checkpoint(tmp_path) is None
    assert not checkpoint.exists()
    assert newest_checkpoint(tmp_path / "nowhere") is None
