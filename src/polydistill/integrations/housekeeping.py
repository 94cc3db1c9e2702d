"""Finds and removes unused files in the project and unused entries of the registry."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polydistill.integrations.garbage import Garbage, find_files, remove_files
from polydistill.integrations.mlflow.garbage import find_in_registry, remove_in_registry
from polydistill.integrations.mlflow.store import has_store

IN_REGISTRY = ("version", "run", "bundle")


@dataclass(frozen=True)
class Sweep:
    """The unused things that were found.

    Attributes:
        garbage: The unused things.
        size_bytes: Their total size on this disk.
        removed: Whether they were removed.
    """

    garbage: tuple[Garbage, ...]
    size_bytes: int
    removed: bool


def sweep(
    root: Path, modalities: Sequence[str], limits: tuple[float, int], *, remove: bool
) -> Sweep:
    """List what no alias, lock or ledger entry needs, and remove it with `remove`.

    Args:
        root: The project folder.
        modalities: Blocks of `params.yaml`.
        limits: The age in hours below which files are kept, and the number of newest versions that are kept.
        remove: Whether to remove what is listed.

    Raises:
        LedgerError: A ledger was tampered with.
        StageError: The tracking store does not answer.
    """
    root, (older_than_h, keep_versions) = root.resolve(), limits
    found: dict[tuple[str, str], Garbage] = {}
    for modality in modalities:
        listed = find_files(root, modality, older_than_h)
        if has_store(root):
            listed += find_in_registry(root, modality, older_than_h, keep_versions)
        found |= {(one.kind, one.what): one for one in listed}
    if remove:
        for one in found.values():
            (remove_in_registry if one.kind in IN_REGISTRY else remove_files)(root, one)
    total = sum(one.size_bytes for one in found.values())
    return Sweep(tuple(found.values()), total, remove)
