"""The first module of `smiles-transformer` in sentence-transformers, which loads it with `trust_remote_code=True`."""

from typing import Any

from sentence_transformers.sentence_transformer.modules import Transformer

from polydistill.data.smiles import require_smiles


class CanonicalSmiles(Transformer):
    """A transformer that reads the canonical SMILES of each molecule, as the student does."""

    def preprocess(self, inputs: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the features of the tokens.

        Raises:
            DataError: An input is not a valid SMILES.
        """
        canonical = [require_smiles(example) for example in inputs]
        features: dict[str, Any] = super().preprocess(canonical, *args, **kwargs)
        return features
