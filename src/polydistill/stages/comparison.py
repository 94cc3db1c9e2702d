"""Compares two models on every benchmark task: bundles of students, and teachers with stored embeddings."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from polydistill.config.device import device_for
from polydistill.config.environment import use_threads
from polydistill.config.params import Params
from polydistill.contracts import Embeddings, Progress, silent
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import benchmark_inputs, groups_by_id, read_tasks
from polydistill.evaluation.benchmark import build_tasks, run_benchmark
from polydistill.evaluation.encoder import LookupEncoder
from polydistill.project.layout import Layout
from polydistill.report.comparison import Comparison, compare
from polydistill.stages.evaluate import stored_embeddings
from polydistill.students import encode, load_student, weights_digest


def compare_models(
    root: Path,
    params: Params,
    modality: str,
    models: Mapping[str, Path | None],
    *,
    progress: Progress = silent,
) -> Comparison:
    """Score two models on every available task, and return the paired differences of the first from the second.

    Args:
        root: The project folder.
        params: The project's parameters.
        modality: A block of the parameters.
        models: Two models by name: the folder of a student's bundle, or None for a teacher of this name.
        progress: Called after each task of each model.

    Raises:
        MissingDataError: A bundle, or a task's file that is not third-party data, is missing.
        DataError: A bundle is damaged, or no task is available.
        StoreError: The embeddings of a teacher are missing, are damaged, or lack an input.
    """
    block, kind = params.modality(modality), MODALITIES.get(modality)()
    frames = read_tasks(root, block.tasks, kind)
    tasks = build_tasks(frames, block.tasks, block.evaluation, kind)
    inputs = benchmark_inputs(frames, block.tasks, kind)
    ids, examples = inputs["id"].tolist(), inputs[kind.column].tolist()
    use_threads(params.threads)

    def encoders() -> Iterator[LookupEncoder]:
        for name, folder in models.items():
            if folder is None:
                embeddings, _ = stored_embeddings(Layout(root, modality), name, ids)
                yield LookupEncoder(name, "stored", ids, embeddings)
            else:
                values = encode(load_student(folder, device_for(params.device)), examples)
                present = np.ones(len(ids), dtype=np.bool_)
                yield LookupEncoder(name, weights_digest(folder), ids, Embeddings(values, present))

    run = run_benchmark(encoders(), tasks, block.tasks, params.threads, progress)
    one, other = models
    kinds = {name: task.kind for name, task in block.tasks.items()}
    return compare(run.predictions, kinds, one, [other], groups_by_id(frames))
