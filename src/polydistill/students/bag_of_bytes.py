"""A student without dependencies that averages one embedding per byte, for tests and first steps."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file
from torch import Tensor

from polydistill.config.nodes import Width
from polydistill.contracts import Example
from polydistill.data.texts import canonical_text
from polydistill.students import STUDENTS, WEIGHTS
from polydistill.students._bundle import BagStudent, bag_features

N_BYTES = 256
TOKENIZER = Path(__file__).with_name("byte_tokenizer.json")
"""A Hugging Face tokenizer whose tokens are single bytes; the id of a token is the value of the byte."""


@STUDENTS.register("bag-of-bytes")
class BagOfBytesStudent(BagStudent):
    """See `contracts.Student`. The student has one embedding per byte value, 256 in total."""

    name = "bag-of-bytes"

    @classmethod
    def build(
        cls,
        examples: Sequence[Example],  # noqa: ARG003 - part of the contract
        generator: torch.Generator,
        *,
        dim: Width = 32,
    ) -> Self:
        """Return a student with random embeddings of width `dim`."""
        return cls(torch.randn(N_BYTES, dim, generator=generator))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `students.load_student`."""
        return cls(load_file(folder / WEIGHTS)["embedding.weight"])

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.Student.collate`."""
        texts = (
            one if isinstance(one, bytes) else canonical_text(one).encode() for one in examples
        )
        return bag_features(list(texts))

    @property
    def onnx_preprocessing(self) -> Mapping[str, object]:
        """See `contracts.OnnxExportable`."""
        return {"add_special_tokens": False, "max_tokens": None}

    def onnx_tokenizer(self) -> str:
        """See `contracts.OnnxExportable`."""
        return TOKENIZER.read_text(encoding="utf-8")

    def _write(self, folder: Path) -> None:
        super()._write(folder)
        shutil.copyfile(TOKENIZER, folder / "tokenizer.json")
