"""`promotion.json`: the verdict, every rule with its number, and the policy that asked for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from polydistill.config.operations import GateParams
from polydistill.errors import DataError
from polydistill.registry.gate import Verdict

FORMAT = 1
FILE = "promotion.json"


@dataclass(frozen=True)
class Promotion(Verdict):
    """What `promotion.json` holds: a verdict, and the policy that was applied.

    Attributes:
        format: Of the file; another one is refused.
        policy: The gate's bounds, at that time.
    """

    format: int = FORMAT
    policy: GateParams | None = None


def promotion_json(verdict: Verdict, policy: GateParams) -> str:
    """Return the file's text: sorted, without a time, host or path; the same verdict, the same bytes."""
    promotion = Promotion(**vars(verdict), policy=policy)
    tree = TypeAdapter(Promotion).dump_python(promotion, mode="json")
    return json.dumps(tree, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def read_promotion(text: str) -> Promotion:
    """Read a `promotion.json`.

    Raises:
        DataError: It is damaged, or of another format.
    """
    try:
        promotion = TypeAdapter(Promotion).validate_json(text)
    except ValidationError as error:
        raise DataError(f"{FILE} does not fit its schema: {error}") from error
    if promotion.format != FORMAT:
        raise DataError(f"{FILE} must have format {FORMAT}, got {promotion.format}.")
    return promotion


def schema() -> dict[str, Any]:
    """Return the JSON schema of `promotion.json`."""
    return TypeAdapter(Promotion).json_schema()
