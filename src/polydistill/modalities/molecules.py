"""Molecules, written as SMILES."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from polydistill.contracts import Example, Rule
from polydistill.modalities import MODALITIES
from polydistill.smiles import as_smiles, canonical_smiles, parent_smiles


@MODALITIES.register("molecules")
class MoleculesModality:
    """See `contracts.Modality`.

    Examples:
        >>> molecules = MoleculesModality()
        >>> molecules.content_id("OCC") == molecules.content_id("CCO")
        True
        >>> molecules.near_key("[Na+].C[C@H](N)C(=O)[O-]")
        'CC(N)C(=O)O'
    """

    name = "molecules"
    column = "smiles"

    def content_id(self, example: Example) -> str:
        """See `contracts.Modality.content_id`: of the canonical SMILES; an invalid one stands for itself."""
        canonical = canonical_smiles(example)
        content = f"invalid {as_smiles(example)}" if canonical is None else canonical
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def near_key(self, example: Example) -> str:
        """See `contracts.Modality.near_key`: the parent; salts and stereoisomers of a compound share it."""
        parent = parent_smiles(example)
        return as_smiles(example) if parent is None else parent

    def corpus_rules(self) -> Sequence[Rule]:
        """See `contracts.Modality.corpus_rules`."""
        return ()
