"""The distill stage: trains the student on the teachers' stored embeddings."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polydistill.config.device import device_for
from polydistill.config.params import Params
from polydistill.config.tree import NOT_AFFECTING_SCORES
from polydistill.contracts import Progress, Tracker, silent
from polydistill.data.corpora import open_corpus
from polydistill.data.modalities import MODALITIES
from polydistill.embeddings.store import StoredEmbeddings, open_corpus_embeddings
from polydistill.project.files import put_in_place
from polydistill.project.layout import Layout
from polydistill.stages.code import stage_code
from polydistill.training import processes
from polydistill.training.dataset import held_out_mask
from polydistill.training.distillation import Corpus, DistillReport, RunSettings, distill_student
from polydistill.training.plug_ins import check_method


def distill(
    root: Path,
    params: Params,
    modality: str,
    *,
    verify: bool = False,
    tracker: Tracker | None = None,
    progress: Progress = silent,
) -> DistillReport:
    """Train the student and write its bundle, the heads, the history and the report.

    An unfinished run with the same parameters and inputs is resumed. In a process group, the first process writes the
    outputs. See `distillation.distill_student`.

    Args:
        root: The project folder.
        params: The project's parameters.
        modality: A block of the parameters.
        verify: Whether to read all files again to compare their checksums, also those that have not changed since.
        tracker: Called after each evaluation.
        progress: Called after each evaluation.

    Raises:
        StageError: The validate stage has not written the corpus, or it is damaged.
        DataError: There are no held-out rows or no training rows.
        StoreError: Embeddings are missing, damaged, or belong to rows other than those of the corpus.
        PolydistillError: See `distillation.distill_student`.
    """
    tracker = tracker or Tracker()
    layout, block = Layout(root, modality), params.modality(modality)
    kind = MODALITIES.get(modality)()
    check_method(block, modality)
    checksums = layout.checksums("corpus", verify=verify)
    corpus = open_corpus(layout.corpus, block.corpus, kind, checksums)
    held_out = held_out_mask(corpus.groups, block.corpus.held_out)
    active = params.enabled_teachers(modality)
    processes.join(device_for(params.device))
    if processes.rank() == 0:
        for folder, target in layout.disabled_embeddings("corpus", active):
            put_in_place(folder, target)  # the embed stage can reuse them from there
    processes.wait()
    known = {name: layout.checksums(f"corpus-{name}", verify=verify) for name in active}
    stored = open_corpus_embeddings(layout.corpus_embeddings(active), corpus.ids, known)
    work = _work_folder(layout, params, stored, held_out)
    named = block.warm_start.sha256
    if processes.rank() == 0:
        tracker.log_params(params.of_modality(modality))
    report = distill_student(
        Corpus(corpus.examples, corpus.groups, held_out),
        stored,
        block,
        RunSettings(params.seed, params.threads, params.precision, params.device),
        work,
        origin=None if named is None else layout.warm_start(named),
        tracker=tracker,
        progress=progress,
    )
    if processes.rank():
        return report
    _publish_outputs(layout, work / "outputs")
    shutil.rmtree(work)
    tracker.set_tags({"student_sha256": report.student_sha256})
    tracker.close()
    return report


def _work_folder(
    layout: Layout, params: Params, stored: dict[str, StoredEmbeddings], held_out: NDArray[np.bool_]
) -> Path:
    """Return the folder of an unfinished run; its name contains a hash of everything that affects the result."""
    block = params.modality(layout.modality)
    inputs = {name: [one.identity, one.ids_sha256()] for name, one in stored.items()}
    settings = block.model_dump(
        mode="json", exclude={*NOT_AFFECTING_SCORES, "tasks", "evaluation", "rivals", "teachers"}
    )
    split = hashlib.sha256(held_out.tobytes()).hexdigest()
    code = stage_code(["distill"], [params], layout.modality)
    content = [params.seed, params.threads, params.precision, settings, inputs, split, code]
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    return layout.work("distill", f"{layout.modality}-{key}")


def _publish_outputs(layout: Layout, outputs: Path) -> None:
    """Move all outputs to their final paths; the report is moved last."""
    bundles = (layout.student, layout.undistilled, layout.heads)
    for final in (*bundles, layout.history, layout.reports / "history.csv", layout.distillation):
        put_in_place(outputs / final.name, final)
