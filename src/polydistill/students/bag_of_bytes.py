"""A student without dependencies that averages one embedding per byte, for tests and first steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from polydistill.contracts import Example
from polydistill.students import STUDENTS, WEIGHTS
from polydistill.students._bundle import BagStudent, bag_features, write_json

N_BYTES = 256


@STUDENTS.register("bag-of-bytes")
class BagOfBytesStudent(BagStudent):
    """See `contracts.Student`. It has one embedding for each of the 256 bytes."""

    name = "bag-of-bytes"

    @classmethod
    def build(
        cls,
        examples: Sequence[Example],  # noqa: ARG003 - part of the contract
        generator: torch.Generator,
        threads: int,  # noqa: ARG003
        *,
        dim: int = 32,
    ) -> BagOfBytesStudent:
        """Return a student with random embeddings of width `dim`."""
        return cls(torch.randn(N_BYTES, dim, generator=generator))

    @classmethod
    def load(cls, folder: Path) -> BagOfBytesStudent:
        """See `students.load_student`."""
        return cls(load_file(folder / WEIGHTS)["embedding.weight"])

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `contracts.Student.collate`."""
        return bag_features([one if isinstance(one, bytes) else one.encode() for one in examples])

    def _write(self, folder: Path) -> None:
        super()._write(folder)
        write_json(folder / "tokenizer.json", _byte_tokenizer())


def _byte_tokenizer() -> dict[str, object]:
    """Return the content of a `tokenizer.json` whose tokens are single bytes; a token's id is the byte's value."""
    # Byte-level tokenizers represent each byte by a printable character: by its own, if that is printable.
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(N_BYTES, 2 * N_BYTES))
    characters = [chr(byte if byte in printable else next(others)) for byte in range(N_BYTES)]
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    vocabulary = {character: byte for byte, character in enumerate(characters)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
