"""The concatenation of all teachers, reduced to the student's width: what a student of this size could at best keep."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, FloatArray
from polydistill.evaluation.encoder import LookupEncoder, revision_of
from polydistill.evaluation.rivals import RIVALS, RivalData
from polydistill.evaluation.task import BenchmarkTask


@RIVALS.register("teachers-pca")
class TeachersPca:
    """Principal components of the teachers' concatenated embeddings, fitted to a sample of the corpus.

    Each teacher's embedding has length one, and a missing one is zero. It is a reference and not a model to deploy: it
    needs all teachers for each input.
    """

    name = "teachers-pca"

    def __init__(self, data: RivalData) -> None:
        self._data = data

    @cached_property
    def _encoder(self) -> LookupEncoder:
        from sklearn.decomposition import PCA

        teachers = self._data.teachers()
        corpus, present = _joined(one.corpus for one in teachers.values())
        inputs, known = _joined(one.benchmark for one in teachers.values())
        n_components = min(self._data.dim, *corpus[present].shape)
        pca = PCA(n_components, svd_solver="covariance_eigh").fit(corpus[present])
        identities = {name: one.identity for name, one in teachers.items()}
        identity = {"rival": self.name, "dim": n_components, "teachers": identities}
        values = pca.transform(inputs).astype(np.float32)
        return LookupEncoder(
            self.name, revision_of(identity), self._data.ids, Embeddings(values, known)
        )

    @property
    def revision(self) -> str:
        """See `encoder.Model`."""
        return self._encoder.revision

    @property
    def n_missing(self) -> int:
        """Number of inputs that no teacher embeds."""
        return self._encoder.n_missing

    @property
    def mteb_model_meta(self) -> Any:
        """See `encoder.Model.mteb_model_meta`."""
        return self._encoder.mteb_model_meta

    def for_task(self, _task: BenchmarkTask) -> LookupEncoder:
        """See `encoder.Model.for_task`; all tasks have the same embeddings."""
        return self._encoder


def _joined(blocks: Iterable[Embeddings]) -> tuple[FloatArray, Any]:
    """Return concatenated rows of length one, `(n, sum of widths)`, and whether any block has the row, `(n,)`."""
    values, present = [], []
    for block in blocks:
        lengths = np.linalg.norm(block.values, axis=1, keepdims=True)
        values.append(block.values / np.where(lengths == 0, 1, lengths) * block.present[:, None])
        present.append(block.present)
    return np.hstack(values), np.any(present, axis=0)
