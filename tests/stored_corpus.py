"""The canonical corpus of a test project, as the validate stage writes it."""

from __future__ import annotations

from pathlib import Path

from polydistill.config.params import Params
from polydistill.data.corpora import StoredCorpus, open_corpus
from polydistill.data.modalities import MODALITIES
from polydistill.data.preparation import prepare_corpus
from polydistill.project.layout import Layout


def store_corpus(root: Path, params: Params, modality: str = "text") -> StoredCorpus:
    """Write the canonical corpus of a project, without checks, and open it."""
    layout, settings = Layout(root, modality), params.modality(modality).corpus
    kind = MODALITIES.get(modality)()
    with prepare_corpus(root, settings, kind, layout.work("validate", modality)) as corpus:
        corpus.publish(layout.corpus, settings)
    return open_corpus(layout.corpus, settings, kind)
