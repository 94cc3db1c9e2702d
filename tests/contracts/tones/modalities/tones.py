"""A modality for tests: a tone is eight bytes, its loudness at eight moments, and never valid UTF-8."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from polydistill.contracts import Example, Rule
from polydistill.data.modalities import MODALITIES
from polydistill.errors import DataError

N_MOMENTS = 8


@MODALITIES.register("tones")
class TonesModality:
    """See `contracts.Modality`."""

    name = "tones"
    column = "tone"
    near_similarity: float | None = None
    requirements = ()

    def content_id(self, example: Example) -> str:
        """See `contracts.Modality.content_id`."""
        return hashlib.sha256(_bytes(example)).hexdigest()[:32]

    def near_key(self, example: Example) -> str:
        """See `contracts.Modality.near_key`. The lowest bit of each byte is ignored."""
        return bytes(moment & 0xFE for moment in _bytes(example)).hex()

    def split_key(self, example: Example) -> str | None:
        """See `contracts.Modality.split_key`."""
        return None

    def coerce(self, value: object) -> Example:
        """See `contracts.Modality.coerce`. A value is bytes or hexadecimal digits."""
        tone = bytes.fromhex(value) if isinstance(value, str) else value
        if not isinstance(tone, bytes) or len(tone) != N_MOMENTS:
            raise DataError(f"A tone must have {N_MOMENTS} bytes, got {value!r}.")
        return tone

    def canonical(self, example: Example) -> Example:
        """See `contracts.Modality.canonical`."""
        return example

    def derived(self, shown: Sequence[Sequence[Example]]) -> Mapping[str, Sequence[float]]:
        """See `contracts.Modality.derived`."""
        return {
            "n_moments": [min(map(len, examples), default=0) for examples in shown],
            "loudness": [float(np.mean(list(b"".join(map(_bytes, row))) or [0])) for row in shown],
        }

    def corpus_rules(self) -> Sequence[Rule]:
        """See `contracts.Modality.corpus_rules`."""
        limits = {"column": "n_moments", "min_value": N_MOMENTS, "max_value": N_MOMENTS}
        return (Rule("expect_column_values_to_be_between", limits, "a tone was cut"),)

    def task_rules(self, columns: Sequence[str]) -> Sequence[Rule]:
        """See `contracts.Modality.task_rules`."""
        return self.corpus_rules()


def _bytes(example: Example) -> bytes:
    assert isinstance(example, bytes), f"A tone must be bytes, got {example!r}."
    return example
