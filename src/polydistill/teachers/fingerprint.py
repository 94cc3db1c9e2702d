"""Molecular fingerprints without a trained model: RDKit's descriptors, Morgan counts, MACCS keys."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from polydistill.config.nodes import Limit, Width
from polydistill.contracts import FloatArray
from polydistill.errors import UnknownNameError
from polydistill.teachers import TEACHERS
from polydistill.teachers._readers import Identity, ReadsMolecules


@TEACHERS.register("fingerprint")
@dataclass(eq=False, kw_only=True)
class FingerprintTeacher(ReadsMolecules):
    """Fixed molecular features that do not depend on any labels.

    Counts and descriptors are compressed to sign(x) log(1 + |x|), because some descriptors span ten orders of
    magnitude. A descriptor that is undefined for a molecule, such as a partial charge next to a metal, is set to zero.

    Attributes:
        kind: `descriptors` (RDKit 2D), `morgan` (counts) or `maccs`.
        dim: Number of descriptors, hash buckets or MACCS keys, depending on `kind`.
        radius: Radius of the Morgan environments, in bonds.

    References:
        Rogers and Hahn 2010, "Extended-connectivity fingerprints"; Durant et al. 2002, "Reoptimization of MDL
        keys for use in drug discovery".
    """

    family = "fingerprint"
    identified_by = ("kind",)

    kind: str
    dim: Width
    radius: Limit = 2

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError(f"kind of teacher {self.name!r}", self.kind, KINDS)

    @property
    def identity(self) -> Identity:
        """See `contracts.Teacher.identity`."""
        radius = self.radius if self.kind == "morgan" else None
        return {**super().identity, "radius": radius}

    def _run(self, batch: list[Any]) -> FloatArray:
        describe = KINDS[self.kind]
        return np.stack([describe(molecule, self.radius, self.dim) for molecule in batch])


def _descriptors(molecule: Any, *_: int) -> FloatArray:
    from rdkit import rdBase
    from rdkit.Chem import Descriptors

    calculate: Any = Descriptors.CalcMolDescriptors
    with rdBase.BlockLogs():
        found = calculate(molecule, missingVal=0.0, silent=True)
    values = np.array(list(found.values()), dtype=np.float64)
    return _compressed(np.nan_to_num(values, posinf=0, neginf=0))


def _morgan(molecule: Any, radius: int, dim: int) -> FloatArray:
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    generator = GetMorganGenerator(radius=radius, fpSize=dim)
    return _compressed(generator.GetCountFingerprintAsNumPy(molecule).astype(np.float64))


def _maccs(molecule: Any, *_: int) -> FloatArray:
    from rdkit.Chem.rdMolDescriptors import GetMACCSKeysFingerprint

    return np.array(list(GetMACCSKeysFingerprint(molecule)), dtype=np.float32)


def _compressed(values: np.ndarray[Any, np.dtype[np.float64]]) -> FloatArray:
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)), dtype=np.float32)


KINDS: dict[str, Callable[[Any, int, int], FloatArray]] = {
    "descriptors": _descriptors,
    "morgan": _morgan,
    "maccs": _maccs,
}
