"""The embed-rival stage: embeds the benchmark inputs, and never the corpus, with one rival."""

import json
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from polydistill.config.params import Params
from polydistill.contracts import Progress, silent
from polydistill.data.modalities import MODALITIES
from polydistill.embeddings.extraction import write_embeddings
from polydistill.embeddings.store import open_embeddings, require_usable
from polydistill.errors import StageError, UnknownNameError
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout
from polydistill.stages.embed import benchmark_rows, build_source, report_part

LOG = logging.getLogger(__name__)
REASON = "its weights could not be fetched, or its server did not answer or refused"
"""What an output says instead of the message of an error, which may name this machine."""


@dataclass(frozen=True)
class EmbedRivalReport:
    """The result of the embed-rival stage.

    Attributes:
        rival: The rival's name.
        n_benchmark: Number of distinct inputs of all tasks.
        missing_benchmark: Number of distinct inputs without an embedding.
        shards_computed: Number of shards embedded in this run.
        shards_reused: Number of shards that existed already.
        unavailable: Why there are no embeddings; empty if there are.
    """

    rival: str
    n_benchmark: int
    missing_benchmark: int = 0
    shards_computed: int = 0
    shards_reused: int = 0
    unavailable: str = ""


def embed_rival(
    root: Path,
    params: Params,
    modality: str,
    rival: str,
    *,
    verify: bool = False,
    progress: Progress = silent,
) -> EmbedRivalReport:
    """Bring a rival's stored embeddings of the benchmark inputs up to date.

    If the rival's weights cannot be fetched, or its server does not answer or refuses, the run continues: the output says
    so, and the evaluate stage leaves the rival out.

    Args:
        root: The project folder.
        params: The project's parameters.
        modality: A block of the parameters.
        rival: The rival's name.
        verify: Whether to read all files again to compare their checksums, also those that have not changed since.
        progress: Called after each batch.

    Raises:
        UnknownNameError: The rival is not enabled.
        StageError: The data has not passed validation.
        ParamsError: The options of its family are not valid.
        DataError: A file of the rival is missing or damaged, or it has the same embedding for all inputs.
        StoreError: See `extraction.write_embeddings`.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    if rival not in block.enabled_rivals:
        raise UnknownNameError("enabled rival", rival, block.enabled_rivals)
    source = build_source(layout, params, rival, block.enabled_rivals[rival])
    ids, examples = benchmark_rows(root, block.tasks, MODALITIES.get(modality)(), source)
    folder = layout.embeddings("benchmark", rival)
    checksums = layout.checksums(f"benchmark-{rival}", verify=verify)
    try:
        written = write_embeddings(
            folder,
            layout.embedding_work("benchmark", rival),
            ids,
            examples,
            source,
            dtype=block.store.dtype,
            shard_rows=block.store.shard_rows,
            checksums=checksums,
            progress=partial(report_part, progress, "benchmark"),
        )
    except StageError as error:
        LOG.warning(
            "The run continues without the rival %s (to retry: dvc repro -f embed-rival@%s-%s): %s",
            *(rival, modality, rival, error),
        )
        write_atomic(layout.unavailable(rival), json.dumps({"reason": REASON}) + "\n")
        return EmbedRivalReport(rival, len(ids), unavailable=REASON)
    stored = open_embeddings(folder, checksums)
    require_usable(stored, np.ones(len(stored), dtype=np.bool_), "inputs of the tasks")
    missing = int((~stored.present).sum())
    return EmbedRivalReport(rival, len(ids), missing, written.computed, written.reused)
