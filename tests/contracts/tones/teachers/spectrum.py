"""A teacher for tests: the discrete Fourier transform of eight moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polydistill.contracts import Embeddings, Example
from polydistill.teachers import TEACHERS


@TEACHERS.register("spectrum")
class SpectrumTeacher:
    """See `contracts.Teacher`. The embedding holds real and imaginary parts; silence has none."""

    by_id = False
    dim = 10

    def __init__(self, name: str, threads: int) -> None:
        self.name = name

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {"family": "spectrum", "version": 1}

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        assert all(isinstance(example, bytes) for example in examples)
        moments = np.array([list(example) for example in examples], dtype=np.float32)
        waves = np.fft.rfft(moments.reshape(len(examples), 8) / 255)
        values = np.concatenate([waves.real, waves.imag], axis=1).astype(np.float32)
        return Embeddings(values, values[:, 0] > 0)
