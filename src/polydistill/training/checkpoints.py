"""Checkpoints of an unfinished training run: a manifest of checksums decides which of them are complete."""

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerState, TrainingArguments
from transformers.trainer_utils import rotate_checkpoints

from polydistill.project.files import remove, sha256_of, write_atomic
from polydistill.training import processes
from polydistill.training.guard import Restart, write_restarts

MANIFEST = "manifest.json"
NAME = re.compile(r"checkpoint-\d+")
KEPT = 2
_log = logging.getLogger(__name__)


class CompleteCheckpoints(TrainerCallback):
    """Adds the guard's restarts and the manifest to each checkpoint, and then removes older checkpoints.

    Args:
        restarts: The restarts by the divergence guard so far.
    """

    def __init__(self, restarts: Sequence[Restart]) -> None:
        self._restarts = tuple(restarts)

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Complete the checkpoint that Trainer has just written; one process does so, and the others wait."""
        processes.wait()
        if processes.rank() == 0:
            self._complete(args, state)
        processes.wait()

    def _complete(self, args: TrainingArguments, state: TrainerState) -> None:
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        write_restarts(folder, self._restarts)
        write_atomic(folder / MANIFEST, json.dumps(_checksums(folder), indent=1))
        # Trainer itself would remove an older checkpoint before this one is complete.
        rotate_checkpoints(str(args.output_dir), KEPT, state.best_model_checkpoint)


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint whose best checkpoint is complete too, and remove damaged ones.

    Each removed checkpoint is reported in the log.
    """
    whole = {path for path in folder.glob("checkpoint-*") if _is_whole(path)}
    for path in sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True):
        if path in whole and _best(path) in whole:
            return path
        remove(path)
        _log.warning(f"{path} is incomplete or damaged: training does not resume from it.")
    return None


def step_of(checkpoint: Path) -> int:
    """Return the step of a checkpoint, or infinity if its name has none."""
    return int(checkpoint.name.rpartition("-")[2]) if NAME.fullmatch(checkpoint.name) else 2**63


def _is_whole(checkpoint: Path) -> bool:
    try:
        written = json.loads((checkpoint / MANIFEST).read_bytes())
        return bool(NAME.fullmatch(checkpoint.name)) and written == _checksums(checkpoint)
    except (OSError, ValueError, RecursionError):
        return False


def _best(checkpoint: Path) -> Path:
    """Return the checkpoint with the best weights until this one, from which Trainer loads these at the end."""
    state = json.loads((checkpoint / "trainer_state.json").read_bytes())
    return Path(str(state["best_model_checkpoint"]))


def _checksums(folder: Path) -> dict[str, str]:
    return {
        path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST
    }
