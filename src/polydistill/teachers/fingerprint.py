"""Molecules described without a trained model: RDKit's descriptors, Morgan counts, MACCS keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.weights import package_version
from polydistill.errors import UnknownNameError
from polydistill.teachers import TEACHERS
from polydistill.teachers._molecules import embed_molecules

VERSION = 1


@TEACHERS.register("fingerprint")
class FingerprintTeacher:
    """Fixed descriptions of a molecule; none of them has seen a label.

    Counts and descriptors are compressed to sign(x) log(1 + |x|): some descriptors span ten decades. One that
    is not defined for a molecule (a partial charge beside a metal) is zero.

    Args:
        name: What it is called here.
        threads: Unused.
        kind: `descriptors` (RDKit 2D), `morgan` (counts) or `maccs`.
        dim: Number of descriptors, buckets or keys.
        radius: Of Morgan environments, in bonds.

    References:
        Rogers and Hahn 2010, "Extended-connectivity fingerprints"; Durant et al. 2002, "Reoptimization of MDL
        keys for use in drug discovery".
    """

    by_id = False

    def __init__(self, name: str, threads: int, *, kind: str, dim: int, radius: int = 2) -> None:  # noqa: ARG002
        self.name, self.dim, self._kind, self._radius = name, dim, kind, radius
        self._kinds: dict[str, Callable[[], Callable[[Any], FloatArray]]] = {
            "descriptors": _descriptors,
            "morgan": lambda: _morgan(radius, dim),
            "maccs": _maccs,
        }
        if kind not in self._kinds:
            raise UnknownNameError(f"kind of teacher {name!r}", kind, self._kinds)

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        return {
            "family": "fingerprint",
            "version": VERSION,
            "rdkit": package_version("rdkit"),
            "kind": self._kind,
            "radius": self._radius if self._kind == "morgan" else None,
        }

    @cached_property
    def _describe(self) -> Callable[[Any], FloatArray]:
        return self._kinds[self._kind]()

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`."""
        return embed_molecules(
            self.name,
            self.dim,
            examples,
            lambda molecules: np.stack([self._describe(one) for one in molecules]),
        )


def _descriptors() -> Callable[[Any], FloatArray]:
    from rdkit import rdBase
    from rdkit.Chem import Descriptors

    calculate: Any = Descriptors.CalcMolDescriptors

    def describe(molecule: Any) -> FloatArray:
        with rdBase.BlockLogs():
            found = calculate(molecule, missingVal=0.0, silent=True)
        values = np.nan_to_num(np.array(list(found.values()), dtype=np.float64), posinf=0, neginf=0)
        return _compressed(values)

    return describe


def _morgan(radius: int, dim: int) -> Callable[[Any], FloatArray]:
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    generator = GetMorganGenerator(radius=radius, fpSize=dim)
    return lambda molecule: _compressed(
        generator.GetCountFingerprintAsNumPy(molecule).astype(np.float64)
    )


def _maccs() -> Callable[[Any], FloatArray]:
    from rdkit.Chem.rdMolDescriptors import GetMACCSKeysFingerprint

    return lambda molecule: np.array(list(GetMACCSKeysFingerprint(molecule)), dtype=np.float32)


def _compressed(values: np.ndarray[Any, np.dtype[np.float64]]) -> FloatArray:
    result: FloatArray = (np.sign(values) * np.log1p(np.abs(values))).astype(np.float32)
    return result
