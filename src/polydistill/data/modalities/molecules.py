"""Molecules, written as SMILES."""

import hashlib
from collections.abc import Mapping, Sequence

from polydistill.contracts import Example, Rule
from polydistill.data import smiles
from polydistill.data.modalities import MODALITIES, between
from polydistill.errors import DataError, short


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
    near_similarity: float | None = None
    requirements = ("rdkit", "torch-geometric")

    def content_id(self, example: Example) -> str:
        """See `contracts.Modality.content_id`: the hash of the canonical SMILES, or of an invalid SMILES as written."""
        canonical = smiles.canonical_smiles(example)
        content = f"invalid {smiles.as_smiles(example)}" if canonical is None else canonical
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def near_key(self, example: Example) -> str:
        """See `contracts.Modality.near_key`: the parent, which salts and stereoisomers of a compound share."""
        parent = smiles.parent_smiles(example)
        return smiles.as_smiles(example) if parent is None else parent

    def split_key(self, example: Example) -> str | None:
        """See `contracts.Modality.split_key`: the Bemis-Murcko scaffold; the parent of a molecule without rings."""
        scaffold = smiles.scaffold_smiles(example)
        if scaffold is None:
            return None
        return f"scaffold {scaffold}" if scaffold else f"compound {self.near_key(example)}"

    def coerce(self, value: object) -> Example:
        """See `contracts.Modality.coerce`: the canonical SMILES, from which the content id is computed."""
        if not isinstance(value, str | bytes):
            raise DataError(
                f"A molecule must be a valid SMILES with at least one atom, got {short(value)}."
            )
        return smiles.require_smiles(value)

    def canonical(self, example: Example) -> Example:
        """See `contracts.Modality.canonical`: the canonical SMILES; an invalid SMILES as written."""
        return smiles.canonical_smiles(example) or smiles.as_smiles(example)

    def derived(self, shown: Sequence[Sequence[Example]]) -> Mapping[str, Sequence[float]]:
        """See `contracts.Modality.derived`: the number of heavy atoms, 0 if a SMILES is invalid."""
        counts = ([smiles.count_atoms(example) for example in examples] for examples in shown)
        return {"n_atoms": [max(row, default=0) if all(row) else 0 for row in counts]}

    def corpus_rules(self) -> Sequence[Rule]:
        """See `contracts.Modality.corpus_rules`."""
        return (
            between("n_atoms", "a SMILES is not valid, empty or too long", min_value=1),
            between(
                "n_atoms",
                f"a molecule has more than {smiles.MAX_ATOMS} atoms",
                max_value=smiles.MAX_ATOMS,
            ),
        )

    def task_rules(self, columns: Sequence[str]) -> Sequence[Rule]:  # noqa: ARG002
        """See `contracts.Modality.task_rules`."""
        return self.corpus_rules()
