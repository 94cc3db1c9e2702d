"""Whether a licence allows commercial use, as far as its SPDX identifier says."""

from __future__ import annotations

import re
from collections.abc import Collection

AND, OR = re.compile(r"\s+AND\s+"), re.compile(r"\s+OR\s+")


def allows(expression: str, known: Collection[str]) -> bool:
    """Say whether every licence of an SPDX expression is in `known`; of alternatives, one.

    AND binds closer than OR, as SPDX has it; brackets and exceptions are not read, so they are unknown.

    Examples:
        >>> allows("PDDL-1.0 AND Apache-2.0", {"Apache-2.0", "PDDL-1.0"})
        True
        >>> allows("CC-BY-NC-4.0 OR MIT", {"MIT"})
        True
        >>> allows("CC-BY-NC-4.0 AND MIT", {"MIT"})
        False
    """
    folded = {name.casefold() for name in known}
    return any(
        all(name.strip().casefold() in folded for name in AND.split(choice))
        for choice in OR.split(expression)
    )
